"""Decisions and the changes of lines that follow from them, written together or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final

from sqlalchemy import Connection

from server.accounts.deciding import work_out
from server.accounts.desk import Desk, text_of
from server.accounts.grounds import Ask, Grounds, Rules
from server.accounts.recording import LineDecision, digests_of, read_record
from server.limits.basis.reasons import Reason
from server.limits.line.events import Initiator, LineEvent, line_to_mapping
from server.limits.line.line import Line, State
from server.store import changes, decisions
from server.store.changes import LineChange
from server.store.decisions import NewDecision, StoredDecision
from server.store.funds import get_fund
from server.store.ids import new_id, utc
from server.store.lines import StoredLine, get_line
from shared.errors import Conflict, NotFound

SLACK: Final = timedelta(minutes=2)
"""By so much the clocks of two servers may differ."""
_INITIATORS: Final[Mapping[str, Initiator]] = {
    "customer": "customer",
    "partner": "partner",
    "regulator": "regulator",
}


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision with its record and the line as it is by now.

    Parameters
    ----------
    decision : StoredDecision
    record : LineDecision
    line : StoredLine, optional
        None where an opening was declined.
    """

    decision: StoredDecision
    record: LineDecision
    line: StoredLine | None

    @property
    def old_minor(self) -> int:
        """The limit before."""
        return self.record.before.effective_limit_minor

    @property
    def new_minor(self) -> int:
        """The limit after."""
        return self.record.outcome.after.effective_limit_minor

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Why."""
        return self.record.outcome.reasons

    @property
    def events(self) -> tuple[LineEvent, ...]:
        """What happened to the line."""
        return self.record.outcome.events

    @property
    def earliest(self) -> date | None:
        """First day on which the limit may rise, if nothing more stands against it."""
        return self.record.outcome.earliest


def made(
    desk: Desk,
    rules: Rules,
    ask: Ask,
    grounds: Grounds,
    before: Line,
    about: Mapping[str, str],
    now: datetime,
    *,
    most_minor: int | None = None,
) -> LineDecision:
    """Decide, and return the record.

    Parameters
    ----------
    desk : Desk
    rules : Rules
    ask : Ask
    grounds : Grounds
    before : Line
    about : mapping of str to str
        `line`, `customer`, `by`, `model`, and whatever else is known of it.
    now : datetime
    most_minor : int, optional
        What the budget has room for: a limit that would rise above it does not rise.

    Raises
    ------
    ConfideError
        See `server.accounts.deciding.work_out`.
    """
    outcome = work_out(rules, ask, grounds, before)
    if most_minor is not None and limit_of(outcome.after, ask.day) > most_minor:
        # Not the last percent of the budget, but the last minor unit that this line would need.
        grounds = replace(grounds, facts=replace(grounds.facts, budget_used=Decimal(1)))
        outcome = work_out(rules, ask, grounds, before)
    return LineDecision(
        about={**about, "id": new_id(now), "at": text_of(now), "policy": rules.policy.name},
        rules=digests_of(desk.rules.sources),
        ask=ask,
        grounds=grounds,
        before=before,
        outcome=outcome,
    )


def room_of(db: Connection, line: StoredLine) -> int | None:
    """Return the limit that the line's budget has room for; None where there is no budget."""
    if line.budget_id is None:
        return None
    fund = get_fund(db, line.budget_id)
    return line.totals.limit_minor + max(0, fund.cap_minor - fund.used_minor)


def keep(
    db: Connection,
    rules: Rules,
    decided: Sequence[tuple[StoredLine, LineDecision]],
    now: datetime,
    occasion: str = "",
) -> list[StoredDecision]:
    """Keep decisions on lines that there are, and change those lines, all or none.

    Raises
    ------
    Conflict
        With check `version`, if a line has changed since it was read; with check `occasion`.
    """
    kept = decisions.append_all(
        db, [new_decision(rules, one, line.id, occasion) for line, one in decided], now
    )
    moved = [change for line, one in decided if (change := change_of(rules, line, one)) is not None]
    changes.change_lines(db, moved, now)
    return kept


def new_decision(rules: Rules, record: LineDecision, chain: str, occasion: str = "") -> NewDecision:
    """Return a decision as the store keeps it."""
    return NewDecision(
        id=record.about["id"],
        chain=chain,
        purpose=record.ask.purpose,
        record=record.to_bytes(),
        policy_ref=policy_ref(record, rules),
        model_ref=record.about["model"],
        pack_ref=f"{rules.pack.name}@{record.rules['pack'][:12]}",
        occasion=occasion,
    )


def policy_ref(record: LineDecision, rules: Rules) -> str:
    """Return what a line says that it was decided under: the policy's name and digest."""
    return f"{rules.policy.name}@{record.rules['policy'][:12]}"


def change_of(rules: Rules, line: StoredLine, record: LineDecision) -> LineChange | None:
    """Return the change of a line's row that a decision makes; None where there is none."""
    after, day = record.outcome.after, record.ask.day
    limit = limit_of(after, day)
    if not record.outcome.events and limit == line.totals.limit_minor:
        return None
    return LineChange(
        line_id=line.id,
        version=line.version,
        state=after.state.value,
        may_draw=after.may_draw,
        limit_minor=limit,
        domain=line_to_mapping(after),
        policy_ref=policy_ref(record, rules),
        model_ref=record.about["model"],
        ref=record.about["id"],
        closed=after.state is State.CLOSED,
    )


def limit_of(line: Line, day: date) -> int:
    """Return the limit in force on a day: the temporary amount counts, a closed line has none."""
    if line.state is State.CLOSED:
        return 0
    return line.effective_limit_minor + line.temporary_on(day)


def check_clock(line: StoredLine, now: datetime) -> None:
    """Refuse to decide before the line's last change.

    Raises
    ------
    Conflict
        With check `clock`.
    """
    if utc(now) < line.totals.changed_at - SLACK:
        why = f"the line changed at {text_of(line.totals.changed_at)}, it is {text_of(now)}"
        raise Conflict(why, check="clock", hint="set the clock right, then ask again")


def initiator_of(by: str) -> Initiator:
    """Return who begins a decision, by the role before the colon of who asks."""
    return _INITIATORS.get(by.partition(":")[0], "issuer")


def read_decision(desk: Desk, db: Connection, decision_id: str) -> Decided:  # noqa: ARG001 - one form for all
    """Return a decision with its record, and its line as it is now.

    Raises
    ------
    NotFound
        If there is none, or its record was deleted with the customer's data.
    LogBroken
        With check `form`, if the record is none of a line.
    """
    found = decisions.get_decision(db, decision_id)
    record, _ = decisions.record_of(db, decision_id)
    try:
        line = get_line(db, found.chain)
    except NotFound:
        line = None
    return Decided(found, read_record(record), line)
