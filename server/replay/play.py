"""Play a world under one set of rules, or under two on the same people with the same luck.

Blocks of people are played one after the other, or in several processes: what comes of a block
depends on nothing outside it, and the figures add up.
"""

from __future__ import annotations

import copyreg
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from server.replay.book import Book, Rules, opened, reviewed
from server.replay.card import ReplayCard, fit
from server.replay.figures import (
    Figures,
    Prices,
    Tally,
    Use,
    codes_of,
    grades_of,
    kinds_of,
    lowered,
    month_of,
    still_cut,
    waits,
)
from server.replay.population import defaults, features
from server.replay.recorded import Recorded, begin
from server.replay.recorded import live as live_recorded
from shared.edge.workers import shared_out
from shared.world.chance import BLOCK, Span, spans
from shared.world.economy import Economy
from shared.world.life import DEFAULT_LATE, Life, live, warm

_Part = TypeVar("_Part")
_PAIR: Final = 2
_OUTCOME_MONTHS: Final = 12
_LEARN_BLOCKS: Final = 4
# The people that the card learns from live in a world of their own.
_OTHER_WORLD: Final = 0x9E37_79B9
_THIRD_WORLD: Final = 0x7F4A_7C15


def _read_only(values: dict[Any, Any]) -> MappingProxyType[Any, Any]:
    return MappingProxyType(values)


# Rules hold mappings that nobody may write to, which Python does not hand to another process.
copyreg.pickle(MappingProxyType, lambda one: (_read_only, (dict(one),)))


@dataclass(frozen=True, slots=True)
class Arm:
    """What decides on everybody, and what it costs.

    Parameters
    ----------
    rules : Rules
    card : ReplayCard
    prices : Prices
    refreshed : ReplayCard or None
        The card after the first year, where there is another: from `learn_on_lines`.
    later : Rules or None
        The rules after the first year, where there are others.
    """

    rules: Rules
    card: ReplayCard
    prices: Prices
    refreshed: ReplayCard | None = None
    later: Rules | None = None

    def after(self, book: Book, month: int) -> Book:
        """Return a book that the next review decides on, by the card and the rules of a month."""
        if month < _OUTCOME_MONTHS:
            return book
        return replace(book, card=self.refreshed or book.card, rules=self.later or book.rules)


@dataclass(frozen=True, slots=True)
class Setting:
    """What is played.

    Parameters
    ----------
    people, months : int
    seed : int
    economy : Economy
    arms : tuple of Arm
        One, or several that are played on the same people; two are compared person by person.
    recorded : Recorded or None
        Real months in place of the world's.
    """

    people: int
    months: int
    seed: int
    economy: Economy
    arms: tuple[Arm, ...]
    recorded: Recorded | None = None


@dataclass(slots=True)
class Swap:
    """Who is approved by which of two sets of rules: a cell each of old and new.

    Parameters
    ----------
    cells : dict of str to dict of str to float
        ``both``, ``only_first``, ``only_second``, ``neither``: people, how many of them default on
        whatever they have, their limits under each, and the profit of each.
    """

    cells: dict[str, dict[str, float]] = field(default_factory=dict)

    def add(self, other: Swap) -> None:
        """Add the cells of other people."""
        for name, cell in other.cells.items():
            mine = self.cells.setdefault(name, dict.fromkeys(cell, 0.0))
            for key, value in cell.items():
                mine[key] += value


@dataclass(slots=True)
class Outcome:
    """What came of a replay: the figures under each set of rules, and the swap set of two."""

    figures: tuple[Figures, ...]
    swap: Swap

    def add(self, other: Outcome) -> None:
        """Add what came of other people."""
        for mine, theirs in zip(self.figures, other.figures, strict=True):
            mine.add(theirs)
        self.swap.add(other.swap)


@dataclass(frozen=True, slots=True)
class Moment:
    """A month of a block under one set of rules.

    Parameters
    ----------
    life : Life
    before, book : Book
    figures : dict of str to float
    tally_before, tally : Tally
    """

    life: Life
    before: Book
    book: Book
    figures: dict[str, float]
    tally_before: Tally
    tally: Tally


