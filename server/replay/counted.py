"""A decision process counted from a replay: where lines go from each state, and what they bring.

The same people are played with every pair of shares, one in the first year and one after it, so
that each share is seen wherever another has led. Months are steps, a default is the end. It is a
coarse picture: a state forgets how it was come by, so what is found best has to be played to be
believed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Final

import numpy as np
from numpy.typing import NDArray

from server.replay.play import Arm, Moment, Setting, begun, in_blocks, moments
from server.replay.shares import Shares, states_of
from shared.world.chance import Span

Floats = NDArray[np.float64]

#: A state in which some share was seen in fewer months of lines than this offers no choice.
LEAST: Final = 100


@dataclass(slots=True)
class Counted:
    """Sums over months of lines; a is the number of shares, s that of the states.

    Parameters
    ----------
    moves : (a, s, s + 1) float64
        How many came from a state to another under each share; the last is the default.
    gains : (s, a) float64
        What the month after brought, in minor units.
    opened, asked_minor : (s,) float64
        Lines opened in each state, and their limits, under the first share.
    alive, limit_minor, owed_minor, prob : (s,) float64
        Lines in each state, their limits, debts and yearly chances of default, added up over the
        months in which the first share was all there was.
    """

    moves: Floats
    gains: Floats
    opened: Floats
    asked_minor: Floats
    alive: Floats
    limit_minor: Floats
    owed_minor: Floats
    prob: Floats

    @classmethod
    def nothing(cls, actions: int, states: int) -> Counted:
        """Return sums over nobody."""
        each = [np.zeros(states) for _ in range(6)]
        return cls(np.zeros((actions, states, states + 1)), np.zeros((states, actions)), *each)

    @property
    def months(self) -> Floats:
        """Months of lines in each state under each share, (s, a)."""
        found: Floats = self.moves.sum(axis=2).T
        return found

    def add(self, other: Counted) -> None:
        """Add the sums of other people."""
        for name in self.__slots__:
            getattr(self, name)[...] += getattr(other, name)


def count(
    setting: Setting,
    shares: tuple[Shares, ...],
    *,
    processes: int = 1,
    tell: Callable[[int, int], None] | None = None,
) -> Counted:
    """Play the setting's one arm with each pair of several shares, and count.

    Parameters
    ----------
    setting : Setting
    shares : tuple of Shares
    processes : int
    tell : callable, optional
        See `server.replay.play.play`.
    """
    (arm,) = setting.arms
    whole = _nothing(arm, len(shares))
    work = partial(_count_block, setting, shares)
    for one in in_blocks(work, setting.people, processes, tell):
        whole.add(one)
    return whole


def process_of(counted: Counted) -> tuple[Floats, Floats]:
    """Return the chances and rewards of the process; its last state is the default.

    Where a share was seen too seldom, all shares do in that state what they did together: there is
    nothing to choose by.

    Parameters
    ----------
    counted : Counted

    Returns
    -------
    chances : (a, s + 1, s + 1) float64
    rewards : (s + 1, a) float64
        In minor units a month.
    """
    actions, states, _ = counted.moves.shape
    seldom = counted.months.min(axis=1) < LEAST
    together = counted.moves.sum(axis=0)
    moves = np.where(seldom[:, None], together, counted.moves)
    gains = np.where(seldom[:, None], counted.gains.sum(axis=1, keepdims=True), counted.gains)
    chances = np.zeros((actions, states + 1, states + 1))
    number = moves.sum(axis=2, keepdims=True)
    chances[:, :states] = np.divide(moves, number, out=np.zeros_like(moves), where=number > 0)
    # Whence nobody was seen to go, everybody stays: it is no part of any value.
    nowhere = np.flatnonzero(number[0, :, 0] == 0)
    chances[:, nowhere, nowhere] = 1.0
    chances[:, states, states] = 1.0
    rewards = np.zeros((states + 1, actions))
    rewards[:states] = gains / np.maximum(number[:, :, 0].T, 1.0)
    return chances, rewards


def _nothing(arm: Arm, actions: int) -> Counted:
    return Counted.nothing(actions, len(states_of(tuple(arm.rules.policy.grades))))


def _count_block(setting: Setting, shares: tuple[Shares, ...], span: Span) -> Counted:
    (arm,) = setting.arms
    start = begun(setting, span)
    found = _nothing(arm, len(shares))
    for first, then in product(shares, shares):
        other = _with(arm, first, then)
        for number, one in enumerate(moments(setting, span, start, other)):
            _count_moves(found, shares.index(one.before.rules.shares), one)
            if first == then == shares[0]:
                _count_use(found, one)
                if number == 0:
                    _count_opened(found, one)
    return found


def _with(arm: Arm, first: Shares, then: Shares) -> Arm:
    rules = replace(arm.rules, shares=first)
    return replace(arm, rules=rules, later=replace(rules, shares=then))


def _count_moves(found: Counted, action: int, one: Moment) -> None:
    """Count where lines that are alive go in a month, and what it brings."""
    alive, end = ~one.tally_before.lost, found.moves.shape[2] - 1
    was = one.before.states[alive]
    now = np.where(one.tally.lost, end, one.book.states)[alive]
    gained = (one.tally.profit_minor - one.tally_before.profit_minor)[alive]
    np.add.at(found.moves[action], (was, now), 1.0)
    np.add.at(found.gains[:, action], was, gained)


def _count_use(found: Counted, one: Moment) -> None:
    alive = ~one.tally.lost
    states = one.book.states[alive]
    owed = one.life.line.bill[one.book.rows]
    for sums, values in (
        (found.alive, np.ones(len(one.book))),
        (found.limit_minor, one.book.lines.effective_limit_minor),
        (found.owed_minor, owed),
        (found.prob, one.book.prob_micro / 1e6),
    ):
        np.add.at(sums, states, values[alive])


def _count_opened(found: Counted, one: Moment) -> None:
    np.add.at(found.opened, one.before.states, 1.0)
    np.add.at(found.asked_minor, one.before.states, one.before.lines.effective_limit_minor)
