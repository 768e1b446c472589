"""A member's request for a certificate: made at the member, read by who holds the CA's key.

It holds a signing request (PKCS #10) for the TLS key, the identity's public key and the node's, and
is signed with all three: none of them can be claimed without its private half. What it says counts
once its digest was compared over another way (a call).
"""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import rfc8785
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from clients.keys.certificates import new_key, requested_key, signing_request
from clients.keys.keyfiles import LIMITS, own_identity, own_node_key
from shared.config import PartyFile
from shared.edge.files import load_identity, refuse_open, write_atomic
from shared.errors import BadPeer, Refused, UsageError
from shared.identity import Roster, fingerprint_of
from shared.jobs import COORDINATOR
from shared.settings import commented

FORM: Final = "confide-request/1"
_PURPOSE: Final = "key request"
_DIGITS: Final = 24
"""Fewest digits of a digest that are compared: 96 bits, which nobody can hit."""
_FIELDS: Final = frozenset({"form", "member", "csr", "identity", "node", "signature", "proof"})
NEXT_KEY: Final = "tls.key.next"
"""Where a TLS key waits for its certificate."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a member asks with.

    Parameters
    ----------
    member : str
        A party, or `limits`.
    csr : bytes
        Signing request for its TLS key, PEM.
    identity : bytes
        Ed25519 public key; empty for the limit service.
    node : bytes
        Flower node key, public, as OpenSSH writes it; empty for the limit service.
    """

    member: str
    csr: bytes
    identity: bytes = b""
    node: bytes = b""

    def text(self) -> dict[str, Any]:
        """Return what is signed."""
        return {
            "form": FORM,
            "member": self.member,
            "csr": self.csr.decode(),
            "identity": self.identity.hex(),
            "node": self.node.decode(),
        }


def ask(member: str, home: Path) -> bytes:
    """Make the keys that a member lacks, and its request.

    Parameters
    ----------
    member : str
        A party, or `limits`.
    home : Path
        Its folder. The TLS key waits there as `tls.key.next` until its certificate comes, so that
        a member that renews works on with the old pair.

    Returns
    -------
    bytes
        The request, to be sent to who holds the CA's key.

    Raises
    ------
    Refused
        If a private key that is there can be read by others.
    """
    if member == COORDINATOR:
        raise UsageError("the coordinator's keys are made by `confide init --apart`")
    waiting = home / NEXT_KEY
    if not waiting.exists():
        write_atomic(waiting, new_key(), mode=0o600)
    refuse_open(waiting)
    csr = signing_request(waiting.read_bytes(), member)
    if member == LIMITS:
        return _packed(Request(member, csr).text() | {"signature": "", "proof": ""})
    own_identity(home / "identity.key", member, force=False)
    own_node_key(home, force=False)
    identity = load_identity(home / "identity.key", member, None)
    request = Request(member, csr, identity.public_key, (home / "node.pub").read_bytes())
    signed = rfc8785.dumps(request.text())
    node = serialization.load_ssh_private_key((home / "node.key").read_bytes(), password=None)
    assert isinstance(node, ec.EllipticCurvePrivateKey)
    proof = node.sign(signed, ec.ECDSA(hashes.SHA384()))
    if not (home / "party.toml").exists():
        write_atomic(home / "party.toml", party_file(member).encode())
    return _packed(
        request.text() | {"signature": identity.sign(_PURPOSE, signed).hex(), "proof": proof.hex()}
    )


def party_file(party: str) -> str:
    """Return a party's own settings, commented."""
    return f"# {party}: its own settings. Nobody else reads this file.\n\n" + commented(
        "", PartyFile()
    )


def digest(raw: bytes) -> str:
    """Return the SHA-256 of a request, in hex: what its sender reads out to who signs it."""
    return hashlib.sha256(raw).hexdigest()


def read_request(raw: bytes, told: str, source: str) -> tuple[Request, ec.EllipticCurvePublicKey]:
    """Read a request, and check that it is the one that was told of and that its keys are its own.

    Parameters
    ----------
    raw : bytes
        Content of the file.
    told : str
        Its digest, or at least 24 digits of its beginning, as the member told it another way.
    source : str
        Name of the file, for messages.

    Returns
    -------
    request : Request
    key : EllipticCurvePublicKey
        Of the certificate.

    Raises
    ------
    UsageError
        If fewer digits were told.
    Refused
        If the digest is another, or a signature is not valid.
    """
    words = "".join(told.lower().split())
    if len(words) < _DIGITS:
        raise UsageError(f"--digest needs {_DIGITS} digits or more, as `keys request` printed them")
    if not secrets.compare_digest(digest(raw)[: len(words)], words):
        raise Refused(
            f"{source} has the digest {digest(raw)[:_DIGITS]}..., not the one that was told",
            hint="ask the member to read it out again; sign nothing before they agree",
        )
    try:
        fields = json.loads(raw)
        if set(fields) != _FIELDS or fields["form"] != FORM:
            raise ValueError("it is no request of this version")  # noqa: TRY301 - one way out
        request = Request(
            str(fields["member"]),
            fields["csr"].encode(),
            bytes.fromhex(fields["identity"]),
            fields["node"].encode(),
        )
        key = requested_key(request.csr, request.member)
        if request.member != LIMITS:
            _check_proofs(
                request, bytes.fromhex(fields["signature"]), bytes.fromhex(fields["proof"])
            )
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError, BadPeer) as error:
        raise Refused(f"{source}: {error}", hint="`confide keys request` makes another") from error
    return request, key


def _check_proofs(request: Request, signature: bytes, proof: bytes) -> None:
    signed = rfc8785.dumps(request.text())
    roster = Roster({request.member: fingerprint_of(request.identity)})
    roster.verify(request.member, request.identity, _PURPOSE, signed, signature)
    try:
        node = serialization.load_ssh_public_key(request.node.strip())
        if not isinstance(node, ec.EllipticCurvePublicKey) or node.curve.name != "secp384r1":
            raise ValueError("the node key is not on the curve P-384")
        node.verify(proof, signed, ec.ECDSA(hashes.SHA384()))
    except (InvalidSignature, UnsupportedAlgorithm) as error:
        raise ValueError("the node key did not sign the request") from error


def _packed(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, indent=2, sort_keys=True).encode() + b"\n"
