"""Secure sum: three or more parties add vectors; one named opener sees the sum, nothing else.

Pairwise masks with a self mask, after Bonawitz et al., "Practical Secure Aggregation for
Privacy-Preserving Machine Learning" (CCS 2017), with a restart in place of secret sharing: for 3 to
10 organisations most of that protocol is the handling of drop-outs. For parties `i` of a cohort and
a job with digest `H`, in Z_2^16, Z_2^32 or Z_2^64:

1. A fresh X25519 key, signed together with `H`, goes to every peer; everybody checks every
   signature over its own `H`. ``s_ij = HKDF(X25519(i, j), salt=H, info="mask" | i | j)``.
2. ``y_i = x_i + PRG(b_i) + sum_{j>i} PRG(s_ij) - sum_{j<i} PRG(s_ij)``; `y_i` goes to the
   coordinator, which adds.
3. A signed commitment to `y_i`, to the self-mask seed `b_i`, to the keys seen and to `x_i` under a
   fresh salt goes to every peer and then to the coordinator, which sends all of them to everybody
   once it holds every `y`. What it says of `x_i` is for audits (`shared.protocols.sum_audit`).
4. Only now, and only after its journal has durably noted (job, input, cohort), a party seals `b_i`
   to the opener. The opener subtracts the self masks from the sum; the pairwise masks cancel.

Whoever is missing before step 4 stops the job by name and nobody reveals; the survivors may restart
with the next attempt. After step 4 an input is bound to its cohort (`check_reveal`): otherwise a
delayed reveal and a restart would give two sums whose difference is one party's input.

The sum itself is not private by this protocol, and all parties but one can always subtract their
own inputs from it. A party can spoil the sum (its range is checked, its truth cannot be).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from os import urandom
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from numpy.typing import NDArray

from shared.arrays import pack_array, unpack_array
from shared.errors import BadPeer, Refused
from shared.identity import SIGNATURE_BYTES
from shared.masks import SEED_BYTES, derive_key
from shared.protocols.sum_audit import total_digest
from shared.protocols.sum_commit import (
    PURPOSE,
    SALT_BYTES,
    Commitment,
    Evidence,
    Opening,
    commit_input,
    masked_digest,
)
from shared.protocols.sum_job import (
    Residues,
    SumJob,
    SumJournal,
    check_reveal,
    decode,
    encode,
    input_digests,
    signed_residues,
)
from shared.protocols.sum_masks import mask, take_off
from shared.sealed import SealedChannel

__all__ = [
    "SumJob",
    "SumJournal",
    "check_reveal",
    "decode",
    "encode",
    "input_digests",
    "mask",
    "sum_coordinator",
    "sum_party",
]

_DIGEST = 32

#: Keeps what a sum leaves for later audits; see `sum_party`.
Keep = Callable[[Evidence, Opening], None]


def sum_party(
    channel: SealedChannel,
    job: SumJob,
    values: NDArray[Any],
    *,
    journal: SumJournal,
    entropy: Callable[[int], bytes] = urandom,
    known_by: NDArray[Any] | None = None,
    keep: Keep | None = None,
) -> NDArray[Any] | None:
    """Take part in a secure sum.

    Parameters
    ----------
    channel : SealedChannel
        Of a session that all of the cohort and the coordinator take part in.
    job : SumJob
        What all agreed on; a peer with any other job is refused.
    values : ndarray of shape (job.length,)
        Own input, see `encode`. Hand in real numbers as float64, so that the journal knows them
        again at another scale.
    journal : SumJournal
        Durable memory of this party's reveals.
    entropy : callable
        Takes a number of bytes, returns so many unpredictable ones.
    known_by : ndarray of float64 or int64, optional
        What the journal knows the input by, where the values themselves are fresh in every attempt:
        of shares, what does not change with them.
    keep : callable, optional
        Takes everybody's signed commitments and what opens one's own, before anything is revealed.

    Returns
    -------
    ndarray of int64 (scale 0) or float64, shape (job.length,), or None
        The sum if this party opens it, else None.

    Raises
    ------
    PartyLost
        If a peer is missing; names it.
    BadPeer
        If a peer shows another job, other keys or a forged message, or the sum is out of range.
    Refused
        If the job, the own input or the journal says no. No seed was sent.
    """
    _check_place(channel, job)
    if channel.me not in job.cohort:
        raise Refused(f"{channel.me!r} is not in the cohort of the sum {job.label!r}")
    residues = encode(values, job)

    secret = X25519PrivateKey.from_private_bytes(entropy(SEED_BYTES))
    keys = _exchange_keys(channel, job, secret)
    pair_seeds = {
        peer: _pair_seed(secret, keys[peer], job, channel.me, peer)
        for peer in _others(channel, job)
    }
    self_seed = entropy(SEED_BYTES)
    masked = mask(residues, channel.me, self_seed, pair_seeds)
    salt = entropy(SALT_BYTES)

    channel.send(job.coordinator, _tag(job, "masked"), pack_array(masked))
    hidden = commit_input(job, salt, residues)
    own = Commitment(_view(keys), masked_digest(masked), _sha256(self_seed), hidden)
    signed, commitments = _exchange_commitments(channel, job, own)
    if keep is not None:
        opening = Opening(channel.me, salt, self_seed, pair_seeds, residues)
        keep(_evidence(channel, job, signed), opening)

    for input_digest in input_digests(values if known_by is None else known_by, job):
        journal.reveal(job.digest, input_digest, job.cohort)
    if job.opener != channel.me:
        channel.send(job.opener, _tag(job, "seed"), self_seed)
        return None
    raw = channel.receive(job.coordinator, _tag(job, "total"))
    total = unpack_array(raw, job.dtype, (job.length,), cap=job.length)
    return decode(_opened(channel, job, total, commitments, {channel.me: self_seed}), job)


def sum_coordinator(
    channel: SealedChannel, job: SumJob, *, keep: Callable[[Evidence, str], None] | None = None
) -> NDArray[Any] | None:
    """Add the masked vectors of a secure sum; open it if the job says so.

    Parameters
    ----------
    channel : SealedChannel
    job : SumJob
    keep : callable, optional
        Takes everybody's signed commitments before anybody reveals, with an empty text; and again
        with the digest of the sum, where it is opened here.

    Returns
    -------
    ndarray of int64 (scale 0) or float64, shape (job.length,), or None
        The sum if the coordinator opens it, else None.

    Raises
    ------
    PartyLost
        If a party is missing; names it.
    BadPeer
        If a party's vector, commitment or seed do not belong together, or the sum is out of range.
    """
    _check_place(channel, job)
    if channel.me != job.coordinator:
        raise Refused(f"{channel.me!r} does not coordinate the sum {job.label!r}")
    total: Residues = np.zeros(job.length, dtype=job.dtype)
    commitments: dict[str, Commitment] = {}
    signed: dict[str, bytes] = {}
    for party in job.cohort:
        raw = channel.receive(party, _tag(job, "masked"))
        signed[party] = channel.receive(party, _tag(job, "commitment"))
        commitments[party] = _read_commitment(channel, job, party, signed[party])
        if _sha256(raw) != commitments[party].masked:
            raise BadPeer("the masked vector is not the one committed to", party=party)
        total += unpack_array(raw, job.dtype, (job.length,), cap=job.length)
    _check_views(commitments, commitments[job.cohort[0]].view)
    if keep is not None:  # a party that reveals can be sure of it
        keep(_evidence(channel, job, signed), "")
    channel.send_all(job.cohort, _tag(job, "commitments"), b"".join(signed.values()))
    here = job.opener == job.coordinator
    if here:
        total = _opened(channel, job, total, commitments, {})
    else:
        channel.send(job.opener, _tag(job, "total"), pack_array(total))
    if keep is not None and here:
        keep(_evidence(channel, job, signed), total_digest(job, total))
    return decode(total, job) if here else None


def _check_place(channel: SealedChannel, job: SumJob) -> None:
    present = {channel.me, *channel.peers}
    absent = sorted({*job.cohort, job.coordinator} - present)
    if absent:
        raise Refused(f"{', '.join(absent)} of the sum {job.label!r} take no part in this session")
    if job.run != channel.session.run:
        raise Refused(f"the sum {job.label!r} belongs to run {job.run!r}, not to this one")


def _exchange_keys(
    channel: SealedChannel, job: SumJob, secret: X25519PrivateKey
) -> dict[str, bytes]:
    """Return the public key of everybody in the cohort, each signed over the own job (step 1)."""
    digest = bytes.fromhex(job.digest)
    public = secret.public_key().public_bytes_raw()
    signature = channel.sign("sum key", digest + public)
    others = _others(channel, job)
    channel.send_all(others, _tag(job, "key"), digest + public + signature)
    keys = {channel.me: public}
    for peer in others:
        raw = channel.receive(peer, _tag(job, "key"))
        if len(raw) != 2 * _DIGEST + SIGNATURE_BYTES:
            raise BadPeer("the key message has the wrong length", party=peer)
        if raw[:_DIGEST] != digest:
            raise BadPeer(f"works on another job than {job.label!r} as shown here", party=peer)
        channel.verify(peer, "sum key", raw[: 2 * _DIGEST], raw[2 * _DIGEST :])
        keys[peer] = raw[_DIGEST : 2 * _DIGEST]
    return keys


def _exchange_commitments(
    channel: SealedChannel, job: SumJob, own: Commitment
) -> tuple[dict[str, bytes], dict[str, Commitment]]:
    """Return all commitments, signed and read, once the coordinator holds every vector (step 3).

    The coordinator's copy is sent last: if it arrived, so did everybody else's, and a party that
    dies in between leaves the coordinator silent and nobody reveals.
    """
    message = own.message
    message += channel.sign(PURPOSE, bytes.fromhex(job.digest) + message)
    others = _others(channel, job)
    channel.send_all((*others, job.coordinator), _tag(job, "commitment"), message)
    raw = {channel.me: message}
    raw |= {peer: channel.receive(peer, _tag(job, "commitment")) for peer in others}
    commitments = {party: _read_commitment(channel, job, party, raw[party]) for party in job.cohort}
    _check_views(commitments, own.view)
    if channel.receive(job.coordinator, _tag(job, "commitments")) != b"".join(
        raw[party] for party in job.cohort
    ):
        raise BadPeer("holds other commitments than the parties sent", party=job.coordinator)
    return raw, commitments


def _evidence(channel: SealedChannel, job: SumJob, signed: Mapping[str, bytes]) -> Evidence:
    keys = {party: channel.public_key(party) for party in job.cohort}
    return Evidence(job, channel.session, keys, {party: signed[party] for party in job.cohort})


def _read_commitment(channel: SealedChannel, job: SumJob, party: str, raw: bytes) -> Commitment:
    commitment, signature = Commitment.read(raw, party)
    message = bytes.fromhex(job.digest) + commitment.message
    channel.verify(party, PURPOSE, message, signature)
    return commitment


def _check_views(commitments: Mapping[str, Commitment], view: bytes) -> None:
    differing = sorted(party for party, one in commitments.items() if one.view != view)
    if differing:
        raise BadPeer(f"{', '.join(differing)} saw other keys in this sum: someone showed two")


def _opened(
    channel: SealedChannel,
    job: SumJob,
    total: Residues,
    commitments: Mapping[str, Commitment],
    seeds: Mapping[str, bytes],
) -> Residues:
    """Collect the missing seeds, subtract the self masks, check the range (step 4)."""
    opened: Residues = total.astype(job.dtype)  # a copy: what came off the wire is read-only
    for party in job.cohort:
        seed = seeds.get(party) or channel.receive(party, _tag(job, "seed"))
        if len(seed) != SEED_BYTES or _sha256(seed) != commitments[party].seed:
            raise BadPeer("the self-mask seed is not the one committed to", party=party)
        take_off(opened, seed)
    signed = signed_residues(opened)
    if int(signed.max()) > job.limit or int(signed.min()) < -job.limit:
        raise BadPeer(
            f"the sum {job.label!r} is beyond {len(job.cohort)} times its bound: "
            "a party's vector or the coordinator's addition is wrong"
        )
    return opened


def _pair_seed(secret: X25519PrivateKey, peer_key: bytes, job: SumJob, me: str, peer: str) -> bytes:
    try:
        shared_secret = secret.exchange(X25519PublicKey.from_public_bytes(peer_key))
    except ValueError as error:
        # A point of low order: its secret would be known to everybody.
        raise BadPeer("the key is no usable X25519 point", party=peer) from error
    first, second = (name.encode() for name in sorted((me, peer)))
    info = b"mask" + len(first).to_bytes(2, "big") + first + second
    return derive_key(shared_secret, salt=bytes.fromhex(job.digest), info=info)


def _view(keys: Mapping[str, bytes]) -> bytes:
    return _sha256(b"".join(keys[party] for party in sorted(keys)))


def _others(channel: SealedChannel, job: SumJob) -> Collection[str]:
    return tuple(party for party in job.cohort if party != channel.me)


def _tag(job: SumJob, step: str) -> str:
    return f"sum/{job.label}/{job.attempt}/{step}"


def _sha256(raw: bytes) -> bytes:
    return hashlib.sha256(raw).digest()
