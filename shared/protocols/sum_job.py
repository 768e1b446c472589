"""What a secure sum is about: its job, its encoding, and what a party remembers of its reveals.

The protocol itself is `shared.protocols.sum`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from shared.arrays import pack_value
from shared.errors import Refused
from shared.ring import from_fixed, to_fixed

Residues = NDArray[Any]  # unsigned, as wide as the job's ring says

MIN_COHORT = 3
_MAX_LABEL = 128
_RINGS: Mapping[int, type[np.uint16 | np.uint32 | np.uint64]] = {
    16: np.uint16,
    32: np.uint32,
    64: np.uint64,
}


@dataclass(frozen=True, slots=True)
class SumJob:
    """What is added, by whom, for whom: every party signs its digest.

    Parameters
    ----------
    run : str
        Identifier of the run; that of the channel's session.
    label : str
        What distinguishes this sum from others of the run, at most 128 bytes.
    attempt : int
        Starts at 1 and rises with every restart.
    cohort : tuple of str
        Parties whose inputs are added, sorted, at least 3.
    opener : str
        Who sees the sum: the coordinator, or one of the cohort (the builder).
    coordinator : str
        Who adds the masked vectors; not in the cohort.
    kind : str
        What the input is: `moments`, `points`, `update`, ...
    model : str
        Digest of the model that the input belongs to; empty if there is none.
    bits : int
        The ring: 16, 32 or 64.
    length : int
        Elements of the vector.
    scale : int
        Fraction bits of an element; 0 for integers, and always 0 outside the 64-bit ring.
    bound : int
        Largest absolute value of one party's element, in ring units; of shares, that of the sum.
    shares : bool
        Inputs are additive shares: any residues, of which only the sum means something.

    Raises
    ------
    Refused
        If the cohort is too small for anybody to hide in, the sum could wrap round the ring, or
        another field cannot be; all findings at once.
    """

    run: str
    label: str
    attempt: int
    cohort: tuple[str, ...]
    opener: str
    coordinator: str
    kind: str
    model: str
    bits: int
    length: int
    scale: int
    bound: int
    shares: bool = False

    def __post_init__(self) -> None:
        findings = [text for wrong, text in _rules(self) if wrong]
        if findings:
            raise Refused(f"the sum {self.label!r} is refused: " + "; ".join(findings))

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON of all fields, hex: `H`."""
        return _digest(self)

    @property
    def dtype(self) -> type[np.uint16 | np.uint32 | np.uint64]:
        """Unsigned type whose wrap-around is the ring's reduction."""
        return _RINGS[self.bits]

    @property
    def limit(self) -> int:
        """Largest absolute value that the sum can have, in ring units."""
        return self.bound if self.shares else len(self.cohort) * self.bound

    def restarted(self, survivors: Iterable[str]) -> SumJob:
        """Return the next attempt, with the survivors as its cohort.

        Each party's journal decides whether its input may go into it.

        Raises
        ------
        Refused
            If fewer than 3 survive, or the opener did not.
        """
        return replace(self, attempt=self.attempt + 1, cohort=tuple(sorted(survivors)))


# A cohort of thirty asks for it a hundred times in one sum.
@lru_cache(maxsize=64)
def _digest(job: SumJob) -> str:
    # The bound may pass 2^53, above which canonical JSON has no integers.
    return hashlib.sha256(pack_value(asdict(job) | {"bound": str(job.bound)})).hexdigest()


def _rules(job: SumJob) -> list[tuple[bool, str]]:
    size = len(job.cohort)
    return [
        (
            size < MIN_COHORT,
            f"a cohort of {size}: with fewer than {MIN_COHORT} parties one learns another's input",
        ),
        (job.cohort != tuple(sorted(set(job.cohort))), "cohort: must be sorted, each party once"),
        (job.coordinator in job.cohort, "coordinator: must not be a party of the cohort"),
        (
            job.opener not in (job.coordinator, *job.cohort),
            f"opener: {job.opener!r} is neither the coordinator nor in the cohort",
        ),
        (job.bits not in _RINGS, f"bits: must be 16, 32 or 64. Got {job.bits}"),
        (
            job.limit >= 1 << max(job.bits - 1, 0),
            f"bound: {size} parties with values up to {job.bound} could wrap round {job.bits} bits",
        ),
        (job.bound < 1, f"bound: must be at least 1. Got {job.bound}"),
        (job.length < 1, f"length: must be at least 1. Got {job.length}"),
        (not 0 <= job.scale <= 62, f"scale: must be in 0..62. Got {job.scale}"),
        (job.bits != 64 and job.scale != 0, "scale: must be 0 outside the 64-bit ring"),
        (job.attempt < 1, f"attempt: must be at least 1. Got {job.attempt}"),
        (len(job.label.encode()) > _MAX_LABEL, f"label: at most {_MAX_LABEL} bytes"),
    ]


