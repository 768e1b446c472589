"""How a member proves to a relay who it is: a signature over the relay's nonce and certificate."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from shared.arrays import pack_value, unpack_value
from shared.errors import BadPeer
from shared.identity import Identity, Roster
from shared.pieces import EPOCH_BYTES

NONCE_BYTES = 32
MAX_SCOPE = 200
_ANSWER_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Proof:
    """Who a connection belongs to.

    Parameters
    ----------
    name : str
    scope : str
        The session: run, phase and attempt.
    epoch : bytes
        Drawn by the process for this scope; another epoch is another process.
    """

    name: str
    scope: str
    epoch: bytes


def prove(identity: Identity, scope: str, epoch: bytes, nonce: bytes, certificate: bytes) -> bytes:
    """Answer a relay's nonce.

    Parameters
    ----------
    identity : Identity
    scope, epoch
        See `Proof`.
    nonce : bytes
        From this very connection, so that no answer is worth anything on another.
    certificate : bytes
        The relay's TLS certificate as this side saw it, DER: somebody in between, with another
        certificate of the same CA, cannot pass the answer on.

    Returns
    -------
    bytes
        Canonical JSON.
    """
    proof = Proof(identity.name, scope, epoch)
    signature = identity.sign("relay", _claim(proof, nonce, certificate))
    answer = {
        "name": identity.name,
        "scope": scope,
        "epoch": epoch.hex(),
        "public_key": identity.public_key.hex(),
        "signature": signature.hex(),
    }
    return pack_value(answer)


def check_proof(raw: bytes, roster: Roster, nonce: bytes, certificate: bytes) -> Proof:
    """Check an answer to a nonce against the federation's pinned identities.

    Raises
    ------
    BadPeer
        If it is malformed, the name unknown, or the signature not that of the pinned key over this
        nonce and certificate.
    """
    answer = unpack_value(raw, cap=_ANSWER_BYTES)
    try:
        name, scope = answer["name"], answer["scope"]
        epoch, key, signature = (
            bytes.fromhex(answer[field]) for field in ("epoch", "public_key", "signature")
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BadPeer("the answer to the nonce is malformed") from error
    texts = isinstance(name, str) and isinstance(scope, str)
    if not texts or not 0 < len(scope) <= MAX_SCOPE or len(epoch) != EPOCH_BYTES:
        raise BadPeer("the answer to the nonce is malformed")
    proof = Proof(name, scope, epoch)
    roster.verify(name, key, "relay", _claim(proof, nonce, certificate), signature)
    return proof


def _claim(proof: Proof, nonce: bytes, certificate: bytes) -> bytes:
    seen = hashlib.sha256(certificate).hexdigest()
    return pack_value([nonce.hex(), proof.name, proof.scope, proof.epoch.hex(), seen])
