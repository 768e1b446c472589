"""Do people who do what they are advised to get what it was said to bring?

    python scripts/check_advice.py --customers 10000 --json advice.json

Simulated people live with a line for some months. Each is then advised as a customer of the service
is: what to do, which limit that brings, and by when (`server.limits.answers.advice`). From there on
they live on day by day as advised - they draw so often, owe so much, pay what is overdue, bring the
proof - and as before in all else; what a review sees is measured from those days, as the service
measures it, and the reviews are its own. Ends with 1 if on a promised day one of them can have less
than was said. As a control, the same people go on as before: then most promises are not kept.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from _bench import machine, versions, write_json

from server.accounts.scores import load_policy
from server.commands.replay_common import load_line_policy
from server.limits.answers.actions import ActionSet, parse_actions
from server.limits.answers.advice import Advice, advise
from server.limits.answers.line_reviews import LineReviews
from server.limits.answers.whatif import Change, PolicyReviews
from server.limits.batch.rows import facts_of_row, line_of_row
from server.limits.caps.caps import Income, Inputs
from server.limits.caps.decide import decide
from server.limits.caps.snapshot import Rating, Snapshot
from server.limits.line.history import History, measures
from server.limits.line.line import DRAWING, Line, State
from server.limits.line.review import review
from server.limits.line.target import target_of
from server.limits.line.triggers import Facts
from server.policies import embedded
from server.replay.book import Rules
from server.replay.card import grade_places, scores
from server.replay.figures import Prices
from server.replay.play import Arm, Moment, Setting, learn, moments
from shared.world.chance import Span, spans
from shared.world.economy import ECONOMIES
from shared.world.life import MINOR, warm

LIVED = 9
_MONTH = 30
_ENDED = {State.PENDING, State.CLOSING, State.CLOSED}
_BY_DAYS = ("draws_", "peak_balance_")


@dataclass(frozen=True, slots=True)
class Customer:
    """Somebody with a line, today.

    Parameters
    ----------
    line : Line
    facts : Facts
    reviews : LineReviews
    """

    line: Line
    facts: Facts
    reviews: LineReviews


def customers(arm: Arm, span: Span, seed: int, most: int) -> Iterator[Customer]:
    """Let people live for some months, and yield those with a line."""
    setting = Setting(span.stop, LIVED, seed, ECONOMIES["calm"], (arm,))
    *_, last = moments(setting, span, warm(span, seed), arm)
    for row in range(min(len(last.book), most)):
        found = _customer(arm.rules, last, row)
        if found.line.state not in _ENDED:
            yield found


def _customer(rules: Rules, last: Moment, row: int) -> Customer:
    done = last.book.reviewed
    assert done is not None
    line, facts = line_of_row(last.book.lines, row), facts_of_row(done.columns.facts, row)
    prob = last.book.prob_micro[row : row + 1]
    names = tuple(rules.policy.grades)
    grade = names[int(grade_places(prob, names)[0])]
    rating = Rating(0, Decimal(int(prob[0])).scaleb(-6), int(scores(prob)[0]), grade)
    person = last.book.rows[row]
    inputs = Inputs(
        day=done.as_of,
        current_minor=line.effective_limit_minor,
        drawn_minor=facts.outstanding_minor,
        income=Income(round(MINOR * float(last.life.people.income[person])), "bank", whole=True),
    )
    snapshot = Snapshot(rating, rating, {}, {}, ())
    caps = PolicyReviews(rules.policy, rules.pack, snapshot, inputs)
    return Customer(line, facts, LineReviews(line, facts, rules.line, caps))


@dataclass(frozen=True, slots=True)
class Days:
    """What somebody does from today on.

    Parameters
    ----------
    draws : int
        In thirty days.
    owed_minor : int
    pays : bool
        What is overdue, today.
    income : Change or None
        What else is proven, and from when on it counts.
    """

    draws: int
    owed_minor: int
    pays: bool
    income: tuple[Change, ...]


def days_of(customer: Customer, changes: Sequence[Change]) -> Days:
    """Return what following some changes means; without any, everything goes on."""
    by_fact = {one.fact: one for one in changes}
    owed = by_fact.get("drawn_minor")
    draws = by_fact.get("draws")
    known = {"draws", "drawn_minor", "days_past_due"}
    return Days(
        draws=customer.facts.measures["draws_30d"] if draws is None else int(draws.value),
        owed_minor=customer.facts.outstanding_minor if owed is None else int(owed.value),
        pays="days_past_due" in by_fact,
        income=tuple(one for one in changes if one.fact not in known),
    )


def lived(customer: Customer, does: Days, until: date) -> int:
    """Return what somebody can have on a day: the limit, or an offer; 0 where nothing is lent."""
    line, reviews = customer.line, customer.reviews
    today, policy = reviews.today(), reviews.policy
    day = max(line.next_review_on or today, today)
    draws, balances = _past(customer, today)
    balances.append((today, does.owed_minor))
    begun = today
    while day <= until:
        while begun + timedelta(days=_MONTH) <= day:
            step = _MONTH / max(does.draws, 1)
            draws += [(begun + timedelta(days=1 + int(at * step)), 1) for at in range(does.draws)]
            begun += timedelta(days=_MONTH)
        facts = _seen(customer, does, History(tuple(draws), tuple(balances)), day)
        inputs = _proven(reviews.caps.inputs, does.income, day)
        inputs = replace(
            inputs,
            day=day,
            current_minor=line.effective_limit_minor,
            drawn_minor=does.owed_minor,
        )
        caps = decide(reviews.caps.policy, reviews.caps.pack, reviews.caps.snapshot, inputs)
        line = review(line, facts, target_of(caps, policy, day), policy, day).line
        day += timedelta(days=policy.every_days)
    if line.state not in DRAWING:
        return 0
    offer = 0 if line.offer is None else line.offer.limit_minor
    return max(line.effective_limit_minor, offer)


def _past(customer: Customer, today: date) -> tuple[list[tuple[date, int]], list[tuple[date, int]]]:
    """Return draws and balances of the last thirty days that measure as today's facts do."""
    seen = customer.facts.measures
    last = customer.facts.last_draw_on or today - timedelta(days=1)
    draws = [(max(last, today - timedelta(days=_MONTH - 1)), 1)] * seen["draws_30d"]
    balances = [(today - timedelta(days=2), seen["peak_balance_30d"])]
    return draws, [*balances, (today - timedelta(days=1), customer.facts.outstanding_minor)]


