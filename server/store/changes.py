"""Changes of lines other than money: a new state, limit or mapping, reckoned from one version.

A review reads a line, decides for a while, and writes; whatever happened to the line meanwhile, a
draw included, raised its version, and the review must be made again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import Connection, bindparam

from server.store import funds
from server.store.ids import minor, name, utc
from server.store.lines import LATER, StoredLine, read
from server.store.tables import LINE_EVENTS, LINES, Mapped, Row
from server.store.whole import whole
from shared.errors import Conflict, NotFound

_L: Final = LINES.c
_CHANGE: Final = (
    sa.update(LINES)
    .where(_L.id == bindparam("p_line"), _L.version == bindparam("p_version"))
    .values(
        state=bindparam("p_state"),
        may_draw=bindparam("p_may_draw"),
        limit_minor=bindparam("p_limit"),
        domain=bindparam("p_domain", type_=Mapped),
        policy_ref=bindparam("p_policy"),
        model_ref=bindparam("p_model"),
        closed_at=sa.case(
            (_L.closed_at.is_not(None), _L.closed_at),
            (bindparam("p_closed", type_=sa.Boolean), LATER),
            else_=sa.null(),
        ),
        version=_L.version + 1,
        changed_at=LATER,
    )
)


@dataclass(frozen=True, slots=True)
class LineChange:
    """A new state, limit or mapping of a line.

    Parameters
    ----------
    line_id : str
    version : int
        Of the row that the change was reckoned from.
    state, may_draw, limit_minor, domain, policy_ref, model_ref
        What is to be; see `StoredLine`.
    ref : str
        The decision behind it.
    closed : bool
        Whether the line ends here; a closed line stays closed.
    """

    line_id: str
    version: int
    state: str
    may_draw: bool
    limit_minor: int
    domain: Mapping[str, Any]
    policy_ref: str
    model_ref: str
    ref: str
    closed: bool = False


@whole
def change_line(db: Connection, change: LineChange, at: datetime) -> None:
    """Give a line a new state, limit or mapping; see `change_lines`."""
    change_lines(db, [change], at)


@whole
def change_lines(db: Connection, changes: Sequence[LineChange], at: datetime) -> None:
    """Change lines, all of them or none.

    A limit below what is outstanding is taken: nothing is available then. A change of limit moves
    the line's budget by the difference.

    Raises
    ------
    NotFound
    Conflict
        With check `version` if a line has changed since the change was reckoned, a draw included;
        with check `state` if a closed line is changed, or one with money out is closed; with
        check `fund` if a budget does not reach.
    """
    before = _locked(db, [change.line_id for change in changes])
    committed: dict[str, int] = {}
    for change in changes:
        line = before.get(change.line_id)
        if line is None:
            raise NotFound("there is no line of that id")
        _check_change(line, change)
        if line.budget_id is not None:
            more = change.limit_minor - line.totals.limit_minor
            committed[line.budget_id] = committed.get(line.budget_id, 0) + more
    if not changes:
        return
    db.execute(_CHANGE, [_parameters(change, at) for change in changes])
    db.execute(
        sa.insert(LINE_EVENTS),
        [_event_of(before[change.line_id], change, at) for change in changes],
    )
    funds.move(db, committed, at)


def _locked(db: Connection, line_ids: Sequence[str]) -> dict[str, StoredLine]:
    query = sa.select(LINES).where(_L.id.in_(line_ids)).order_by(_L.id).with_for_update()
    return {row["id"]: read(row) for row in db.execute(query).mappings()}


def _check_change(line: StoredLine, change: LineChange) -> None:
    minor(change.limit_minor, "limit_minor", least=0)
    name(change.state, "state")
    name(change.ref, "ref")
    if line.version != change.version:
        why = f"the line is at version {line.version}, the change is to version {change.version}"
        raise Conflict(why, check="version", hint="read the line again and decide anew")
    if line.closed_at is not None:
        raise Conflict("the line is closed", check="state")
    if change.closed and (line.totals.outstanding_minor or line.totals.held_minor):
        raise Conflict("money is out on the line", check="state", hint="close it when it is repaid")
    if change.closed and (change.may_draw or change.limit_minor):
        raise Conflict("a closed line has limit 0 and no draws", check="state")


def _parameters(change: LineChange, at: datetime) -> Row:
    return {
        "p_line": change.line_id,
        "p_version": change.version,
        "p_state": change.state,
        "p_may_draw": change.may_draw,
        "p_limit": change.limit_minor,
        "p_domain": change.domain,
        "p_policy": change.policy_ref,
        "p_model": change.model_ref,
        "p_closed": change.closed,
        "p_at": utc(at),
    }


def _event_of(line: StoredLine, change: LineChange, at: datetime) -> Row:
    return {
        "line_id": change.line_id,
        "version": change.version + 1,
        "kind": "closed" if change.closed else "changed",
        "outstanding_delta": 0,
        "held_delta": 0,
        "limit_minor": change.limit_minor,
        "ref": change.ref,
        "state": change.state,
        "may_draw": change.may_draw,
        "domain": change.domain,
        "at": max(utc(at), line.totals.changed_at),
    }
