"""Files that only their owner may read, and certificates with the days that they have left."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from server.doctor.findings import Finding, failed, or_well, warned, well
from shared.config import Federation
from shared.edge.tls import REVOKED, pin_of, read_certificate
from shared.errors import ConfideError
from shared.jobs import COORDINATOR

SOON_DAYS: Final = 30
#: The folders beside the members' that hold secrets.
_FURTHER: Final = ("ca", "limits")
_RENEW: Final = "`confide keys rotate` makes a new one; see docs/operations.md"


def _homes(path: Path, federation: Federation) -> dict[str, Path]:
    members = {name: federation.home(name) for name in (*federation.holders, COORDINATOR)}
    members |= {name: name for name in _FURTHER}
    found = {name: path.parent / home for name, home in members.items()}
    return {name: home for name, home in found.items() if home.is_dir()}


def permissions(path: Path, federation: Federation) -> list[Finding]:
    """Check that nobody but its owner can read a private key."""
    wrong, count = [], 0
    for home in _homes(path, federation).values():
        for key in sorted(home.glob("*.key")):
            count += 1
            try:
                there = key.stat()
            except OSError as error:
                said = f"cannot look at {key}: {error.strerror}"
                wrong.append(failed("secrets", said, "give the folder to this user"))
                continue
            if there.st_mode & 0o077:
                wrong.append(failed("secrets", f"{key} can be read by others", f"chmod 600 {key}"))
            elif there.st_uid != os.getuid() and os.getuid() != 0:
                said = f"{key} belongs to another user"
                wrong.append(failed("secrets", said, f"chown {os.getuid()} {key}"))
    return or_well("secrets", wrong, f"{count} keys are their owner's alone")


def certificates(path: Path, federation: Federation, now: datetime | None = None) -> list[Finding]:
    """Check that certificates are of the pinned authority, fit their keys, and have days left."""
    found = [
        _certificate(home, federation, now or datetime.now(UTC))
        for home in _homes(path, federation).values()
        if (home / "tls.crt").exists()
    ]
    if not found:
        mend = "`confide keys init` makes them, or ask the coordinator for a signed one"
        return [warned("certificates", f"there are none below {path.parent}", mend)]
    return found


def _certificate(home: Path, federation: Federation, now: datetime) -> Finding:
    file = home / "tls.crt"
    try:
        own, issuer = read_certificate(file), read_certificate(home / "ca.crt")
        own.verify_directly_issued_by(issuer)
    except ConfideError as error:
        return failed("certificates", error.message, "fetch it again, or `confide keys init`")
    except (ValueError, TypeError, InvalidSignature):
        said = f"{file} is not signed by the authority in {home / 'ca.crt'}"
        return failed("certificates", said, "get one of the federation's authority")
    if federation.ca and pin_of(issuer) != federation.ca:
        said = f"{home / 'ca.crt'} is not the authority that the federation file pins"
        return failed("certificates", said, "fetch it from the coordinator")
    if revoked(own, home / REVOKED):
        return failed("certificates", f"{file} was revoked", _RENEW)
    return _days(file, own, issuer, now)


def revoked(certificate: x509.Certificate, crl: Path) -> bool:
    """Return whether a list of revoked certificates, where there is one, has a certificate."""
    try:
        listed = x509.load_pem_x509_crl(crl.read_bytes())
    except (OSError, ValueError):
        return False
    return listed.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None


def _days(file: Path, own: x509.Certificate, issuer: x509.Certificate, now: datetime) -> Finding:
    if own.not_valid_before_utc > now:
        said = f"{file} counts from {own.not_valid_before_utc:%Y-%m-%d %H:%M} on"
        return failed("certificates", said, "set this machine's clock")
    left = (min(own.not_valid_after_utc, issuer.not_valid_after_utc) - now).days
    said = f"{file} has {left} days left"
    if left < 0:
        return failed("certificates", f"{file} expired {-left} days ago", _RENEW)
    return warned("certificates", said, _RENEW) if left < SOON_DAYS else well("certificates", said)
