"""Groups for the alignment: ids become points, points are masked by secret exponents.

Masking commutes: `mask(mask(h, a), b) == mask(mask(h, b), a)`, so two parties can compare ids that
each of them masked (Meadows 1986; Huberman, Franklin, Hogg 1999). Points travel as x coordinates
of 32 bytes. Two backends from `cryptography`, the default chosen by `scripts/bench_alignment.py`:

- `x25519`: Curve25519 (RFC 7748). Any 32 bytes are a u coordinate, half of them on the quadratic
  twist, and masking keeps that side: hashing blindly would leak one bit an id. So ids are hashed
  until u lies *on* the curve, and a peer's point on the twist is refused.
- `p256`: x coordinates of NIST P-256, a curve of prime order.

One multiplication holds the interpreter's lock, so parties hand in the `map` of a process pool.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Protocol, TypeVar

from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDH,
    SECP256R1,
    EllipticCurvePublicKey,
    derive_private_key,
)
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from gmpy2 import jacobi, mpz

from shared.errors import BadPeer

POINT_BYTES = 32
#: Items that one call of a mapper's function works on: about 0.1 s.
CHUNK = 2048

_Item = TypeVar("_Item", bound=Sequence[bytes] | bytes)

_FIELD_25519 = mpz(2**255 - 19)
_CURVE_25519 = 486662

_FIELD_P256 = mpz(2**256 - 2**224 + 2**192 + 2**96 - 1)
_ORDER_P256 = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_B_P256 = mpz(0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B)


class Mapper(Protocol):
    """How chunks are worked on: like the builtin `map`, or the `map` of an executor."""

    def __call__(
        self, function: Callable[[_Item], bytes], items: Sequence[_Item], /
    ) -> Iterable[bytes]:
        """Return the results in the order of the items."""


def in_process(function: Callable[[_Item], bytes], items: Sequence[_Item]) -> Iterable[bytes]:
    """Work on chunks one after the other, here: the default mapper."""
    return map(function, items)


class Group(Protocol):
    """A group in which discrete logarithms are hard, with points of 32 bytes."""

    @property
    def name(self) -> str:
        """Name in `GROUPS` and in a signed job."""

    def hash_to_group(self, ids: Sequence[bytes], domain: bytes) -> bytes:
        """Return one point an id, in order.

        Parameters
        ----------
        ids : sequence of bytes
        domain : bytes
            What the points are for; other domains give unrelated points.

        Returns
        -------
        bytes
            32 bytes an id. Time varies with the id, so only a party's own ids are hashed.
        """

    def fresh_exponent(self, rng: Callable[[int], bytes] = os.urandom) -> bytes:
        """Return a secret exponent, 32 bytes, from a cryptographic source of random bytes."""

    def mask(self, points: bytes, exponent: bytes, *, own: bool = False) -> bytes:
        """Raise every point to the exponent; the order is kept.

        Parameters
        ----------
        points : bytes
            32 bytes a point.
        exponent : bytes
            From `fresh_exponent`.
        own : bool
            The points come from `hash_to_group` right here and need no second check.

        Returns
        -------
        bytes
            32 bytes a point.

        Raises
        ------
        BadPeer
            If a point is cut short, of low order or off the curve. Skipping it instead would tell
            a cheat which of its points were good.
        """


@dataclass(frozen=True, slots=True)
class X25519:
    """Curve25519 by u coordinate; clamped scalars (RFC 7748)."""

    name: str = "x25519"

    def hash_to_group(self, ids: Sequence[bytes], domain: bytes) -> bytes:
        """Return one point on the curve an id; see `Group.hash_to_group`."""
        return _try_and_increment(ids, domain, _candidate_25519)

    def fresh_exponent(self, rng: Callable[[int], bytes] = os.urandom) -> bytes:
        """Return a secret scalar; it is clamped where it is used."""
        return rng(32)

    def mask(self, points: bytes, exponent: bytes, *, own: bool = False) -> bytes:
        """Multiply every point by the scalar; see `Group.mask`."""
        listed = _split(points)
        if not own and not all(map(_on_curve_25519, listed)):
            raise BadPeer("a point to mask is not on the curve x25519")
        exchange = X25519PrivateKey.from_private_bytes(exponent).exchange
        load = X25519PublicKey.from_public_bytes
        try:
            return b"".join([exchange(load(point)) for point in listed])
        except ValueError as error:
            raise BadPeer("a point to mask is of low order on x25519") from error


@dataclass(frozen=True, slots=True)
class P256:
    """NIST P-256 by x coordinate; the order is prime, so no point has low order."""

    name: str = "p256"

    def hash_to_group(self, ids: Sequence[bytes], domain: bytes) -> bytes:
        """Return one point on the curve an id; see `Group.hash_to_group`."""
        return _try_and_increment(ids, domain, _candidate_p256)

    def fresh_exponent(self, rng: Callable[[int], bytes] = os.urandom) -> bytes:
        """Return a secret scalar between 1 and the order, without bias."""
        while True:
            scalar = rng(32)
            if 0 < int.from_bytes(scalar, "big") < _ORDER_P256:
                return scalar

    def mask(self, points: bytes, exponent: bytes, *, own: bool = False) -> bytes:  # noqa: ARG002
        """Multiply every point by the scalar; see `Group.mask`.

        Decoding a point takes its square root, which checks it: `own` saves nothing here.
        """
        listed = _split(points)
        curve, ecdh, load = SECP256R1(), ECDH(), EllipticCurvePublicKey.from_encoded_point
        exchange = derive_private_key(int.from_bytes(exponent, "big"), curve).exchange
        try:
            return b"".join([exchange(ecdh, load(curve, b"\x02" + point)) for point in listed])
        except ValueError as error:
            raise BadPeer("a point to mask is not on the curve p256") from error


GROUPS: Mapping[str, Group] = {group.name: group for group in (X25519(), P256())}
#: The fastest sound backend of `scripts/bench_alignment.py`: half the time of `p256`.
DEFAULT_GROUP = "x25519"


def map_chunks(
    function: Callable[[_Item], bytes], items: _Item, mapper: Mapper, *, size: int
) -> bytes:
    """Cut items into chunks, work on them through a mapper, and join the results in order.

    Parameters
    ----------
    function : callable
        Takes one chunk; must be picklable for a process pool.
    items : sequence of bytes, or bytes
        What to cut.
    mapper : Mapper
        Where the work is done.
    size : int
        Length of a chunk.

    Returns
    -------
    bytes
    """
    chunks = [items[start : start + size] for start in range(0, len(items), size)]
    return b"".join(mapper(function, chunks))  # type: ignore[arg-type]


def mask_ids(
    group: str, ids: Sequence[bytes], domain: bytes, exponent: bytes, mapper: Mapper = in_process
) -> bytes:
    """Hash own ids to the group and mask them, chunk by chunk.

    Parameters
    ----------
    group : str
        Name in `GROUPS`.
    ids : sequence of bytes
        Own ids.
    domain : bytes
        What the points are for.
    exponent : bytes
        Secret.
    mapper : Mapper
        Where the work is done.

    Returns
    -------
    bytes
        32 bytes an id, in order.
    """
    work = partial(_mask_ids, group, domain, exponent)
    return map_chunks(work, ids, mapper, size=CHUNK)


def remask(group: str, points: bytes, exponent: bytes, mapper: Mapper = in_process) -> bytes:
    """Check and mask points that a peer sent, chunk by chunk.

    Parameters
    ----------
    group : str
        Name in `GROUPS`.
    points : bytes
        32 bytes a point.
    exponent : bytes
        Secret.
    mapper : Mapper
        Where the work is done.

    Returns
    -------
    bytes
        32 bytes a point, in order.

    Raises
    ------
    BadPeer
        If a point is cut short, of low order or off the curve.
    """
    work = partial(_remask, group, exponent)
    return map_chunks(work, points, mapper, size=CHUNK * POINT_BYTES)


def _mask_ids(group: str, domain: bytes, exponent: bytes, ids: Sequence[bytes]) -> bytes:
    backend = GROUPS[group]
    return backend.mask(backend.hash_to_group(ids, domain), exponent, own=True)


def _remask(group: str, exponent: bytes, points: bytes) -> bytes:
    return GROUPS[group].mask(points, exponent)


def _split(points: bytes) -> list[bytes]:
    if len(points) % POINT_BYTES:
        raise BadPeer(f"{len(points)} bytes are not a whole number of {POINT_BYTES}-byte points")
    return [points[at : at + POINT_BYTES] for at in range(0, len(points), POINT_BYTES)]


def _try_and_increment(
    ids: Sequence[bytes], domain: bytes, candidate: Callable[[bytes], bytes | None]
) -> bytes:
    sha256 = hashlib.sha256
    # A prefix and a counter of fixed width keep (domain, counter, id) apart without length fields.
    prefix = sha256(domain).digest()
    points = []
    for identifier in ids:
        for tries in count():
            digest = sha256(prefix + tries.to_bytes(2, "big") + identifier).digest()
            point = candidate(digest)
            if point is not None:
                points.append(point)
                break
    return b"".join(points)


def _candidate_25519(digest: bytes) -> bytes | None:
    # One u in 2^250 is not below the prime and has to try again; all others are equally likely.
    u = mpz.from_bytes(digest, "little").bit_clear(255)
    return u.to_bytes(POINT_BYTES, "little") if _solvable_25519(u) else None


def _on_curve_25519(point: bytes) -> bool:
    return _solvable_25519(mpz.from_bytes(point, "little"))


def _solvable_25519(u: mpz) -> bool:
    # v^2 = u^3 + A u^2 + u has a solution; 0 has symbol 0 and is refused with the twist.
    return bool(u < _FIELD_25519 and jacobi(u * (u * (u + _CURVE_25519) + 1), _FIELD_25519) == 1)


def _candidate_p256(digest: bytes) -> bytes | None:
    x = mpz.from_bytes(digest, "big")
    solvable = x < _FIELD_P256 and jacobi(x * x * x - 3 * x + _B_P256, _FIELD_P256) == 1
    return digest if solvable else None
