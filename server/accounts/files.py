"""What the store has of lines and their customers: a page takes as many queries as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final

from sqlalchemy import Connection

from server.accounts.budgeting import budget_used, scales_of
from server.accounts.desk import Desk
from server.accounts.dossier import Dossier, dossiers
from server.accounts.pasts import Drawn, Past
from server.accounts.repaying import drawn_for, pasts_for
from server.limits.line.events import line_to_mapping
from server.limits.line.line import BLANK
from server.store.lines import StoredLine

_CLEAN: Final = line_to_mapping(BLANK)["delinquency"]


@dataclass(frozen=True, slots=True)
class Files:
    """What the store has of some lines, read at once.

    Parameters
    ----------
    dossiers : mapping of str to Dossier
        By customer.
    pasts : mapping of str to Past
        By line.
    drawn : mapping of str to tuple of Drawn
        By line, where anything can be overdue.
    used : mapping of str or None to Decimal
        Committed share of each budget.
    scales : mapping of str or None to mapping
        Of the allocator, by budget.
    """

    dossiers: Mapping[str, Dossier]
    pasts: Mapping[str, Past]
    drawn: Mapping[str, Sequence[Drawn]]
    used: Mapping[str | None, Decimal]
    scales: Mapping[str | None, Mapping[tuple[str, str], Decimal]]


def files_for(
    desk: Desk,
    db: Connection,
    looked: Sequence[StoredLine],
    day: date,
    aged: Sequence[StoredLine] = (),
) -> Files:
    """Read what there is of some lines: nine queries and two for each budget, however many lines.

    Parameters
    ----------
    desk : Desk
    db : Connection
    looked : sequence of StoredLine
        To be looked at as a whole.
    day : date
    aged : sequence of StoredLine
        Of which only days past due are asked.
    """
    budgets = {one.budget_id for one in looked}
    late = [one.id for one in (*looked, *aged) if may_be_late(one)]
    return Files(
        dossiers=dossiers(db, {one.customer_id for one in looked}),
        pasts=pasts_for(desk, db, [one.id for one in looked], day),
        drawn=drawn_for(db, late, day),
        used={one: budget_used(db, one) for one in budgets},
        scales={one: scales_of(db, one) for one in budgets},
    )


def may_be_late(stored: StoredLine) -> bool:
    """Return whether anything can be overdue on a line, or was and is not cured."""
    return bool(stored.totals.outstanding_minor) or stored.domain.get("delinquency") != _CLEAN
