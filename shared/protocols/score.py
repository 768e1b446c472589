"""Scores for evaluation and calibration: one integer a customer, nothing finer.

Every holder turns its own part of the card into integer points for each common customer; the
builder opens only the total. A total at full precision decodes to the whole row, hence whole points
in a 16-bit ring; and few openings, since each is one equation about every row.

With three holders or more the total comes from the secure sum. With two, the builder could subtract
its own points anyway: the other's points are handed over openly, and only where the federation file
says `two_party_scores = "accept"`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import urandom
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from shared.arrays import pack_array, pack_value, unpack_array
from shared.errors import Refused
from shared.protocols.sum import sum_coordinator, sum_party
from shared.protocols.sum_job import SumJob, SumJournal
from shared.sealed import SealedChannel

# A part of a card spans a few hundred points; ten parts stay far inside 16 bits.
MAX_POINTS = 3000

Points = NDArray[np.int64]


class ScoreJournal(SumJournal, Protocol):
    """A party's durable memory of openings."""

    def open_scores(self, customers: str, points: str, allowed: int) -> None:
        """Record an opening of own points over some customers, before anything is sent.

        The same points of the same customers tell nothing new and are not counted again, whatever
        alignment or run they belong to.

        Parameters
        ----------
        customers, points : str
            Digests of the set of customers, and of their own points.
        allowed : int

        Raises
        ------
        BudgetSpent
            If `allowed` other sets of points were opened over these customers already.
        """


@dataclass(frozen=True, slots=True)
class ScoreJob:
    """Whose points are added, and for whom.

    Parameters
    ----------
    run : str
    attempt : int
        Rises with every restart.
    holders : tuple of str
        Sorted names of the parties with a part of the card.
    builder : str
        Who opens the totals; one of the holders.
    coordinator : str
    n_rows : int
        Customers in common order.
    card : str
        Digest of the card whose points these are.
    openings : int
        How many different cards may be opened over the same customers.
    two_party_scores : {"refuse", "accept"}
        Whether the builder may see the only other holder's points.
    label : str
        What distinguishes it from other openings of the run: whose customers they are.
    """

    run: str
    attempt: int
    holders: tuple[str, ...]
    builder: str
    coordinator: str
    n_rows: int
    card: str
    openings: int = 3
    two_party_scores: Literal["refuse", "accept"] = "refuse"
    label: str = "scores"

    @property
    def sum_job(self) -> SumJob:
        """The secure sum that opens the totals at the builder."""
        return SumJob(
            run=self.run,
            label=self.label,
            attempt=self.attempt,
            cohort=self.holders,
            opener=self.builder,
            coordinator=self.coordinator,
            kind="points" if self.label == "scores" else f"points/{self.label}",
            model=self.card,
            bits=16,
            length=self.n_rows,
            scale=0,
            bound=MAX_POINTS,
        )


def digests(ids: Sequence[str], points: Points) -> tuple[str, str]:
    """Return digests of a set of customers and of their points, whatever their order.

    Parameters
    ----------
    ids : sequence of str, length n
    points : ndarray of int64, shape (n,)
    """
    order = sorted(range(len(ids)), key=ids.__getitem__)
    named = pack_value([ids[row] for row in order])
    return hashlib.sha256(named).hexdigest(), hashlib.sha256(pack_array(points[order])).hexdigest()


def check_two_parties(job: ScoreJob) -> None:
    """Refuse to show one holder's points to the only other one, unless the parties agreed.

    Raises
    ------
    Refused
    """
    if len(job.holders) == 2 and job.two_party_scores != "accept":
        raise Refused(
            f"with two holders the builder {job.builder} would see the other's points of every "
            "customer",
            hint='add a third holder, or agree on two_party_scores = "accept" in federation.toml',
        )


def add_points(
    channel: SealedChannel,
    job: ScoreJob,
    points: Points,
    *,
    customers: tuple[str, str],
    journal: ScoreJournal,
    entropy: Callable[[int], bytes] = urandom,
) -> Points | None:
    """Add the own points of every common customer to the others'.

    Parameters
    ----------
    channel : SealedChannel
    job : ScoreJob
    points : ndarray of int64, shape (n_rows,)
        Own points, within +-`MAX_POINTS`.
    customers : (str, str)
        Digests of the set of customers and of their own points; see `digests`.
    journal : ScoreJournal
    entropy : callable
        Source of secret bytes.

    Returns
    -------
    ndarray of int64, shape (n_rows,), or None
        The totals at the builder, None elsewhere.

    Raises
    ------
    Refused
        If there are two holders and they did not agree to it, or points are out of range.
    BudgetSpent
        If as many other cards were opened over these customers as are allowed.
    """
    check_two_parties(job)
    if points.shape != (job.n_rows,) or np.abs(points).max(initial=0) > MAX_POINTS:
        raise Refused(f"points must be whole numbers within +-{MAX_POINTS}, one a customer")
    journal.open_scores(*customers, job.openings)
    if len(job.holders) > 2:
        return sum_party(channel, job.sum_job, points, journal=journal, entropy=entropy)
    if channel.me != job.builder:
        channel.send(job.builder, "score/points", pack_array(points))
        return None
    (other,) = (holder for holder in job.holders if holder != job.builder)
    raw = channel.receive(other, "score/points")
    theirs: Points = unpack_array(raw, np.int64, (job.n_rows,), cap=job.n_rows)
    return points + theirs


def assist(channel: SealedChannel, job: ScoreJob) -> None:
    """Be the coordinator: add masked points, open nothing."""
    if len(job.holders) > 2:
        sum_coordinator(channel, job.sum_job)
