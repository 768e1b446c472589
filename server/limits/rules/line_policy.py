"""The policy of a line's life: what is watched, how a limit falls and how it comes back.

The figures stand in a dated TOML file (`server.limits.rules.line_lint` reads it); here they are
frozen values, and the few amounts that follow from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final, Literal

Effect = Literal["observe", "hold", "freeze"]
METRICS: Final = (
    "draws",
    "utilisation",
    "spend_surge",
    "enquiries",
    "score_drop",
    "score_recovery",
    "others_growth",
    "forbidden_purposes",
)
"""What a trigger can look at; `server.limits.line.triggers` measures it."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A metric and its threshold.

    Parameters
    ----------
    metric : str
        One of `METRICS`.
    days : int
        The window, ending with the day of the review; 0 where the metric has none.
    over_days : int
        The longer window that a surge is compared with; else 0.
    threshold : Decimal
    rising : bool
        The metric must be at least the threshold; else at most.
    """

    metric: str
    days: int
    over_days: int
    threshold: Decimal
    rising: bool

    def met(self, value: tuple[int, int]) -> bool:
        """Return whether a value, a numerator over a denominator above 0, is on its side."""
        above, below = value
        edge = self.threshold * below  # exact: 24 digits at most
        return above >= edge if self.rising else above <= edge


@dataclass(frozen=True, slots=True)
class Rule:
    """A trigger (domain 2.6).

    Parameters
    ----------
    code : str
    effect : {'observe', 'hold', 'freeze'}
    enter : tuple of Condition
        Any of them sets it off.
    exit : tuple of Condition
        All of them, for a clean review.
    reviews : int
        Clean reviews in a row until it is over.
    min_days : int
        At least so long after it was last seen.
    steps_down : bool
        Seen in several reviews running, it costs a step.
    least_minor : int
        Amounts below do not set it off.
    """

    code: str
    effect: Effect
    enter: tuple[Condition, ...]
    exit: tuple[Condition, ...]
    reviews: int
    min_days: int
    steps_down: bool
    least_minor: int


@dataclass(frozen=True, slots=True)
class Overlay:
    """A downturn's multiplier, with who approved it.

    Parameters
    ----------
    scenario : str
    since, until : date
        First and last day.
    multiplier : Decimal
        In (0, 1].
    approved_by : tuple of str
        Two people.
    approved_on : date
    note : str
        Why.
    """

    scenario: str
    since: date
    until: date
    multiplier: Decimal
    approved_by: tuple[str, ...]
    approved_on: date
    note: str


@dataclass(frozen=True, slots=True)
class Arrears:
    """Buckets, cure periods and the place whose days count (domain 2.6, B08).

    Parameters
    ----------
    zone : str
        Of the tz database.
    grace_days, reduce_from, freeze_from, default_from : int
        Days past due: above grace a hold, then a step down, then no draws, then default.
    buckets : tuple of int
        First day of each.
    cure_days, default_cure_days : int
        Days with nothing overdue.
    forbearance_months : int
        After a concession because of difficulties.
    """

    zone: str
    grace_days: int
    reduce_from: int
    freeze_from: int
    default_from: int
    buckets: tuple[int, ...]
    cure_days: int
    default_cure_days: int
    forbearance_months: int


@dataclass(frozen=True, slots=True)
class Inactivity:
    """How an idle line is taken back.

    Parameters
    ----------
    after_days : int
        Since the last draw.
    share, floor_share : Decimal
        Of the base: a review's step, and where it ends.
    """

    after_days: int
    share: Decimal
    floor_share: Decimal


@dataclass(frozen=True, slots=True)
class LinePolicy:
    """A whole file; the sections of `server/policies/line_reference.toml` explain the figures.

    Parameters
    ----------
    id, version : str
    effective_from : date
    quantum_minor : int
    every_days : int
        Between scheduled reviews.
    clean_reviews, dwell_days : int
        Until an observation ends.
    always : tuple of str
        Rules whose exit every clean review must meet.
    down_reviews : int
        Reviews running until a trigger costs a step.
    down_share, floor_share : Decimal
        Of the base.
    cut_share : Decimal
        Of the limit: the most that falling caps take in one review.
    up_share : Decimal
        Of the base.
    up_clean_reviews, cool_down_days : int
    increase_share : Decimal
        Of the limit: the most that one increase adds.
    months_between, days_after_opening, offer_days : int
    pause_at : Decimal
        Share of the budget from which nothing is raised.
    memory_days : int
        Over which the largest limit is the one that utilisation is a share of.
    temporary_minor, temporary_days : int
    temporary_purposes : tuple of str
    inactivity : Inactivity or None
    arrears : Arrears
    rules : mapping of str to Rule
    overlays : tuple of Overlay
        By date, not overlapping.
    """

    id: str
    version: str
    effective_from: date
    quantum_minor: int
    every_days: int
    clean_reviews: int
    dwell_days: int
    always: tuple[str, ...]
    down_reviews: int
    down_share: Decimal
    floor_share: Decimal
    cut_share: Decimal
    up_share: Decimal
    up_clean_reviews: int
    cool_down_days: int
    increase_share: Decimal
    months_between: int
    days_after_opening: int
    offer_days: int
    pause_at: Decimal
    memory_days: int
    temporary_minor: int
    temporary_days: int
    temporary_purposes: tuple[str, ...]
    inactivity: Inactivity | None
    arrears: Arrears
    rules: Mapping[str, Rule]
    overlays: tuple[Overlay, ...]

    @property
    def name(self) -> str:
        """Id and version, as decisions state it."""
        return f"{self.id}/{self.version}"

    def overlay_on(self, day: date) -> Overlay | None:
        """Return the downturn of a day, if there is one."""
        for overlay in self.overlays:
            if overlay.since <= day <= overlay.until:
                return overlay
        return None

    def floored(self, amount: Decimal | int) -> int:
        """Return an amount rounded down to a whole quantum."""
        return int(amount // self.quantum_minor) * self.quantum_minor

    def step(self, base_minor: int, share: Decimal) -> int:
        """Return a step: a share of the base, down to a quantum, but one quantum at least.

        Without the least step a small line could neither fall nor rise.
        """
        return max(self.quantum_minor, self.floored(share * base_minor))

    def floor(self, base_minor: int) -> int:
        """Return where steps down end."""
        return self.floored(self.floor_share * base_minor)

    def lowest_after_cut(self, limit_minor: int) -> int:
        """Return the least that falling caps leave of a limit in one review."""
        return max(0, limit_minor - self.step(limit_minor, self.cut_share))
