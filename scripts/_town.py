"""A limit service with many customers: a few lives are lived, the others are copies of them.

Opening a hundred thousand lines one by one would take half an hour. A copy has ids of its own in
every table, and lies in the store as if it had been lived; its decisions are in the log, too.
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from server.accounts import proving
from server.api.tokens import Role
from server.store import access
from tests.service.desk_kit import Office, empty_store, good
from tests.service.kit import name_of
from tests.web import scenes

OWN = 30
"""Customers whose lives are lived come before this number."""
BUSY_SHARE = 0.02
"""Of the copies that have borrowed often; the others have a line and never used it."""
_STAFF = (Role.OFFICER, Role.OPERATOR, Role.REGULATOR)
# In the order in which rows refer to each other, with the columns that hold ids of a life.
_TABLES: Mapping[str, tuple[str, ...]] = {
    "consents": ("id", "customer_id"),
    "bureau_views": ("id", "customer_id"),
    "evidence": ("id", "customer_id"),
    "decisions": ("id", "chain", "occasion"),
    "decision_records": ("decision_id",),
    "log_pending": ("decision_id",),
    "lines": ("id", "customer_id"),
    "line_events": ("line_id", "ref"),
    "holds": ("id", "line_id"),
    "promises": ("hold_id",),
    "drawdowns": ("id", "line_id", "hold_id"),
    "shares": ("drawdown_id",),
    "partner_decisions": ("draw_id",),
    "repayments": ("id", "external_ref", "line_id"),
    "allocations": ("repayment_id", "drawdown_id"),
    "cases": ("id", "customer_id", "decision_id"),
}
_PAGE = 500
_ID = re.compile(r"\b01[0-9A-HJKMNP-TV-Z]{24}\b")
_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass
class Town:
    """A service, and the secrets of those who sign in.

    Parameters
    ----------
    office : Office
    secrets : dict of str to str
        By client.
    rows : dict of str to int
        By table.
    """

    office: Office
    secrets: dict[str, str]
    rows: dict[str, int]


def settle(folder: Path, customers: int) -> Town:
    """Return a service with so many customers who have lines."""
    path = folder / "town.db"
    path.write_bytes(empty_store())
    office = Office(folder / "federation", f"sqlite:///{path}")
    secrets = admit(office)
    scenes.fresh(office, scenes.TOM)
    scenes.cut(office, scenes.ME)
    office.store.close()
    rows = fill(path, {"fresh": scenes.TOM, "busy": scenes.ME}, customers)
    when = {"as_of": office.clock.text()[:10], "created": office.clock.text()}
    for party, raw in office.kit.feeds(OWN + customers, **when).items():
        office.scores.feeds.accept(raw, office.clock.text(), party=party)
    proving.make_log_key(office.desk)
    proving.tick(office.desk)
    return Town(office, secrets, rows)


def admit(office: Office) -> dict[str, str]:
    """Add somebody of each role; return their secrets."""
    found = {}
    people = {"mei": (Role.CUSTOMER, scenes.ME), "ann": (Role.CUSTOMER, good(2))}
    people |= {"the-partner": (Role.PARTNER, "lake")}
    people |= {f"the-{role}": (role, "") for role in _STAFF}
    with office.store.write() as db:
        for name, (role, subject) in people.items():
            since = office.clock.now
            found[name] = access.add_client(db, name, str(role), since, subject=subject)
    return found


def fill(path: Path, lives: Mapping[str, str], customers: int) -> dict[str, int]:
    """Copy lives until there are so many customers; return how many rows each table has."""
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA synchronous=OFF")
        lived = {kind: Copier(life(db, who), who) for kind, who in lives.items()}
        every = round(1 / BUSY_SHARE)
        for first in range(OWN, OWN + customers, _PAGE):
            batches: dict[str, list[tuple[Any, ...]]] = {}
            for number in range(first, min(first + _PAGE, OWN + customers)):
                kind = "busy" if number % every == 0 else "fresh"
                for table, row in lived[kind].copy(number):
                    batches.setdefault(table, []).append(row)
            for table in _TABLES:
                if rows_of := batches.get(table):
                    marks = ",".join("?" * len(rows_of[0]))
                    db.executemany(f"INSERT INTO {table} VALUES ({marks})", rows_of)
        db.commit()
        db.execute("ANALYZE")
        return {
            table: db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in _TABLES
        }


def life(db: sqlite3.Connection, customer: str) -> dict[str, list[tuple[Any, ...]]]:
    """Return the rows of a customer by table: what names it, what names that, and so on."""
    kept = {table: db.execute(f"SELECT * FROM {table}").fetchall() for table in _TABLES}
    places = {table: _places(db, table, columns) for table, columns in _TABLES.items()}
    known, found = {customer}, {table: set[int]() for table in _TABLES}
    grown = True
    while grown:
        grown = False
        for table, rows in kept.items():
            for at, row in enumerate(rows):
                ids = {row[place] for place in places[table]} - {None, ""}
                if at not in found[table] and known & ids:
                    found[table].add(at)
                    known, grown = known | ids, True
    return {table: [kept[table][at] for at in sorted(ats)] for table, ats in found.items()}


def _places(db: sqlite3.Connection, table: str, columns: tuple[str, ...]) -> list[int]:
    names = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
    return [names.index(one) for one in columns]


@dataclass
class Copier:
    """Makes copies of a life.

    Parameters
    ----------
    rows : dict of str to list
        Of the life, by table.
    customer : str
        Whose it is.
    """

    rows: dict[str, list[tuple[Any, ...]]]
    customer: str

    def __post_init__(self) -> None:
        texts = " ".join(str(value) for rows in self.rows.values() for row in rows for value in row)
        self._ids = sorted(set(_ID.findall(texts)))
        self._pattern = re.compile("|".join([self.customer, *self._ids, *self._hashes()]))
        self._bytes = re.compile(self._pattern.pattern.encode())

    def _hashes(self) -> list[str]:
        """Return what must be there but once, beside ids."""
        return sorted(
            {
                value
                for table in ("decisions", "consents", "repayments")
                for row in self.rows[table]
                for value in row
                if isinstance(value, str) and (_HASH.fullmatch(value) or value.startswith("ref-"))
            }
            - {self.customer}
        )

    def copy(self, number: int) -> Iterator[tuple[str, tuple[Any, ...]]]:
        """Yield the rows of a copy, by table."""
        fresh: dict[str, str] = {self.customer: name_of(number)}

        def other(hit: re.Match[str]) -> str:
            was = hit[0]
            if was not in fresh:
                made = hashlib.sha256(f"{number}:{was}".encode()).hexdigest()
                fresh[was] = made if len(was) == 64 else was[:10] + made[: len(was) - 10].upper()
                if was.startswith("ref-"):
                    fresh[was] = f"{was}-{number}"
            return fresh[was]

        def other_bytes(hit: re.Match[bytes]) -> bytes:
            return other(self._pattern.fullmatch(hit[0].decode())).encode()  # type: ignore[arg-type]

        for table, rows in self.rows.items():
            for row in rows:
                yield (
                    table,
                    tuple(
                        self._pattern.sub(other, value)
                        if isinstance(value, str)
                        else self._bytes.sub(other_bytes, value)
                        if isinstance(value, bytes)
                        else value
                        for value in row
                    ),
                )
