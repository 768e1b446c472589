"""An audit of a secure sum: what a party opens is what it signed, masked, and had added.

A party that opens shows its input whole, to the auditor alone. The others' stay hidden: the masks
of all but two tell nothing of these two that the inputs opened do not. When all but one open, the
last one's input follows, as in any sum.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.errors import BadPeer, Refused
from shared.identity import Roster
from shared.masks import SEED_BYTES
from shared.protocols.sum_commit import (
    SALT_BYTES,
    Evidence,
    Opening,
    canonical,
    commit_input,
    masked_digest,
)
from shared.protocols.sum_job import Residues, SumJob, decode, signed_residues
from shared.protocols.sum_masks import mask


def check_opening(evidence: Evidence, roster: Roster, opening: Opening) -> NDArray[Any]:
    """Return the input that a party opens, once it is the one that it put into the sum.

    Parameters
    ----------
    evidence : Evidence
        As somebody else than the party kept it: it could sign a second commitment today.
    roster : Roster
        The pinned keys.
    opening : Opening

    Returns
    -------
    ndarray of int64 (scale 0) or float64, shape (job.length,)

    Raises
    ------
    BadPeer
        Names the party, and what does not fit: its signature, the input committed to, the masked
        vector that it handed in, or the bound of the sum.
    """
    job, party = evidence.job, opening.party
    commitments = evidence.commitments(roster)
    if party not in commitments:
        raise BadPeer(f"put nothing into the sum {job.label!r}", party=party)
    own, residues = commitments[party], opening.residues
    if residues.dtype != job.dtype or residues.shape != (job.length,):
        raise BadPeer(f"opens something else than an input of the sum {job.label!r}", party=party)
    if len(opening.salt) != SALT_BYTES or commit_input(job, opening.salt, residues) != own.input:
        raise BadPeer("what it opens is not the input that it committed to", party=party)
    seeds = {"": opening.self_seed, **opening.pair_seeds}
    peers = set(job.cohort) - {party}
    whole = opening.pair_seeds.keys() == peers and {len(s) for s in seeds.values()} == {SEED_BYTES}
    if not whole or hashlib.sha256(opening.self_seed).digest() != own.seed:
        raise BadPeer("the seeds that it opens are not those of its masks", party=party)
    masked = mask(residues, party, opening.self_seed, opening.pair_seeds)
    if masked_digest(masked) != own.masked:
        raise BadPeer("the input that it committed to is not the one it masked", party=party)
    if not job.shares and int(np.abs(signed_residues(residues).astype(object)).max()) > job.bound:
        raise BadPeer(f"its input is beyond the bound of the sum {job.label!r}", party=party)
    return decode(residues, job)


def check_total(evidence: Evidence, openings: Mapping[str, Opening], opened: str) -> None:
    """Check that the opened sum is the sum of all inputs; each opening is checked already.

    Parameters
    ----------
    evidence : Evidence
    openings : mapping of str to Opening
        By party; the whole cohort.
    opened : str
        `total_digest` of the sum that was opened, as its opener noted it.

    Raises
    ------
    Refused
        If a party has not opened; names it.
    BadPeer
        If the sums differ; names who opened.
    """
    job = evidence.job
    missing = [party for party in job.cohort if party not in openings]
    if missing:
        raise Refused(
            f"has not opened its input of the sum {job.label!r}: the sum cannot be checked",
            hint="ask it for its opening",
            party=missing[0],
        )
    total: Residues = np.zeros(job.length, dtype=job.dtype)
    for party in job.cohort:
        total += openings[party].residues
    if total_digest(job, total) != opened:
        raise BadPeer("the sum that was opened is not the sum of the inputs", party=job.opener)


def total_digest(job: SumJob, total: Residues) -> str:
    """Return the SHA-256 of an opened sum and its job, hex."""
    return hashlib.sha256(bytes.fromhex(job.digest) + canonical(total)).hexdigest()
