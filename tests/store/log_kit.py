"""A store with decisions, a log key, and ways to tamper that no honest code has."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from types import SimpleNamespace

import sqlalchemy as sa

from server.accounts import proving
from server.store import decisions
from server.store.decisions import NewDecision
from server.store.engine import open_store
from server.store.log_checks import check_log
from shared.identity import Identity
from tests.store.kit import START

KEY = Identity("log", hashlib.sha256(b"operator").digest())
PIN = KEY.fingerprint


def record(number, limit=5_000):
    return json.dumps(
        {"kind": "test/1", "limit": limit, "n": number}, separators=(",", ":")
    ).encode()


def decision(number, chain="line-1", **values):
    fields = {
        "id": f"{chain}.{number}",
        "chain": chain,
        "purpose": "review",
        "record": record(number),
        "policy_ref": "policy-1",
        "model_ref": "model-1",
        "pack_ref": "cn-1",
    }
    return NewDecision(**fields | values)


def put_key(home, key=KEY):
    home.mkdir(parents=True, exist_ok=True)
    path = home / proving.KEY
    path.write_text(key.secret.hex())
    path.chmod(0o600)
    return path


class Log:
    """A desk's store, folder and clock, with one transaction for each thing that is asked."""

    def __init__(self, store, home):
        self.store, self.home, self.at = store, home, START
        put_key(home)
        self.numbers = {}

    @property
    def desk(self):
        return SimpleNamespace(store=self.store, home=self.home, clock=lambda: self.at)

    def decide(self, count=1, chain="line-1", *, later=1):
        """Append decisions to a chain, a second apart."""
        first = self.numbers.get(chain, 0) + 1
        for number in range(first, first + count):
            self.at += timedelta(seconds=later)
            with self.store.write() as db:
                decisions.append(db, decision(number, chain), self.at)
        self.numbers[chain] = first + count - 1

    def integrate(self, most=4096):
        with self.store.write() as db:
            return proving.integrate(self.desk, db, self.at, most=most)

    def sign(self):
        with self.store.write() as db:
            return proving.sign(self.desk, db, self.at)

    def settle(self):
        """Take all in and sign."""
        self.integrate()
        return self.sign()

    def proof(self, decision_id, **how):
        with self.store.read() as db:
            return proving.proof(self.desk, db, decision_id, **how)

    def check(self, pin=PIN):
        with self.store.read() as db:
            return check_log(db, pin)

    def checks(self):
        """Return the names of the checks that fail."""
        return {one.partition(":")[0] for one in self.check().findings}

    def tamper(self, *statements):
        """Do what the triggers and references refuse, as who owns the database could."""
        tamper(self.store, *statements)


def filled(store, home, count=13):
    """Return a log of two lines' decisions, taken in and signed at two sizes."""
    log = Log(store, home)
    log.decide(count // 2)
    log.decide(count // 4, "line-2")
    log.settle()
    log.decide(count - count // 2 - count // 4)
    log.settle()
    return log


def tamper(store, *statements):
    """Do what the triggers and references refuse."""
    with store.write() as db:
        lie(db, *statements)


def lie(db, *statements):
    """Tamper inside a transaction."""
    if db.dialect.name == "postgresql":
        db.exec_driver_sql("SET LOCAL session_replication_role = replica")
        for one in statements:
            db.exec_driver_sql(one)
        return
    db.exec_driver_sql("PRAGMA defer_foreign_keys=ON")
    triggers = db.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
    triggers = triggers.all()
    for name, _ in triggers:
        db.exec_driver_sql(f"DROP TRIGGER {name}")
    for one in statements:
        db.exec_driver_sql(one)
    for _, sql in triggers:
        db.exec_driver_sql(sql)


def same(store, other):
    """Return whether two stores have the same rows in every table."""
    from server.store.tables import METADATA  # noqa: PLC0415 - after all tables were imported

    found = []
    for one in (store, other):
        with one.read() as db:
            found.append(
                {
                    table.name: sorted(map(str, db.execute(sa.select(table)).mappings()))
                    for table in METADATA.sorted_tables
                }
            )
    return found[0] == found[1]


def open_other(url):
    return open_store(url, create=True)
