"""A signed release: the manifest with the parties' signatures, and every check before it is used.

A release of a network has its weights beside it: a file whose SHA-256 stands in the manifest.
Each party signs the bytes of the manifest with its Ed25519 key for the purpose ``release``. Whoever
uses a release pins the rules in its own federation file: a release cannot say how many signatures
it needs, or how long it counts.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import rfc8785

from shared.challenger.network import WEIGHTS_FILE, Network, weights_problem
from shared.config import Federation
from shared.errors import BadPeer
from shared.identity import PUBLIC_KEY_BYTES, SIGNATURE_BYTES, Identity
from shared.instants import DAY, later, seconds_of
from shared.manifest import (
    KINDS,
    MAX_COUNTER,
    NEURAL,
    SCORECARD,
    Manifest,
    Signatory,
    form_problem,
    refuse,
    release_name,
)

__all__ = [
    "KINDS",
    "MANIFEST_FILE",
    "MAX_BYTES",
    "MAX_COUNTER",
    "NEURAL",
    "SCORECARD",
    "SIGNATURES_FILE",
    "WEIGHTS_FILE",
    "Manifest",
    "Release",
    "Signatory",
    "Signature",
    "check_dates",
    "check_federation",
    "check_signature",
    "expiry_of",
    "pack_release",
    "read_release",
    "refuse",
    "release_name",
    "sign_manifest",
    "unpack_release",
    "verify_release",
]

MANIFEST_FILE, SIGNATURES_FILE = "manifest.json", "signatures.json"
MAX_BYTES = 4 << 20
"""Longest manifest that is read."""

_PURPOSE = "release"


@dataclass(frozen=True, slots=True)
class Signature:
    """A party's signature: raw Ed25519 public key and signature, in hex."""

    public_key: str
    signature: str


@dataclass(frozen=True, slots=True)
class Release:
    """A manifest with the signatures under it.

    Parameters
    ----------
    manifest : Manifest
    signatures : mapping of str to Signature
        By party.
    weights : bytes
        The file of weights of a network; empty of a scorecard.
    """

    manifest: Manifest
    signatures: Mapping[str, Signature]
    weights: bytes = b""

    def files(self) -> dict[str, bytes]:
        """Return what a release is on disk: contents by name."""
        found = {
            MANIFEST_FILE: self.manifest.to_bytes(),
            SIGNATURES_FILE: self.signatures_bytes(),
        }
        return found | ({WEIGHTS_FILE: self.weights} if self.manifest.kind == NEURAL else {})

    def signatures_bytes(self) -> bytes:
        """Return the content of `signatures.json`: canonical JSON."""
        return rfc8785.dumps(_packed_signatures(self))


def sign_manifest(identity: Identity, raw: bytes) -> Signature:
    """Sign the bytes of a manifest."""
    return Signature(identity.public_key.hex(), identity.sign(_PURPOSE, raw).hex())


def pack_release(release: Release) -> dict[str, Any]:
    """Return the JSON form: manifest, signatures, and a network's weights in base64."""
    packed: dict[str, Any] = {
        "manifest": release.manifest.to_mapping(),
        "signatures": _packed_signatures(release),
    }
    if release.manifest.kind == NEURAL:
        packed["weights"] = base64.b64encode(release.weights).decode()
    return packed


def unpack_release(value: Any) -> Release:
    """Read the JSON form.

    Raises
    ------
    ReleaseRefused
        With check `form`, if it is malformed. Nothing else is checked: see `verify_release`.
    """
    if not isinstance(value, dict) or not {"manifest", "signatures"} <= value.keys():
        refuse("form", "it must have a manifest and signatures")
    manifest = Manifest.from_mapping(value["manifest"])
    if value.keys() - {"manifest", "signatures"} != _beside(manifest):
        refuse("form", "it must have weights if it is of a network, and nothing else")
    weights = _unpacked_weights(value["weights"]) if _beside(manifest) else b""
    return Release(manifest, _signatures(value["signatures"]), weights)


def read_release(manifest: bytes, signatures: bytes, weights: bytes = b"") -> Release:
    """Read the contents of `manifest.json`, `signatures.json` and `weights.safetensors`.

    Raises
    ------
    ReleaseRefused
        With check `form`, if they are malformed or not canonical: one byte more is one too many.
    """
    values = [_parsed(raw) for raw in (manifest, signatures)]
    head = Manifest.from_mapping(values[0])
    release = Release(head, _signatures(values[1]), weights)
    if release.manifest.to_bytes() != manifest or release.signatures_bytes() != signatures:
        refuse("form", "its files are not in canonical form (RFC 8785)")
    return release


def verify_release(
    release: Release,
    federation: Federation,
    *,
    now: str,
    newest: int,
    contract: str | None = None,
) -> None:
    """Check everything that makes a release count; whatever is in doubt refuses it.

    Parameters
    ----------
    release : Release
    federation : Federation
        The verifier's own: pins, quorum, validity and clock skew come from here.
    now : str
        The verifier's clock.
    newest : int
        Counter of the newest release that it knows; 0 for none.
    contract : str, optional
        Digest of the verifier's data contract, where it has one.

    Raises
    ------
    ReleaseRefused
        By the name of the first check that fails: `form`, `federation`, `contract`, `signature`,
        `quorum`, `weights`, `counter`, `clock`, `expiry`.
    """
    manifest = release.manifest
    problem = form_problem(manifest)
    if problem:
        refuse("form", problem)
    check_federation(manifest, federation, contract)
    _check_signatures(release, federation)
    check_weights(release)
    if manifest.counter <= newest:
        refuse("counter", f"{manifest.name} is not newer than release {newest}")
    check_dates(manifest, federation, now)


