"""Who is approved, with what limit, and how soon restored, by group: from a store of its own.

Attributes such as gender or age never reach a decision. They stand in an audit store that knows
pseudonyms and groups; this module asks it for the group of a pseudonym while it counts, and what
leaves the count are sums a group. A figure with fewer than the floor (50) people behind it, on
either side, is withheld. The same report over thin files, regions or kinds of business is the
inclusion report.

That a ratio is flagged is a reason to look, not a verdict: since 2026-07-21 the effects test is no
part of Regulation B, so the bounds are the lender's own (domain study 2.12).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from math import sqrt
from types import MappingProxyType
from typing import Any, Final, Protocol, get_args, get_type_hints

from server.monitor.bounds import Bounds

PROTECTED: Final = frozenset(
    {
        "age",
        "birth",
        "colour",
        "disability",
        "ethnicity",
        "gender",
        "health",
        "marital",
        "national",
        "nationality",
        "pregnancy",
        "race",
        "region",
        "religion",
        "sex",
        "social",
    }
)
"""Words that no field of a decision's inputs may have in its name (I19)."""


class AttributeStore(Protocol):
    """The audit store: pseudonyms and groups, and nothing else."""

    def group_of(self, pseudonym: str) -> str | None:
        """Return the group of a pseudonym, or None where it is not known."""
        ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a decision gave one customer: no attribute.

    Parameters
    ----------
    pseudonym : str
    approved : bool
    score : int
    band : str
        Of default_prob: a grade.
    limit_minor : int
    overridden, advised : bool
        A person changed the decision; advice could be given.
    restored_days : int, optional
        From a cut to full restoration, where there was one.
    """

    pseudonym: str
    approved: bool
    score: int
    band: str
    limit_minor: int
    overridden: bool = False
    advised: bool = False
    restored_days: int | None = None


@dataclass(frozen=True, slots=True)
class Sums:
    """Sums over a group: they add up over holders.

    Parameters
    ----------
    people, approved, overridden, advised : int
    score, score_squares : int
        Sums of scores and of their squares.
    restored, restored_days : int
        People restored, and the sum of their days.
    limits : mapping of str to (int, int)
        Approved people and the sum of their limits, by band.
    """

    people: int
    approved: int
    overridden: int
    advised: int
    score: int
    score_squares: int
    restored: int
    restored_days: int
    limits: Mapping[str, tuple[int, int]]


def tally(outcomes: Iterable[Outcome], store: AttributeStore) -> dict[str, Sums]:
    """Count outcomes by group; people whose group is not known are left out."""
    groups: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        group = store.group_of(outcome.pseudonym)
        if group is not None:
            groups.setdefault(group, []).append(outcome)
    return {group: _sums(rows) for group, rows in sorted(groups.items())}


@dataclass(frozen=True, slots=True)
class Compared:
    """A figure of a group beside the reference group's.

    Parameters
    ----------
    value : float, optional
        None where it is withheld or there is nothing to compare with.
    people : int, optional
        Behind the group's side; None where there are fewer than the floor.
    flagged : bool
        Somebody should look.
    """

    value: float | None
    people: int | None
    flagged: bool


@dataclass(frozen=True, slots=True)
class GroupReport:
    """A group beside the reference group.

    Parameters
    ----------
    group : str
    impact_ratio : Compared
        Approval rate over the reference's (AIR; flagged under four fifths).
    mean_difference : Compared
        Mean score less the reference's, over the pooled standard deviation (SMD).
    limit_ratio : Compared
        Mean limit over the reference's within each band of default_prob, weighted by the group.
    restoration_ratio : Compared
        Mean days to restoration over the reference's.
    override_ratio, advice_ratio : Compared
        Rate of decisions that a person changed, and with advice, over the reference's; not flagged.
    """

    group: str
    impact_ratio: Compared
    mean_difference: Compared
    limit_ratio: Compared
    restoration_ratio: Compared
    override_ratio: Compared
    advice_ratio: Compared


def fairness_report(
    groups: Mapping[str, Sums], reference: str, bounds: Bounds
) -> tuple[GroupReport, ...]:
    """Compare every group with a reference group.

    Parameters
    ----------
    groups : mapping of str to Sums
    reference : str
    bounds : Bounds
        Holds the floor.
    """
    base = groups.get(reference, _NOBODY)
    return tuple(
        GroupReport(
            name,
            _impact(sums, base, bounds),
            _difference(sums, base, bounds),
            _limits(sums, base, bounds),
            _restoration(sums, base, bounds),
            _rates(sums, base, "overridden", bounds),
            _rates(sums, base, "advised", bounds),
        )
        for name, sums in groups.items()
        if name != reference
    )


def protected_fields(kind: Any, words: frozenset[str] = PROTECTED) -> tuple[str, ...]:
    """Return every field of a schema, however deep, whose name has a protected word (I19).

    Parameters
    ----------
    kind : type
        A dataclass, or anything built of dataclasses.
    words : frozenset of str
    """
    found: list[str] = []
    _walk(kind, "", words, found, set())
    return tuple(sorted(found))


def _walk(kind: Any, path: str, words: frozenset[str], found: list[str], seen: set[type]) -> None:
    for inner in get_args(kind):
        _walk(inner, path, words, found, seen)
    if not is_dataclass(kind) or not isinstance(kind, type) or kind in seen:
        return
    seen.add(kind)
    hints = get_type_hints(kind)
    for item in fields(kind):
        at = f"{path}.{item.name}" if path else item.name
        if not words.isdisjoint(item.name.lower().split("_")):
            found.append(at)
        _walk(hints[item.name], at, words, found, seen)


def _sums(rows: list[Outcome]) -> Sums:
    limits: dict[str, tuple[int, int]] = {}
    for row in rows:
        if row.approved:
            people, total = limits.get(row.band, (0, 0))
            limits[row.band] = (people + 1, total + row.limit_minor)
    days = [row.restored_days for row in rows if row.restored_days is not None]
    return Sums(
        len(rows),
        sum(row.approved for row in rows),
        sum(row.overridden for row in rows),
        sum(row.advised for row in rows),
        sum(row.score for row in rows),
        sum(row.score**2 for row in rows),
        len(days),
        sum(days),
        MappingProxyType(limits),
    )


_NOBODY: Final = _sums([])
_WITHHELD: Final = Compared(None, None, flagged=False)


def _impact(sums: Sums, base: Sums, bounds: Bounds) -> Compared:
    compared = _rates(sums, base, "approved", bounds)
    low = compared.value is not None and compared.value < bounds.impact_ratio
    return Compared(compared.value, compared.people, flagged=low)


def _rates(sums: Sums, base: Sums, name: str, bounds: Bounds) -> Compared:
    """Return the ratio of two rates, by whole numbers: 4/5 is not below .8."""
    if min(sums.people, base.people) < bounds.floor:
        return _WITHHELD
    above = getattr(sums, name) * base.people
    below = getattr(base, name) * sums.people
    return Compared(above / below if below else None, sums.people, flagged=False)


def _difference(sums: Sums, base: Sums, bounds: Bounds) -> Compared:
    if min(sums.people, base.people) < bounds.floor:
        return _WITHHELD
    # Sums of squared deviations, exactly: n times them is a whole number.
    spread = sum(
        (one.people * one.score_squares - one.score**2) / one.people for one in (sums, base)
    )
    deviation = sqrt(spread / max(1, sums.people + base.people - 2))
    gap = sums.score / sums.people - base.score / base.people
    if not deviation:
        return Compared(None, sums.people, flagged=gap != 0)
    value = gap / deviation
    return Compared(value, sums.people, flagged=abs(value) >= bounds.mean_difference)


def _limits(sums: Sums, base: Sums, bounds: Bounds) -> Compared:
    people = own = expected = 0.0
    for band, (count, total) in sums.limits.items():
        others, others_total = base.limits.get(band, (0, 0))
        if min(count, others) >= bounds.floor:
            people += count
            own += total
            expected += count * others_total / others
    if not people:
        return _WITHHELD
    value = own / expected if expected else None
    return Compared(value, int(people), flagged=value is not None and value < bounds.limit_ratio)


def _restoration(sums: Sums, base: Sums, bounds: Bounds) -> Compared:
    if min(sums.restored, base.restored) < bounds.floor:
        return _WITHHELD
    below = base.restored_days * sums.restored
    value = sums.restored_days * base.restored / below if below else None
    slow = value is not None and value > bounds.restoration_ratio
    return Compared(value, sums.restored, flagged=slow)
