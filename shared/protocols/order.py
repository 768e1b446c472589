"""Do all parties hold the same customers in the same order? A check the coordinator cannot forge.

The last step of the alignment (design 4.1): the builder makes a key that the coordinator never
has and seals it to the other parties; each sends the builder an HMAC of its common ids in order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from cryptography.hazmat.primitives.constant_time import bytes_eq
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from shared.arrays import pack_value, unpack_value
from shared.channel import Channel
from shared.errors import BadPeer

_KEY_BYTES = 32
_MESSAGE_CAP = 1 << 12


def confirm_order(
    channel: Channel,
    parties: Sequence[str],
    builder: str,
    domain: bytes,
    ids: Sequence[str],
    *,
    rng: Callable[[int], bytes],
) -> bytes:
    """Make sure that every party holds the same ids in the same order.

    Parameters
    ----------
    channel : Channel
        Sealed; reaches all parties.
    parties : sequence of str
        All of them, the builder and the caller included.
    builder : str
        Who compares.
    domain : bytes
        What the check is bound to.
    ids : sequence of str
        Own common ids, in the common order.
    rng : callable
        Number to that many random bytes, from a cryptographic source.

    Returns
    -------
    bytes
        The HMAC-SHA256 that all parties share, 32 bytes.

    Raises
    ------
    BadPeer
        If ids or order differ, at every party alike; names the one that stands alone.
    """
    others = [name for name in parties if name != builder]
    if channel.me == builder:
        key = rng(_KEY_BYTES)
        channel.send_all(others, "align/key", key)
        check = _digest(key, domain, ids)
        checks = {name: channel.receive(name, "align/order") for name in others}
        astray = _astray(builder, check, checks)
        channel.send_all(others, "align/verdict", pack_value({"astray": astray}))
    else:
        key = channel.receive(builder, "align/key")
        with blaming(builder):
            check_length(key, _KEY_BYTES)
        check = _digest(key, domain, ids)
        channel.send(builder, "align/order", check)
        astray = _read_verdict(channel.receive(builder, "align/verdict"), parties, builder)
    if astray:
        raise BadPeer(
            f"the common ids or their order at {', '.join(map(repr, astray))} differ from the rest",
            hint="the coordinator returned wrong positions, or masked values were changed",
            party=astray[0],
        )
    return check


def _digest(key: bytes, domain: bytes, ids: Sequence[str]) -> bytes:
    code = HMAC(key, SHA256())
    for raw in (domain, *(text.encode() for text in ids)):
        code.update(len(raw).to_bytes(4, "big") + raw)
    return code.finalize()


def _astray(builder: str, own: bytes, checks: Mapping[str, bytes]) -> list[str]:
    differing = [name for name, check in checks.items() if not bytes_eq(check, own)]
    # Two or more others that agree with each other and not with the builder point at the builder.
    if len(differing) == len(checks) > 1 and len(set(checks.values())) == 1:
        return [builder]
    return differing


def _read_verdict(payload: bytes, parties: Sequence[str], builder: str) -> list[str]:
    with blaming(builder):
        astray = read_field(payload, "astray")
        if not isinstance(astray, list) or not all(name in parties for name in astray):
            raise BadPeer("the verdict on the common order is malformed")
    return astray


def read_field(payload: bytes, field: str) -> Any:
    """Read a message that says one thing.

    Raises
    ------
    BadPeer
        If it says anything else.
    """
    value = unpack_value(payload, cap=_MESSAGE_CAP)
    if not isinstance(value, dict) or value.keys() != {field}:
        raise BadPeer(f"a message must say {field!r} and nothing else")
    return value[field]


def check_length(payload: bytes, expected: int) -> None:
    """Refuse a message that has not the one length it can have.

    Raises
    ------
    BadPeer
        If the length differs.
    """
    if len(payload) != expected:
        raise BadPeer(f"a message of the alignment has {len(payload)} bytes, expected {expected}")


@contextmanager
def blaming(sender: str) -> Iterator[None]:
    """Name the sender in every `BadPeer` that is raised inside."""
    try:
        yield
    except BadPeer as error:
        raise BadPeer(error.message, hint=error.hint, party=sender) from error
