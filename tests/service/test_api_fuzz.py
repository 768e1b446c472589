"""Whatever is sent to any operation: every check of schemathesis, one by one and in sequences.

In process over ASGI, over SQLite, all phases of a run: examples, coverage, fuzzing, stateful. The
document says all it can; `Cast` says what JSON Schema cannot: who the caller is, what there is by
now, that keys are fresh, and how dates and sums hang together. Requests that are meant to be wrong
are sent as they are.
"""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from itertools import count

import pytest
import schemathesis
from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse
from schemathesis import GenerationMode
from schemathesis.engine import events, from_schema

from server.accounts.customers import cases
from server.accounts.proving import make_log_key, newest, tick
from server.store.approvals import approvals_in
from server.store.decisions import chain_of
from server.store.draws import drawdowns_of
from server.store.holds import holds_of
from server.store.lines import get_line, lines_of
from tests.depth import depth
from tests.service.desk_kit import HOLDERS, START, Office, empty_store, good, rules

pytestmark = pytest.mark.slow

WHO = {"officer": "alice", "operator": "ops", "regulator": "auditor", "partner": "lake"}
SECRETS = {"PUT /v1/feeds/{party}", "POST /v1/token"}
"""What nobody can make up: a feed that its party signed, a client's secret."""
DRAWING = {"/v1/lines/{line_id}/holds", "/v1/lines/{line_id}/drawdowns"}
STOPPING = {"close", "freeze_fraud", "freeze_purpose"}
SWITCH = "/v1/switches/increases"
FRESH = count(1)
LAKE = {
    "id": "lake",
    "tier1_minor": 10**11,
    "loans_minor": 10**12,
    "rules": {"name": "lake", "version": "1", "grades": ["A"], "products": ["revolving_consumer"]},
}
PROOF = {
    "kind": "income_flow",
    "value_minor": 900_000,
    "source": "bank",
    "issued": "2026-03-01",
    "file_hash": "5f" * 32,
}


