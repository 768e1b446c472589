"""Secure sum: three or more parties add vectors; one named opener sees the sum, nothing else.

Pairwise masks with a self mask, after Bonawitz et al., "Practical Secure Aggregation for
Privacy-Preserving Machine Learning" (CCS 2017), with a restart in place of secret sharing: for 3 to
10 organisations most of that protocol is the handling of drop-outs. For parties `i` of a cohort and
a job with digest `H`, in Z_2^16, Z_2^32 or Z_2^64:

1. A fresh X25519 key, signed together with `H`, goes to every peer; everybody checks every
   signature over its own `H`. ``s_ij = HKDF(X25519(i, j), salt=H, info="mask" | i | j)``.
2. ``y_i = x_i + PRG(b_i) + sum_{j>i} PRG(s_ij) - sum_{j<i} PRG(s_ij)``; `y_i` goes to the
   coordinator, which adds.
3. A signed commitment to `y_i`, to the self-mask seed `b_i` and to the keys seen goes to every peer
   and then to the coordinator, which sends all of them to everybody once it holds every `y`.
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
from dataclasses import dataclass
from os import urandom
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from numpy.typing import NDArray

from shared.arrays import pack_array, unpack_array
from shared.errors import BadPeer, Refused
from shared.identity import SIGNATURE_BYTES
from shared.masks import SEED_BYTES, Keystream, derive_key
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
_SELF = "sum/self"
_PAIR = "sum/pair"
# Elements masked at a time: bounds the memory of the keystreams, at no cost in time.
_CHUNK = 1 << 15


def mask(
    residues: Residues, me: str, self_seed: bytes, pair_seeds: Mapping[str, bytes]
) -> Residues:
    """Return ``y``: an input under its self mask and the pairwise masks (step 2).

    Parameters
    ----------
    residues : ndarray of uint16 or uint64
        The input in the ring.
    me : str
        Own name; the order of names decides the signs.
    self_seed : bytes
        32 bytes.
    pair_seeds : mapping of str to bytes
        32 bytes for each peer of the cohort.

    Returns
    -------
    ndarray of the same type and shape
    """
    masked = residues.copy()
    plus = [Keystream(self_seed, _SELF)]
    minus: list[Keystream] = []
    for peer, seed in pair_seeds.items():
        (plus if me < peer else minus).append(Keystream(seed, _PAIR))
    _add_streams(masked, plus, minus)
    return masked


def sum_party(
    channel: SealedChannel,
    job: SumJob,
    values: NDArray[Any],
    *,
    journal: SumJournal,
    entropy: Callable[[int], bytes] = urandom,
    known_by: NDArray[Any] | None = None,
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
    masked = pack_array(mask(residues, channel.me, self_seed, pair_seeds))

    channel.send(job.coordinator, _tag(job, "masked"), masked)
    own = _Commitment(_view(keys), _sha256(masked), _sha256(self_seed))
    commitments = _exchange_commitments(channel, job, own)

    for input_digest in input_digests(values if known_by is None else known_by, job):
        journal.reveal(job.digest, input_digest, job.cohort)
    if job.opener != channel.me:
        channel.send(job.opener, _tag(job, "seed"), self_seed)
        return None
    raw = channel.receive(job.coordinator, _tag(job, "total"))
    total = unpack_array(raw, job.dtype, (job.length,), cap=job.length)
    return _opened(channel, job, total, commitments, {channel.me: self_seed})


def sum_coordinator(channel: SealedChannel, job: SumJob) -> NDArray[Any] | None:
    """Add the masked vectors of a secure sum; open it if the job says so.

    Parameters
    ----------
    channel : SealedChannel
    job : SumJob

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
    commitments: dict[str, _Commitment] = {}
    signed = b""
    for party in job.cohort:
        raw = channel.receive(party, _tag(job, "masked"))
        message = channel.receive(party, _tag(job, "commitment"))
        commitments[party] = _read_commitment(channel, job, party, message)
        if _sha256(raw) != commitments[party].masked:
            raise BadPeer("the masked vector is not the one committed to", party=party)
        total += unpack_array(raw, job.dtype, (job.length,), cap=job.length)
        signed += message
    _check_views(commitments, commitments[job.cohort[0]].view)
    channel.send_all(job.cohort, _tag(job, "commitments"), signed)
    if job.opener != job.coordinator:
        channel.send(job.opener, _tag(job, "total"), pack_array(total))
        return None
    return _opened(channel, job, total, commitments, {})


