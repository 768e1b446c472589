"""The whole service over a store: people with tokens, customers with scores, a clock."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import count
from pathlib import Path

import sqlalchemy as sa
from fastapi.testclient import TestClient

from server.accounts.desk import desk_over, rule_texts, rulebook_of
from server.accounts.scores import LimitService
from server.api.access import Caller, Role
from server.api.app import create_app
from server.api.throttle import Rate, Rates
from server.store import schema
from server.store.access import CLIENTS
from server.store.engine import open_store
from tests.service.kit import Kit, name_of

START = datetime(2026, 3, 2, 8, tzinfo=UTC)
OFTEN = Rate(10**6, 10**6)
LOOSE = Rates(OFTEN, OFTEN, OFTEN, OFTEN)
HOLDERS = ["bank", "bureau", "ecommerce", "payments"]
PEOPLE = {
    "alice": Role.OFFICER,
    "bob": Role.OFFICER,
    "ops": Role.OPERATOR,
    "ops-two": Role.OPERATOR,
    "auditor": Role.REGULATOR,
    "app": Role.CUSTOMER,
    "lake": Role.PARTNER,
    "hill": Role.PARTNER,
}
KEYS = count(1)
REFS = count(1)


@cache
def rules():
    return rulebook_of(rule_texts())


@cache
def empty_store():
    """The bytes of a database with an empty schema."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "limits.db"
        open_store(f"sqlite:///{path}", create=True).close()
        return path.read_bytes()


def good(number=0):
    """A customer with the best points on every line: grade A."""
    return name_of(2 + 3 * number)


def poor(number=0):
    """A customer with the worst points: grade E, no line."""
    return name_of(3 * number)


class Clock:
    """A clock that a test sets."""

    def __init__(self, now=START):
        self.now = now

    def __call__(self):
        return self.now

    def text(self):
        return f"{self.now:%Y-%m-%dT%H:%M:%SZ}"


class Office:
    """A service with everybody who talks to it.

    Parameters
    ----------
    folder : Path
        Of the federation; kept between offices of one test.
    url : str
        Of a store with a schema.
    customers : int
        Those who have scores; see `good` and `poor`.
    """

    def __init__(self, folder, url, *, customers=9, feeds=True):
        self.kit = Kit(folder)
        self.kit.serve()
        self.clock = Clock()
        book = rules()
        self.scores = LimitService(
            folder, self.kit.federation, book.policy, book.pack, self.clock.text
        )
        self.scores.start()
        if feeds:
            for party, raw in self.kit.feeds(customers).items():
                self.scores.feeds.accept(raw, self.clock.text(), party=party)
        home = folder / "limits"
        home.mkdir(exist_ok=True)
        self.store = open_store(url, pool=8)
        self.desk = desk_over(self.store, self.scores, book, self.clock, home)
        self.app = create_app(self.desk, rates=LOOSE)
        self.http = TestClient(self.app, raise_server_exceptions=False)
        self._admit()

    def _admit(self):
        """Add the clients; nobody asks for a token by its secret, which takes long to hash."""
        since = self.clock.now - timedelta(days=1)
        rows = [
            {
                "id": client,
                "role": str(role),
                "subject": client if role is Role.PARTNER else "",
                "any_subject": role is Role.CUSTOMER,
                "salt": b"",
                "digest": b"",
                "created_at": since,
                "tokens_from": since,
            }
            for client, role in PEOPLE.items()
        ]
        with self.store.write() as db:
            db.execute(sa.insert(CLIENTS), rows)

    def close(self):
        self.store.close()

    def keep(self, path):
        """Remember a file of SQLite as it is now; `back` puts it there again."""
        with self.store.read() as db:
            db.exec_driver_sql("SELECT 1")
        self.store.close()
        self._path, self._kept = path, path.read_bytes()

    def back(self):
        """Begin anew: a new service takes longer than most tests."""
        self.store.close()
        for tail in ("", "-wal", "-shm"):
            self._path.with_name(self._path.name + tail).unlink(missing_ok=True)
        self._path.write_bytes(self._kept)
        self.clock.now = START

    def later(self, **delta):
        self.clock.now += timedelta(**delta)
        return self.clock.now

    def headers(self, who, **more):
        """Who is a client of `PEOPLE`, or a customer's pseudonym."""
        client = who if who in PEOPLE else "app"
        role = PEOPLE[client]
        subject = {Role.CUSTOMER: who, Role.PARTNER: who}.get(role, "")
        token = self.app.state.door.mint(Caller(client, role, subject))
        return {"Authorization": f"Bearer {token}", **more}

    def get(self, who, path, *, headers=None, **query):
        return self.http.get(path, params=query, headers=self.headers(who, **(headers or {})))

    def post(self, who, path, body=None, *, key=None, headers=None):
        more = {"Idempotency-Key": key or f"key-{next(KEYS)}", **(headers or {})}
        return self.http.post(path, json=body, headers=self.headers(who, **more))

    def delete(self, who, path, *, key=None):
        more = {"Idempotency-Key": key or f"key-{next(KEYS)}"}
        return self.http.delete(path, headers=self.headers(who, **more))

    def done(self, who, path, body=None, status=201, **more):
        """Post, and return the answer, which must have that status."""
        answer = self.post(who, path, body, **more)
        assert answer.status_code == status, answer.text
        return answer.json()

    # Short ways to the scene of a test.

    def consent(self, customer, **changes):
        body = {"purpose": "credit_line", "holders": HOLDERS, "categories": ["repayment"]}
        return self.done(customer, f"/v1/customers/{customer}/consents", body | changes)

    def bureau(self, customer, **changes):
        body = {"as_of": f"{self.clock.now:%Y-%m-%d}", **changes}
        return self.done("ops", f"/v1/customers/{customer}/bureau", body)

    def line(self, customer=None, product="revolving_consumer"):
        """Give a customer a line; return its id."""
        customer = customer or good()
        self.consent(customer)
        self.bureau(customer)
        body = {"customer_id": customer, "product": product}
        return self.done(customer, "/v1/lines", body)["line_id"]

    def draw(self, line, amount=100_000, customer=None, **changes):
        body = {"amount_minor": amount, "currency": "CNY", "purpose": "daily", "months": 3}
        path = f"/v1/lines/{line}/drawdowns"
        return self.done(customer or good(), path, body | changes)

    def hold(self, line, amount=100_000, customer=None, **changes):
        body = {"amount_minor": amount, "currency": "CNY", "purpose": "daily", "ttl_s": 600}
        return self.done(customer or good(), f"/v1/lines/{line}/holds", body | changes)

    def repayment(self, line, amount, **changes):
        """The body of a repayment."""
        return {
            "external_ref": f"ref-{next(REFS)}",
            "line_id": line,
            "amount_minor": amount,
            "currency": "CNY",
            "value_date": f"{self.clock.now:%Y-%m-%d}",
        } | changes

    def repay(self, line, amount, **changes):
        return self.done("ops", "/v1/repayments", self.repayment(line, amount, **changes))

    def show(self, line, who=None):
        answer = self.get(who or good(), f"/v1/lines/{line}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def state(self):
        """Everything that the store holds, as bytes: what a refusal must leave as it was."""
        found = {}
        with self.store.read() as db:
            for table in schema.METADATA.sorted_tables:
                order = ", ".join(column.name for column in table.primary_key)
                rows = db.exec_driver_sql(f"SELECT * FROM {table.name} ORDER BY {order}")
                found[table.name] = repr([tuple(row) for row in rows]).encode()
        return found
