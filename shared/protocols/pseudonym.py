"""One key for pseudonyms that all parties hold, and nobody else (design 5).

Every party seals a fresh contribution to every other, with the fingerprint of the key that it has
from an earlier release, if any. Where nobody has one, the key is HKDF-SHA256 of all contributions;
where some have one, it must be the same, and the first of them seals it to those that lack it. Then
every party proves to every other that it holds the key, by an HMAC bound to the session and its
name. The coordinator takes no part. Customers keep their pseudonyms as long as the key is kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from os import urandom

from cryptography.hazmat.primitives.constant_time import bytes_eq
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from shared.arrays import pack_value
from shared.errors import BadPeer, Refused
from shared.masks import derive_key
from shared.sealed import SealedChannel

KEY_BYTES = 32
_NO_KEY = bytes(KEY_BYTES)
_LOST = (
    "restore pseudonym.key from a backup, or remove it at every party: all customers then get new "
    "pseudonyms"
)


def agree_pseudonym_key(
    channel: SealedChannel,
    parties: Sequence[str],
    federation: str,
    own: bytes | None,
    *,
    entropy: Callable[[int], bytes] = urandom,
) -> bytes:
    """Agree on the key.

    Parameters
    ----------
    channel : SealedChannel
    parties : sequence of str
        All of them in the order of every protocol, the caller included.
    federation : str
        Its name: the key is bound to it.
    own : bytes or None
        The key from an earlier release, 32 bytes.
    entropy : callable
        Number to that many secret bytes.

    Returns
    -------
    bytes
        32 bytes, the same at every party.

    Raises
    ------
    Refused
        If parties hold different keys; names them.
    BadPeer
        If a party's message is malformed, or it does not hold the key; names it.
    """
    others = [name for name in parties if name != channel.me]
    contribution = entropy(KEY_BYTES)
    mark = _NO_KEY if own is None else _mark(own)
    channel.send_all(others, "pseudonym/share", contribution + mark)
    shares = {channel.me: contribution}
    marks = {channel.me: mark}
    for name in others:
        raw = channel.receive(name, "pseudonym/share")
        if len(raw) != 2 * KEY_BYTES:
            raise BadPeer("its share of the pseudonym key is malformed", party=name)
        shares[name], marks[name] = raw[:KEY_BYTES], raw[KEY_BYTES:]
    holders = [name for name in parties if marks[name] != _NO_KEY]
    if holders:
        key = _pass_on(channel, parties, holders, marks, own)
    else:
        joined = b"".join(shares[name] for name in parties)
        info = pack_value({"federation": federation, "parties": list(parties)})
        key = derive_key(joined, salt=b"confide/pseudonym-key/1", info=info)
    _confirm(channel, others, key)
    return key


def _pass_on(
    channel: SealedChannel,
    parties: Sequence[str],
    holders: Sequence[str],
    marks: Mapping[str, bytes],
    own: bytes | None,
) -> bytes:
    """Have the first party with the key seal it to those without."""
    astray = [name for name in holders if marks[name] != marks[holders[0]]]
    if astray:
        raise Refused(
            f"{holders[0]} and {', '.join(astray)} hold different pseudonym keys",
            hint=_LOST,
            party=astray[0],
        )
    lacking = [name for name in parties if name not in holders]
    if channel.me == holders[0] and own is not None:
        channel.send_all(lacking, "pseudonym/key", own)
    if own is not None:
        return own
    key = channel.receive(holders[0], "pseudonym/key")
    if len(key) != KEY_BYTES or not bytes_eq(_mark(key), marks[holders[0]]):
        raise BadPeer("its pseudonym key is not the one that it announced", party=holders[0])
    return key


def _confirm(channel: SealedChannel, others: Sequence[str], key: bytes) -> None:
    channel.send_all(others, "pseudonym/proof", _proof(channel, key, channel.me))
    for name in others:
        proof = channel.receive(name, "pseudonym/proof")
        if not bytes_eq(proof, _proof(channel, key, name)):
            raise BadPeer("it does not hold the pseudonym key that the others hold", party=name)


def _proof(channel: SealedChannel, key: bytes, name: str) -> bytes:
    code = HMAC(key, SHA256())
    code.update(channel.session.context(proof="pseudonym key", name=name))
    return code.finalize()


def _mark(key: bytes) -> bytes:
    """Return what tells keys apart and says nothing of a uniform one."""
    return hashlib.sha256(b"confide/pseudonym-key/1|" + key).digest()
