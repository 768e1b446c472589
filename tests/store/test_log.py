"""The tree over the store's decisions: whole whatever is killed, and every lie in it is named."""

from __future__ import annotations

import hashlib
import os
import signal
import threading
from datetime import timedelta
from multiprocessing import get_context

import pytest
import sqlalchemy as sa
from sqlalchemy import exc

from server.prooflog.export import to_bytes
from server.prooflog.leaf import Opening, commitment
from server.prooflog.merkle import Tree, inclusion, root_of
from server.prooflog.verify import verify_bytes
from server.store import decisions, log
from server.store.decisions import NewDecision
from server.store.engine import open_store
from server.store.log import APPEND_ONLY, LEAVES, NODES, StoredLog
from server.store.log_checks import check_log
from shared.errors import LogBroken, NotFound
from tests.store.kit import START
from tests.store.log_kit import PIN, Log, decision, filled, lie, record


@pytest.fixture
def kept(store, tmp_path):
    return Log(store, tmp_path / "limits")


def stored(store):
    """Return the tree as its tables have it, and built again from its leaves."""
    with store.read() as db:
        leaves = [
            bytes(one) for one in db.execute(sa.select(LEAVES.c.leaf).order_by("number")).scalars()
        ]
        rows = {(one.level, one.number): bytes(one.hash) for one in db.execute(sa.select(NODES))}
    tree = Tree()
    tree.extend(leaves)
    inner = {
        (level, at): tree.node(level, at)
        for level in range(1, len(leaves).bit_length())
        for at in range(len(leaves) >> level)
    }
    return tree, leaves, rows, inner


@pytest.mark.parametrize("parts", [[1], [1, 1], [3, 5, 1], [7, 9], [2, 2, 2, 2, 2, 2, 2, 2, 1]])
def test_leaves_and_nodes_are_those_of_the_tree_however_they_come_in(kept, parts):
    for count in parts:
        kept.decide(count)
        assert kept.integrate() == count
    tree, leaves, rows, inner = stored(kept.store)
    assert rows == inner
    with kept.store.read() as db:
        found = StoredLog(db)
        assert found.size() == sum(parts)
        assert root_of(found, len(tree)) == root_of(tree, len(tree))
        for index in range(len(leaves)):
            assert inclusion(found, index, len(tree)) == inclusion(tree, index, len(tree))
    assert kept.integrate() == 0


def test_decisions_come_in_by_time_and_id_and_each_once(kept):
    with kept.store.write() as db:
        decisions.append_all(db, [decision(1, "c"), decision(1, "b")], START + timedelta(days=1))
        decisions.append(db, decision(1, "z"), START)
    assert kept.integrate(most=2) == 2
    # One that is older than what is in the tree already, as a slow transaction leaves it.
    with kept.store.write() as db:
        decisions.append(db, decision(1, "a"), START)
    assert kept.integrate() == 2
    with kept.store.read() as db:
        found = db.execute(sa.select(LEAVES.c.decision_id).order_by(LEAVES.c.number)).scalars()
        assert list(found) == ["z.1", "b.1", "a.1", "c.1"]
        assert log.waiting(db) == 0


def test_a_leaf_is_the_hash_of_the_decision_and_opens_to_its_record(kept):
    kept.decide(2)
    kept.integrate()
    with kept.store.read() as db:
        found = StoredLog(db)
        found.load(0, 2)
        one = decisions.get_decision(db, "line-1.2")
    opening, header = found.opening(1), found.header(1)
    assert found.leaf(1).hex() == one.hash == header.digest().hex()
    assert header.prev_hash == found.leaf(0).hex()
    assert opening.record == record(2)
    assert commitment(opening).hex() == header.commitment == one.commitment
    assert decisions.commitment(opening.salt, opening.record) == one.commitment


def test_integrators_that_come_together_take_each_decision_once(url, tmp_path):
    first = Log(open_store(url), tmp_path / "limits")
    for chain in ("a", "b", "c", "d"):
        with first.store.write() as db:
            many = [decision(number, chain) for number in range(1, 51)]
            decisions.append_all(db, many, START)
    totals, errors = [], []
    gate = threading.Barrier(4)

    def work():
        try:
            own = Log(open_store(url), tmp_path / "limits")
            gate.wait()
            total = 0
            while taken := own.integrate(most=7):
                total += taken
            own.sign()
            totals.append(total)
            own.store.close()
        except BaseException as error:  # noqa: BLE001 - looked at below
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert errors == []
    assert sum(totals) == 200
    assert first.check().findings == ()
    assert first.check().leaves == 200
    first.store.close()


