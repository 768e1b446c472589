"""The golden replay (domain 5.6, T33): two customers who both pay on time, and their two limits.

Both draw on the same line, live through the same downturn and repay everything on day 28 of each
cycle of 30 days. One draws once a cycle, the other eight times until cycle 8. The limit of the
first is back on day 180, of the second on day 360; what was repaid can be drawn again on day 28,
always.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Final

from server.limits.basis.reasons import Reason
from server.limits.line.events import LineEvent
from server.limits.line.history import History, measures
from server.limits.line.limit_acts import open_line, request
from server.limits.line.line import Line, State
from server.limits.line.restore import Restoration, restoration
from server.limits.line.review import review
from server.limits.line.target import Target, target_from
from server.limits.line.triggers import Facts
from server.limits.line.waterfall import available
from server.limits.rules.line_policy import LinePolicy, Overlay
from shared.errors import Conflict

CYCLES: Final = 12
CYCLE_DAYS: Final = 30
REPAID_ON: Final = 28
BASE_MINOR: Final = 1_000_000
DOWNTURN: Final = (3, 4)
"""Cycles in which the downturn's multiplier of 0.7 holds."""
START: Final = date(2026, 1, 1)
LETTERS: Final = {
    State.ACTIVE: "A",
    State.OBSERVATION: "O",
    State.REDUCED: "R",
    State.RESTORING: "RS",
    State.FROZEN: "F",
}
_TRACE: Final = {"M-MACRO": "M01"}
"""The trace writes the downturn's code in short."""


@dataclass(frozen=True, slots=True)
class Customer:
    """Somebody's draws.

    Parameters
    ----------
    name : str
    draws : tuple of tuple of (int, int)
        For each cycle: day of the cycle, from 1, and amount in minor units.
    """

    name: str
    draws: tuple[tuple[tuple[int, int], ...], ...]


