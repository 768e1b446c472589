"""Any sequence of calls by many people, beside a simple model, over SQLite and PostgreSQL.

The model is two lines in plain dicts. Every call must have the status and the name that the model
says. A refusal must leave both lines as they were, byte for byte, and every table as long as it
was (`test_api_bad_input` compares all of the store, which grows here).
"""

from __future__ import annotations

from datetime import timedelta
from itertools import count

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from hypothesis.stateful import run_state_machine_as_test as play

from server.store import checks, schema
from server.store.draws import drawdowns_of
from server.store.holds import holds_of
from server.store.lines import lines_of
from tests.depth import depth
from tests.service.desk_kit import HOLDERS, KEYS, Office, good
from tests.stores import empty_file, server, url  # noqa: F401 - fixtures

FULL, QUANTUM, LEAST, A_DAY = 4_000_000, 10_000, 10_000, 5_000_000
AMOUNTS = st.one_of(st.integers(LEAST, 400_000), st.sampled_from([1, 9_999, 1_999_999, FULL]))
WHO = st.integers(0, 1)
LAKE = {
    "id": "lake",
    "tier1_minor": 10**12,
    "loans_minor": 10**13,
    "rules": {
        "name": "lake",
        "version": "1",
        "grades": ["A"],
        "products": ["revolving_consumer"],
    },
}


def blank(person):
    """What the model knows of a customer."""
    return {
        "customer": good(person),
        "consents": [],
        "line": None,
        "state": None,
        "limit": 0,
        "holds": {},
        "owed": {},
        "drawn": 0,
    }


