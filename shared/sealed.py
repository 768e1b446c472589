"""Sealed envelopes: what a relay carries is ciphertext from one party to another.

At the start of a phase everybody sends a *hello*: a fresh X25519 key, signed by the pinned Ed25519
identity together with the session. From then on every payload is one envelope::

    version | ephemeral X25519 key | content key, wrapped | signature | ciphertext
       1    |          32          |          48          |    64     |

The content key is fresh; the ciphertext is ChaCha20-Poly1305 under it. The content key is wrapped
for the recipient under HKDF-SHA256 of the X25519 secret between a fresh ephemeral key and the
recipient's hello. The Ed25519 signature covers the session (run, phase, attempt, agreement),
sender, recipient, tag, sequence, and the hash of all the rest. What goes to several peers is
encrypted once and wrapped for each. A relay sees names, tags and sizes.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import pairwise
from os import urandom
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from shared.arrays import pack_value, unpack_value
from shared.channel import Channel
from shared.errors import BadPeer, ContractChanged
from shared.identity import SIGNATURE_BYTES, Identity, Roster
from shared.masks import derive_key

_VERSION = b"\x01"
_KEY = 32
_WRAPPED = _KEY + 16
_HEADER = 1 + _KEY + _WRAPPED + SIGNATURE_BYTES
# Every key below encrypts exactly one message, so its nonce may stand at zero.
_NONCE = bytes(12)


@dataclass(frozen=True, slots=True)
class Session:
    """What every envelope of a phase is bound to.

    Parameters
    ----------
    run : str
        Identifier of the run.
    phase : str
        `align`, `moments`, `score`, ...
    attempt : int
        Rises with every restart of the phase.
    agreement : str
        Digest of all that the parties must agree on: contract, federation file, job.
    """

    run: str
    phase: str
    attempt: int
    agreement: str

    def context(self, **details: Any) -> bytes:
        """Return canonical bytes of the session with further details."""
        return pack_value({**asdict(self), **details})


class SealedChannel:
    """A `Channel` whose payloads only their recipient can read, and nobody can alter or move.

    Use `SealedChannel.open`.
    """

    def __init__(
        self,
        transport: Channel,
        identity: Identity,
        session: Session,
        keys: dict[str, tuple[bytes, bytes]],
        secret: X25519PrivateKey,
        roster: Roster,
    ) -> None:
        self._transport = transport
        self._identity = identity
        self._session = session
        self._keys = keys
        self._secret = secret
        self._roster = roster
        self._sent: Counter[tuple[str, str]] = Counter()
        self._received: Counter[tuple[str, str]] = Counter()

    @classmethod
    def open(
        cls, transport: Channel, identity: Identity, roster: Roster, session: Session
    ) -> SealedChannel:
        """Exchange hellos with every peer and return the sealed channel.

        Raises
        ------
        BadPeer
            If a hello is not signed by the pinned identity for this very session.
        ContractChanged
            If a peer works on another contract, federation file or job.
        """
        secret = X25519PrivateKey.generate()
        public = secret.public_key().public_bytes_raw()
        signature = identity.sign("hello", session.context(name=identity.name, key=public.hex()))
        hello = {
            "agreement": session.agreement,
            "identity": identity.public_key.hex(),
            "key": public.hex(),
            "signature": signature.hex(),
        }
        transport.send_all(transport.peers, "hello", pack_value(hello))
        keys = {
            peer: _check_hello(peer, transport.receive(peer, "hello"), roster, session)
            for peer in transport.peers
        }
        return cls(transport, identity, session, keys, secret, roster)

    @property
    def me(self) -> str:
        """Own name."""
        return self._transport.me

    @property
    def peers(self) -> tuple[str, ...]:
        """Names of everybody else."""
        return self._transport.peers

    @property
    def session(self) -> Session:
        """What every envelope is bound to."""
        return self._session

    def public_key(self, name: str) -> bytes:
        """Return the Ed25519 public key of `name`, which the roster pins."""
        return self._identity.public_key if name == self.me else self._keys[name][0]

    def sign(self, purpose: str, message: bytes) -> bytes:
        """Sign for others to check with `verify`, bound to this session."""
        return self._identity.sign(purpose, self._session.context(message=message.hex()))

    def verify(self, name: str, purpose: str, message: bytes, signature: bytes) -> None:
        """Check what `name` signed with `sign` in this session.

        Raises
        ------
        BadPeer
            If the signature is not valid.
        """
        context = self._session.context(message=message.hex())
        self._roster.verify(name, self.public_key(name), purpose, context, signature)

    def send(self, to: str, tag: str, payload: bytes) -> None:
        """Seal bytes to one peer and send them."""
        self.send_all((to,), tag, payload)

    def send_all(self, to: Iterable[str], tag: str, payload: bytes) -> None:
        """Encrypt bytes once, seal the content key to each peer, and send."""
        content_key = urandom(_KEY)
        ciphertext = ChaCha20Poly1305(content_key).encrypt(_NONCE, payload, b"")
        digest = hashlib.sha256(ciphertext).digest()
        for peer in to:
            if peer not in self._keys:
                raise BadPeer(f"{peer!r} takes no part in this run")
            self._sent[peer, tag] += 1
            context = self._context(self.me, peer, tag, self._sent[peer, tag])
            header = self._seal_key(peer, content_key, context, digest)
            self._transport.send(peer, tag, header + ciphertext)

    def receive(self, frm: str, tag: str) -> bytes:
        """Return the next message of a sender under a tag, opened and checked."""
        envelope = self._transport.receive(frm, tag)
        self._received[frm, tag] += 1
        context = self._context(frm, self.me, tag, self._received[frm, tag])
        return self._open(frm, envelope, context)

    def _context(self, sender: str, recipient: str, tag: str, sequence: int) -> bytes:
        return self._session.context(sender=sender, recipient=recipient, tag=tag, sequence=sequence)

    def _seal_key(self, peer: str, content_key: bytes, context: bytes, digest: bytes) -> bytes:
        ephemeral = X25519PrivateKey.generate()
        point = ephemeral.public_key().public_bytes_raw()
        peer_key = self._keys[peer][1]
        secret = ephemeral.exchange(X25519PublicKey.from_public_bytes(peer_key))
        key = derive_key(secret, salt=point + peer_key, info=b"confide/envelope/1")
        wrapped = ChaCha20Poly1305(key).encrypt(_NONCE, content_key, context)
        signature = self._identity.sign("envelope", context + point + wrapped + digest)
        return _VERSION + point + wrapped + signature

    def _open(self, sender: str, envelope: bytes, context: bytes) -> bytes:
        if len(envelope) < _HEADER or envelope[:1] != _VERSION:
            raise BadPeer("an envelope is cut short or of an unknown version", party=sender)
        point, wrapped, signature, ciphertext = _split(envelope)
        digest = hashlib.sha256(ciphertext).digest()
        self._roster.verify(
            sender, self._keys[sender][0], "envelope", context + point + wrapped + digest, signature
        )
        own = self._secret.public_key().public_bytes_raw()
        try:
            secret = self._secret.exchange(X25519PublicKey.from_public_bytes(point))
            key = derive_key(secret, salt=point + own, info=b"confide/envelope/1")
            content_key = ChaCha20Poly1305(key).decrypt(_NONCE, wrapped, context)
            return ChaCha20Poly1305(content_key).decrypt(_NONCE, bytes(ciphertext), b"")
        except (InvalidTag, ValueError) as error:
            raise BadPeer("an envelope does not open with its own keys", party=sender) from error


def _split(envelope: bytes) -> tuple[bytes, bytes, bytes, memoryview]:
    view = memoryview(envelope)
    stops = (1, 1 + _KEY, 1 + _KEY + _WRAPPED, _HEADER)
    point, wrapped, signature = (bytes(view[a:b]) for a, b in pairwise(stops))
    return point, wrapped, signature, view[_HEADER:]


def _check_hello(peer: str, raw: bytes, roster: Roster, session: Session) -> tuple[bytes, bytes]:
    hello = unpack_value(raw, cap=4096)
    try:
        identity, key, signature = (
            bytes.fromhex(hello[field]) for field in ("identity", "key", "signature")
        )
        agreement = str(hello["agreement"])
    except (KeyError, TypeError, ValueError) as error:
        raise BadPeer("a hello is malformed", party=peer) from error
    theirs = Session(session.run, session.phase, session.attempt, agreement)
    roster.verify(peer, identity, "hello", theirs.context(name=peer, key=key.hex()), signature)
    if agreement != session.agreement:
        raise ContractChanged(
            "federation",
            [f"{peer} works on another contract, federation file or job than this party"],
            hint="compare `confide config show` and the contract's digest at both",
        )
    return identity, key
