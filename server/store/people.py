"""What is kept of a customer beside lines: consents, evidence, bureau views, cases; and rule texts.

A customer is a pseudonym of the score feeds. Rows go in and come out as plain mappings; what they
mean is `server.accounts.customers`. Nothing is deleted but by `forget`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Connection,
    Index,
    Integer,
    String,
    Table,
    Text,
)
from sqlalchemy.dialects import postgresql, sqlite

from server.store.ids import name, utc
from server.store.tables import ID, LINES, METADATA, Instant, Mapped
from server.store.whole import whole
from shared.errors import Conflict, NotFound

_DAY = String(10)

CONSENTS = Table(
    "consents",
    METADATA,
    Column("id", ID, primary_key=True),
    Column("customer_id", ID, nullable=False),
    Column("purpose", ID, nullable=False),
    Column("terms", Mapped, nullable=False),
    Column("since", _DAY, nullable=False),
    Column("until", _DAY),
    Column("receipt_hash", String(64), nullable=False),
    Column("given_at", Instant, nullable=False),
    Column("withdrawn_at", Instant),
    Index(None, "customer_id", "id"),
)

EVIDENCE = Table(
    "evidence",
    METADATA,
    Column("id", ID, primary_key=True),
    Column("customer_id", ID, nullable=False),
    Column("kind", ID, nullable=False),
    Column("value_minor", BigInteger, nullable=False),
    Column("source", ID, nullable=False),
    Column("issued", _DAY, nullable=False),
    Column("expires", _DAY, nullable=False),
    Column("file_hash", String(64), nullable=False),
    Column("subject", ID, nullable=False),
    Column("whole", Boolean(create_constraint=False), nullable=False),
    Column("added_by", ID, nullable=False),
    Column("added_at", Instant, nullable=False),
    CheckConstraint("value_minor >= 0", name="value_minor"),
    Index(None, "customer_id", "id"),
)

BUREAU_VIEWS = Table(
    "bureau_views",
    METADATA,
    Column("id", ID, primary_key=True),
    Column("customer_id", ID, nullable=False),
    Column("as_of", _DAY, nullable=False),
    Column("told", Mapped, nullable=False),
    Column("added_by", ID, nullable=False),
    Column("added_at", Instant, nullable=False),
    Index(None, "customer_id", "as_of", "id"),
)

CASES = Table(
    "cases",
    METADATA,
    Column("id", ID, primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("customer_id", ID, nullable=False),
    Column("decision_id", ID),
    Column("about", ID, nullable=False),
    Column("text", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("outcome", ID),
    Column("resolved_by", ID),
    Column("note", Text),
    Column("opened_at", Instant, nullable=False),
    Column("due_on", _DAY, nullable=False),
    Column("resolved_at", Instant),
    CheckConstraint("kind IN ('dispute', 'appeal', 'complaint', 'hardship')", name="kind"),
    CheckConstraint("state IN ('open', 'resolved')", name="state"),
    CheckConstraint("(state = 'open') = (resolved_at IS NULL)", name="resolved"),
    Index(None, "customer_id", "id"),
    Index(None, "state", "kind", "id"),
)

# An opening that was declined is a decision in a chain of its own, named by no pseudonym: the chain
# stays when the customer is deleted, and this row goes.
DECLINED = Table(
    "declined_openings",
    METADATA,
    Column("id", ID, primary_key=True),
    Column("customer_id", ID, nullable=False),
    Column("product", ID, nullable=False),
    Column("decision_id", ID, nullable=False),
    Column("declined_at", Instant, nullable=False),
    Index(None, "customer_id", "id"),
)

RULE_TEXTS = Table(
    "rule_texts",
    METADATA,
    Column("digest", String(64), primary_key=True),
    Column("kind", ID, nullable=False),
    Column("source", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("kept_at", Instant, nullable=False),
)

RUNS = Table(
    "nightly_runs",
    METADATA,
    Column("day", _DAY, primary_key=True),
    Column("after", ID, nullable=False),
    Column("counts", Mapped, nullable=False),
    Column("pages", Integer, nullable=False),
    Column("begun_at", Instant, nullable=False),
    Column("page_at", Instant, nullable=False),
    Column("done_at", Instant),
)

_KEEP: Final = {
    kind.dialect.name: kind.insert(RULE_TEXTS).on_conflict_do_nothing()
    for kind in (postgresql, sqlite)
}
_BY_CUSTOMER: Final = {
    "consents": CONSENTS,
    "evidence": EVIDENCE,
    "bureau_views": BUREAU_VIEWS,
    "cases": CASES,
    "declined_openings": DECLINED,
}


def _statements(table: Table) -> tuple[sa.Select[Any], sa.Select[Any]]:
    """Return what asks for the rows of one customer, and of many: built once, not at each draw."""
    mine, whole_table = table.c.customer_id, sa.select(table).order_by(table.c.id)
    many = mine.in_(sa.bindparam("p_customers", expanding=True))
    return whole_table.where(mine == sa.bindparam("p_customer")), whole_table.where(many)


_ROWS: Final = {table.name: _statements(table) for table in _BY_CUSTOMER.values()}


@whole
def add(db: Connection, table: Table, row: Mapping[str, Any]) -> dict[str, Any]:
    """Add a row, and return it as it is kept."""
    name(row["id"], "id")
    name(row["customer_id"], "customer_id")
    db.execute(sa.insert(table), dict(row))
    return get(db, table, row["id"])


def get(db: Connection, table: Table, row_id: str, *, lock: bool = False) -> dict[str, Any]:
    """Return a row.

    Raises
    ------
    NotFound
    """
    query = sa.select(table).where(table.c.id == row_id)
    row = db.execute(query.with_for_update() if lock else query).mappings().first()
    if row is None:
        raise NotFound(f"there is no such row of {table.name}")
    return dict(row)


@whole
def update(db: Connection, table: Table, row_id: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Change a row that was locked before, and return it.

    Raises
    ------
    NotFound
    """
    db.execute(sa.update(table).where(table.c.id == row_id).values(**values))
    return get(db, table, row_id)