class SumJournal(Protocol):
    """A party's durable memory of what it revealed."""

    def reveal(self, job_digest: str, input_digest: str, cohort: tuple[str, ...]) -> None:
        """Note a reveal; once this returns, the note outlives a crash.

        Raises
        ------
        Refused
            If `check_reveal` says no to it; then nothing was noted.
        """


class FreshInputs:
    """The journal of a noisy sum: it remembers nothing, since no input comes a second time.

    A journal refuses one input in two cohorts, whose sums would differ by one party's. Two noisy
    sums differ by noise that nobody knows besides, and each was paid for before it was drawn: the
    budget and the ledger are what has to be remembered. A journal would know the values as new
    each time, and refuse the noisy step of a model that the survivors of a lost party take again.
    """

    def reveal(self, job_digest: str, input_digest: str, cohort: tuple[str, ...]) -> None:
        """See `SumJournal`."""


def check_reveal(
    records: Iterable[tuple[str, str, tuple[str, ...]]],
    job_digest: str,
    input_digest: str,
    cohort: tuple[str, ...],
) -> None:
    """Refuse to reveal one input in two cohorts: the sums would differ by one party's input.

    Parameters
    ----------
    records : iterable of (str, str, tuple of str)
        All that this party ever noted: job, input and cohort.
    job_digest : str
        The job about to be revealed, hex.
    input_digest : str
        One of `input_digests`, hex.
    cohort : tuple of str
        The cohort about to be revealed to.

    Raises
    ------
    Refused
        If the same input was revealed in another cohort, smaller or larger.
    """
    for _, known, before in records:
        if known == input_digest and before != cohort:
            raise Refused(
                f"the input of the sum {job_digest[:12]} was already revealed in the cohort "
                f"{', '.join(before)}, now {', '.join(cohort)} is asked for: the two sums would "
                "differ by one party's input",
                hint="sum it with the same cohort, or continue with a new input",
            )


def input_digests(values: NDArray[Any], job: SumJob) -> tuple[str, ...]:
    """Return what an input is known by in a journal, hex.

    The values are hashed as they are before encoding, so that another ring or scale makes no new
    input of them. An input that belongs to a model is known by its kind and model besides: an
    update that is trained a second time from the same model is the first in all but noise.

    Parameters
    ----------
    values : ndarray of float64, int64, uint16 or uint64
        Residues count as the signed integers they stand for.
    job : SumJob
    """
    if values.dtype == np.float64:
        canonical = (values + 0.0).astype("<f8", copy=False)  # one zero, not two
    else:
        canonical = signed_residues(values).astype("<i8", copy=False)
    header = f"values/{canonical.dtype.kind}/{canonical.size}/".encode()
    by_values = hashlib.sha256(header + canonical.tobytes()).hexdigest()
    if job.model == "":
        return (by_values,)
    by_model = hashlib.sha256(b"model/" + pack_value([job.kind, job.model])).hexdigest()
    return by_model, by_values


def encode(values: NDArray[Any], job: SumJob) -> Residues:
    """Bring an input into the job's ring.

    Parameters
    ----------
    values : ndarray of shape (job.length,)
        float64, to be rounded to the job's scale (64-bit ring only); int64 in ring units; or
        residues of the ring.
    job : SumJob

    Returns
    -------
    ndarray of the ring's unsigned type, shape (job.length,)

    Raises
    ------
    Refused
        If type or shape do not fit the job, or a value is beyond its bound.
    """
    where = f"the input of the sum {job.label!r}"
    if values.shape != (job.length,):
        raise Refused(f"{where} has shape {values.shape}, the job says ({job.length},)")
    if values.dtype == np.float64 and job.bits == 64:
        try:
            residues: Residues = to_fixed(
                values, bound=job.bound / (1 << job.scale), fraction_bits=job.scale
            )
        except ValueError as error:
            raise Refused(f"{where}: {error}") from error
    elif values.dtype in (np.int64, job.dtype):
        residues = values
    else:
        raise Refused(f"{where} is {values.dtype}, which has no place in a {job.bits}-bit ring")
    if job.shares and values.dtype != job.dtype:
        raise Refused(f"{where} is {values.dtype}, and shares are residues of the ring")
    signed = signed_residues(residues)
    if job.shares:
        return residues
    if int(signed.max()) > job.bound or int(signed.min()) < -job.bound:
        raise Refused(f"{where} holds values beyond the bound of {job.bound} ring units")
    return residues.astype(job.dtype, copy=False)


def decode(total: Residues, job: SumJob) -> NDArray[Any]:
    """Read an opened sum.

    Returns
    -------
    ndarray of int64 (scale 0) or float64, shape (job.length,)
    """
    if job.scale == 0:
        return signed_residues(total)
    return from_fixed(total, fraction_bits=job.scale)


def signed_residues(values: NDArray[Any]) -> NDArray[np.int64]:
    """Return residues, or int64 itself, read as signed integers."""
    width = values.dtype.itemsize
    return values.view(np.dtype(f"i{width}")).astype(np.int64, copy=False)
