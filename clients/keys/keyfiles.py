"""Key files: who is who and how members meet, made and pinned.

Each party gets an Ed25519 identity, a Flower node key and a TLS certificate to dial out with; the
coordinator an identity and a TLS certificate to serve under; the limit service such a certificate.
The federation file pins the fingerprints.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from os import urandom
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from clients.keys.certificates import Issued, ca_fingerprint, issue, new_authority
from shared.edge.files import load_identity, refuse_open, write_atomic
from shared.identity import Identity, node_fingerprint
from shared.jobs import COORDINATOR

LIMITS = "limits"
#: Folder of the CA's key alone: no service that runs needs it, so none is given it.
AUTHORITY = "ca"
_HERE = ("localhost", "127.0.0.1", "::1")
#: Names under which the coordinator with its relay, and the limit service, are reached in compose
#: or on one machine. But for the machine's own, neither has a name of the other's, nor its place.
HOSTS: Mapping[str, tuple[str, ...]] = {
    COORDINATOR: (*_HERE, "coordinator", "superlink", "gate", "relay"),
    LIMITS: (*_HERE, "limits"),
}


@dataclass(frozen=True, slots=True)
class Pins:
    """What the federation file pins.

    Parameters
    ----------
    ca : str
        SHA-256 of the CA's certificate.
    identities, nodes : mapping of str to str
        By member; the coordinator has no node key.
    """

    ca: str
    identities: Mapping[str, str]
    nodes: Mapping[str, str]


def make_keys(
    folder: Path,
    federation: str,
    homes: Mapping[str, str],
    *,
    hosts: Iterable[str],
    limits_hosts: Iterable[str] = (),
    force: bool,
) -> Pins:
    """Make the CA, identities, node keys and TLS certificates below a folder.

    Parameters
    ----------
    folder : Path
        Of the federation file.
    federation : str
        Its name.
    homes : mapping of str to str
        Folder of each party and of the coordinator, relative to `folder`.
    hosts, limits_hosts : iterable of str
        Names of the coordinator and of the limit service on top of `HOSTS`.
    force : bool
        Replace what is there; otherwise only what is missing is made.

    Returns
    -------
    Pins

    Raises
    ------
    Refused
        If a private key that is there can be read by others.
    EnvironmentFault
        If a file cannot be written.
    """
    now = datetime.now(UTC)
    kept = folder / AUTHORITY / "ca.key", folder / homes[COORDINATOR] / "ca.crt"
    authority = _authority(*kept, federation, now, force=force)
    # The CA's key and certificate belong together: with a new CA every certificate is new.
    fresh = force or not all((folder / home / "ca.crt").exists() for home in homes.values())
    further = {COORDINATOR: tuple(hosts), LIMITS: tuple(limits_hosts)}
    identities, nodes = {}, {}
    for name, home in {**homes, LIMITS: LIMITS}.items():
        place = folder / home
        more = further.get(name, ())
        if name != LIMITS:
            identities[name] = own_identity(place / "identity.key", name, force=force)
        if name not in HOSTS:
            nodes[name] = own_node_key(place, force=force)
        write_atomic(place / "ca.crt", authority.certificate)
        if fresh or more or not (place / "tls.key").exists():
            served = (*HOSTS.get(name, ()), *more)
            _write_pair(place / "tls", issue(authority, name, served, now))
    return Pins(ca_fingerprint(authority.certificate), identities, nodes)


def pin(text: str, pins: Pins) -> str:
    """Return the text of a federation file with these pins; all else stays as it is."""
    text = _set(text, "", "ca", pins.ca)
    for name, fingerprint in pins.identities.items():
        section = name if name == COORDINATOR else f"parties.{name}"
        text = _set(text, section, "fingerprint", fingerprint)
    for name, fingerprint in pins.nodes.items():
        text = _set(text, f"parties.{name}", "node", fingerprint)
    return text


def _set(text: str, section: str, key: str, value: str) -> str:
    """Set one text value of one section; commented out or missing lines come into force."""
    head, found, rest = ("", True, text) if not section else _split(text, section)
    if not found:
        return f"{text.rstrip()}\n\n[{section}]\n{key} = {json.dumps(value)}\n"
    stop = re.search(r"(?m)^\[", rest)
    body, tail = (rest[: stop.start()], rest[stop.start() :]) if stop else (rest, "")
    line = f"{key} = {json.dumps(value)}"
    body, changed = re.subn(rf"(?m)^(# )?{key} = .*$", line, body, count=1)
    if not changed:
        body = f"{body.rstrip()}\n{line}\n\n" if not section else f"{line}\n{body}"
    return head + body + tail


def _split(text: str, section: str) -> tuple[str, bool, str]:
    match = re.search(rf"(?m)^\[{re.escape(section)}\]\s*\n", text)
    if match is None:
        return text, False, ""
    return text[: match.end()], True, text[match.end() :]


def _authority(
    key: Path, certificate: Path, federation: str, now: datetime, *, force: bool
) -> Issued:
    """Return the CA whose key and certificate lie there; make one where either is missing."""
    if key.exists() and certificate.exists() and not force:
        refuse_open(key)
        return Issued(certificate.read_bytes(), key.read_bytes())
    made = new_authority(federation, now)
    write_atomic(key, made.key, mode=0o600)
    # Without it the members' certificates count as old, and are made anew.
    certificate.unlink(missing_ok=True)
    return made


def own_identity(path: Path, name: str, *, force: bool) -> str:
    """Make a member's identity where there is none, or `force`; return its fingerprint."""
    if path.exists() and not force:
        return load_identity(path, name, None).fingerprint
    identity = Identity(name, urandom(32))
    write_atomic(path, identity.secret.hex().encode() + b"\n", mode=0o600)
    return identity.fingerprint


def own_node_key(home: Path, *, force: bool) -> str:
    """Make a key as Flower's SuperNode reads it: EC P-384 in OpenSSH's format."""
    private, public = home / "node.key", home / "node.pub"
    if not private.exists() or not public.exists() or force:
        key = ec.generate_private_key(ec.SECP384R1())
        secret = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.OpenSSH,
            serialization.NoEncryption(),
        )
        shown = key.public_key().public_bytes(
            serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
        )
        write_atomic(private, secret, mode=0o600)
        write_atomic(public, shown + b"\n")
    refuse_open(private)
    return node_fingerprint(public.read_bytes())


def _write_pair(stem: Path, issued: Issued) -> None:
    write_atomic(stem.with_suffix(".key"), issued.key, mode=0o600)
    write_atomic(stem.with_suffix(".crt"), issued.certificate)
