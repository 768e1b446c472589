"""What the caps of many lines are reckoned from, as columns: `Snapshot` and `Inputs`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from server.limits.basis.reasons import Reason
from server.limits.batch.columns import NONE, Counts, Flags, Money
from server.limits.batch.pack import Table, counts, money
from server.limits.caps.caps import Income, Inputs
from server.limits.caps.snapshot import Snapshot
from server.limits.rules.policy import Policy
from shared.errors import UsageError


@dataclass(frozen=True, slots=True)
class ScoreColumns:
    """The fields of `server.limits.caps.snapshot.Snapshot` that the caps look at.

    Parameters
    ----------
    default_prob_micro : (n,) Money
        Millionths; with every missing holder at its best, as a line that is open is reviewed.
    grade : (n,) Counts
        Places in the policy's grades; by the same rating.
    book : tuple of Reason
        All score reasons that occur.
    reasons : (n, w) Counts
        Places in `book`, costliest first; -1 from where there are no more.
    silences : tuple of mapping of str to str
    missing : (n,) Counts
        Places in `silences`: holders that are silent, and why.
    """

    default_prob_micro: Money
    grade: Counts
    book: tuple[Reason, ...]
    reasons: Counts
    silences: tuple[Mapping[str, str], ...]
    missing: Counts

    @property
    def is_silent(self) -> Flags:
        """Whether a holder is silent."""
        return np.array([bool(one) for one in self.silences], np.bool_)[self.missing]


@dataclass(frozen=True, slots=True)
class InputColumns:
    """The fields of `server.limits.caps.caps.Inputs`, by the same names; -1 for None.

    Parameters
    ----------
    current_minor : (n,) Money
        The limit of today: only lines that are open are reviewed.
    has_income : (n,) Flags
        Where not, the columns of the income are 0.
    sources : tuple of str
    source : (n,) Counts
        Places in `sources`; -1 without an income.
    """

    current_minor: Money
    drawn_minor: Money
    own_minor: Money
    has_income: Flags
    monthly_minor: Money
    sources: tuple[str, ...]
    source: Counts
    obligations_minor: Money
    whole: Flags
    uplift_minor: Money
    others_minor: Money
    capital_minor: Money
    partner_minor: Money


def score_columns(snapshots: Sequence[Snapshot], policy: Policy) -> ScoreColumns:
    """Return scores as columns.

    Raises
    ------
    UsageError
        If the policy has no row for a grade.
    """
    ratings = [one.at_best if one.missing else one.rating for one in snapshots]
    unknown = sorted({one.grade for one in ratings} - set(policy.grades))
    if unknown:
        raise UsageError(f"policy {policy.name} has no row for grade {unknown[0]!r}")
    at = {name: place for place, name in enumerate(policy.grades)}
    book, silences = Table[Reason](), Table[tuple[tuple[str, str], ...]]([()])
    width = max((len(one.reasons) for one in snapshots), default=0)
    reasons = np.full((len(snapshots), width), NONE, np.int32)
    for row, one in enumerate(snapshots):
        reasons[row, : len(one.reasons)] = [book.place(reason) for reason in one.reasons]
    return ScoreColumns(
        default_prob_micro=money(int(one.default_prob.scaleb(6)) for one in ratings),
        grade=counts(at[one.grade] for one in ratings),
        book=book.all,
        reasons=reasons,
        missing=silences.places(tuple(one.missing.items()) for one in snapshots),
        silences=tuple(dict(one) for one in silences.all),
    )


def input_columns(inputs: Sequence[Inputs]) -> InputColumns:
    """Return inputs as columns.

    Raises
    ------
    UsageError
        If one has no limit of today: it is about no line.
    """
    if any(one.current_minor is None for one in inputs):
        raise UsageError("a review takes the limit of today: current_minor must be there")
    sources = Table[str]()
    incomes = [one.income or Income(0, "") for one in inputs]
    return InputColumns(
        current_minor=_amounts(inputs, "current_minor"),
        drawn_minor=_amounts(inputs, "drawn_minor"),
        own_minor=_amounts(inputs, "own_minor"),
        has_income=np.array([one.income is not None for one in inputs], np.bool_),
        monthly_minor=money(one.monthly_minor for one in incomes),
        source=sources.places(one.income.source if one.income else None for one in inputs),
        sources=sources.all,
        obligations_minor=money(one.obligations_minor for one in incomes),
        whole=np.array([one.whole for one in incomes], np.bool_),
        uplift_minor=money(one.uplift_minor for one in incomes),
        others_minor=_amounts(inputs, "others_minor"),
        capital_minor=_amounts(inputs, "capital_minor"),
        partner_minor=_amounts(inputs, "partner_minor"),
    )


def _amounts(inputs: Sequence[Inputs], name: str) -> Money:
    found = [getattr(one, name) for one in inputs]
    return money(NONE if value is None else value for value in found)


__all__ = ["InputColumns", "ScoreColumns", "input_columns", "score_columns"]
