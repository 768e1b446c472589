"""Complaints by the reasons of the decisions they are about, and whether answers come in time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date

from shared.errors import DataError


@dataclass(frozen=True, slots=True)
class Complaint:
    """A complaint about a decision.

    Parameters
    ----------
    reasons : tuple of str
        Codes of the decision.
    opened : date
    closed : date, optional
        None while it waits for an answer.
    upheld : bool
        The decision was changed.
    """

    reasons: tuple[str, ...]
    opened: date
    closed: date | None = None
    upheld: bool = False


@dataclass(frozen=True, slots=True)
class CodeComplaints:
    """Complaints about decisions with a reason.

    Parameters
    ----------
    code : str
    decisions, complaints, upheld : int
    per_thousand : float, optional
        Complaints per 1,000 decisions; None where there were none.
    """

    code: str
    decisions: int
    complaints: int
    upheld: int
    per_thousand: float | None


@dataclass(frozen=True, slots=True)
class Complaints:
    """All complaints.

    Parameters
    ----------
    total, open, late, upheld : int
        `late`: open or answered after the days allowed.
    median_days : float, optional
        To an answer; None where none was given.
    by_code : tuple of CodeComplaints
        Most complaints per decision first. A decision with two reasons counts at both.
    """

    total: int
    open: int
    late: int
    upheld: int
    median_days: float | None
    by_code: tuple[CodeComplaints, ...]


def complaint_summary(
    complaints: Iterable[Complaint], decisions: Mapping[str, int], today: date, most_days: int
) -> Complaints:
    """Sum up complaints.

    Parameters
    ----------
    complaints : iterable of Complaint
    decisions : mapping of str to int
        Decisions by reason code over the same time.
    today : date
    most_days : int
        Within which an answer is due.

    Raises
    ------
    DataError
        If one was closed before it was opened, or opened or closed after today.
    """
    rows = list(complaints)
    if any(not row.opened <= (row.closed or today) <= today for row in rows):
        raise DataError("complaints", ["dates must run from opened to closed to today"])
    filed: Counter[str] = Counter(code for row in rows for code in set(row.reasons))
    upheld: Counter[str] = Counter(code for row in rows if row.upheld for code in set(row.reasons))
    codes = [
        CodeComplaints(code, n, filed[code], upheld[code], 1000 * filed[code] / n if n else None)
        for code in filed.keys() | decisions.keys()
        for n in (decisions.get(code, 0),)
    ]
    days = sorted((row.closed - row.opened).days for row in rows if row.closed is not None)
    late = sum(((row.closed or today) - row.opened).days > most_days for row in rows)
    return Complaints(
        len(rows),
        sum(row.closed is None for row in rows),
        late,
        sum(row.upheld for row in rows),
        (days[(len(days) - 1) // 2] + days[len(days) // 2]) / 2 if days else None,
        tuple(sorted(codes, key=_worst_first)),
    )


def _worst_first(row: CodeComplaints) -> tuple[float, int, str]:
    return -(row.per_thousand or 0.0), -row.complaints, row.code