def _seen(customer: Customer, does: Days, past: History, day: date) -> Facts:
    """Return what a review sees on a day: measured where days tell, and else as today."""
    facts, today = customer.facts, customer.reviews.today()
    measured = measures(past, customer.reviews.policy, day)
    by_days = {name: one for name, one in measured.items() if name.startswith(_BY_DAYS)}
    late = facts.days_past_due
    late = 0 if does.pays or not late else late + (day - today).days
    clear = facts.clear_since if late or not does.pays else facts.clear_since or today
    last = max(one for one, _ in past.draws) if past.draws else facts.last_draw_on
    return replace(
        facts,
        outstanding_minor=does.owed_minor,
        measures={**facts.measures, **by_days},
        days_past_due=late,
        clear_since=clear,
        last_draw_on=last,
    )


def _proven(inputs: Inputs, changes: Sequence[Change], day: date) -> Inputs:
    income = inputs.income
    assert income is not None
    for one in changes:
        if one.since <= day:
            name = {"income_source": "source", "obligations_minor": "obligations_minor"}[one.fact]
            income = replace(income, **{name: one.value})
    return replace(inputs, income=income)


def checked(customer: Customer, actions: ActionSet) -> Iterator[tuple[Advice, int, int]]:
    """Yield every advice with what following it brings by its day, and what going on does."""
    told = advise(customer.reviews, actions, holders=(), card_codes=())
    for one in told.advice:
        follows = lived(customer, days_of(customer, one.changes), one.by)
        yield one, follows, lived(customer, days_of(customer, ()), one.by)


def main() -> int:
    """Advise, follow, compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--customers", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    rules = Rules("reference", *load_policy(None), load_line_policy(None))
    actions = parse_actions(*embedded("advice"))
    arm = Arm(rules, learn(given.seed), Prices(float(rules.policy.capacity.annual_rate)))
    people, control = 0, 0
    codes: Counter[str] = Counter()
    broken: list[dict[str, Any]] = []
    for span in spans(100 * given.customers):
        if people >= given.customers:
            break
        for customer in customers(arm, span, given.seed, given.customers - people):
            people += 1
            for one, follows, goes_on in checked(customer, actions):
                codes[" ".join(one.codes)] += 1
                control += goes_on < one.expected_minor
                if follows < one.expected_minor:
                    broken.append(
                        {
                            "codes": one.codes,
                            "by": one.by.isoformat(),
                            "promised_minor": one.expected_minor,
                            "has_minor": follows,
                        }
                    )
            if people % 500 == 0:
                print(
                    f"{people:,} people, {codes.total():,} advices, {len(broken)} broken",
                    flush=True,
                )
    kept = 1.0 - len(broken) / max(codes.total(), 1)
    print(f"{people:,} people, {codes.total():,} advices: {kept:.2%} brought what was said")
    print(f"going on as before, {control:,} of them had less than that on the day")
    for name, count in codes.most_common():
        print(f"  {name:<24}{count:>8,}")
    write_json(
        given.json,
        {
            "machine": machine(),
            "versions": versions("numpy"),
            "people": people,
            "advices": codes.total(),
            "by_code": dict(codes),
            "broken": broken,
            "control": control,
        },
    )
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
