"""Rules on simulated people, alone or beside others: figures, swap set, frontiers."""

from __future__ import annotations

from dataclasses import dataclass, replace

from server.replay.frontier import Point, frontier
from server.replay.play import Outcome, Setting, play


@dataclass(frozen=True, slots=True)
class Played:
    """What came of one set of rules, or of two on the same people.

    Parameters
    ----------
    outcome : Outcome
        With a swap set where there are two.
    frontiers : tuple of tuple of Point
        One for each set of rules; empty where none was asked for.
    """

    outcome: Outcome
    frontiers: tuple[tuple[Point, ...], ...]


def beside(setting: Setting, *, frontiers: bool = False) -> Played:
    """Play one arm or two, in this process: the same setting gives the same figures, bit for bit.

    Parameters
    ----------
    setting : Setting
    frontiers : bool
        Play each arm with the bounds on expected loss of `server.replay.frontier.TIMES`, too.
    """
    alone = [replace(setting, arms=(arm,)) for arm in setting.arms] if frontiers else []
    return Played(play(setting), tuple(frontier(one) for one in alone))
