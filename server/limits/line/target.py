"""What the caps allow, as a review of a line takes it: the minimum, the downturn, the allocator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Final

from server.limits.basis.reasons import Reason
from server.limits.caps.caps import CAPS, rounded
from server.limits.caps.decide import CAP_REASONS, Decision
from server.limits.line.reasons import because, first_of
from server.limits.rules.line_policy import LinePolicy
from shared.errors import DataError

_ABSOLUTE: Final = ("jurisdiction", "own")
_ONE: Final = Decimal(1)


@dataclass(frozen=True, slots=True)
class Target:
    """What the caps allow on a day. Amounts are whole quanta.

    Parameters
    ----------
    limit_minor : int
        With the downturn's multiplier.
    full_minor : int
        Without.
    scaled_minor : int
        With the multiplier and the allocator's scale: never above `limit_minor`.
    reasons : tuple of Reason
        Of the caps that bind, without the downturn.
    absolute_minor : int, optional
        What law and customer allow at most: no cap on the size of a cut goes against it.
    scenario : str
        Of the multiplier; empty where it takes nothing.
    missing : mapping of str to str
        Holders that are silent, and why: while there are any, nothing is raised.

    Raises
    ------
    DataError
        If the amounts do not stand in order, or no reason is given.
    """

    limit_minor: int
    full_minor: int
    scaled_minor: int
    reasons: tuple[Reason, ...]
    absolute_minor: int | None = None
    scenario: str = ""
    missing: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 <= self.scaled_minor <= self.limit_minor <= self.full_minor or not self.reasons:
            rule = "must hold 0 <= scaled <= limit <= full, and say which cap binds"
            raise DataError("target", [rule])

    @property
    def lowest_minor(self) -> int:
        """The least of all that limits the line."""
        return min(self.limit_minor, self.scaled_minor)

    def told(self) -> tuple[Reason, ...]:
        """Return why it is not more: the cap that binds, downturn and capital, then the score."""
        outside = []
        if self.limit_minor < self.full_minor:
            outside.append(because("M-MACRO", scenario=self.scenario))
        if self.scaled_minor < self.limit_minor:
            outside.append(because("C-CAP"))
        return first_of([*self.reasons[:1], *outside, *self.reasons[1:]])


def target_of(
    decision: Decision,
    policy: LinePolicy,
    day: date,
    *,
    scale: Decimal = Decimal(1),
) -> Target:
    """Return the target that a decision on the caps gives.

    Of the decision's multiplier and a downturn of the line policy the stricter counts, not both.
    They are one where both come from a file of overlays (decision 22): then the line policy names
    the scenario, for it knows its end.

    Parameters
    ----------
    decision : Decision
        With the line's own limit as `current_minor`, so that a silent holder counts at its best.
    policy : LinePolicy
    day : date
    scale : Decimal
        Of the allocator, in [0, 1].
    """
    overlay = policy.overlay_on(day)
    multiplier, scenario = Decimal(decision.multiplier), "policy"
    if overlay is not None and overlay.multiplier <= multiplier:
        multiplier, scenario = overlay.multiplier, overlay.scenario
    smallest = min(decision.caps.values())
    binding = [name for name in CAPS if decision.caps.get(name) == smallest]
    reasons = [Reason(*CAP_REASONS[name], amount_minor=smallest) for name in binding]
    reasons += [reason for reason in decision.reasons if reason.family == "score"]
    absolute = [decision.caps[name] for name in _ABSOLUTE if name in decision.caps]
    return target_from(
        smallest,
        tuple(reasons),
        policy,
        multiplier=multiplier,
        scenario=scenario if multiplier < 1 else "",
        scale=scale,
        absolute_minor=min(absolute) if absolute else None,
        missing=decision.blocked,
    )


def target_from(
    smallest_minor: int,
    reasons: tuple[Reason, ...],
    policy: LinePolicy,
    *,
    multiplier: Decimal = Decimal(1),
    scenario: str = "",
    scale: Decimal = Decimal(1),
    absolute_minor: int | None = None,
    missing: Mapping[str, str] | None = None,
) -> Target:
    """Return the target of a smallest cap; rounded down at each step, in this order (domain T39).

    Parameters
    ----------
    smallest_minor : int
    reasons : tuple of Reason
    policy : LinePolicy
    multiplier : Decimal
        Of the downturn, in (0, 1].
    scenario : str
    scale : Decimal
        Of the allocator, in [0, 1].
    absolute_minor : int, optional
    missing : mapping of str to str
    """
    quantum = policy.quantum_minor
    limit = rounded(smallest_minor, multiplier, quantum)
    return Target(
        limit_minor=limit,
        full_minor=rounded(smallest_minor, _ONE, quantum),
        scaled_minor=rounded(limit, scale, quantum),
        reasons=reasons,
        absolute_minor=None if absolute_minor is None else rounded(absolute_minor, _ONE, quantum),
        scenario=scenario,
        missing=missing or {},
    )