def test_a_head_is_signed_only_over_a_tree_that_extends_the_last_one(kept):
    kept.decide(5)
    first = kept.settle()
    kept.decide(4)
    second = kept.settle()
    assert (first.head.size, second.head.size) == (5, 9)
    kept.tamper(
        "UPDATE log_nodes SET hash = (SELECT leaf FROM log_leaves WHERE number = 0) "
        "WHERE level = 3 AND number = 0"
    )
    with pytest.raises(LogBroken) as caught:
        kept.sign()
    assert caught.value.check == "root"
    kept.tamper("DELETE FROM log_leaves WHERE number > 6")
    with pytest.raises(LogBroken) as caught:
        kept.sign()
    assert caught.value.check == "shrunk"
    with kept.store.read() as db:
        assert len(log.StoredHeads(db).heads()) == 2


def test_heads_come_one_by_one_and_as_a_sequence(kept):
    kept.decide()
    signed = [kept.settle() for _ in range(3)]
    with kept.store.read() as db:
        heads = log.StoredHeads(db).heads()
        assert list(heads) == list(heads[:]) == signed
        assert (heads[-1], heads[0], len(heads)) == (signed[-1], signed[0], 3)
        with pytest.raises(IndexError):
            heads[3]
        assert log.head_of_size(db, 1) == signed[-1]
        assert log.head_of_size(db, 2) is None


@pytest.mark.parametrize("table", APPEND_ONLY)
def test_the_database_itself_refuses_to_change_the_log(store, tmp_path, table):
    filled(store, tmp_path)
    for way in (f"UPDATE {table} SET number = number", f"DELETE FROM {table}"):
        with pytest.raises(exc.DBAPIError, match="append-only"), store.write() as db:
            db.exec_driver_sql(way)
    with store.read() as db:
        assert db.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar() > 0


def test_a_log_as_it_was_written_has_no_findings(store, tmp_path):
    kept = filled(store, tmp_path)
    kept.decide(2)
    found = kept.check()
    assert found.findings == ()
    assert (found.decisions, found.leaves, found.pending, found.heads) == (15, 13, 2, 2)
    assert found.newest.head.size == 13


#: what somebody with the database in hand does, and the checks that name it
LIES = {
    "a decision's row": ("UPDATE decisions SET policy_ref = 'p9' WHERE id = 'line-1.3'",
                         {"chain", "leaf"}),
    "a decision's instant": (("UPDATE decisions SET decided_at = '2026-02-01 00:00:00' "
                             "WHERE id = 'line-2.1'"), {"chain", "leaf"}),
    "a commitment": (f"UPDATE decisions SET commitment = '{'ab' * 32}' WHERE id = 'line-2.2'",
                     {"chain", "commitment", "leaf"}),
    "a record": (("UPDATE decision_records SET record = (SELECT record FROM decision_records "
                 "WHERE decision_id = 'line-1.1') WHERE decision_id = 'line-1.2'"), {"commitment"}),
    "a salt": (("UPDATE decision_records SET salt = (SELECT salt FROM decision_records "
               "WHERE decision_id = 'line-1.1') WHERE decision_id = 'line-1.2'"), {"commitment"}),
    "a leaf": (("UPDATE log_leaves SET leaf = (SELECT leaf FROM log_leaves WHERE number = 1) "
               "WHERE number = 4"), {"leaf", "node", "root"}),
    "a node": (("UPDATE log_nodes SET hash = (SELECT leaf FROM log_leaves WHERE number = 1) "
               "WHERE level = 2 AND number = 1"), {"node"}),
    "a node too many": (("INSERT INTO log_nodes (level, number, hash) "
                        "SELECT 9, 0, leaf FROM log_leaves WHERE number = 1"), {"node"}),
    "a lost node": ("DELETE FROM log_nodes WHERE level = 1 AND number = 2", {"node"}),
    "the only node of a level": ("DELETE FROM log_nodes WHERE level = 3", {"node"}),
    "a head's root": (("UPDATE log_heads SET root = (SELECT root FROM log_heads h WHERE "
                      "h.number = 1) WHERE number = 0"), {"signature"}),
    "a head's size": ("UPDATE log_heads SET size = 12 WHERE number = 1", {"signature"}),
    "a lost head": ("DELETE FROM log_heads WHERE number = 0", {"head"}),
    "a lost leaf": ("DELETE FROM log_leaves WHERE number = 4",
                    {"leaf", "node", "root", "shrunk", "count", "pending"}),
    "a lost decision": ("DELETE FROM decisions WHERE id = 'line-1.3'", {"chain", "leaf", "count"}),
    "a decision that never waited": ("DELETE FROM log_pending", {"count", "pending"}),
    "a decision that waits again": ("INSERT INTO log_pending VALUES ('line-1.1')",
                                    {"count", "pending"}),
}  # fmt: skip