class Machine(RuleBasedStateMachine):
    """Two customers, two officers, an operator and a partner bank."""

    def __init__(self, office):
        super().__init__()
        self.office = office

    @initialize(ready=st.tuples(st.booleans(), st.booleans()))
    def begin(self, ready):
        self.people = [blank(next(self.office.persons)) for _ in range(2)]
        self.posted, self.paid = [], []
        self.lake_open, self.lake_owed = True, {}
        self.office.done("ops", "/v1/partners", LAKE)
        self.lake_before = self.lake_used()
        for one in self.people:
            self.office.bureau(one["customer"])
        for who in (0, 1):
            if ready[who]:
                self.consent(who)
                self.open(who)

    # What the model says.

    def lake_used(self):
        return self.office.get("ops", "/v1/partners/lake/book").json()["partner"]["used_minor"]

    def held(self, one):
        now = self.office.clock.now
        return sum(hold["amount"] for hold in one["holds"].values() if hold["until"] > now)

    def room(self, one):
        left = one["limit"] - sum(one["owed"].values()) - self.held(one)
        return max(0, min(left, A_DAY - one["drawn"] - self.held(one)))

    def standing(self, one):
        """Why nothing can be drawn at all, or None."""
        if one["state"] == "open" and one["consents"]:
            return None
        return "state"

    def refusal(self, one, amount, currency="CNY"):
        if currency != "CNY":
            return "currency"
        if why := self.standing(one):
            return why
        if amount < LEAST:
            return "amount"
        return "available" if amount > self.room(one) else None

    # How calls are made.

    def ask(self, who, path, body=None, *, check=None, status=201):
        """Make a call that the model foresees: an answer, or a refusal that changes nothing."""
        key = f"s-{next(KEYS)}"
        before = self.state() if check else None
        answer = self.office.post(who, path, body, key=key)
        if check is None:
            assert answer.status_code == status, answer.text
            self.posted.append((who, path, body, key, answer.content))
            return answer.json()
        problem = answer.json()
        assert check in (problem.get("check"), problem["code"]), (check, answer.text)
        assert answer.status_code in {403, 404, 409}
        assert self.state() == before
        return None

    def state(self):
        """How long each table is, and all that is kept of both lines."""
        with self.office.store.read() as db:
            found = {
                table.name: db.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
                for table in schema.METADATA.sorted_tables
            }
            for one in self.people:
                rows = lines_of(db, one["customer"])
                found[one["customer"]] = repr(
                    [(line, holds_of(db, line.id), drawdowns_of(db, line.id)) for line in rows]
                )
        return found

    def has_line(self, who):
        return self.people[who]["line"] is not None

    # Calls.

    @rule(who=WHO)
    def consent(self, who):
        one = self.people[who]
        body = {"purpose": "credit_line", "holders": HOLDERS, "categories": ["repayment"]}
        made = self.ask(one["customer"], f"/v1/customers/{one['customer']}/consents", body)
        one["consents"].append(made["consent_id"])
        self.office.later(seconds=1)

    @rule(who=WHO)
    def withdraw(self, who):
        one = self.people[who]
        if one["consents"]:
            path = f"/v1/consents/{one['consents'].pop()}/withdraw"
            self.ask(one["customer"], path, status=200)
            self.ask(one["customer"], path, check="state")

    @rule(who=WHO)
    def open(self, who):
        one = self.people[who]
        body = {"customer_id": one["customer"], "product": "revolving_consumer"}
        check = "refused" if not one["consents"] else None
        check = "id" if one["state"] in {"open", "frozen", "closing"} else check
        if made := self.ask(one["customer"], "/v1/lines", body, check=check):
            assert made["limit_minor"] == FULL
            one |= {"line": made["line_id"], "state": "open", "limit": FULL, "holds": {}}
            one |= {"owed": {}, "drawn": 0}

    @precondition(lambda self: self.has_line(0) or self.has_line(1))
    @rule(who=WHO, amount=AMOUNTS, currency=st.sampled_from(["CNY", "CNY", "CNY", "USD"]))
    def draw(self, who, amount, currency):
        one = self.people[who]
        if one["line"] is None:
            return
        body = {"amount_minor": amount, "currency": currency, "purpose": "daily", "months": 3}
        check = self.refusal(one, amount, currency)
        path = f"/v1/lines/{one['line']}/drawdowns"
        if made := self.ask(one["customer"], path, body, check=check):
            self.drawn(one, made, self.lake_part(amount))

    @precondition(lambda self: self.has_line(0) or self.has_line(1))
    @rule(who=WHO, amount=AMOUNTS, seconds=st.sampled_from([60, 600]))
    def hold(self, who, amount, seconds):
        one = self.people[who]
        if one["line"] is None:
            return
        body = {"amount_minor": amount, "currency": "CNY", "purpose": "daily", "ttl_s": seconds}
        path = f"/v1/lines/{one['line']}/holds"
        if made := self.ask(one["customer"], path, body, check=self.refusal(one, amount)):
            one["holds"][made["hold_id"]] = {
                "amount": amount,
                "until": self.office.clock.now + timedelta(seconds=seconds),
                "lake": self.lake_part(amount),
            }

    @precondition(lambda self: any(one["holds"] for one in self.people))
    @rule(who=WHO, at=st.integers(0, 99))
    def post_hold(self, who, at):
        one = self.people[who]
        if not one["holds"]:
            return
        hold_id = sorted(one["holds"])[at % len(one["holds"])]
        hold = one["holds"][hold_id]
        check = "hold" if hold["until"] <= self.office.clock.now else self.standing(one)
        check = check or ("fund" if hold["lake"] and not self.lake_open else None)
        path = f"/v1/holds/{hold_id}/post"
        if made := self.ask(one["customer"], path, {"months": 3}, check=check):
            del one["holds"][hold_id]
            self.drawn(one, made, hold["lake"])

    @precondition(lambda self: any(one["holds"] for one in self.people))
    @rule(who=WHO, at=st.integers(0, 99))
    def void_hold(self, who, at):
        one = self.people[who]
        if not one["holds"]:
            return
        hold_id = sorted(one["holds"])[at % len(one["holds"])]
        over = one["holds"][hold_id]["until"] <= self.office.clock.now
        path, check = f"/v1/holds/{hold_id}/void", "hold" if over else None
        if self.ask(one["customer"], path, check=check, status=200):
            del one["holds"][hold_id]

    @precondition(lambda self: self.has_line(0) or self.has_line(1))
    @rule(who=WHO, amount=st.one_of(st.integers(1, 400_000), st.just(FULL)))
    def repay(self, who, amount):
        one = self.people[who]
        if one["line"] is None:
            return
        body = self.office.repayment(one["line"], amount)
        check = "outstanding" if amount > sum(one["owed"].values()) else None
        made = self.ask("ops", "/v1/repayments", body, check=check)
        if made is None:
            return
        for part in made["allocations"]:
            one["owed"][part["drawdown_id"]] -= part["amount_minor"]
            if part["partner_id"] == "lake":
                self.lake_owed[part["drawdown_id"]] -= part["amount_minor"]
        left = amount - sum(part["amount_minor"] for part in made["allocations"])
        assert left == 0
        assert made["outstanding_minor"] == sum(one["owed"].values())
        self.paid.append((body, made))

    @precondition(lambda self: self.paid)
    @rule(at=st.integers(0, 99))
    def repay_again(self, at):
        """I6: under another key, in the same words."""
        body, made = self.paid[at % len(self.paid)]
        assert self.ask("ops", "/v1/repayments", body, status=200) == made
        other = body | {"amount_minor": body["amount_minor"] + 1}
        self.ask("ops", "/v1/repayments", other, check="reference")

    @precondition(lambda self: self.posted)
    @rule(at=st.integers(0, 99))
    def repeat(self, at):
        """I6: the same key and body, however long ago; and the key with another body."""
        who, path, body, key, content = self.posted[at % len(self.posted)]
        before = self.state()
        again = self.office.post(who, path, body, key=key)
        assert (again.content, again.headers["idempotency-replayed"]) == (content, "true")
        other = self.office.post(who, path, {"else": 1}, key=key)
        assert other.status_code == 422
        assert self.state() == before

    @precondition(lambda self: self.has_line(0) or self.has_line(1))
    @rule(who=WHO, limit=st.integers(0, FULL))
    def lower(self, who, limit):
        one = self.people[who]
        if one["line"] is None:
            return
        floored = limit // QUANTUM * QUANTUM
        check = "limit" if floored >= one["limit"] else None
        check = "state" if check is None and one["state"] in {"closing", "closed"} else check
        body = {"purpose": "self_lower", "limit_minor": limit}
        path = f"/v1/lines/{one['line']}/decisions"
        if self.ask(one["customer"], path, body, check=check):
            one["limit"] = floored

    @precondition(lambda self: self.has_line(0) or self.has_line(1))
    @rule(who=WHO, freeze=st.booleans())
    def freeze_or_release(self, who, freeze):
        one = self.people[who]
        if one["line"] is None:
            return
        fits = one["state"] == ("open" if freeze else "frozen")
        body = {"purpose": "freeze_fraud" if freeze else "release"}
        path = f"/v1/lines/{one['line']}/decisions"
        if self.ask("alice", path, body, check=None if fits else "state"):
            one["state"] = "frozen" if freeze else "open"

    @precondition(lambda self: self.has_line(0) or self.has_line(1))
    @rule(who=WHO, sure=st.integers(0, 3))
    def close(self, who, sure):
        one = self.people[who]
        if one["line"] is None or sure:
            return
        out = sum(one["owed"].values()) + self.stored_held(one)
        # What is frozen for a person to look into, the customer does not close past that person.
        ended = one["state"] in {"closed", "frozen"} or (one["state"] == "closing" and out)
        path = f"/v1/lines/{one['line']}/decisions"
        if self.ask(one["customer"], path, {"purpose": "close"}, check="state" if ended else None):
            one["state"] = "closing" if out else "closed"

    @rule(seconds=st.sampled_from([1, 45, 700]))
    def wait(self, seconds):
        self.office.later(seconds=seconds)

    @rule(withdraws=st.booleans())
    def partner(self, withdraws):
        if withdraws:
            self.ask("lake", "/v1/partners/lake/withdraw", status=200)
        else:
            self.ask("ops", "/v1/partners", LAKE)
        self.lake_open = not withdraws

    @precondition(lambda self: self.has_line(0))
    @rule(what=st.sampled_from(["drawdowns", "holds", "decisions"]))
    def stranger(self, what):
        body = {
            "drawdowns": {
                "amount_minor": LEAST,
                "currency": "CNY",
                "purpose": "daily",
                "months": 3,
            },
            "holds": {"amount_minor": LEAST, "currency": "CNY", "purpose": "daily", "ttl_s": 60},
            "decisions": {"purpose": "close"},
        }[what]
        path = f"/v1/lines/{self.people[0]['line']}/{what}"
        self.ask(self.people[1]["customer"], path, body, check="not-found")

    # What the calls did.

    def lake_part(self, amount):
        return amount - -(-amount * 3 // 10) if self.lake_open else 0

    def drawn(self, one, made, lake):
        parts = {share["partner_id"]: share["amount_minor"] for share in made["shares"]}
        assert sum(parts.values()) == made["amount_minor"]
        assert parts.get("lake", 0) == lake
        one["owed"][made["drawdown_id"]] = made["amount_minor"]
        one["drawn"] += made["amount_minor"]
        self.lake_owed[made["drawdown_id"]] = lake

    def stored_held(self, one):
        """Of holds that nobody has swept yet, too."""
        rows = self.office.get("alice", "/v1/lines", customer_id=one["customer"]).json()["items"]
        return next(row["held_minor"] for row in rows if row["line_id"] == one["line"])

    @invariant()
    def every_line_is_what_the_model_says(self):
        """I1, I2, I14."""
        for one in getattr(self, "people", ()):
            if one["line"] is None:
                continue
            shown = self.office.show(one["line"], one["customer"])
            assert shown["outstanding_minor"] == sum(one["owed"].values())
            assert shown["held_minor"] == self.held(one)
            assert shown["effective_limit_minor"] == one["limit"]
            free = self.standing(one) is None
            assert shown["available_minor"] == (self.room(one) if free else 0)

    @invariant()
    def partner_has_out_what_is_open_of_its_shares(self):
        """I3."""
        if hasattr(self, "people"):
            assert self.lake_used() - self.lake_before == sum(self.lake_owed.values())

    def teardown(self):
        """I18: every total is the sum of its events."""
        with self.office.store.read() as db:
            assert checks.findings(db) == []


@pytest.fixture
def office(url, tmp_path):  # noqa: F811 - the fixture
    made = Office(tmp_path / "federation", url, customers=400)
    made.persons = count()  # every sequence has people of its own
    yield made
    made.close()


def run(office, examples, steps):
    play(
        lambda: Machine(office),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.explicit, Phase.generate],  # people do not come back: no shrinking
        ),
    )


def test_any_sequence_of_calls_leaves_what_the_simple_model_says(office):
    run(office, examples=3, steps=15)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_long_sequences_of_calls_leave_what_the_simple_model_says(office):
    run(office, examples=depth(6, 40), steps=40)