def rows_of(
    db: Connection, table: Table, customer_ids: Collection[str]
) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of some customers in order of their ids, by customer; one query."""
    found: dict[str, list[dict[str, Any]]] = {one: [] for one in customer_ids}
    if not found:
        return found
    one, many = _ROWS[table.name]
    if len(found) == 1:
        rows = db.execute(one, {"p_customer": next(iter(found))}).mappings()
    else:
        rows = db.execute(many, {"p_customers": list(found)}).mappings()
    for row in rows:
        found[row["customer_id"]].append(dict(row))
    return found


def page_of_cases(
    db: Connection,
    *,
    kind: str | None,
    customer_id: str | None,
    only_open: bool,
    after: str,
    count: int,
) -> list[dict[str, Any]]:
    """Return cases in order of their ids, from the first behind `after`."""
    cases = CASES.c
    query = sa.select(CASES).where(cases.id > after)
    if kind is not None:
        query = query.where(cases.kind == kind)
    if customer_id is not None:
        query = query.where(cases.customer_id == customer_id)
    if only_open:
        query = query.where(cases.state == "open")
    return [dict(row) for row in db.execute(query.order_by(cases.id).limit(count)).mappings()]


@whole
def forget(db: Connection, customer_id: str, handle: str) -> dict[str, int]:
    """Delete what is kept of a customer, and give what must stay another name.

    Evidence, bureau views and what leads to declined openings are deleted; of consents and cases
    the dates stay, of lines the money.

    Parameters
    ----------
    db : Connection
    customer_id : str
    handle : str
        What stands where the pseudonym stood: nothing leads from it to anybody.

    Returns
    -------
    dict of str to int
        Rows touched, by table.
    """
    touched = {}
    for table in (EVIDENCE, BUREAU_VIEWS, DECLINED):
        gone = sa.delete(table).where(table.c.customer_id == customer_id)
        touched[table.name] = db.execute(gone).rowcount
    blank: dict[str, dict[str, Any]] = {
        # A receipt's hash would tell whose it is, to whoever tries every pseudonym of a feed.
        "consents": {"terms": {}, "receipt_hash": ""},
        "cases": {"text": "", "note": None},
        "lines": {},
    }
    for table in (CONSENTS, CASES, LINES):
        mine = sa.update(table).where(table.c.customer_id == customer_id)
        values = {"customer_id": handle, **blank[table.name]}
        touched[table.name] = db.execute(mine.values(**values)).rowcount
    return touched


@whole
def keep_texts(db: Connection, rows: Iterable[tuple[str, str, str, str]], at: datetime) -> None:
    """Keep rule texts, each once.

    Parameters
    ----------
    db : Connection
    rows : iterable of (kind, source, text, digest)
    at : datetime
    """
    wanted = {digest: (kind, source, text) for kind, source, text, digest in rows}
    known = texts_at(db, wanted)
    fresh = [
        {"digest": one, "kind": kind, "source": source, "text": text, "kept_at": utc(at)}
        for one, (kind, source, text) in sorted(wanted.items())
        if one not in known
    ]
    if fresh:  # of workers that start together, one keeps them, and the others wait for it
        db.execute(_KEEP[db.dialect.name], fresh)


def texts_at(db: Connection, digests: Collection[str]) -> dict[str, str]:
    """Return the texts of some digests, as far as they are kept."""
    columns = RULE_TEXTS.c
    query = sa.select(columns.digest, columns.text).where(columns.digest.in_(list(digests)))
    return {row.digest: row.text for row in db.execute(query)}


def run_of(db: Connection, day: str) -> dict[str, Any] | None:
    """Return how far the nightly run of a day came, or None."""
    row = db.execute(sa.select(RUNS).where(RUNS.c.day == day)).mappings().first()
    return None if row is None else dict(row)


@whole
def begin_run(db: Connection, day: str, at: datetime) -> dict[str, Any]:
    """Begin or take up the nightly run of a day, and return how far it came.

    Its row is locked until the transaction ends, so that two runs of one day take turns by page.
    """
    query = sa.select(RUNS).where(RUNS.c.day == day).with_for_update()
    row = db.execute(query).mappings().first()
    if row is None:
        fresh = {"day": day, "after": "", "counts": {}, "pages": 0}
        db.execute(sa.insert(RUNS), fresh | {"begun_at": utc(at), "page_at": utc(at)})
        row = db.execute(query).mappings().one()
    return dict(row)


@whole
def note_page(
    db: Connection, day: str, after: str, counts: Mapping[str, int], at: datetime, *, done: bool
) -> None:
    """Note that a page of the nightly run is done, in the page's own transaction.

    Raises
    ------
    Conflict
        With check `version`, if the run went on elsewhere.
    """
    mine = sa.update(RUNS).where(RUNS.c.day == day, RUNS.c.after <= after)
    values = {"after": after, "counts": dict(counts), "pages": RUNS.c.pages + 1}
    values |= {"page_at": utc(at), "done_at": utc(at) if done else None}
    if db.execute(mine.values(**values)).rowcount == 0:
        raise Conflict("another run of that day went further", check="version")


def tables() -> Sequence[Table]:
    """Return the tables of this module, for the schema's test."""
    return (*_BY_CUSTOMER.values(), RULE_TEXTS, RUNS)
