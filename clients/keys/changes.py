"""`confide keys rotate` and `revoke`: a member's keys are replaced, or a party is out.

Both change the federation file: from then on the old keys count nowhere, since names are what the
file pins. The file as it was is kept beside it as `federation.until-<instant>.toml`: releases that
were signed with the old keys are verified against that one, as what they were.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from os import urandom
from pathlib import Path
from typing import Annotated

import typer
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from clients.keys.certificates import Issued, issue
from clients.keys.keyfiles import AUTHORITY, HOSTS, Pins, pin
from clients.keys.revocation import revoke as revoke_certificates
from shared.config import Federation, parse_federation
from shared.edge.files import read_text, refuse_open, write_atomic
from shared.edge.tls import REVOKED, read_certificate
from shared.errors import EnvironmentFault, NotFound, Refused
from shared.identity import Identity, node_fingerprint
from shared.jobs import COORDINATOR

FederationFile = Annotated[Path, typer.Option("--federation", "-f", help="The federation file.")]


@dataclass(frozen=True, slots=True)
class Changed:
    """What a change has done.

    Parameters
    ----------
    kept : Path
        The federation file as it was.
    certificate : bool
        Whether the old certificate is revoked; without the authority's key it cannot be.
    """

    kept: Path
    certificate: bool


def rotate(
    member: Annotated[str, typer.Argument(help="A party, or `coordinator`.")],
    federation: FederationFile = Path("federation.toml"),
) -> None:
    """Give a member new keys and a new certificate; the old ones count no more."""
    changed = rotate_keys(federation, member, datetime.now(UTC))
    typer.echo(f"{federation}: pins the new keys of {member}; {changed.kept.name} is how it was")
    _tell(changed, federation)


def revoke(
    party: Annotated[str, typer.Argument(help="The party that is out.")],
    federation: FederationFile = Path("federation.toml"),
    certificate: Annotated[
        Path | None, typer.Option(help="Its certificate, where it is not on this machine.")
    ] = None,
) -> None:
    """Take a party out of the federation, and its certificate out of force."""
    changed = revoke_party(federation, party, datetime.now(UTC), certificate)
    typer.echo(f"{federation}: {party} is out; {changed.kept.name} is how it was")
    _tell(changed, federation)


def _tell(changed: Changed, federation: Path) -> None:
    if not changed.certificate:
        typer.echo(
            f"its certificate is not revoked: {AUTHORITY}/ca.key or the certificate is not here",
            err=True,
        )
    typer.echo(
        f"give {federation.name} and {REVOKED} to every member; relay and gate take them up while "
        "they run, the limit service when it starts again: docs/operations.md"
    )


def rotate_keys(path: Path, member: str, now: datetime) -> Changed:
    """Make new keys for a member and pin them.

    Parameters
    ----------
    path : Path
        The federation file.
    member : str
        A party, or the coordinator.
    now : datetime
        In UTC.

    Raises
    ------
    NotFound
        If there is no such member.
    Refused
        If the authority's key can be read by others.
    EnvironmentFault
        If the member's folder is not on this machine, or a file cannot be written.
    """
    text, agreed = _read(path)
    if member not in (*agreed.parties, COORDINATOR):
        raise NotFound(f"{member!r} is no member", hint=", ".join((*agreed.holders, COORDINATOR)))
    home = path.parent / agreed.home(member)
    if not (home / "identity.key").exists():
        raise EnvironmentFault(
            f"the keys of {member} are not in {home}",
            hint="run this at the member, and pin what it prints at every other",
        )
    authority = _authority(path, agreed)
    kept = _keep(path, now)
    identity = Identity(member, urandom(32))
    nodes = {} if member == COORDINATOR else {member: _new_node(home)}
    write_atomic(home / "identity.key", identity.secret.hex().encode() + b"\n", mode=0o600)
    done = False
    if authority is not None and (home / "tls.crt").exists():
        old = (home / "tls.crt").read_bytes()
        hosts = _hosts(home / "tls.crt") if member in HOSTS else ()
        made = issue(authority, member, hosts, now)
        write_atomic(home / "tls.key", made.key, mode=0o600)
        write_atomic(home / "tls.crt", made.certificate)
        _list(path, agreed, authority, old, now)
        done = True
    pins = Pins(agreed.ca, {member: identity.fingerprint}, nodes)
    write_atomic(path, pin(text, pins).encode())
    return Changed(kept, done)


def revoke_party(path: Path, party: str, now: datetime, certificate: Path | None = None) -> Changed:
    """Take a party out of the federation file, and its certificate out of force.

    Raises
    ------
    NotFound
        If there is no such party.
    Refused
        If it is the builder, or fewer than two would be left.
    """
    text, agreed = _read(path)
    if party not in agreed.parties:
        raise NotFound(f"{party!r} is no party", hint=", ".join(agreed.holders))
    if party == agreed.builder:
        raise Refused(f"{party} is the builder", hint="name another builder first")
    if len(agreed.parties) <= 2:
        raise Refused("one party alone is no federation", hint="end it instead")
    kept = _keep(path, now)
    authority = _authority(path, agreed)
    file = certificate or path.parent / agreed.home(party) / "tls.crt"
    done = authority is not None and file.exists()
    if authority is not None and done:
        _list(path, agreed, authority, file.read_bytes(), now)
    write_atomic(path, without(text, f"parties.{party}").encode())
    return Changed(kept, done)


def without(text: str, section: str) -> str:
    """Return the text of a federation file without one section."""
    pattern = rf"(?ms)^\[{re.escape(section)}\]\s*\n.*?(?=^\[|\Z)"
    return re.sub(pattern, "", text, count=1)


def _read(path: Path) -> tuple[str, Federation]:
    text = read_text(path)
    return text, parse_federation(text, str(path), os.environ)[0]


def _keep(path: Path, now: datetime) -> Path:
    kept = path.with_name(f"{path.stem}.until-{now:%Y%m%dT%H%M%SZ}{path.suffix}")
    if kept.exists():
        raise EnvironmentFault(f"{kept} is there already", hint="wait a second")
    write_atomic(kept, path.read_bytes())
    return kept


def _authority(path: Path, agreed: Federation) -> Issued | None:
    key = path.parent / AUTHORITY / "ca.key"
    certificate = path.parent / agreed.home(COORDINATOR) / "ca.crt"
    if not key.exists() or not certificate.exists():
        return None
    refuse_open(key)
    return Issued(certificate.read_bytes(), key.read_bytes())


def _hosts(certificate: Path) -> list[str]:
    """Return the names and addresses that a certificate is for."""
    names = read_certificate(certificate).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    return [str(name.value) for name in names.value]


def _new_node(home: Path) -> str:
    """Make a node key as Flower's SuperNode reads it; return its fingerprint."""
    key = ec.generate_private_key(ec.SECP384R1())
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    )
    shown = key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    write_atomic(home / "node.key", secret, mode=0o600)
    write_atomic(home / "node.pub", shown + b"\n")
    return node_fingerprint(shown)


def _list(path: Path, agreed: Federation, authority: Issued, old: bytes, now: datetime) -> None:
    """Put a certificate on the list of revoked ones, in every folder on this machine."""
    own = path.parent / agreed.home(COORDINATOR) / REVOKED
    before = own.read_bytes() if own.exists() else b""
    try:
        listed = revoke_certificates(authority, before, [old], now)
    except ValueError as error:
        raise Refused(f"{own}: {error}", hint="restore it from a backup, or remove it") from error
    homes = {agreed.home(name) for name in (*agreed.parties, COORDINATOR)} | {"limits"}
    for home in sorted(homes):
        if (path.parent / home / "ca.crt").exists():
            write_atomic(path.parent / home / REVOKED, listed)
