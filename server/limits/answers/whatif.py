"""What would happen if: the same policy, on changed facts, with no trace.

Nothing here computes a limit. A `Reviews` runs the real policy over the coming reviews with some
facts changed from some day on; what-if answers and advice are both read off its path, so neither
can promise what the policy would not do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final, Literal, Protocol, TypeAlias, cast

from server.limits.basis.tables import LARGEST_MINOR
from server.limits.caps.caps import Income, Inputs
from server.limits.caps.decide import decide
from server.limits.caps.snapshot import Rating, Snapshot
from server.limits.rules.pack import Pack
from server.limits.rules.policy import Policy
from shared.errors import UsageError

Value: TypeAlias = int | Decimal | str
Kind: TypeAlias = Literal["amount", "count", "share", "name"]

FACTS: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        "income_minor": "amount",
        "income_source": "name",
        "income_proven_minor": "amount",
        "obligations_minor": "amount",
        "drawn_minor": "amount",
        "own_minor": "amount",
        "others_minor": "amount",
        "draws": "count",
        "utilisation": "share",
        "days_past_due": "count",
        "enquiries": "count",
    }
)
"""Every fact that a what-if may change. None says who somebody is.

`income_proven_minor` is an income that nothing is known of yet, proven by the best source there is.
"""
_HIGHEST: Final[Mapping[Kind, int]] = MappingProxyType(
    {"amount": LARGEST_MINOR, "count": 10_000, "share": 1000}
)


@dataclass(frozen=True, slots=True)
class Change:
    """A fact that takes another value from a day on.

    Parameters
    ----------
    fact : str
        One of `FACTS`.
    value : int, Decimal or str
    since : date
    """

    fact: str
    value: Value
    since: date


@dataclass(frozen=True, slots=True)
class Step:
    """The outcome of a review.

    Parameters
    ----------
    day : date
    limit_minor : int
        From that day on.
    binding : tuple of str
        The caps that are smallest, or the rule that holds the limit.
    reasons : tuple of str
        Codes.
    offered : bool
        The limit waits for the customer to agree to it.
    """

    day: date
    limit_minor: int
    binding: tuple[str, ...]
    reasons: tuple[str, ...]
    offered: bool = False


class Reviews(Protocol):
    """What the coming reviews would do to one customer's limit."""

    def today(self) -> date:
        """Return the day from which it looks ahead."""
        ...

    def facts(self) -> Mapping[str, Value]:
        """Return today's value of every fact that can be changed here."""
        ...

    def path(self, changes: Sequence[Change], horizon: date) -> tuple[Step, ...]:
        """Return the outcome of each review until a day, in order; nothing is kept.

        Parameters
        ----------
        changes : sequence of Change
            Each holds from its own day on; before it, today's value does.
        horizon : date
        """
        ...

    def waits_for(self) -> tuple[str, ...]:
        """Return the holders without whom no line is opened."""
        ...

    def settles(self, fact: str) -> date | None:
        """Return the day from which what was done until today no longer counts, if it is known."""
        ...


@dataclass(frozen=True, slots=True)
class PolicyReviews:
    """Reviews by the caps alone, where no line has a history yet: `decide` on each day of change.

    Parameters
    ----------
    policy : Policy
    pack : Pack
    snapshot : Snapshot
        Stays as it is: only the holders could say what would change the score.
    inputs : Inputs
        Of today.
    """

    policy: Policy
    pack: Pack
    snapshot: Snapshot
    inputs: Inputs
    _facts: Mapping[str, Value] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        facts: dict[str, Value] = {"drawn_minor": self.inputs.drawn_minor}
        if self.inputs.own_minor is not None:
            facts["own_minor"] = self.inputs.own_minor
        if self.inputs.others_minor is not None:
            facts["others_minor"] = self.inputs.others_minor
        if self.inputs.income is None:
            facts["income_proven_minor"] = 0
        else:
            facts["income_minor"] = self.inputs.income.monthly_minor
            facts["income_source"] = self.inputs.income.source
            facts["obligations_minor"] = self.inputs.income.obligations_minor
        object.__setattr__(self, "_facts", MappingProxyType(facts))

    def today(self) -> date:
        """Return the day from which it looks ahead."""
        return self.inputs.day

    def facts(self) -> Mapping[str, Value]:
        """Return today's value of every fact that can be changed here."""
        return self._facts

    def waits_for(self) -> tuple[str, ...]:
        """Return the missing holders where there is no line yet."""
        return () if self.inputs.current_minor is not None else tuple(sorted(self.snapshot.missing))

    def settles(self, fact: str) -> date | None:  # noqa: ARG002 - no window is looked through here
        """Return None: without a line there is no past that a window would hold."""
        return None

    def path(self, changes: Sequence[Change], horizon: date) -> tuple[Step, ...]:
        """Decide on the first day, and on every day on which a fact, scenario or law changes."""
        current, steps = self.inputs.current_minor, []
        best = max(self.policy.haircuts, key=lambda source: self.policy.haircuts[source])
        for day in self._days(changes, horizon):
            inputs = changed(self.inputs, [one for one in changes if one.since <= day], best)
            inputs = replace(inputs, day=day, current_minor=current)
            decision = decide(self.policy, self.pack, self.snapshot, inputs)
            codes = tuple(reason.code for reason in decision.reasons)
            steps.append(Step(day, decision.limit_minor, decision.binding, codes))
            current = None if current is None else decision.limit_minor
        return tuple(steps)

    def _days(self, changes: Sequence[Change], horizon: date) -> list[date]:
        dated = [one.since for one in changes]
        dated += [row.since for row in self.policy.macro]
        dated += [cap.since for cap in self.pack.consumer_cap]
        dated += [figure.since for figure in self.pack.figures]
        today = self.inputs.day
        return sorted({today, *(day for day in dated if today < day <= horizon)})