@dataclass(frozen=True, slots=True)
class Row:
    """A cycle of a customer.

    Parameters
    ----------
    cycle : int
    on : date
        Of the review.
    limit_minor : int
        After it.
    state : State
        After it.
    reasons : tuple of Reason
        Of what happened in it.
    drawn_minor, available_drawn_minor : int
        The most that was owed, and what could still be drawn then.
    available_repaid_minor, limit_repaid_minor : int
        What could be drawn after the repayment on day 28, and the limit of that day.
    days_past_due : int
    why : Restoration
        What keeps the limit down, as the customer is told after the review.
    """

    cycle: int
    on: date
    limit_minor: int
    state: State
    reasons: tuple[Reason, ...]
    drawn_minor: int
    available_drawn_minor: int
    available_repaid_minor: int
    limit_repaid_minor: int
    days_past_due: int
    why: Restoration

    @property
    def codes(self) -> tuple[str, ...]:
        """Codes of what happened."""
        return tuple(reason.code for reason in self.reasons)

    @property
    def cell(self) -> str:
        """The cell of the study's table: ``9000 O B02``."""
        words = [str(self.limit_minor // 100), LETTERS[self.state]]
        for reason in self.reasons:
            words.append(_TRACE.get(reason.code, reason.code))
            told = dict(reason.params)
            if reason.code == "H01":
                words.append(f"{told['clean']}/{told['needed']}")
        return " ".join(words)

    def to_mapping(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return {
            "cycle": self.cycle,
            "on": self.on.isoformat(),
            "limit_minor": self.limit_minor,
            "state": self.state.value,
            "codes": list(self.codes),
            "cell": self.cell,
            "drawn_minor": self.drawn_minor,
            "available_drawn_minor": self.available_drawn_minor,
            "available_repaid_minor": self.available_repaid_minor,
            "days_past_due": self.days_past_due,
            "restoration": self.why.to_mapping(),
        }


@dataclass(frozen=True, slots=True)
class Trace:
    """A customer's year.

    Parameters
    ----------
    customer : Customer
    rows : tuple of Row
    events : tuple of LineEvent
        From the first; they rebuild the line.
    line : Line
        At the end.
    """

    customer: Customer
    rows: tuple[Row, ...]
    events: tuple[LineEvent, ...]
    line: Line


def stable() -> Customer:
    """Return the customer who draws 3,000 once a cycle."""
    return Customer("STABLE", (((5, 300_000),),) * CYCLES)


def frequent() -> Customer:
    """Return the customer who draws 400 eight times a cycle, and from cycle 9 on as the other."""
    often = tuple((day, 40_000) for day in range(3, 27, 3))
    return Customer("FREQUENT", (often,) * 8 + (((5, 300_000),),) * 4)


def with_downturn(policy: LinePolicy) -> LinePolicy:
    """Return a policy with the replay's downturn, and no other."""
    first, last = DOWNTURN
    overlay = Overlay(
        scenario="replay",
        since=START + timedelta(days=CYCLE_DAYS * (first - 1) + 1),
        until=START + timedelta(days=CYCLE_DAYS * last),
        multiplier=Decimal("0.7"),
        approved_by=("replay", "golden"),
        approved_on=START,
        note="cycles 3 and 4 of the golden replay",
    )
    return replace(policy, overlays=(overlay,))


def run(customer: Customer, policy: LinePolicy) -> Trace:
    """Replay a customer's year.

    Parameters
    ----------
    customer : Customer
    policy : LinePolicy
        Of 30-day reviews; see `with_downturn`.

    Raises
    ------
    Conflict
        If a draw is above what is available.
    """
    acted = request("revolving_consumer", START)
    opened = open_line(acted.line, _target(policy, START), policy, START, consent=True)
    line, events = opened.line, [*acted.events, *opened.events]
    rows: list[Row] = []
    draws: list[tuple[date, int]] = []
    balances: list[tuple[date, int]] = []
    for cycle, wanted in enumerate(customer.draws, start=1):
        before = START + timedelta(days=CYCLE_DAYS * (cycle - 1))
        owed = 0
        for day, amount in wanted:
            on = before + timedelta(days=day)
            if amount > available(line, on, owed).amount_minor:
                raise Conflict("the draw is above what is available", check="available")
            owed += amount
            draws.append((on, amount))
            balances.append((on, owed))
        drawn, left = owed, available(line, before + timedelta(days=REPAID_ON - 1), owed)
        repaid = before + timedelta(days=REPAID_ON)
        balances.append((repaid, 0))
        on = before + timedelta(days=CYCLE_DAYS)
        known = measures(History(tuple(draws), tuple(balances)), policy, on)
        facts, target = Facts(measures=known, last_draw_on=draws[-1][0]), _target(policy, on)
        told = review(line, facts, target, policy, on)
        rows.append(
            Row(
                cycle=cycle,
                on=on,
                limit_minor=told.line.effective_limit_minor,
                state=told.line.state,
                reasons=_happened(told.events),
                drawn_minor=drawn,
                available_drawn_minor=left.amount_minor,
                available_repaid_minor=available(line, repaid, 0).amount_minor,
                limit_repaid_minor=line.effective_limit_minor,
                days_past_due=told.line.delinquency.days_past_due,
                why=restoration(told.line, facts, target, policy, on),
            )
        )
        line = told.line
        events += told.events
    return Trace(customer, tuple(rows), tuple(events), line)


def _target(policy: LinePolicy, day: date) -> Target:
    """Return what the caps allow: 10,000, times the downturn's multiplier."""
    overlay = policy.overlay_on(day)
    return target_from(
        BASE_MINOR,
        (Reason("P-GRADE", "policy", amount_minor=BASE_MINOR),),
        policy,
        multiplier=Decimal(1) if overlay is None else overlay.multiplier,
        scenario="" if overlay is None else overlay.scenario,
    )


def _happened(events: Sequence[LineEvent]) -> tuple[Reason, ...]:
    return tuple(reason for one in events for reason in one.reasons)
