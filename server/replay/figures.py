"""What a replay counts: sums over lines, month by month, that add up over blocks of people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from server.limits.line.line import State
from server.limits.rules.policy import Policy
from server.replay.book import Book, in_default
from server.replay.card import grade_places, scores
from shared.world.life import MINOR, Life
from shared.world.people import People

Floats = NDArray[np.float64]

#: Events whose number is told, as `server.limits.batch.state.KINDS` names them.
EVENTS: Final = ("cut", "stepped_down", "observed", "left_observation", "stepped_up", "restored")
_STATES: Final = (
    *(State.ACTIVE, State.OBSERVATION, State.REDUCED, State.RESTORING),
    State.FROZEN,
)
_MONTHS_A_YEAR: Final = 12
#: Draws in a month that are often, as rule B01 of the reference counts them, and shares of the
#: first limit that are much and little.
OFTEN, HALF, HARDLY = 6, 0.5, 0.1
#: Reasons that lower a limit, by how their codes begin; others say how somebody stands.
CAUSES: Final = ("P-", "M-", "C-", "B02", "B08", "I-")
_NO_CAUSE: Final = ""
_CODE: Final = "U24"
_POOR: Final = 0.2


@dataclass(frozen=True, slots=True)
class Prices:
    """What money and work cost.

    Parameters
    ----------
    annual_rate, funding_rate : float
        Of what is owed: earned, and paid for it.
    loss_given_default : float
        Share of what is owed that a default loses.
    draw_minor, review_minor, opening_minor : float
        Cost of handling a draw and a review, and of winning a customer.
    """

    annual_rate: float
    funding_rate: float = 0.03
    loss_given_default: float = 0.7
    draw_minor: float = 20.0
    review_minor: float = 2.0
    opening_minor: float = 8000.0


def prices_of(policy: Policy) -> Prices:
    """Return what money costs under a limit policy: its own rate, and its own loss at a default."""
    loss = float(policy.expected_loss.lgd)
    return Prices(float(policy.capacity.annual_rate), loss_given_default=loss)


@dataclass(frozen=True, slots=True)
class Tally:
    """What each line of a block has come to, month after month.

    Parameters
    ----------
    lost : (m,) bool
        In default, and counted.
    profit_minor, loss_minor : (m,) float64
    cut_since : (m,) int64
        Month of the cut that was not restored yet; 0 for none.
    before_cut : (m,) int64
        The limit before it.
    cut_for : (m,) str
        The first of its reasons.
    """

    lost: NDArray[np.bool_]
    profit_minor: Floats
    loss_minor: Floats
    cut_since: NDArray[np.int64]
    before_cut: NDArray[np.int64]
    cut_for: NDArray[np.str_]

    @classmethod
    def of(cls, book: Book, prices: Prices) -> Tally:
        """Return the tally of fresh lines: each has cost what it costs to win a customer."""
        size = len(book)
        return cls(
            np.zeros(size, np.bool_),
            np.full(size, -prices.opening_minor),
            np.zeros(size),
            np.zeros(size, np.int64),
            np.zeros(size, np.int64),
            np.full(size, _NO_CAUSE, _CODE),
        )


@dataclass(slots=True)
class Figures:
    """Sums of a replay under one set of rules.

    Parameters
    ----------
    months : dict of str to (m,) float64
        Each figure by month, the first month first; the cost of winning customers is the first's.
    codes : dict of str to int
        Reasons that reviews gave, over all months.
    causes : dict of str to int
        The same of those reviews that lowered a limit.
    waited : dict of str to dict of int to int
        By the reason of a cut: months until the limit before it was back, and how many lines waited
        so long.
    groups : dict of str to dict of str to float
        Of those who were never late on card or line: all of them, and by how they used the line.
        Lines, their first and last limits, and how many have theirs whole at the end.
    grades : dict of str to dict of str to float
        By grade: lines that were opened in it, how many of these have their first limit whole at
        the end and how many are in default, and lines that are in it at the end.
    kinds : dict of str to dict of str to float
        Everybody, micro businesses, and the fifth with the lowest incomes: people, lines, and the
        first limits of these.
    cuts_open : dict of str to int
        Lines whose limit was not back at the end, by the reason of the cut.
    people, lines : int
    """

    months: dict[str, Floats] = field(default_factory=dict)
    codes: dict[str, int] = field(default_factory=dict)
    causes: dict[str, int] = field(default_factory=dict)
    waited: dict[str, dict[int, int]] = field(default_factory=dict)
    groups: dict[str, dict[str, float]] = field(default_factory=dict)
    grades: dict[str, dict[str, float]] = field(default_factory=dict)
    kinds: dict[str, dict[str, float]] = field(default_factory=dict)
    cuts_open: dict[str, int] = field(default_factory=dict)
    people: int = 0
    lines: int = 0

    def add(self, other: Figures) -> None:
        """Add the figures of other people."""
        for name, values in other.months.items():
            self.months[name] = self.months[name] + values if name in self.months else values
        self.note(other.codes, other.causes)
        self.wait(other.waited)
        _add(self.cuts_open, other.cuts_open)
        for mine, theirs in (
            (self.groups, other.groups),
            (self.grades, other.grades),
            (self.kinds, other.kinds),
        ):
            for name, group in theirs.items():
                _add(mine.setdefault(name, {}), group)
        self.people += other.people
        self.lines += other.lines

    def note(self, codes: Mapping[str, int], causes: Mapping[str, int]) -> None:
        """Add reasons, and those of lowered limits."""
        _add(self.codes, codes)
        _add(self.causes, causes)

    def wait(self, waited: Mapping[str, Mapping[int, int]]) -> None:
        """Add how long limits took to come back."""
        for code, months in waited.items():
            _add(self.waited.setdefault(code, {}), months)

    @property
    def waited_whole(self) -> dict[int, int]:
        """What `waited` comes to, whatever the reason."""
        found: dict[int, int] = {}
        for months in self.waited.values():
            _add(found, months)
        return found

    def to_mapping(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return {
            "people": self.people,
            "lines": self.lines,
            "months": {name: values.tolist() for name, values in self.months.items()},
            "codes": dict(sorted(self.codes.items())),
            "causes": dict(sorted(self.causes.items())),
            "waited_months": {
                code: {str(key): waited[key] for key in sorted(waited)}
                for code, waited in sorted(self.waited.items())
            },
            "punctual": self.groups,
            "grades": self.grades,
            "kinds": self.kinds,
            "cuts_not_restored": dict(sorted(self.cuts_open.items())),
        }


def month_of(
    book: Book, before: Book, life: Life, tally: Tally, prices: Prices
) -> tuple[dict[str, float], Tally]:
    """Return the figures of a month, and the tally after it.

    Parameters
    ----------
    book, before : Book
        After the reviews of the month, and before it.
    life : Life
    tally : Tally
    prices : Prices
    """
    assert life.drawn is not None
    assert book.reviewed is not None
    rows, owed = book.rows, life.line.bill[book.rows]
    limit, was = book.lines.effective_limit_minor, before.lines.effective_limit_minor
    fresh = in_default(life, rows) & ~tally.lost
    alive = ~(tally.lost | fresh)
    loss = np.where(fresh, prices.loss_given_default * owed, 0.0)
    margin = (prices.annual_rate - prices.funding_rate) / _MONTHS_A_YEAR
    draws = life.drawn.draws[rows]
    earned = np.where(alive, margin * owed, 0.0)
    cost = prices.draw_minor * draws + prices.review_minor
    exposed = np.where(alive, owed, 0.0)
    expected = book.prob_micro / 1e6 / _MONTHS_A_YEAR * prices.loss_given_default * exposed
    room = np.where(alive, np.maximum(limit - owed, 0.0), 0.0)
    late = life.line.late[rows]
    punctual = (late == 0) & (life.card.late[rows] == 0)
    found = {
        "lines": float(alive.sum()),
        "limit_minor": float(limit[alive].sum()),
        "outstanding_minor": float(exposed.sum()),
        "available_minor": float(room.sum()),
        "unmet_minor": float(life.drawn.unmet[rows][alive].sum()),
        "elsewhere_minor": float(MINOR * life.past.others[-1][rows].sum()),
        "late": float((alive & (late > 0)).sum()),
        "defaults": float(fresh.sum()),
        "loss_minor": float(loss.sum()),
        "expected_loss_minor": float(expected.sum()),
        "score": float(scores(book.prob_micro)[alive].sum()),
        "earned_minor": float(earned.sum()),
        "cost_minor": float(cost.sum()),
        "lowered": float(lowered(book, before).sum()),
        # What most complaints are about: less, though nothing was overdue anywhere.
        "lowered_punctual": float((lowered(book, before) & punctual).sum()),
        "in_use": float((alive & ((draws > 0) | (owed > 0))).sum()),
        "raised": float((limit > was).sum()),
    }
    found |= {f"is_{state.value}": float(book.lines.is_in(state).sum()) for state in _STATES}
    found |= {name: float(book.reviewed.did(name).sum()) for name in EVENTS}
    back = (tally.cut_since > 0) & (limit >= tally.before_cut)
    first = lowered(book, before) & (tally.cut_since == 0)
    since = np.where(first, life.number, np.where(back, 0, tally.cut_since))
    after = Tally(
        lost=tally.lost | fresh,
        profit_minor=tally.profit_minor + earned - cost - loss,
        loss_minor=tally.loss_minor + loss,
        cut_since=since,
        before_cut=np.where(first, was, tally.before_cut),
        cut_for=np.where(first, _causes(book), tally.cut_for),
    )
    return found, after


@dataclass(frozen=True, slots=True)
class Use:
    """How each line was used so far.

    Parameters
    ----------
    first_minor : (m,) int64
        The limit that it was opened with.
    late : (m,) bool
        Whether its owner was ever late, on card or line.
    most_minor : (m,) float64
        The most that was owed.
    draws : (m,) int64
        The most draws in a month.
    """

    first_minor: NDArray[np.int64]
    late: NDArray[np.bool_]
    most_minor: Floats
    draws: NDArray[np.int64]

    @classmethod
    def of(cls, book: Book) -> Use:
        """Return the use of fresh lines."""
        size = len(book)
        first = book.lines.effective_limit_minor
        return cls(first, np.zeros(size, np.bool_), np.zeros(size), np.zeros(size, np.int64))

    def then(self, book: Book, life: Life) -> Use:
        """Return it a month later."""
        assert life.drawn is not None
        rows = book.rows
        late = (life.card.late[rows] > 0) | (life.line.late[rows] > 0)
        return Use(
            self.first_minor,
            self.late | late,
            np.maximum(self.most_minor, life.line.bill[rows]),
            np.maximum(self.draws, life.drawn.draws[rows]),
        )

    def groups(self, book: Book) -> dict[str, dict[str, float]]:
        """Return what became of the limits of those who were never late."""
        last, share = book.lines.effective_limit_minor, self.most_minor / self.first_minor
        often = self.draws >= OFTEN
        kinds = {
            "all": np.ones(last.size, np.bool_),
            "hardly used it": share < HARDLY,
            "used half or more": share >= HALF,
            "used half or more, drew often": (share >= HALF) & often,
            "used half or more, drew seldom": (share >= HALF) & ~often,
        }
        return {
            name: {
                "lines": float((those & ~self.late).sum()),
                "first_minor": float(self.first_minor[those & ~self.late].sum()),
                "last_minor": float(last[those & ~self.late].sum()),
                "whole": float((last >= self.first_minor)[those & ~self.late].sum()),
            }
            for name, those in kinds.items()
        }


def grades_of(first: Book, last: Book, tally: Tally) -> dict[str, dict[str, float]]:
    """Return what became of the lines of each grade.

    Parameters
    ----------
    first, last : Book
        As the lines were opened, and at the end.
    tally : Tally
        At the end.
    """
    names = tuple(first.rules.policy.grades)
    was, now = (grade_places(one.prob_micro, names) for one in (first, last))
    whole = last.lines.effective_limit_minor >= first.lines.effective_limit_minor
    found = {}
    for place, name in enumerate(names):
        those = was == place
        found[name] = {
            "opened": float(those.sum()),
            "whole": float((those & whole & ~tally.lost).sum()),
            "defaults": float((those & tally.lost).sum()),
            "last": float(((now == place) & ~tally.lost).sum()),
        }
    return found


def kinds_of(first: Book, people: People) -> dict[str, dict[str, float]]:
    """Return who of whom has a line (M87).

    Parameters
    ----------
    first : Book
        As the lines were opened.
    people : People
        Of the block; the lowest fifth is that of its incomes.
    """
    limit = np.zeros(len(people))
    limit[first.rows] = first.lines.effective_limit_minor
    kinds = {
        "everybody": np.ones(len(people), np.bool_),
        "micro businesses": people.business,
        "lowest fifth of incomes": people.income <= np.quantile(people.income, _POOR),
    }
    return {
        name: {
            "people": float(those.sum()),
            "lines": float((those & (limit > 0)).sum()),
            "first_minor": float(limit[those].sum()),
        }
        for name, those in kinds.items()
    }


def waits(before: Tally, after: Tally, month: int) -> dict[str, dict[int, int]]:
    """Return how long those waited whose limit came back in a month, by the reason of the cut."""
    back = (before.cut_since > 0) & (after.cut_since == 0)
    found: dict[str, dict[int, int]] = {}
    waited = (month - before.cut_since[back]).tolist()
    for code, months in zip(before.cut_for[back].tolist(), waited, strict=True):
        _add(found.setdefault(code, {}), {months: 1})
    return found


def still_cut(tally: Tally) -> dict[str, int]:
    """Return the lines whose limit is not back, by the reason of the cut."""
    codes, lines = np.unique(tally.cut_for[tally.cut_since > 0], return_counts=True)
    return dict(zip(codes.tolist(), lines.tolist(), strict=True))


def _causes(book: Book) -> NDArray[np.str_]:
    """Return the first cause among the reasons of each review; empty where there is none."""
    assert book.reviewed is not None
    codes = np.array([*book.reviewed.codes, _NO_CAUSE], _CODE)
    lowers = np.array([code.startswith(CAUSES) for code in codes])
    places = book.reviewed.reasons
    is_cause = lowers[places]  # a place of -1 is the empty code
    first = is_cause.argmax(axis=1)[:, None]
    found: NDArray[np.str_] = codes[np.take_along_axis(places, first, axis=1)[:, 0]]
    return np.where(is_cause.any(axis=1), found, codes[-1])


def codes_of(book: Book, those: NDArray[np.bool_] | None = None) -> dict[str, int]:
    """Return how often the last reviews gave each reason, to all lines or to some."""
    assert book.reviewed is not None
    places = book.reviewed.reasons if those is None else book.reviewed.reasons[those]
    counts = np.bincount(places[places >= 0], minlength=len(book.reviewed.codes))
    return {
        code: int(number)
        for code, number in zip(book.reviewed.codes, counts, strict=True)
        if number
    }


def lowered(book: Book, before: Book) -> NDArray[np.bool_]:
    """Return whose limit the last reviews lowered."""
    return book.lines.effective_limit_minor < before.lines.effective_limit_minor


def _add(sums: dict[Any, Any], more: Mapping[Any, Any]) -> None:
    for key, value in more.items():
        sums[key] = sums.get(key, 0) + value
