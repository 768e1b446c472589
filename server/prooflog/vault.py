"""Salts and records in files, so that destroying 32 bytes destroys the decision.

``records`` only grows: each record is encrypted (ChaCha20-Poly1305) under a key that comes from its
own salt and is used once. ``openings`` has a slot of 48 bytes for each leaf: the salt, and where
the record lies. Destroying writes zeros over the slot: without the salt neither the leaf opens nor
the record is readable, wherever copies of ``records`` lie. A backup of ``openings`` brings salts
back: it must be destroyed, too.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from server.prooflog.heads import broken
from server.prooflog.leaf import SALT_BYTES, Opening
from shared.errors import EnvironmentFault

OPENINGS, RECORDS = "openings", "records"
SLOT_BYTES: Final = SALT_BYTES + 16
_DESTROYED: Final = bytes(SLOT_BYTES)
_NONCE: Final = bytes(12)  # a key encrypts one record only
_TAG_BYTES: Final = 16


class Vault:
    """The openings of a log in a folder.

    Parameters
    ----------
    folder : Path
        That of the log; both files can be read by their owner only.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def opening(self, index: int) -> Opening | None:
        """Return what opens a leaf; None once it was destroyed.

        Raises
        ------
        LogBroken
            With check `opening`, if the record is not the one that was kept.
        EnvironmentFault
            If the files cannot be read.
        """
        slot = self._read(OPENINGS, index * SLOT_BYTES, SLOT_BYTES)
        if slot in {b"", _DESTROYED}:
            return None
        if len(slot) < SLOT_BYTES:
            broken("opening", f"the slot of leaf {index} in {self.folder / OPENINGS} is cut off")
        salt = slot[:SALT_BYTES]
        start, length = _number(slot[SALT_BYTES:-8]), _number(slot[-8:])
        if not 0 <= start <= self._end(RECORDS) - length:
            broken("opening", f"the record of leaf {index} is not in {self.folder / RECORDS}")
        sealed = self._read(RECORDS, start, length)
        try:
            record = _cipher(salt).decrypt(_NONCE, sealed, _bytes(index))
        except InvalidTag:
            broken("opening", f"the record of leaf {index} is not the one that was kept")
        return Opening(salt, record)

    def put(self, first: int, openings: Sequence[Opening]) -> None:
        """Keep the openings of the leaves from `first` on; records before their salts.

        Raises
        ------
        EnvironmentFault
            If the disk does not take them.
        """
        start, sealed, slots = self._end(RECORDS), [], []
        for index, one in enumerate(openings, first):
            sealed.append(_cipher(one.salt).encrypt(_NONCE, one.record, _bytes(index)))
            slots.append(one.salt + _bytes(start) + _bytes(len(sealed[-1])))
            start += len(sealed[-1])
        self._write(RECORDS, self._end(RECORDS), b"".join(sealed))
        self._write(OPENINGS, first * SLOT_BYTES, b"".join(slots))

    def destroy(self, index: int) -> None:
        """Write zeros over the salt of a leaf.

        Raises
        ------
        EnvironmentFault
            If the disk does not take them.
        """
        self._write(OPENINGS, index * SLOT_BYTES, _DESTROYED)

    def _end(self, name: str) -> int:
        path = self.folder / name
        try:
            return path.stat().st_size if path.exists() else 0
        except OSError as error:
            raise EnvironmentFault(f"cannot read {path}: {error.strerror}") from error

    def _read(self, name: str, at: int, length: int) -> bytes:
        path = self.folder / name
        try:
            with path.open("rb") as stream:
                stream.seek(at)
                return stream.read(length)
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise EnvironmentFault(f"cannot read {path}: {error.strerror}") from error

    def _write(self, name: str, at: int, content: bytes) -> None:
        path = self.folder / name
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                written = 0
                while written < len(content):
                    written += os.pwrite(handle, content[written:], at + written)
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            raise EnvironmentFault(f"cannot write {path}: {error.strerror}") from error


def _cipher(salt: bytes) -> ChaCha20Poly1305:
    """Return the cipher of a record.

    A leaf is the HMAC of an object in JSON under the same salt; what is hashed here is none, so
    that no leaf is ever a key.
    """
    keyed = HMAC(salt, SHA256())
    keyed.update(b"confide/1/decision-record\x00")
    return ChaCha20Poly1305(keyed.finalize())


def _bytes(number: int) -> bytes:
    return number.to_bytes(8, "big")


def _number(content: bytes) -> int:
    return int.from_bytes(content, "big")