def check_federation(manifest: Manifest, federation: Federation, contract: str | None) -> None:
    """Check that a manifest is of this federation, these members and this contract.

    Raises
    ------
    ReleaseRefused
        With check `federation` or `contract`.
    """
    if manifest.federation != federation.name:
        refuse("federation", f"it is of federation {manifest.federation!r}")
    missing = set(federation.parties) - set(manifest.parties)
    # Of several banks with the same lines, or of a network, some may have dropped out; the quorum
    # says how many.
    left_out = missing if isinstance(manifest.model, Network) or manifest.model.common else set()
    if set(manifest.parties) | left_out != set(federation.parties):
        refuse("federation", f"it is of the parties {', '.join(sorted(manifest.parties))}")
    for name, party in manifest.parties.items():
        if party.fingerprint != federation.parties[name].fingerprint:
            refuse("federation", f"the key of {name} is not the one pinned in the federation")
    if contract is not None and manifest.contract != contract:
        refuse("contract", "it was trained on another data contract")


def check_weights(release: Release) -> None:
    """Check that the weights beside a manifest are those that were signed, and only of a network.

    Raises
    ------
    ReleaseRefused
        With check `weights`.
    """
    model = release.manifest.model
    if isinstance(model, Network):
        problem = weights_problem(model, release.weights)
    else:
        problem = "there are weights beside a scorecard" if release.weights else ""
    if problem:
        refuse("weights", problem)


def check_agreement(manifest: Manifest, federation: Federation) -> None:
    """Check that a manifest was made under these very settings.

    Who signs asks for it. Who uses a release does not: a deadline that is changed afterwards does
    not make the card worse, and the parties' signatures cover what they agreed on then.

    Raises
    ------
    ReleaseRefused
        With check `federation`.
    """
    if manifest.agreement != federation.agreement(manifest.contract):
        refuse("federation", "its parties agreed on other settings than this file")


def check_dates(manifest: Manifest, federation: Federation, now: str) -> None:
    """Check that a manifest is not from the future, claims no more time than agreed, and counts.

    Raises
    ------
    ReleaseRefused
        With check `clock` or `expiry`.
    """
    rules = federation.release
    if seconds_of(manifest.created) > seconds_of(now) + rules.clock_skew_s:
        refuse("clock", f"it was made at {manifest.created}, and it is {now}")
    days = (seconds_of(manifest.expires) - seconds_of(manifest.created)) / DAY
    if not 0 < days <= rules.valid_days:
        refuse("expiry", f"it claims {days:g} days, and {rules.valid_days} are agreed")
    if now >= manifest.expires:
        refuse("expiry", f"it expired at {manifest.expires}", hint="train again")


def expiry_of(created: str, federation: Federation) -> str:
    """Return when a release made at `created` expires."""
    return later(created, days=federation.release.valid_days)


def check_signature(name: str, signature: Signature, raw: bytes, federation: Federation) -> None:
    """Check one party's signature under the bytes of a manifest.

    Raises
    ------
    ReleaseRefused
        With check `signature`, if the party is not in the federation file, the key is not the one
        pinned there, or the signature is wrong.
    """
    if name not in federation.parties:
        refuse("signature", f"{name!r} is not a party of this federation")
    try:
        key, signed = bytes.fromhex(signature.public_key), bytes.fromhex(signature.signature)
        federation.roster.verify(name, key, _PURPOSE, raw, signed)
    except (BadPeer, ValueError) as error:
        why = error.message if isinstance(error, BadPeer) else "a signature is not in hex"
        refuse("signature", why, party=name)


def _check_signatures(release: Release, federation: Federation) -> None:
    raw = release.manifest.to_bytes()
    for name, signature in sorted(release.signatures.items()):
        check_signature(name, signature, raw, federation)
    if len(release.signatures) < federation.quorum:
        missing = ", ".join(sorted(set(federation.parties) - set(release.signatures)))
        why = f"{len(release.signatures)} parties signed it, {federation.quorum} must"
        refuse("quorum", f"{why}; without {missing}")


def _packed_signatures(release: Release) -> dict[str, Any]:
    return {name: asdict(item) for name, item in release.signatures.items()}


def _beside(manifest: Manifest) -> set[str]:
    """Return what stands beside manifest and signatures in the JSON form."""
    return {"weights"} if manifest.kind == NEURAL else set()


def _unpacked_weights(text: Any) -> bytes:
    try:
        return base64.b64decode(text.encode(), validate=True)
    except (ValueError, AttributeError):
        refuse("form", "its weights are not in base64")


def _parsed(raw: bytes) -> Any:
    if len(raw) > MAX_BYTES:
        refuse("form", f"it is longer than {MAX_BYTES:,} bytes")
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        refuse("form", "it is not JSON")


def _signatures(value: Any) -> dict[str, Signature]:
    known = {"public_key": 2 * PUBLIC_KEY_BYTES, "signature": 2 * SIGNATURE_BYTES}
    whole = isinstance(value, dict) and all(
        isinstance(item, dict)
        and item.keys() == known.keys()
        and all(_is_hex(item[key], length) for key, length in known.items())
        for item in value.values()
    )
    if not whole:
        refuse("form", "a signature must be a public key and a signature, in small hex digits")
    return {name: Signature(**item) for name, item in value.items()}


def _is_hex(text: Any, length: int) -> bool:
    return isinstance(text, str) and len(text) == length and set(text) <= set("0123456789abcdef")