class Cast:
    """Who plays the customer: another one now and then, for a line that was closed stays closed."""

    def __init__(self, office):
        self.office, self.numbers, self.calls = office, count(1), 0
        self.turn()

    def turn(self):
        """Put everything back to where a customer can do something."""
        office, number = self.office, next(self.numbers)
        self.customer, self.erased = good(2 * number), good(2 * number + 1)
        self._go_on()
        self.line = office.line(self.customer)
        office.draw(self.line, 10_000, customer=self.customer)
        for _ in range(3):
            office.hold(self.line, 10_000, customer=self.customer, ttl_s=604_800)
        office.consent(self.customer, purpose="credit_record")
        office.consent(self.erased)
        office.done("alice", "/v1/evidence", PROOF | {"customer_id": self.customer})
        told = {"customer_id": self.customer, "about": "price", "text": "Too dear."}
        office.done(self.customer, "/v1/complaints", told)
        office.done("ops", SWITCH, {"paused": False, "reason": "To be answered."}, 202)
        tick(office.desk)

    def _go_on(self):
        office = self.office
        if office.get("ops", SWITCH).json()["paused"]:
            asked = office.done("ops", SWITCH, {"paused": False, "reason": "Go on."}, 202)
            path = f"/v1/approvals/{asked['approval_id']}/approve"
            office.done("alice", path, {"note": "Agreed."}, 200)
        office.done("ops", "/v1/partners", LAKE)
        office.done("ops", "/v1/lending", {"reason": "As at first."}, 200)
        office.done("ops", "/v1/budgets/budget", {"own_funds_minor": 10**12, "own_share": "1"}, 200)
        office.post("ops", "/v1/allocations", {"budget_id": "budget"})

    def token(self, case):
        """A token of the first role that an operation lets in."""
        security = case.operation.definition.raw.get("security", [])
        roles = [one["token"][0] for one in security if "token" in one]
        if not roles and case.operation.path != "/metrics":
            return None
        # Who answers a proposal is not who made it.
        name = "bob" if "approvals" in case.operation.path else WHO.get((roles or ["operator"])[0])
        return self.office.headers(name or self._customer(case))["Authorization"]

    def _customer(self, case):
        return self.erased if case.method.upper() == "DELETE" else self.customer

    def direct(self, case):
        """Let a valid request be one that can also be meant."""
        if case.meta is None or case.meta.generation.mode is GenerationMode.NEGATIVE:
            return
        self.calls += 1
        if self.calls % 60 == 0:
            self.turn()
        wanting = case.operation.path in DRAWING and not self._may_draw()
        if wanting or ("{hold_id}" in case.operation.path and not self._held()):
            self.turn()
        known = self._known(case)
        headers, path, query = case.headers or {}, case.path_parameters or {}, case.query or {}
        headers.pop("If-Match", None)
        if "Idempotency-Key" in headers:
            headers["Idempotency-Key"] = f"fuzz-{next(FRESH)}"
        path |= {name: value for name, value in known.items() if name in path}
        query |= {name: value for name, value in known.items() if name in query}
        if isinstance(case.body, dict):
            case.body = meant(whole(case.body), known)
            if path.get("line_id") == self.line and case.body.get("purpose") in STOPPING:
                case.body["purpose"] = "review"
            if case.operation.path == "/v1/repayments":
                case.body |= self._owed(case.body)

    def _may_draw(self):
        """Whether the line has what `meant` asks for; partners and budget as at first."""
        self._go_on()
        with self.office.store.read() as db:
            return get_line(db, self.line).available_minor >= 100_000

    def _held(self):
        """The holds that can still be posted or voided."""
        with self.office.store.read() as db:
            return [one.id for one in holds_of(db, self.line) if one.state == "pending"]

    def _owed(self, body):
        """A payment of its own name, of an amount that is owed where something is."""
        named = {"external_ref": f"paid-{next(FRESH)}"}
        with self.office.store.read() as db:
            drawn = drawdowns_of(db, self.line, count=1, only_open=True)
        if not drawn:
            return named
        amount = 1 + body["amount_minor"] % drawn[0].open_minor
        part = {"drawdown_id": drawn[0].id, "amount_minor": amount}
        return named | {"amount_minor": amount} | ({"to": [part]} if body.get("to") else {})

    def _known(self, case):
        """What there is, and the caller's, by the names of parameters and fields."""
        with self.office.store.read() as db:
            lines = {one.id for one in lines_of(db, self.customer)}
            asked = [one.id for one in approvals_in(db, "proposed")]
            told = [one.id for one in cases(db, customer_id=self.customer)]
            made, size = chain_of(db, self.line)[-1].id, newest(db).head.size
            proved = chain_of(db, self.line)[0].id
        line = (case.path_parameters or {}).get("line_id")
        if case.operation.path in DRAWING:
            line = self.line
        lists = {"hold_id": self._held(), "approval_id": asked, "case_id": told}
        return {name: found[-1] for name, found in lists.items() if found} | {
            "customer_id": self._customer(case),
            "pseudonym": self.customer,
            "partner_id": "lake",  # to a partner others are not there
            "line_id": line if line in lines else self.line,
            "decision_id": made,
            "decision": proved,
            "digest": rules().sources["policy"].digest,
            "from": 1,
            "to": size,
            "holders": HOLDERS,
            "currency": "CNY",
            "months": 3,
            "budget_id": "budget",
            "product": "micro_business",
            "source": "declared",
            "whole": False,
            **self._tried(),
        }

    def _tried(self):
        """Rules to try, on few people: more of them would show nothing further."""
        own = rules().sources
        texts = {f"policy_{one}": own["policy"].digest for one in "ab"}
        texts |= {f"line_policy_{one}": own["line"].digest for one in "ab"}
        return texts | {"people": 50, "seed": 1}


