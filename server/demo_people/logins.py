"""Secrets of the demo's people: made at random, shown, and kept in one file of mode 0600.

The store has their digests alone, as for every client; who loses the file gets new secrets.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from sqlalchemy import Connection

from server.api.tokens import Role
from server.demo_people.people import ABOUT, STAFF, Person
from server.store import access
from shared.edge.files import read_text, refuse_open, write_atomic
from shared.errors import ConfigError

FILE: Final = "logins.json"
"""Name of the file in the service's folder."""
_NAMES: Final = (*ABOUT, *STAFF)


@dataclass(frozen=True, slots=True, repr=False)
class Login:
    """Somebody, and the secret to sign in with.

    Parameters
    ----------
    person : Person
    secret : str
    """

    person: Person
    secret: str

    def told(self) -> dict[str, str]:
        """Return what is kept and shown, ready for JSON."""
        one = self.person
        return {
            "name": one.name,
            "secret": self.secret,
            "role": str(one.role),
            "about": one.about,
        }


def admitted(
    db: Connection,
    file: Path,
    people: tuple[Person, ...],
    now: datetime,
    known: list[Login] | None = None,
) -> list[Login]:
    """Give people secrets, and keep them beside those that are known already.

    Parameters
    ----------
    db : Connection
        A transaction that writes. The file is written before it ends: secrets that were not kept
        are worth nothing, and `known` makes new ones.
    file : Path
    people : tuple of Person
    now : datetime
    known : list of Login, optional

    Raises
    ------
    Conflict
        With check `id`, if there is a client of such a name.
    """
    made = [
        Login(one, access.add_client(db, one.name, str(one.role), now, subject=one.subject))
        for one in people
    ]
    order = list(_NAMES)
    return _kept(
        file, sorted([*(known or []), *made], key=lambda one: order.index(one.person.name))
    )


def known(db: Connection, file: Path, now: datetime) -> list[Login]:
    """Return those who may sign in already; who has no secret in the file gets a new one.

    Raises
    ------
    Refused
        If others may read the file.
    ConfigError
        If it is none of ours.
    """
    secrets = _read(file)
    found, renewed = [], False
    for name in _NAMES:
        client = access.find_client(db, name)
        if client is None or client.disabled_at is not None:
            continue
        secret = secrets.get(name, "")
        if not access.is_secret_of(client, secret):
            secret, renewed = access.renew_client(db, name, now), True
        about = ABOUT.get(name) or STAFF[name][1]
        found.append(Login(Person(name, Role(client.role), client.subject, about), secret))
    return _kept(file, found) if renewed else found


def _read(file: Path) -> dict[str, str]:
    if not file.exists():
        return {}
    refuse_open(file)
    try:
        rows = json.loads(read_text(file))["logins"]
        return {str(row["name"]): str(row["secret"]) for row in rows}
    except (ValueError, KeyError, TypeError) as error:
        hint = "delete it: new secrets are made"
        raise ConfigError(str(file), [f"is no file of logins; {hint}"]) from error


def _kept(file: Path, found: list[Login]) -> list[Login]:
    rows = [one.told() for one in found]
    text = json.dumps({"schema_version": 1, "logins": rows}, indent=2) + "\n"
    write_atomic(file, text.encode(), mode=0o600)
    return found
