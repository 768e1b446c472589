"""What the parties of a secure sum commit to, under their signatures, and what opens it later.

The signed commitments of step 3 (`shared.protocols.sum`) reach everybody. Each has four digests of
32 bytes: of the keys its party saw, of its masked vector, of its self-mask seed, and of its *input*
under a salt. The last opens nothing by itself; the first three make the protocol safe today, all
four together let an auditor check afterwards what a party put in (`shared.protocols.sum_audit`).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from shared.arrays import pack_array
from shared.errors import BadPeer, DataError, Refused
from shared.identity import PUBLIC_KEY_BYTES, SIGNATURE_BYTES, Roster
from shared.protocols.sum_job import Residues, SumJob
from shared.sealed import Session

PURPOSE = "sum commitment"
SALT_BYTES = 32
_DIGEST = 32
_LENGTH = 4 * _DIGEST
_INPUT = b"confide/sum input/1\0"


@dataclass(frozen=True, slots=True)
class Commitment:
    """SHA-256 of the keys a party saw, its masked vector, its self-mask seed, its salted input."""

    view: bytes
    masked: bytes
    seed: bytes
    input: bytes

    @property
    def message(self) -> bytes:
        """What is signed behind the job's digest."""
        return self.view + self.masked + self.seed + self.input

    @classmethod
    def read(cls, raw: bytes, party: str) -> tuple[Commitment, bytes]:
        """Return a commitment and the signature behind it, which is not checked here.

        Raises
        ------
        BadPeer
            If the length is wrong.
        """
        if len(raw) != _LENGTH + SIGNATURE_BYTES:
            raise BadPeer("the commitment has the wrong length", party=party)
        parts = (raw[at : at + _DIGEST] for at in range(0, _LENGTH, _DIGEST))
        return cls(*parts), raw[_LENGTH:]


def commit_input(job: SumJob, salt: bytes, residues: Residues) -> bytes:
    """Return the digest of an input: SHA-256 over the job's digest, the salt and its residues.

    Parameters
    ----------
    job : SumJob
    salt : bytes
        32 fresh bytes: without them, whoever can guess an input could test the guess.
    residues : ndarray of the ring's type, shape (job.length,)
        The input as it was masked, little-endian.
    """
    digest = hashlib.sha256(_INPUT + bytes.fromhex(job.digest) + salt)
    digest.update(canonical(residues))
    return digest.digest()


def canonical(residues: Residues) -> bytes:
    """Return residues as bytes, little-endian whatever the machine."""
    return residues.astype(residues.dtype.newbyteorder("<"), copy=False).tobytes()


def masked_digest(masked: Residues) -> bytes:
    """Return what a commitment says of a masked vector."""
    return hashlib.sha256(pack_array(masked)).digest()


@dataclass(frozen=True, slots=True)
class Evidence:
    """The signed commitments of one secure sum: everybody has the same.

    Parameters
    ----------
    job : SumJob
    session : Session
        What the signatures are bound to besides the job.
    keys : mapping of str to bytes
        Ed25519 public key of each party; it counts only if the roster pins it.
    signed : mapping of str to bytes
        Each party's commitment with its signature.
    """

    job: SumJob
    session: Session
    keys: Mapping[str, bytes]
    signed: Mapping[str, bytes]

    @property
    def view(self) -> str:
        """What tells this sum from any other, hex: the keys that were fresh in it."""
        first = self.job.cohort[0]
        return Commitment.read(self.signed[first], first)[0].view.hex()

    def commitments(self, roster: Roster) -> dict[str, Commitment]:
        """Return the commitments of the whole cohort, every signature checked.

        Raises
        ------
        BadPeer
            If one is missing, forged or of another sum; names the party.
        """
        found = {}
        for party in self.job.cohort:
            if party not in self.signed or party not in self.keys:
                raise BadPeer("its commitment is missing in this sum", party=party)
            commitment, signature = Commitment.read(self.signed[party], party)
            message = bytes.fromhex(self.job.digest) + commitment.message
            context = self.session.context(message=message.hex())
            roster.verify(party, self.keys[party], PURPOSE, context, signature)
            found[party] = commitment
        for party, commitment in found.items():
            if commitment.view.hex() != self.view:
                raise BadPeer("its commitment is of another attempt of this sum", party=party)
        return found

    def to_mapping(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        both = {"keys": self.keys, "signed": self.signed}
        return {
            "job": asdict(self.job) | {"cohort": list(self.job.cohort)},
            "session": asdict(self.session),
        } | {name: {k: v.hex() for k, v in one.items()} for name, one in both.items()}

    @classmethod
    def from_mapping(cls, value: Any, source: str) -> Evidence:
        """Read what `to_mapping` wrote; signatures are checked by `commitments`.

        Raises
        ------
        DataError
            If it is malformed.
        """
        try:
            job = SumJob(**value["job"] | {"cohort": tuple(value["job"]["cohort"])})
            keys, signed = (
                {str(k): bytes.fromhex(v) for k, v in value[name].items()}
                for name in ("keys", "signed")
            )
            read = cls(job, Session(**value["session"]), keys, signed)
            whole = {job.cohort} == {tuple(sorted(keys)), tuple(sorted(signed))}
            sizes = {len(key) for key in keys.values()}
            whole = whole and sizes == {PUBLIC_KEY_BYTES} and bool(read.view)
        except (KeyError, TypeError, ValueError, AttributeError, Refused) as error:
            raise DataError(source, ["is no record of a secure sum"]) from error
        if not whole:
            raise DataError(source, ["is no record of a secure sum"])
        return read


@dataclass(frozen=True, slots=True)
class Opening:
    """What opens one party's commitment; it says all of its input.

    Parameters
    ----------
    party : str
    salt, self_seed : bytes
        32 bytes each.
    pair_seeds : mapping of str to bytes
        32 bytes for each peer: they show that the input committed to is the one that was masked.
    residues : ndarray of the ring's type, shape (job.length,)
    """

    party: str
    salt: bytes
    self_seed: bytes
    pair_seeds: Mapping[str, bytes]
    residues: Residues

    def __repr__(self) -> str:
        return f"Opening({self.party!r})"  # nothing of what it opens

    def to_mapping(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return {
            "party": self.party,
            "salt": self.salt.hex(),
            "self_seed": self.self_seed.hex(),
            "pair_seeds": {peer: seed.hex() for peer, seed in self.pair_seeds.items()},
            "bits": 8 * self.residues.dtype.itemsize,
            "input": base64.b64encode(canonical(self.residues)).decode(),
        }

    @classmethod
    def from_mapping(cls, value: Any, source: str) -> Opening:
        """Read what `to_mapping` wrote; `shared.protocols.sum_audit` checks it.

        Raises
        ------
        DataError
            If it is malformed.
        """
        try:
            raw = base64.b64decode(value["input"], validate=True)
            kind = {16: "<u2", 32: "<u4", 64: "<u8"}[value["bits"]]
            residues = np.frombuffer(raw, kind).astype(np.dtype(kind).newbyteorder("="))
            seeds = {str(peer): bytes.fromhex(seed) for peer, seed in value["pair_seeds"].items()}
            salt, self_seed = (bytes.fromhex(value[name]) for name in ("salt", "self_seed"))
            return cls(str(value["party"]), salt, self_seed, seeds, residues)
        except (KeyError, TypeError, ValueError, AttributeError, binascii.Error) as error:
            raise DataError(source, ["is no opening of a commitment"]) from error