def test_every_lie_in_the_tables_is_named(store, tmp_path):
    kept = filled(store, tmp_path)
    kept.decide(1, "line-2")
    found = {}
    for what, (statement, _) in LIES.items():
        with pytest.raises(Undone):
            look_and_undo(store, statement, found.setdefault(what, set()))
    assert found == {what: checks for what, (_, checks) in LIES.items()}
    assert kept.checks() == set()


class Undone(Exception):
    """Ends a transaction without a trace."""


def look_and_undo(store, statement, found):
    with store.write() as db:
        lie(db, statement)
        found |= {one.partition(":")[0] for one in check_log(db, PIN).findings}
        raise Undone


def test_who_rewrites_a_decision_with_all_hashes_after_it_meets_the_signed_root(store, tmp_path):
    """The chain alone would be rewritten without a trace: the tree binds the whole row."""
    kept = filled(store, tmp_path)
    with store.read() as db:
        chain = decisions.chain_of(db, "line-1")
    statements, before = [], chain[1].hash
    for one in chain[2:]:
        fields = {name: getattr(one, name) for name in decisions.StoredDecision.__slots__}
        lied = decisions.StoredDecision(**fields | {"prev_hash": before, "policy_ref": "lie"})
        before = decisions.hash_of(lied)
        statements.append(f"UPDATE decisions SET policy_ref = 'lie', hash = '{before}', "
                          f"prev_hash = '{lied.prev_hash}' WHERE id = '{one.id}'")  # fmt: skip
    kept.tamper(*statements)
    assert kept.checks() == {"leaf"}
    with store.read() as db:
        assert decisions.chain_findings(decisions.chain_of(db, "line-1")) == []
        rows = {one.id: one.hash for one in decisions.chain_of(db, "line-1")}
    literal = {name: f"X'{hashed}'" if store.engine.dialect.name == "sqlite" else
               f"'\\x{hashed}'::bytea" for name, hashed in rows.items()}  # fmt: skip
    kept.tamper(*(f"UPDATE log_leaves SET leaf = {leaf} WHERE decision_id = '{name}'"
                  for name, leaf in literal.items()))  # fmt: skip
    assert {"node", "root"} <= kept.checks()
    assert "leaf" not in kept.checks()


def test_findings_say_how_many_more_there_are(store, tmp_path):
    kept = Log(store, tmp_path)
    kept.decide(30)
    kept.settle()
    kept.tamper("UPDATE decisions SET policy_ref = 'lie'")
    found = kept.check().findings
    assert sum(one.startswith("leaf:") for one in found) == 21
    assert "leaf: and 10 more" in found


def test_another_key_is_not_the_log_of_the_pin(store, tmp_path):
    kept = filled(store, tmp_path)
    assert {one.partition(":")[0] for one in kept.check("0" * 64).findings} == {"key"}
    assert kept.check("").findings == ()


def test_deleting_salts_leaves_chain_tree_heads_and_exports_whole(store, tmp_path):
    kept = filled(store, tmp_path)
    before = kept.proof("line-2.1")
    with store.write() as db:
        assert decisions.erase_records(db, "line-2") == 3
    kept.decide(1)
    kept.settle()
    found = kept.check()
    assert found.findings == ()
    assert (found.decisions, found.records) == (14, 11)
    after = kept.proof("line-2.1")
    assert after["opening"] is None
    assert after["leaf"] == before["leaf"]
    verified = verify_bytes(to_bytes(after), PIN)
    assert verified.records == {}
    assert verified.headers[after["index"]].chain == "line-2"
    assert verify_bytes(to_bytes(before), PIN).records  # what was given away stays true


