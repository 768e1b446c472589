"""What a repayment gave back at once: money that can be drawn, which never waits for a review.

In daily speech it has the same name as the limit's own way back, and most anger is one taken for
the other (domain study, section 0). So it is told first, apart, and with the figures of the store.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from server.accounts.desk import Desk
from server.limits.line.triggers import Facts
from server.limits.line.waterfall import Available
from server.limits.words.explain import Money, Texts
from server.store.lines import StoredLine
from server.store.tables import LINE_EVENTS, REPAYMENTS

_E = LINE_EVENTS.c
_R = REPAYMENTS.c


@dataclass(frozen=True, slots=True)
class Back:
    """The last repayment of a line.

    Parameters
    ----------
    on : date
        Local value date.
    amount_minor : int
    before_minor, after_minor : int
        What the limit left to be drawn, just before and just after.
    """

    on: date
    amount_minor: int
    before_minor: int
    after_minor: int

    @property
    def back_minor(self) -> int:
        """What could be drawn more at once."""
        return self.after_minor - self.before_minor


def last_back(db: Connection, line_id: str) -> Back | None:
    """Return what the last repayment gave back, or None where there was none."""
    newest = (
        sa.select(_R.line_version, _R.amount_minor, _R.value_date)
        .where(_R.line_id == line_id)
        .order_by(_R.line_version.desc())
        .limit(1)
    )
    row = db.execute(newest).first()
    if row is None:
        return None
    owed = sa.func.sum(_E.outstanding_delta + _E.held_delta)
    upto = sa.select(owed).where(_E.line_id == line_id, _E.version <= row.line_version)
    limit = sa.select(_E.limit_minor).where(_E.line_id == line_id, _E.version == row.line_version)
    taken = int(db.execute(upto).scalar_one())
    whole = int(db.execute(limit).scalar_one())
    amount = int(row.amount_minor)
    return Back(
        on=date.fromisoformat(row.value_date),
        amount_minor=amount,
        before_minor=max(0, whole - taken - amount),
        after_minor=max(0, whole - taken),
    )


def came_back(
    desk: Desk,
    db: Connection,
    stored: StoredLine,
    room: Available,
    facts: Facts,
    texts: Texts,
    money: Money,
) -> dict[str, Any]:
    """Return what came back at once, what can be drawn now, and whether anything is overdue.

    Parameters
    ----------
    desk : Desk
    db : Connection
    stored : StoredLine
    room : Available
        Of today.
    facts : Facts
        Of today.
    texts : Texts
    money : Money
    """
    del desk

    def amount(minor: int) -> str:
        return texts.money(minor, money.currency, money.digits)

    back, drawable = last_back(db, stored.id), "state" not in room.binding
    if back is None:
        said = [texts.say("back.none" if drawable else "back.none_now")]
    elif not drawable:
        said = [
            texts.say("back.repaid_now", day=texts.day(back.on), amount=amount(back.amount_minor))
        ]
    elif back.back_minor > 0:
        words = {"amount": amount(back.amount_minor), "back": amount(back.back_minor)}
        said = [texts.say("back.repaid", day=texts.day(back.on), **words)]
    else:
        words = {"amount": amount(back.amount_minor)}
        said = [texts.say("back.repaid_nothing", day=texts.day(back.on), **words)]
    tight = [one for one in room.binding if one not in {"limit", "state"}]
    if tight:  # there is room in the limit, and something else has none: neither is the other
        term = texts.listed([texts.say(f"term.{one}") for one in tight])
        key = "room" if room.amount_minor else "no_room"
        said.append(texts.say(f"path.{key}", amount=amount(room.amount_minor), term=term))
    late = facts.days_past_due
    said.append(texts.say("back.late", days=late) if late else texts.say("back.on_time"))
    return {
        "repaid_minor": None if back is None else back.amount_minor,
        "repaid_on": None if back is None else back.on.isoformat(),
        "back_minor": None if back is None else back.back_minor,
        "available_minor": room.amount_minor,
        "text": said,
    }
