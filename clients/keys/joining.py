"""A member on a machine of its own is let into the federation, and takes in its certificate.

`sign` runs where the CA's key is: it certifies the key of a request (`clients.keys.requests`), and
pins the member's identity and node in the federation file. `install` runs at the member. No private
key travels.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID

from clients.keys.certificates import Issued, certify, public_half
from clients.keys.keyfiles import AUTHORITY, HOSTS, LIMITS, Pins, pin
from clients.keys.requests import NEXT_KEY, read_request
from shared.config import parse_federation, parse_toml
from shared.edge.files import load_identity, read_text, refuse_open, write_atomic
from shared.edge.tls import pin_of
from shared.errors import ConfigError, Refused, UsageError
from shared.identity import fingerprint_of, node_fingerprint
from shared.jobs import COORDINATOR
from shared.sections import Member


def sign(
    federation: Path,
    raw: bytes,
    told: str,
    source: str,
    *,
    hosts: Iterable[str] = (),
    replace: bool = False,
) -> tuple[str, bytes]:
    """Certify a member's key and pin its identity and node in the federation file.

    Parameters
    ----------
    federation : Path
        The federation file; the CA's key lies in `ca/` beside it.
    raw, told, source
        See `read_request`.
    hosts : iterable of str
        Further names under which the limit service is reached.
    replace : bool
        Whether other keys of this member, pinned before, may give way.

    Returns
    -------
    member : str
    answer : bytes
        Its certificate and the CA's, PEM.

    Raises
    ------
    Refused
        If the request does not hold, or other keys are pinned and `replace` is false.
    ConfigError
        If the federation knows no such member.
    """
    request, key = read_request(raw, told, source)
    text = read_text(federation)
    agreed = parse_toml(text, str(federation))
    parties = agreed.get("parties", {})
    name = request.member
    if name != LIMITS and name not in parties:
        raise ConfigError(str(federation), [f"parties.{name}: there is no such party"])
    place = federation.parent
    kept = place / AUTHORITY / "ca.key"
    refuse_open(kept)
    home = agreed.get("coordinator", {}).get("home") or COORDINATOR
    authority = Issued((place / home / "ca.crt").read_bytes(), kept.read_bytes())
    if name == LIMITS:
        served: tuple[str, ...] = (*HOSTS[LIMITS], *hosts)
    elif tuple(hosts):
        raise UsageError(f"{name} only dials out: it needs no --host")
    else:
        served = ()
        own = Member(fingerprint_of(request.identity), node_fingerprint(request.node))
        _refuse_other(parties[name], own, name, federation, replace=replace)
        pins = Pins(str(agreed.get("ca", "")), {name: own.fingerprint}, {name: own.node})
        write_atomic(place / (parties[name].get("home") or name) / "node.pub", request.node)
        write_atomic(federation, pin(text, pins).encode())
    certificate = certify(authority, key, name, served, datetime.now(UTC))
    return name, certificate + authority.certificate


def _refuse_other(
    pinned: dict[str, Any], own: Member, name: str, source: Path, *, replace: bool
) -> None:
    for what, key in (("fingerprint", own.fingerprint), ("node", own.node)):
        if not replace and pinned.get(what) and pinned[what] != key:
            raise Refused(
                f"{source} pins another {what} for {name}",
                hint="--replace if the party changes its keys; every party then needs the new file",
            )


def waiting(federation: Path) -> list[str]:
    """Return the parties of a federation file that are not pinned yet."""
    parties = parse_toml(read_text(federation), str(federation)).get("parties", {})
    return sorted(name for name, one in parties.items() if not one.get("fingerprint"))


def install(federation: Path, answer: bytes, source: str) -> str:
    """Take in a certificate at the member that asked for it.

    Parameters
    ----------
    federation : Path
        The member's copy of the federation file, compared with the others'.
    answer : bytes
        What `sign` returned.
    source : str
        Name of its file, for messages.

    Returns
    -------
    str
        The member.

    Raises
    ------
    Refused
        If the certificate is not for the waiting key, not by the pinned CA, or the federation
        file pins other keys of this member.
    """
    try:
        own, authority = x509.load_pem_x509_certificates(answer)
        own.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature) as error:
        raise Refused(f"{source} is not a certificate with the one that signed it") from error
    agreed, _ = parse_federation(read_text(federation), str(federation), os.environ)
    if pin_of(authority) != agreed.ca:
        raise Refused(f"{source} is not of the CA that {federation} pins")
    name = str(own.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)
    home = federation.parent / (agreed.home(name) if name in agreed.parties else name)
    key = home / NEXT_KEY
    refuse_open(key)
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    if own.public_key().public_bytes(serialization.Encoding.DER, form) != public_half(
        key.read_bytes()
    ):
        raise Refused(f"{source} is not for {key}", hint="`confide keys request` asks again")
    if name in agreed.parties:
        load_identity(home / "identity.key", name, agreed.parties[name].fingerprint)
        if node_fingerprint((home / "node.pub").read_bytes()) != agreed.parties[name].node:
            raise Refused(f"{home / 'node.pub'} is not the key that {federation} pins")
    write_atomic(home / "ca.crt", authority.public_bytes(serialization.Encoding.PEM))
    write_atomic(home / "tls.key", key.read_bytes(), mode=0o600)
    write_atomic(home / "tls.crt", own.public_bytes(serialization.Encoding.PEM))
    key.unlink()
    return name