def changed(inputs: Inputs, changes: Sequence[Change], source: str) -> Inputs:
    """Return inputs with some facts changed.

    Parameters
    ----------
    inputs : Inputs
    changes : sequence of Change
    source : str
        Who vouches for an income that is newly proven.

    Raises
    ------
    UsageError
        If a fact is none of these inputs, or of an income that is not known.
    """
    for one in changes:
        if one.fact in _INPUTS:
            inputs = replace(inputs, **{one.fact: cast("Any", one.value)})
        elif one.fact in _INCOME and inputs.income is not None:
            income = replace(inputs.income, **{_INCOME[one.fact]: cast("Any", one.value)})
            inputs = replace(inputs, income=income)
        elif one.fact == "income_proven_minor" and inputs.income is None:
            inputs = replace(inputs, income=Income(int(one.value), source) if one.value else None)
        else:
            raise UsageError(f"{one.fact} cannot be changed here")
    return inputs


_INPUTS: Final = ("drawn_minor", "own_minor", "others_minor")
_INCOME: Final[Mapping[str, str]] = MappingProxyType(
    {
        "income_minor": "monthly_minor",
        "income_source": "source",
        "obligations_minor": "obligations_minor",
    }
)


@dataclass(frozen=True, slots=True)
class WhatIf:
    """An answer.

    Parameters
    ----------
    day : date
        When the limit below is first reached.
    limit_minor : int
        The highest until the horizon.
    otherwise_minor : int
        The limit on that day if nothing changes.
    binding : tuple of str
        What would hold the limit there.
    path, otherwise : tuple of Step
        Every review, with the changes and without.
    """

    day: date
    limit_minor: int
    otherwise_minor: int
    binding: tuple[str, ...]
    path: tuple[Step, ...]
    otherwise: tuple[Step, ...]


def what_if(reviews: Reviews, changes: Sequence[Change], horizon: date) -> WhatIf:
    """Answer what would happen if some facts changed: no enquiry, no decision, nothing kept.

    Parameters
    ----------
    reviews : Reviews
    changes : sequence of Change
    horizon : date
        From the first review on.
    """
    path, otherwise = reviews.path(changes, horizon), reviews.path((), horizon)
    best = highest(path)
    return WhatIf(
        best.day, best.limit_minor, limit_on(otherwise, best.day), best.binding, path, otherwise
    )


def what_if_view(answer: WhatIf, rating: Rating, holders: Sequence[str]) -> dict[str, Any]:
    """Return an answer as plain values, ready for JSON.

    Parameters
    ----------
    answer : WhatIf
    rating : Rating
        Of today: the changes do not move it here.
    holders : sequence of str
        Who alone could say what would.
    """
    return {
        "limit_minor": answer.limit_minor,
        "otherwise_limit_minor": answer.otherwise_minor,
        "by": answer.day.isoformat(),
        "binding": list(answer.binding),
        "path": [
            {"day": step.day.isoformat(), "limit_minor": step.limit_minor} for step in answer.path
        ],
        "score": rating.score,
        "default_prob": float(rating.default_prob),
        "score_held_by": list(holders),
    }


def highest(path: Sequence[Step]) -> Step:
    """Return the first step that reaches the highest limit of a path."""
    return max(path, key=lambda step: (step.limit_minor, -step.day.toordinal()))


def limit_on(path: Sequence[Step], day: date) -> int:
    """Return the limit on a day; before the first step, the first step's."""
    at = path[0].limit_minor
    for step in path:
        if step.day > day:
            break
        at = step.limit_minor
    return at


def parse_changes(
    wanted: Mapping[str, Any],
    reviews: Reviews,
    sources: Sequence[str],
    since: date,
    delays: Mapping[str, int] = MappingProxyType({}),
) -> tuple[Change, ...]:
    """Read the changes of a request.

    Parameters
    ----------
    wanted : mapping of str to value
        New value by fact.
    reviews : Reviews
        Says which facts can be changed here.
    sources : sequence of str
        Of an income, as the policy knows them.
    since : date
    delays : mapping of str to int
        Days until a change of a fact can be seen; 0 where it is not named.

    Raises
    ------
    UsageError
        With all findings.
    """
    known, changes, findings = reviews.facts(), [], []
    for fact, value in wanted.items():
        if fact not in known:
            findings.append(f"{fact}: cannot be changed here, only {', '.join(sorted(known))}")
        elif finding := _misfit(FACTS[fact], value, sources):
            findings.append(f"{fact}: {finding}")
        else:
            later = since + timedelta(days=delays.get(fact, 0))
            changes.append(Change(fact, value, min(later, reviews.settles(fact) or later)))
    if findings:
        raise UsageError("what-if: " + "; ".join(findings))
    return tuple(changes)


def _misfit(kind: Kind, value: Any, sources: Sequence[str]) -> str:
    """Return what is wrong with a value, or nothing."""
    if kind == "name":
        return "" if value in sources else f"must be one of {', '.join(sources)}"
    high = _HIGHEST[kind]
    right = type(value) is int or (kind == "share" and isinstance(value, Decimal))
    if right and 0 <= value <= high:
        return ""
    return f"must be a {'number' if kind == 'share' else 'whole number'} from 0 to {high}"