def whole(value):
    """JSON Schema takes 3.0 for a whole number; the service does not."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {name: whole(one) for name, one in value.items()}
    return [whole(one) for one in value] if isinstance(value, list) else value


def meant(body, known):
    """A body about what there is, with days and sums that hang together."""
    if isinstance(body.get("to"), list):
        body["to"] = body["to"][:1]
        body["amount_minor"] = body["to"][0]["amount_minor"]
    elif "amount_minor" in body:
        body["amount_minor"] = 10_000 + body["amount_minor"] % 90_000
    if "ttl_s" in body or ("months" in body and "purpose" in body):
        body["purpose"] = "daily"
    body |= {name: value for name, value in known.items() if name in body and name != "to"}
    for name in ("issued", "as_of", "value_date", "arose"):
        if name in body:
            body[name] = near(body[name], -30)
    for name in ("until", "expires", "repaid"):
        if body.get(name) is not None:
            body[name] = near(body[name], 30)
    if "enquiries" in body:
        body["enquiries"] = [near(day, -30) for day in body["enquiries"]]
    for one in body.get("overdue") or []:
        meant(one, {})
    return body


def near(text, days):
    """A day from today up to so many days before or after it."""
    off = date.fromisoformat(text).toordinal() % abs(days)
    return (START.date() + timedelta(days=1 + off if days > 0 else -off)).isoformat()


def run(office, examples, steps):
    """Run all phases; return what failed, and how many calls of each operation had which status."""
    cast = Cast(office)
    config = schemathesis.Config.from_dict(
        {
            "generation": {"max-examples": examples, "deterministic": True, "database": "none"},
            "phases": {"stateful": {"max-steps": steps}},
        }
    )
    schema = schemathesis.openapi.from_asgi("/openapi.json", office.app, config=config)

    @schema.auth(refresh_interval=None)
    class Tokens:
        def get(self, case, context):
            return cast.token(case)

        def set(self, case, data, context):
            if data is not None:
                case.headers["Authorization"] = data

    @schemathesis.hook
    def before_call(context, case, kwargs):
        cast.direct(case)

    try:
        return sum_up(from_schema(schema).execute())
    finally:
        schemathesis.hooks.unregister_all()


def sum_up(told):
    failed, statuses = {}, Counter()
    for event in told:
        if isinstance(event, events.NonFatalError | events.FatalError):
            failed[str(event.id)] = repr(event)
        if not isinstance(event, events.ScenarioFinished):
            continue
        recorder = event.recorder
        for number, call in recorder.interactions.items():
            label = recorder.cases[number].value.operation.label
            status = call.response.status_code if call.response else None
            statuses[str(event.phase), label, status] += 1
        for number, checks in recorder.checks.items():
            for one in checks:
                if one.failure_info is not None:
                    label = recorder.cases[number].value.operation.label
                    answer = recorder.interactions[number].response
                    failed[f"{label} {one.name}"] = (
                        f"{one.failure_info.failure.message}\n{one.failure_info.code_sample}\n"
                        f"{answer.content if answer else None!r}"
                    )
    return failed, statuses


def office_in(folder):
    """A service with a key for its log."""
    path = folder / "office.db"
    path.write_bytes(empty_store())
    made = Office(folder / "federation", f"sqlite:///{path}", customers=1800)
    make_log_key(made.desk)
    return made


@pytest.fixture
def fuzzed(tmp_path):
    made = office_in(tmp_path)
    yield made
    made.close()


@pytest.mark.timeout(1200)
def test_every_check_of_every_phase_passes(fuzzed):
    failed, statuses = run(fuzzed, examples=depth(4, 12), steps=depth(10, 15))
    assert failed == {}
    # Control: every operation was seen to do what it is for, not only to refuse.
    done = {label for (_, label, status) in statuses if status and status < 300}
    asked = {label for (_, label, _status) in statuses}
    assert asked - done == SECRETS


@pytest.mark.parametrize(
    ("answer", "check"),
    [
        (Response(status_code=500), "not_a_server_error"),
        (Response(status_code=418), "status_code_conformance"),
        (JSONResponse({"amount": "two"}), "response_schema_conformance"),
    ],
)
def test_defect_that_was_planted_is_found(answer, check):
    """Control: an answer that the document of this toy does not know."""
    toy = FastAPI()

    @toy.get("/amounts/{amount}", response_model=dict[str, int])
    def show(amount: int) -> Response:
        return answer if amount % 7 == 0 else JSONResponse({"amount": amount})

    config = schemathesis.Config.from_dict({"generation": {"deterministic": True}})
    schema = schemathesis.openapi.from_asgi("/openapi.json", toy, config=config)
    failed, _statuses = sum_up(from_schema(schema).execute())
    assert f"GET /amounts/{{amount}} {check}" in failed
