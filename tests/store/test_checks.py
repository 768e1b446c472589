"""The checks find what they are for: each balance that is spoilt is named."""

from __future__ import annotations

import threading

import pytest
import sqlalchemy as sa

from server.store import checks
from server.store.draws import Share
from server.store.engine import open_store
from server.store.repayments import split_repaid
from server.store.tables import LINES
from tests.store.kit import World


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("UPDATE lines SET outstanding_minor = outstanding_minor + 1", "line is not the sum"),
        ("UPDATE lines SET held_minor = held_minor + 1", "line's holds"),
        ("UPDATE lines SET version = version + 1", "line is not the sum"),
        ("UPDATE lines SET limit_minor = limit_minor + 1", "not as its last event"),
        ("UPDATE lines SET state = 'FROZEN'", "not its last change"),
        ("UPDATE lines SET domain = '{}'", "not its last change"),
        ("UPDATE holds SET amount_minor = amount_minor + 1", "line's holds"),
        ("UPDATE drawdowns SET open_minor = open_minor - 1", "line's drawdowns"),
        ("UPDATE drawdowns SET amount_minor = amount_minor + 1", "not open by what"),
        ("UPDATE shares SET open_minor = open_minor - 1 WHERE open_minor > 0", "its shares"),
        ("UPDATE funds SET used_minor = used_minor + 1", "fund is not"),
        ("UPDATE holds SET state = 'voided' WHERE state = 'posted'", "without a posted hold"),
        (
            "UPDATE holds SET state = 'posted', resolved_at = created_at WHERE state = 'pending'",
            "posted hold without a drawdown",
        ),
    ],
)
def test_a_spoilt_balance_is_found(store, statement, found):
    world = World(store)
    world.fund("bank", 10_000)
    line = world.line(1_000)
    world.draw(line, 100, bank=70)
    world.repay(line, 30)
    world.hold(line, 50)
    assert world.findings() == []
    with store.write() as db:
        db.exec_driver_sql(statement)
    assert any(found in one for one in world.findings())


def test_an_empty_database_has_no_findings(store):
    with store.read() as db:
        assert checks.findings(db) == []


def test_checking_before_acting_would_overdraw_and_the_checks_would_see_it(url, server):
    """The control of T37: what the store does not do fails where the store does not."""
    if not url.startswith("postgresql"):
        pytest.skip("SQLite lets one transaction write at a time")
    store = open_store(url)
    world = World(store)
    line = world.line(100)
    both_read = threading.Barrier(2)
    done = []

    def draw():
        with store.write() as db:
            row = db.execute(sa.select(LINES).where(LINES.c.id == line)).one()
            both_read.wait(10)
            if row.limit_minor - row.outstanding_minor >= 100:
                values = {"outstanding_minor": LINES.c.outstanding_minor + 100}
                db.execute(sa.update(LINES).where(LINES.c.id == line).values(**values))
                done.append(1)

    threads = [threading.Thread(target=draw) for _ in range(2)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(done) == 2
    assert world.get(line).totals.outstanding_minor == 200
    assert world.findings() != []
    store.close()


@pytest.mark.parametrize("amount", [1, 2, 299, 300, 301, 1_000, 1_001])
def test_a_payment_is_split_exactly_and_leaves_the_lender_its_portion(amount):
    """I15, and the own share of at least 30% in what stays open."""
    shares = [Share("bank", 700, "bank", 700), Share("own", 301, None, 301)]
    parts = split_repaid(shares, amount)
    assert sum(parts) == amount
    bank, own = (share.open_minor - part for share, part in zip(shares, parts, strict=True))
    assert 0 <= bank <= 700
    assert 0 <= own <= 301
    assert own * 10 >= (own + bank) * 3