@dataclass(frozen=True, slots=True)
class _Commitment:
    """SHA-256 of the keys a party saw, of its masked vector, and of its self-mask seed."""

    view: bytes
    masked: bytes
    seed: bytes

    @property
    def message(self) -> bytes:
        return self.view + self.masked + self.seed


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
    channel: SealedChannel, job: SumJob, own: _Commitment
) -> dict[str, _Commitment]:
    """Return the commitments of the whole cohort, once the coordinator holds every vector (step 3).

    The coordinator's copy is sent last: if it arrived, so did everybody else's, and a party that
    dies in between leaves the coordinator silent and nobody reveals.
    """
    message = own.message
    message += channel.sign("sum commitment", bytes.fromhex(job.digest) + message)
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
    return commitments


def _read_commitment(channel: SealedChannel, job: SumJob, party: str, raw: bytes) -> _Commitment:
    if len(raw) != 3 * _DIGEST + SIGNATURE_BYTES:
        raise BadPeer("the commitment has the wrong length", party=party)
    message, signature = raw[: 3 * _DIGEST], raw[3 * _DIGEST :]
    channel.verify(party, "sum commitment", bytes.fromhex(job.digest) + message, signature)
    return _Commitment(message[:_DIGEST], message[_DIGEST : 2 * _DIGEST], message[2 * _DIGEST :])


def _check_views(commitments: Mapping[str, _Commitment], view: bytes) -> None:
    differing = sorted(party for party, one in commitments.items() if one.view != view)
    if differing:
        raise BadPeer(f"{', '.join(differing)} saw other keys in this sum: someone showed two")


def _opened(
    channel: SealedChannel,
    job: SumJob,
    total: Residues,
    commitments: Mapping[str, _Commitment],
    seeds: Mapping[str, bytes],
) -> NDArray[Any]:
    """Collect the missing seeds, subtract the self masks, check the range, decode (step 4)."""
    opened: Residues = total.astype(job.dtype)  # a copy: what came off the wire is read-only
    for party in job.cohort:
        seed = seeds.get(party) or channel.receive(party, _tag(job, "seed"))
        if len(seed) != SEED_BYTES or _sha256(seed) != commitments[party].seed:
            raise BadPeer("the self-mask seed is not the one committed to", party=party)
        _add_streams(opened, (), (Keystream(seed, _SELF),))
    signed = signed_residues(opened)
    if int(signed.max()) > job.limit or int(signed.min()) < -job.limit:
        raise BadPeer(
            f"the sum {job.label!r} is beyond {len(job.cohort)} times its bound: "
            "a party's vector or the coordinator's addition is wrong"
        )
    return decode(opened, job)


def _pair_seed(secret: X25519PrivateKey, peer_key: bytes, job: SumJob, me: str, peer: str) -> bytes:
    try:
        shared_secret = secret.exchange(X25519PublicKey.from_public_bytes(peer_key))
    except ValueError as error:
        # A point of low order: its secret would be known to everybody.
        raise BadPeer("the key is no usable X25519 point", party=peer) from error
    first, second = (name.encode() for name in sorted((me, peer)))
    info = b"mask" + len(first).to_bytes(2, "big") + first + second
    return derive_key(shared_secret, salt=bytes.fromhex(job.digest), info=info)


def _add_streams(
    residues: Residues, plus: Collection[Keystream], minus: Collection[Keystream]
) -> None:
    """Add keystreams to residues and subtract others, in place."""
    for start in range(0, residues.size, _CHUNK):
        part = residues[start : start + _CHUNK]
        for stream in plus:
            part += stream.elements(part.shape, residues.dtype.type)
        for stream in minus:
            part -= stream.elements(part.shape, residues.dtype.type)


def _view(keys: Mapping[str, bytes]) -> bytes:
    return _sha256(b"".join(keys[party] for party in sorted(keys)))


def _others(channel: SealedChannel, job: SumJob) -> Collection[str]:
    return tuple(party for party in job.cohort if party != channel.me)


def _tag(job: SumJob, step: str) -> str:
    return f"sum/{job.label}/{job.attempt}/{step}"


def _sha256(raw: bytes) -> bytes:
    return hashlib.sha256(raw).digest()