def learn(
    seed: int, holders: frozenset[str] = frozenset(), without: frozenset[str] = frozenset()
) -> ReplayCard:
    """Return a card that was learned on other people of a world, from outcomes that are over.

    Parameters
    ----------
    seed : int
    holders : frozenset of str
        Whose columns count; none named means all.
    without : frozenset of str
        Columns that do not.
    """
    seen: list[dict[str, NDArray[np.float64]]] = []
    found = []
    other = seed ^ _OTHER_WORLD
    calm = Economy(swing=0.0)
    for span in spans(_LEARN_BLOCKS * BLOCK):
        life = warm(span, other)
        seen.append(features(life))
        found.append(defaults(span, other, life, _OUTCOME_MONTHS, calm))
    values = {name: np.concatenate([one[name] for one in seen]) for name in seen[0]}
    return fit(values, np.concatenate(found), holders, without)


def learn_on_lines(arm: Arm, seed: int) -> ReplayCard:
    """Return the card that a year with lines teaches: what was repaid comes back as labels (M30).

    It is learned on other people once more, on those alone whom the first card and the rules gave a
    line, and only when their year is over: nobody counts as good before that.

    Parameters
    ----------
    arm : Arm
    seed : int
    """
    seen: list[dict[str, NDArray[np.float64]]] = []
    found = []
    other = seed ^ _THIRD_WORLD
    people = _LEARN_BLOCKS * BLOCK
    setting = Setting(people, _OUTCOME_MONTHS, other, Economy(swing=0.0), (arm,))
    for span in spans(people):
        start = warm(span, other)
        *_, last = moments(setting, span, start, arm)
        values = features(start)
        seen.append({name: one[last.book.rows] for name, one in values.items()})
        found.append(last.tally.lost)
    together = {name: np.concatenate([one[name] for one in seen]) for name in seen[0]}
    return fit(together, np.concatenate(found))


def play(
    setting: Setting,
    *,
    processes: int = 1,
    tell: Callable[[int, int], None] | None = None,
) -> Outcome:
    """Play a setting.

    Parameters
    ----------
    setting : Setting
    processes : int
        The figures are the same for any number, but for the rounding of sums.
    tell : callable, optional
        Told how many blocks of how many are played.

    Raises
    ------
    EnvironmentFault
        If a process was killed.
    """
    played = in_blocks(partial(play_block, setting), setting.people, processes, tell)
    outcome = next(played)  # there are people
    for one in played:
        outcome.add(one)
    return outcome


def in_blocks(
    work: Callable[[Span], _Part],
    people: int,
    processes: int,
    tell: Callable[[int, int], None] | None,
) -> Iterator[_Part]:
    """Yield what comes of each block of people; see `play` for the parameters."""
    blocks = list(spans(people))
    for done, one in enumerate(shared_out(work, blocks, processes), start=1):
        yield one
        if tell:
            tell(done, len(blocks))


def play_block(setting: Setting, span: Span) -> Outcome:
    """Play the people of one block under each set of rules."""
    start = begun(setting, span)
    played = [_play(setting, span, start, arm) for arm in setting.arms]
    figures = tuple(one.figures for one in played)
    return Outcome(figures, _swapped(played, len(span)) if len(played) == _PAIR else Swap())


@dataclass(frozen=True, slots=True)
class _Played:
    figures: Figures
    book: Book
    tally: Tally
    bad: NDArray[np.bool_]


def _play(setting: Setting, span: Span, start: Life, arm: Arm) -> _Played:
    figures = Figures(people=len(span))
    told: list[dict[str, float]] = []
    bad = np.zeros(len(span), np.bool_)
    book: Book | None = None
    tally: Tally | None = None
    use: Use | None = None
    first: Book | None = None
    for one in moments(setting, span, start, arm):
        first = first or one.before
        use = (use or Use.of(first)).then(one.book, one.life)
        told.append(one.figures)
        causes = codes_of(one.book, lowered(one.book, one.before))
        figures.note(codes_of(one.book), causes)
        figures.wait(waits(one.tally_before, one.tally, one.life.number))
        bad |= one.life.card.late >= DEFAULT_LATE
        book, tally = one.book, one.tally
    assert book is not None  # there is a month
    assert tally is not None
    assert use is not None
    assert first is not None
    figures.grades = grades_of(first, book, tally)
    figures.groups = use.groups(book)
    figures.months = {name: np.array([one[name] for one in told]) for name in told[0]}
    figures.months["cost_minor"][0] += arm.prices.opening_minor * len(book)
    figures.lines = len(book)
    figures.cuts_open = still_cut(tally)
    figures.kinds = kinds_of(first, start.people)
    return _Played(figures, book, tally, bad)


