"""Models over the months: a challenger is trained, watched in shadow, judged, and may serve.

A challenger is noted in shadow, decides for a tenth of the customers in the last month before it is
judged, and then serves everybody or is put away. It is judged by what became of the lines in the
months in which both models' scores were noted: who came to be thirty days late after a review
counts as bad. Only months that are over count. It serves unless it ranks worse than the champion
beyond chance (`Registry.promote`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import numpy as np

from server.accounts.desk import Desk, text_of
from server.accounts.kept import Kept, Span, kept
from server.accounts.learning import outcomes_of
from server.accounts.log_keys import make_log_key
from server.accounts.shadow import Shade
from server.cycle.parties import Parties
from server.cycle.setting import START
from server.releases.book import Entry, Trial
from shared.challenger.compare import Pairs, compare
from shared.challenger.verdict import Verdict
from shared.errors import DataError, ReleaseRefused
from shared.outcomes import pack_outcomes

#: Days late from which somebody counts as bad here: what a quarter can show.
BAD_DAYS: Final = 30
#: Of 10,000 customers, those for whom a challenger decides before it is judged.
TRIED_SLOTS: Final = 1_000
_SEED: Final = 0


@dataclass(frozen=True, slots=True)
class Judged:
    """What was decided on a challenger.

    Parameters
    ----------
    challenger : str
        Name; empty where there was none.
    outcome : str
        ``promoted``, ``refused``, ``too few`` (of a class, to compare), or ``none``.
    told : str
        The comparison, or why there is none.
    """

    challenger: str
    outcome: str
    told: str


def labels(desk: Desk, now: datetime, days: int) -> tuple[bytes, str] | None:
    """Return what became of lines in so many days, signed, and the pin; None where it is too early.

    Parameters
    ----------
    desk : Desk
    now : datetime
    days : int
        From the data that are learned from until today.
    """
    until = desk.today(now)
    since = until - timedelta(days=days)
    if since < START:
        return None
    identity = make_log_key(desk)
    with desk.store.read() as db:
        found = outcomes_of(desk, db, since, until, now)
    return pack_outcomes(identity, found), identity.fingerprint


def try_out(desk: Desk, parties: Parties, now: datetime) -> str:
    """Let the challenger decide for its share; return its name, empty where there is none."""
    book, at = parties.registry.book(), text_of(now)
    waiting = challenger_before(book.entries.values(), at)
    if waiting is None:
        return ""
    if book.trial is None:
        trial = Trial(waiting.name, TRIED_SLOTS, waiting.name)
        parties.registry.try_out(trial, desk.scores.federation, at, "the last month in shadow")
    desk.scores.refresh()
    return waiting.name


def judge(desk: Desk, parties: Parties, since: datetime, now: datetime) -> Judged:
    """Compare the challenger with the champion on the months since, and let it serve or not.

    Parameters
    ----------
    desk : Desk
    parties : Parties
    since, now : datetime
        When it came into the shadow, and the present.
    """
    book, at = parties.registry.book(), text_of(now)
    waiting, champion = challenger_before(book.entries.values(), at), book.champion
    if waiting is None or champion is None:
        return Judged("", "none", "there is no challenger")
    try:
        pairs = noted(desk, since, now, (champion.name, waiting.name))
        found = compare(pairs, np.random.default_rng(_SEED))
    except DataError as error:
        parties.registry.retire(waiting.name, at, "too few outcomes to compare it")
        return Judged(waiting.name, "too few", "; ".join(error.findings))
    verdict = Verdict(champion.digest, waiting.digest, found)
    try:
        parties.registry.promote(
            waiting.name, desk.scores.federation, at, "a quarter in shadow", verdict
        )
    except ReleaseRefused as error:
        parties.registry.retire(waiting.name, at, error.message)
        return Judged(waiting.name, "refused", error.message)
    desk.scores.refresh()
    return Judged(waiting.name, "promoted", verdict.told())


def challenger_before(entries: Iterable[Entry], at: str) -> Entry | None:
    """Return the challenger that came into the shadow before an instant; None where there is none.

    One that came in at that very instant is the next: it has seen nothing yet.
    """
    waiting = [one for one in entries if one.state == "challenger" and one.taken < at]
    return max(waiting, key=lambda one: one.counter, default=None)


def noted(desk: Desk, since: datetime, now: datetime, pair: tuple[str, str]) -> Pairs:
    """Return both models' chances of default, and who came to be late after they were noted.

    Of each line the first review with both scores counts, and its later reviews tell what came of
    it. Who was late already at the first is left out.

    Parameters
    ----------
    desk : Desk
    since, now : datetime
    pair : (str, str)
        Names of champion and challenger.

    Raises
    ------
    DataError
        If fewer than two became late, or fewer than two did not.
    """
    span = Span(desk.today(since), desk.today(now))
    first: dict[str, tuple[float, float]] = {}
    bad: dict[str, bool] = {}
    with desk.store.read() as db:
        for one in kept(db, span, "review"):
            late = one.body["grounds"]["facts"]["days_past_due"] >= BAD_DAYS
            if one.chain in bad:
                bad[one.chain] |= late
            elif one.chain in first:
                bad[one.chain] = late
            elif not late and (both := _both(one, pair)) is not None:
                first[one.chain] = both
    rows = np.array([first[chain] for chain in bad], np.float64).reshape(-1, 2)
    label = np.array([int(value) for value in bad.values()], np.int64)
    return Pairs.of_rows(label, rows[:, 0], rows[:, 1])


def _both(one: Kept, pair: tuple[str, str]) -> tuple[float, float] | None:
    about, snapshot = one.body["about"], one.snapshot
    shade = Shade.read(about)
    if snapshot is None or shade is None or (about["model"], shade.release) != pair:
        return None
    return float(snapshot["rating"]["default_prob"]), float(shade.rating.default_prob)