def test_a_deleted_record_cannot_be_guessed_and_with_its_salt_it_could(store, tmp_path):
    kept = Log(store, tmp_path)
    limits = range(10_000, 510_000, 1_000)  # all 500 limits that there can be
    with store.write() as db:
        for chain, limit in (("kept", 77_000), ("gone", 78_000)):
            decisions.append(db, decision(1, chain, record=record(1, limit)), START)
    kept.settle()
    with store.write() as db:
        decisions.erase_records(db, "gone")
    shown = {chain: kept.proof(f"{chain}.1") for chain in ("kept", "gone")}

    def tried(salt, chain):
        committed = bytes.fromhex(shown[chain]["header"]["commitment"])
        return [one for one in limits if commitment(Opening(salt, record(1, one))) == committed]

    salt = bytes.fromhex(shown["kept"]["opening"]["salt"])
    assert tried(salt, "kept") == [77_000]  # positive control: with the salt it takes 500 trials
    assert shown["gone"]["opening"] is None
    with store.read() as db:
        with pytest.raises(NotFound):
            decisions.record_of(db, "gone.1")
        known = {"salt": salt, "empty": bytes(32), **public_values(db)}
    assert [tried(value, "gone") for value in known.values()] == [[]] * len(known)


def public_values(db):
    """Return every 32-byte value that the database still has, as salts that somebody may try."""
    found = {}
    for table, column in (("log_leaves", "leaf"), ("log_nodes", "hash")):
        values = db.exec_driver_sql(f"SELECT {column} FROM {table}").scalars()
        found |= {f"{table}-{at}": bytes(value) for at, value in enumerate(values)}
    for one in ("hash", "prev_hash", "commitment"):
        values = db.exec_driver_sql(f"SELECT {one} FROM decisions").scalars()
        found |= {f"{one}-{at}": bytes.fromhex(value) for at, value in enumerate(values)}
    return found


def die_between(url, folder, after):
    """Be killed in the middle of taking decisions in: after leaves, nodes or the commit."""
    store = open_store(url)

    @sa.event.listens_for(store.engine, "after_cursor_execute")
    def die(_db, _cursor, statement, *_):
        if statement.startswith(after):
            os.kill(os.getpid(), signal.SIGKILL)

    Log(store, folder).integrate()


@pytest.mark.slow
@pytest.mark.parametrize("after", ["INSERT INTO log_leaves", "DELETE FROM log_pending"])
def test_a_kill_between_leaves_and_nodes_leaves_neither(url, tmp_path, after):
    own = Log(open_store(url), tmp_path)
    own.decide(6)
    own.settle()
    own.decide(5)
    own.store.close()
    child = get_context("spawn").Process(target=die_between, args=(url, tmp_path, after))
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    again = Log(open_store(url), tmp_path)
    again.at = own.at
    found = again.check()
    assert (found.leaves, found.pending, found.findings) == (6, 5, ())
    assert again.integrate() == 5
    assert again.sign().head.size == 11
    assert again.check().findings == ()
    again.store.close()


def test_decisions_from_before_the_log_wait_for_their_place(empty_url):
    from server.store import engine as engines  # noqa: PLC0415 - only here
    from server.store import migrate  # noqa: PLC0415

    parsed = engines._url(empty_url)
    make = engines._sqlite if parsed.drivername == "sqlite" else engines._postgres
    engine = make(parsed, 2)
    old = engines.Store(engine, "test", threading.Lock(), engine)
    with old.write() as db:
        migrate.upgrade(db, "0002")
        one = NewDecision("d1", "c", "open", b"{}", "p", "m", "k")
        hashed = hashlib.sha256(b"x").hexdigest()
        row = {"id": one.id, "chain": one.chain, "number": 1, "purpose": "open", "occasion": "d1",
               "policy_ref": "p", "model_ref": "m", "pack_ref": "k", "commitment": hashed,
               "prev_hash": "0" * 64, "hash": hashed, "decided_at": START}  # fmt: skip
        db.execute(sa.insert(decisions.DECISIONS), row)
        migrate.upgrade(db)
        assert log.waiting(db) == 1
        assert log.extend(db) == 1
    old.close()
