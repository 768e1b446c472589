"""Figures that were counted over many lines, kept by their day: what pages show without a scan.

A picture can be counted again from what it was counted from, except that of a day that is over.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import Column, Connection, String, Table

from server.store.ids import name, utc
from server.store.tables import ID, METADATA, Instant, Mapped
from server.store.whole import whole

PICTURES = Table(
    "pictures",
    METADATA,
    Column("name", ID, primary_key=True),
    Column("day", String(10), primary_key=True),
    Column("value", Mapped, nullable=False),
    Column("made_at", Instant, nullable=False),
)
_P: Final = PICTURES.c


@dataclass(frozen=True, slots=True)
class Picture:
    """Figures of a day.

    Parameters
    ----------
    name : str
        What they are about.
    day : date
        Local day on which they were counted.
    value : mapping
        Plain values.
    made_at : datetime
        UTC.
    """

    name: str
    day: date
    value: Mapping[str, Any]
    made_at: datetime


@whole
def keep(db: Connection, picture: Picture, *, alone: bool) -> None:
    """Keep a picture, in place of one of the same name and day.

    Parameters
    ----------
    db : Connection
    picture : Picture
    alone : bool
        Let go of those of other days, too: they are of no use any more.
    """
    same = _P.name == name(picture.name, "picture")
    day = picture.day.isoformat()
    gone = same if alone else sa.and_(same, _P.day == day)
    db.execute(sa.delete(PICTURES).where(gone))
    row = {
        "name": picture.name,
        "day": day,
        "value": picture.value,
        "made_at": utc(picture.made_at),
    }
    db.execute(sa.insert(PICTURES), row)


def latest(db: Connection, named: str) -> Picture | None:
    """Return the newest picture of a name, or None."""
    query = sa.select(PICTURES).where(_P.name == named).order_by(_P.day.desc()).limit(1)
    row = db.execute(query).mappings().first()
    return None if row is None else _read(row)


def days_since(db: Connection, named: str, day: date) -> list[date]:
    """Return the days from one on that there are pictures of, oldest first."""
    query = sa.select(_P.day).where(_P.name == named, _P.day >= day.isoformat())
    return [date.fromisoformat(one) for one in db.execute(query.order_by(_P.day)).scalars()]


def of_days(db: Connection, named: str, days: Collection[date]) -> list[Picture]:
    """Return the pictures of a name of some days, oldest first."""
    wanted = [one.isoformat() for one in days]
    query = sa.select(PICTURES).where(_P.name == named, _P.day.in_(wanted))
    return [_read(row) for row in db.execute(query.order_by(_P.day)).mappings()]


def _read(row: Any) -> Picture:
    return Picture(row["name"], date.fromisoformat(row["day"]), row["value"], row["made_at"])
