"""Who is a member now: the federation file and the authority's list, followed while a server runs.

Both are looked at when somebody connects, and every second for those that are connected already. A
file that is damaged, or older than the one in use, counts for nothing: the last good one goes on,
and that is told until it is mended.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from cryptography import x509

from server.coordinator import load_federation
from shared.config import Federation
from shared.edge import logs
from shared.edge.tls import REVOKED, pin_of, read_certificate
from shared.errors import ConfideError, EnvironmentFault, Refused
from shared.identity import Roster

LOOK_S: Final = 1.0
_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Members:
    """Who counts.

    Parameters
    ----------
    roster : Roster
        Names and pinned identities of the federation file.
    revoked : frozenset of int
        Serial numbers of certificates that are out of force.
    listed : datetime, optional
        When the list of them was made; None without one.
    """

    roster: Roster
    revoked: frozenset[int] = frozenset()
    listed: datetime | None = None


Changed = Callable[[Members, Members], None]


class Following:
    """The members of a federation, as its files say.

    Parameters
    ----------
    path : Path
        The federation file.
    authority : Path
        Certificate of the federation's CA; its list of revoked certificates lies beside it.

    Raises
    ------
    ConfideError
        If a file is damaged at the start, when there is no last good one.
    """

    def __init__(self, path: Path, authority: Path) -> None:
        self._path, self._list = path, authority.with_name(REVOKED)
        self._issuer = read_certificate(authority)
        self._stamps = {file: _stamp(file) for file in (self._path, self._list)}
        self._bad: dict[Path, str] = {}
        self.federation, _ = load_federation(path)
        self.now = self._with_list(Members(self.federation.roster))
        self.ever = frozenset(self.now.roster.fingerprints)
        self._told: list[Changed] = []

    @property
    def outdated(self) -> bool:
        """Whether a file on the disk was refused, and what it was before counts."""
        return bool(self._bad)

    def tell(self, changed: Changed) -> None:
        """Say who is told of every change: `changed(before, now)`."""
        self._told.append(changed)

    def look(self) -> None:
        """Take up what has changed on the disk."""
        for file, read in ((self._list, self._with_list), (self._path, self._with_file)):
            stamp = _stamp(file)
            if stamp == self._stamps[file]:
                continue
            self._stamps[file] = stamp  # before it is read: who writes meanwhile is seen next time
            try:
                found = read(self.now)
            except (ConfideError, OSError, ValueError) as error:
                self._refuse(file, error)
                continue
            self._bad.pop(file, None)
            self._take(found, file)

    async def keep(self) -> None:
        """Look every second, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            self.look()

    def _take(self, found: Members, file: Path) -> None:
        before, self.now = self.now, found
        if found == before:
            return
        self.ever |= frozenset(found.roster.fingerprints)
        logs.step(_LOG, "who is a member has changed", level=logging.WARNING, reason=file.name)
        for changed in self._told:
            changed(before, found)

    def _refuse(self, file: Path, error: Exception) -> None:
        why = error.message if isinstance(error, ConfideError) else type(error).__name__
        self._bad[file] = why
        said = "a changed file is refused; what it said before goes on"
        logs.step(_LOG, said, level=logging.ERROR, reason=why)

    def _with_file(self, now: Members) -> Members:
        federation, _ = load_federation(self._path)
        self._check(federation)
        self.federation = federation
        return replace(now, roster=federation.roster)

    def _check(self, federation: Federation) -> None:
        if federation.name != self.federation.name:
            raise Refused(f"{self._path.name} is of another federation: {federation.name}")
        if federation.ca and federation.ca != pin_of(self._issuer):
            raise Refused(f"{self._path.name} pins another CA: it counts after a new start")

    def _with_list(self, now: Members) -> Members:
        try:
            raw = self._list.read_bytes()
        except FileNotFoundError:
            if now.listed is None:
                return now
            raise EnvironmentFault(f"{self._list.name} is gone") from None
        revoked, listed = read_list(raw, self._issuer, self._list.name)
        if now.listed is not None and listed < now.listed:
            raise Refused(f"{self._list.name} is older than the list in use")
        return replace(now, revoked=revoked, listed=listed)


def read_list(raw: bytes, issuer: x509.Certificate, source: str) -> tuple[frozenset[int], datetime]:
    """Read the authority's list of revoked certificates.

    Parameters
    ----------
    raw : bytes
        In PEM.
    issuer : x509.Certificate
        The authority's.
    source : str
        Name of the file, for messages.

    Returns
    -------
    (frozenset of int, datetime)
        Serial numbers, and when the list was made.

    Raises
    ------
    Refused
        If it is no list, or not of this authority.
    """
    hint = "fetch it from the coordinator"
    try:
        listed = x509.load_pem_x509_crl(raw)
    except ValueError as error:
        raise Refused(
            f"{source} does not hold a list of revoked certificates", hint=hint
        ) from error
    key: Any = issuer.public_key()
    if listed.issuer != issuer.subject or not listed.is_signature_valid(key):
        raise Refused(f"{source} is not signed by the federation's CA", hint=hint)
    return frozenset(entry.serial_number for entry in listed), listed.last_update_utc


def _stamp(file: Path) -> tuple[int, ...]:
    """Return what changes with a file, however it is replaced; nothing for one that is away."""
    try:
        found = file.stat()
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino
