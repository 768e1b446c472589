"""The key that signs heads of the decision log: made once, and never by accident again."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol

from sqlalchemy import Connection

from server.store.engine import Store
from server.store.log import StoredHeads
from shared.edge.files import load_identity, write_atomic
from shared.errors import EnvironmentFault, LogBroken, Refused
from shared.identity import Identity

KEY: Final = "log.key"
"""Name of the operator's log key, in the folder of the limit service."""


class Kept(Protocol):
    """What of a `server.accounts.desk.Desk` is used here."""

    @property
    def store(self) -> Store:
        """The database."""
        ...

    @property
    def home(self) -> Path:
        """The folder of the limit service, with the log key."""
        ...

    @property
    def clock(self) -> Callable[[], datetime]:
        """The present instant, aware UTC."""
        ...


@dataclass(frozen=True, slots=True)
class Place:
    """The little of a desk that the log needs, for commands that decide nothing.

    Parameters
    ----------
    store : Store
    home : Path
    clock : callable
    """

    store: Store
    home: Path
    clock: Callable[[], datetime]


def log_key(home: Path) -> Identity:
    """Return the operator's log key.

    Raises
    ------
    EnvironmentFault
        If it is not there.
    Refused
        If others can read it.
    """
    path = home / KEY
    if not path.exists():
        hint = "`confide log init` makes one; keep a copy of it"
        raise EnvironmentFault(f"there is no log key at {path}", hint=hint)
    return load_identity(path, "log", None)


def make_log_key(desk: Kept) -> Identity:
    """Return the operator's log key; make it, for its owner only, where there is none yet.

    Raises
    ------
    Refused
        If there is none and heads were signed already: with another key, nobody would believe the
        log any more. Or if others can read it.
    EnvironmentFault
        If the disk does not take it.
    """
    path = desk.home / KEY
    if not path.exists():
        with desk.store.read() as db:
            heads = StoredHeads(db).heads()
        if heads:
            why = f"heads were signed with a key that is not at {path}"
            raise Refused(why, hint="bring the key back from where its copy is kept")
        _put_once(path, os.urandom(32).hex().encode() + b"\n")
    return log_key(desk.home)


def check_pin(db: Connection, identity: Identity) -> None:
    """Check that a key is the one that signed the newest head, if there is one.

    Raises
    ------
    LogBroken
        With check `key`.
    """
    heads = StoredHeads(db).heads()
    if heads and heads[-1].head.log != identity.fingerprint:
        raise LogBroken("key: the newest head was signed with another key", check="key")


def _put_once(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read; if another was faster, keep that one's."""
    fresh = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
    write_atomic(fresh, content, mode=0o600)
    try:
        os.link(fresh, path)
    except FileExistsError:
        pass
    except OSError as error:
        raise EnvironmentFault(f"cannot write {path}: {error.strerror}") from error
    finally:
        fresh.unlink(missing_ok=True)
