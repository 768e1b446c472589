"""What bearing more risk would bring: the same rules with several bounds on expected loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final

from server.replay import told
from server.replay.play import Arm, Setting, play

#: Of the expected loss that a line may cost, as the rules have it.
TIMES: Final = (0.25, 0.5, 1.0, 2.0, 4.0)


@dataclass(frozen=True, slots=True)
class Point:
    """What came of bearing so many times the expected loss.

    Parameters
    ----------
    times : float
        Above 0.
    summary : dict
        See `server.replay.told.summary`.
    efficient : bool
        No other point has less loss and more profit at once.
    """

    times: float
    summary: dict[str, Any]
    efficient: bool


def frontier(
    setting: Setting,
    times: Sequence[float] = TIMES,
    *,
    processes: int = 1,
    tell: Callable[[int, int], None] | None = None,
) -> tuple[Point, ...]:
    """Play the first arm of a setting with several bounds on expected loss.

    Parameters
    ----------
    setting : Setting
    times : sequence of float
        Above 0, each once.
    processes, tell
        See `server.replay.play.play`.
    """
    first = setting.arms[0]
    arms = tuple(bearing(first, Decimal(str(one))) for one in times)
    outcome = play(replace(setting, arms=arms), processes=processes, tell=tell)
    rows = [told.summary(figures) for figures in outcome.figures]
    told_apart = zip(times, rows, told.efficient(rows), strict=True)
    return tuple(Point(one, row, good) for one, row, good in told_apart)


def bearing(arm: Arm, times: Decimal) -> Arm:
    """Return an arm that bears so many times the expected loss on a line."""
    policy = arm.rules.policy
    most = int(policy.expected_loss.most_minor * times)
    cap = replace(policy.expected_loss, most_minor=most)
    rules = replace(arm.rules, name=f"{times}", policy=replace(policy, expected_loss=cap))
    return replace(arm, rules=rules)
