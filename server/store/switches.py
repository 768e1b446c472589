"""Settings of the whole portfolio, each with who set it and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import Column, Connection, ForeignKey, Table, Text, bindparam

from server.store.ids import name
from server.store.tables import ID, METADATA, Instant, Mapped, Row
from server.store.whole import whole
from shared.errors import UsageError

SWITCHES = Table(
    "switches",
    METADATA,
    Column("name", ID, primary_key=True),
    Column("value", Mapped, nullable=False),
    Column("set_by", ID, nullable=False),
    Column("reason", Text, nullable=False),
    Column("approval_id", ID, ForeignKey("approvals.id")),
    Column("changed_at", Instant, nullable=False),
)

_W: Final = SWITCHES.c
_SWITCH: Final = sa.select(SWITCHES).where(_W.name == bindparam("p_name"))


@dataclass(frozen=True, slots=True)
class Switch:
    """A setting of the whole portfolio.

    Parameters
    ----------
    name : str
    value : mapping
    set_by, reason : str
        Who set it, and why.
    approval_id : str, optional
        The four eyes behind it.
    changed_at : datetime
        UTC.
    """

    name: str
    value: Mapping[str, Any]
    set_by: str
    reason: str
    approval_id: str | None
    changed_at: datetime


@whole
def set_switch(db: Connection, switch: Switch) -> None:
    """Set a switch, in place of what it was.

    Raises
    ------
    UsageError
        If a name is malformed or no reason is given.
    """
    name(switch.name, "switch")
    name(switch.set_by, "set_by")
    if not switch.reason.strip():
        raise UsageError("a switch needs a reason")
    row: Row = {field: getattr(switch, field) for field in Switch.__slots__}
    if db.execute(sa.update(SWITCHES).where(_W.name == switch.name).values(**row)).rowcount == 0:
        db.execute(sa.insert(SWITCHES), row)


def get_switch(db: Connection, named: str) -> Switch | None:
    """Return a switch, or None where it was never set."""
    row = db.execute(_SWITCH, {"p_name": named}).mappings().first()
    return None if row is None else Switch(**row)