def moments(setting: Setting, span: Span, start: Life, arm: Arm) -> Iterator[Moment]:
    """Yield the months of a block under one set of rules.

    Parameters
    ----------
    setting : Setting
    span : Span
    start : Life
        From `shared.world.life.warm`.
    arm : Arm
    """
    life, book = start, opened(arm.rules, arm.card, start)
    tally = Tally.of(book, arm.prices)
    for _ in range(setting.months):
        after = _lived(setting, span, life, book.limits(len(span)))
        fresh = reviewed(arm.after(book, life.number), life, after)
        told, now = month_of(fresh, book, after, tally, arm.prices)
        yield Moment(after, book, fresh, told, tally, now)
        life, book, tally = after, fresh, now


def hindsight(setting: Setting, missed: NDArray[np.bool_]) -> tuple[dict[str, int], ...]:
    """Return, under each set of rules, whose limit fell and who missed the payment after.

    Parameters
    ----------
    setting : Setting
    missed : (people,) bool

    Returns
    -------
    tuple of dict
        Lines ``fell`` and ``kept``, and of each those who ``fell_missed`` and ``kept_missed``.
    """
    found = []
    for arm in setting.arms:
        counts = dict.fromkeys(("fell", "fell_missed", "kept", "kept_missed"), 0)
        for span in spans(setting.people):
            seen = list(moments(setting, span, begun(setting, span), arm))
            book, last = seen[0].before, seen[-1].book
            fell = last.lines.effective_limit_minor < book.lines.effective_limit_minor
            bad = missed[span.start : span.stop][book.rows]
            for name, those in (("fell", fell), ("kept", ~fell)):
                counts[name] += int(those.sum())
                counts[f"{name}_missed"] += int((those & bad).sum())
        found.append(counts)
    return tuple(found)


def begun(setting: Setting, span: Span) -> Life:
    """Return the people of a block on the eve of their lines."""
    known = setting.recorded
    return warm(span, setting.seed) if known is None else begin(known, span)


def _lived(setting: Setting, span: Span, life: Life, limit: NDArray[np.float64]) -> Life:
    if setting.recorded is not None:
        return live_recorded(setting.recorded, span, life, limit)
    return live(life, span, setting.seed, limit, setting.economy)


def _swapped(played: list[_Played], people: int) -> Swap:
    """Return the four cells of two sets of rules."""
    first, second = played
    has = [np.zeros(people, np.bool_), np.zeros(people, np.bool_)]
    sums: list[dict[str, NDArray[np.float64]]] = []
    for place, one in enumerate(played):
        has[place][one.book.rows] = True
        wide: dict[str, NDArray[np.float64]] = {}
        for name, values in (
            ("limit_minor", one.book.lines.effective_limit_minor.astype(np.float64)),
            ("profit_minor", one.tally.profit_minor),
        ):
            wide[name] = np.zeros(people)
            wide[name][one.book.rows] = values
        sums.append(wide)
    cells = {
        "both": has[0] & has[1],
        "only_first": has[0] & ~has[1],
        "only_second": ~has[0] & has[1],
        "neither": ~has[0] & ~has[1],
    }
    found: dict[str, dict[str, Any]] = {}
    for name, those in cells.items():
        found[name] = {
            "people": float(those.sum()),
            "bad_first": float((first.bad & those).sum()),
            "bad_second": float((second.bad & those).sum()),
        }
        for place, order in enumerate(("first", "second")):
            for figure, values in sums[place].items():
                found[name][f"{figure}_{order}"] = float(values[those].sum())
    return Swap(found)
