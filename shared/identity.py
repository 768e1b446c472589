"""Who is who: Ed25519 identities, and the rosters that pin them.

A party is known by the fingerprint of its Ed25519 public key, pinned in `federation.toml`. Names
and keys are never taken from the coordinator: a public key counts only if it hashes to the pin.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_ssh_public_key,
)

from shared.errors import BadPeer, DataError, Refused

PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64


def fingerprint_of(public_key: bytes) -> str:
    """Return the SHA-256 of a raw Ed25519 public key, in hex."""
    return hashlib.sha256(public_key).hexdigest()


def node_fingerprint(openssh: bytes) -> str:
    """Return the SHA-256 of a Flower node's public key, in hex.

    Parameters
    ----------
    openssh : bytes
        The key as OpenSSH writes it, `ecdsa-sha2-nistp384 ...`; a comment after it does not count.

    Raises
    ------
    DataError
        If it is no public key.
    """
    try:
        key = load_ssh_public_key(openssh.strip())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise DataError("node key", ["is not a public key in OpenSSH's format"]) from error
    return hashlib.sha256(
        key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    ).hexdigest()


@dataclass(frozen=True)
class Identity:
    """A party's signing key with its name.

    Parameters
    ----------
    name : str
        Name of the party in the federation file.
    secret : bytes
        Raw Ed25519 private key, 32 bytes. Kept out of `repr`.
    """

    name: str
    secret: bytes

    def __repr__(self) -> str:
        return f"Identity({self.name!r}, {self.fingerprint[:12]})"

    @property
    def public_key(self) -> bytes:
        """Raw Ed25519 public key, 32 bytes."""
        return Ed25519PrivateKey.from_private_bytes(self.secret).public_key().public_bytes_raw()

    @property
    def fingerprint(self) -> str:
        """What the federation file pins."""
        return fingerprint_of(self.public_key)

    def sign(self, purpose: str, message: bytes) -> bytes:
        """Sign a message for one purpose.

        Parameters
        ----------
        purpose : str
            Domain separation: a signature made for one purpose is worthless for another.
        message : bytes

        Returns
        -------
        bytes
            64 bytes.
        """
        key = Ed25519PrivateKey.from_private_bytes(self.secret)
        return key.sign(_framed(purpose, message))


def check_private(mode: int, source: str) -> None:
    """Check that only its owner may read a private key.

    Parameters
    ----------
    mode : int
        Permission bits of the file.
    source : str
        Name of the file, for the message.

    Raises
    ------
    Refused
        If others may.
    """
    if mode & 0o077:
        raise Refused(f"{source} can be read by others", hint=f"chmod 600 {source}")


def identity_from_file(text: str, mode: int, name: str, pin: str | None, source: str) -> Identity:
    """Read a private key from the text of a file that only its owner may read.

    Parameters
    ----------
    text : str
        64 hex digits.
    mode : int
        Permission bits of the file.
    name : str
        Whose key it is.
    pin : str or None
        The fingerprint that the federation file pins for that name; None where it is not yet.
    source : str
        Name of the file, for messages.

    Raises
    ------
    Refused
        If others may read the file, it holds no key, or the key is not the pinned one.
    """
    check_private(mode, source)
    try:
        secret = bytes.fromhex(text.strip())
    except ValueError:
        secret = b""
    if len(secret) != PUBLIC_KEY_BYTES:
        raise Refused(f"{source} does not hold a key of 64 hex digits")
    identity = Identity(name, secret)
    if pin is not None and identity.fingerprint != pin:
        raise Refused(
            f"{source} is not the key that the federation file pins for {name}",
            hint="pin its fingerprint there, at every party",
        )
    return identity


@dataclass(frozen=True, slots=True)
class Roster:
    """Names and pinned fingerprints of everybody in a run, the coordinator among them.

    Parameters
    ----------
    fingerprints : mapping of str to str
        Name to fingerprint.
    coordinator : str
        Name of the coordinator.
    """

    fingerprints: Mapping[str, str]
    coordinator: str = "coordinator"

    @property
    def parties(self) -> tuple[str, ...]:
        """Names of the data holders, sorted: the order every protocol uses."""
        return tuple(sorted(name for name in self.fingerprints if name != self.coordinator))

    def verify(
        self, name: str, public_key: bytes, purpose: str, message: bytes, signature: bytes
    ) -> None:
        """Check that `name` signed `message` for `purpose`.

        Raises
        ------
        BadPeer
            If the name is unknown, the key is not the pinned one, or the signature is wrong.
        """
        pinned = self.fingerprints.get(name)
        if pinned is None:
            raise BadPeer(f"{name!r} is not in the federation file")
        if fingerprint_of(public_key) != pinned:
            raise BadPeer(f"the key presented for {name!r} is not the one pinned in the federation")
        try:
            Ed25519PublicKey.from_public_bytes(public_key).verify(
                signature, _framed(purpose, message)
            )
        except (InvalidSignature, ValueError) as error:
            raise BadPeer(f"a signature by {name!r} for {purpose!r} is not valid") from error


def _framed(purpose: str, message: bytes) -> bytes:
    label = purpose.encode()
    return b"confide/1/" + len(label).to_bytes(2, "big") + label + message
