"""Keys, approvals and decisions: once each, by two people, and never changed."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy import exc

from server.store import approvals, decisions, draws, idempotency
from server.store.approvals import Proposal
from server.store.decisions import NewDecision
from server.store.idempotency import Answer, Claim, Request
from server.store.tables import APPEND_ONLY, DECISIONS, METADATA, RECORDS
from shared.errors import Conflict, FourEyes, KeyReused, NotFound, UsageError
from tests.store.kit import START, terms

REQUEST = Request("key-1", "POST /v1/lines/{id}/holds", "kim", "a" * 64)
ANSWER = Answer(201, {"etag": '"2"'}, b'{"hold_id":"h"}')
MINUTE = timedelta(minutes=1)


def refused(check, function, *args, **kwargs):
    with pytest.raises(Conflict) as caught:
        function(*args, **kwargs)
    assert caught.value.check == check
    return caught.value


def claim(store, request=REQUEST, at=START):
    with store.guard() as db:
        return idempotency.claim(db, request, at)


def finish(store, made, answer=ANSWER):
    with store.write() as db:
        idempotency.finish(db, made, answer)


def test_the_same_request_gets_the_same_answer(store):
    finish(store, claim(store))
    assert claim(store) == claim(store, at=START + timedelta(days=300)) == ANSWER


def test_another_body_under_the_same_key_is_refused_before_and_after_the_answer(store):
    other = Request(REQUEST.key, REQUEST.route, REQUEST.caller, "b" * 64)
    made = claim(store)
    for _ in range(2):
        with pytest.raises(KeyReused) as caught:
            claim(store, other)
        assert (caught.value.http_status, caught.value.check) == (422, "key")
        if isinstance(made, Claim):
            finish(store, made)
            made = None


def test_a_key_counts_for_one_route_and_one_caller(store):
    finish(store, claim(store))
    for other in (
        Request(REQUEST.key, "POST /v1/repayments", REQUEST.caller, "b" * 64),
        Request(REQUEST.key, REQUEST.route, "lee", "b" * 64),
    ):
        assert isinstance(claim(store, other), Claim)


def test_a_request_in_flight_is_refused_until_its_lease_runs_out(store):
    first = claim(store)
    refused("in-flight", claim, store, at=START + MINUTE - timedelta(microseconds=1))
    second = claim(store, at=START + MINUTE)
    refused("in-flight", claim, store, at=START + MINUTE)
    # The first worker was only slow: what it wants to commit now must not count.
    refused("in-flight", finish, store, first)
    finish(store, second)
    refused("in-flight", finish, store, first)
    assert claim(store) == ANSWER


def test_a_request_that_was_given_up_can_be_made_again_at_once(store):
    made = claim(store)
    with store.write() as db:
        idempotency.abandon(db, made)
    finish(store, claim(store))
    with store.write() as db:
        idempotency.abandon(db, made)  # too late: it has its answer
    assert claim(store) == ANSWER


def test_effects_and_answer_are_one_transaction(world):
    line = world.line(1_000)
    made = claim(world.store)
    claim(world.store, at=START + MINUTE)  # taken over

    def late():
        with world.store.write() as db:
            draws.draw(db, world.ask(line, 100), terms(100), START)
            idempotency.finish(db, made, ANSWER)

    refused("in-flight", late)
    assert world.get(line).version == 1


def test_old_keys_are_forgotten(store):
    finish(store, claim(store))
    with store.write() as db:
        assert idempotency.forget(db, START) == 0
        assert idempotency.forget(db, START + MINUTE) == 1
    assert isinstance(claim(store), Claim)


@pytest.mark.parametrize("key", ["", "x" * 129, "é", "a\n", "\x00"])
def test_what_is_no_key_is_refused(key):
    with pytest.raises(UsageError, match="Idempotency-Key"):
        Request(key, "POST /", "kim", "a" * 64)


def proposal(number=1, **values):
    fields = {
        "id": f"approval-{number}",
        "kind": "macro",
        "subject": "overlay-7",
        "payload": {"multiplier": "0.7"},
        "proposer": "lee",
        "reason": "the quarter's figures",
    }
    return Proposal(**fields | values)


def propose(store, *, days=7, **values):
    with store.write() as db:
        return approvals.propose(db, proposal(**values), START + timedelta(days=days), START)


def decide(store, who, *, approve=True, at=START, number=1):
    with store.write() as db:
        name = f"approval-{number}"
        return approvals.decide(db, name, who, at, approve=approve, answer="seen")


def use(store, *, kind="macro", subject="overlay-7", at=START):
    with store.write() as db:
        return approvals.use(db, "approval-1", kind, subject, at)


def test_what_one_proposes_another_approves_and_it_is_used_once(store):
    made = propose(store)
    assert (made.state, made.approver) == ("proposed", None)
    refused("approval", use, store)
    with pytest.raises(FourEyes):
        decide(store, "lee")
    assert decide(store, "kim").state == "approved"
    refused("approval", decide, store, "mia")
    with pytest.raises(NotFound):
        use(store, subject="overlay-8")
    used = use(store)
    assert (used.state, used.payload, used.used_at) == ("used", {"multiplier": "0.7"}, START)
    refused("approval", use, store)


def test_a_rejected_or_old_proposal_is_of_no_use(store):
    propose(store)
    assert decide(store, "kim", approve=False).state == "rejected"
    refused("approval", use, store)
    propose(store, number=2)
    refused("approval", decide, store, "kim", number=2, at=START + timedelta(days=7))
    with store.read() as db:
        assert [one.id for one in approvals.approvals_in(db, "proposed")] == ["approval-2"]


def test_an_approval_runs_out_before_it_is_used(store):
    propose(store)
    decide(store, "kim")
    refused("approval", use, store, at=START + timedelta(days=7))


def test_a_malformed_proposal_is_refused(store):
    for values in ({"reason": " "}, {"proposer": ""}, {"kind": "a b"}):
        with pytest.raises(UsageError):
            propose(store, **values)
    with pytest.raises(UsageError, match="expire"):
        propose(store, days=0)
    propose(store)
    refused("id", propose, store)


def test_the_database_itself_refuses_one_pair_of_eyes(store):
    propose(store)
    with pytest.raises(exc.IntegrityError), store.write() as db:
        db.exec_driver_sql("UPDATE approvals SET state = 'approved', approver = proposer")


def decision(number, chain="line-1", **values):
    fields = {
        "id": f"{chain}.{number}",
        "chain": chain,
        "purpose": "review",
        "record": b'{"limit":1}',
        "policy_ref": "policy-1",
        "model_ref": "model-1",
        "pack_ref": "cn-1",
    }
    return NewDecision(**fields | values)


def append(store, *many):
    with store.write() as db:
        return decisions.append_all(db, many, START)


def chain(store, name="line-1"):
    with store.read() as db:
        return decisions.chain_of(db, name)


def test_decisions_are_chained_and_come_back_as_they_were_written(store):
    first = append(store, decision(1), decision(2), decision(1, "line-2"))
    append(store, decision(3), decision(2, "line-2"))
    found = chain(store)
    assert [one.number for one in found] == [1, 2, 3]
    assert found[0] == first[0]
    assert found[0].prev_hash == decisions.START
    assert [one.prev_hash for one in found[1:]] == [one.hash for one in found[:-1]]
    for name in ("line-1", "line-2"):
        assert decisions.chain_findings(chain(store, name)) == []
    with store.read() as db:
        record, salt = decisions.record_of(db, "line-1.2")
    assert record == b'{"limit":1}'
    assert decisions.commitment(salt, record) == found[1].commitment
    assert found[1].commitment != found[0].commitment


def test_an_altered_chain_is_found(store):
    append(store, *(decision(number) for number in (1, 2, 3)))
    found = chain(store)
    for field in ("policy_ref", "commitment", "occasion", "hash", "prev_hash"):
        fields = {one: getattr(found[1], one) for one in decisions.StoredDecision.__slots__}
        altered = decisions.StoredDecision(**fields | {field: "f" * 64})
        assert decisions.chain_findings([found[0], altered, found[2]])
    assert decisions.chain_findings(found[1:])
    assert decisions.chain_findings([found[0], found[2]])


@pytest.mark.parametrize("table", [*APPEND_ONLY, "decision_records"])
def test_the_database_itself_refuses_to_change_what_was_written(world, table):
    append(world.store, decision(1))
    line = world.line(1_000)
    world.draw(line, 100)
    world.repay(line, 50)
    columns = METADATA.tables[table].c.keys()
    ways = [f"UPDATE {table} SET {columns[-1]} = {columns[-1]}"]
    ways += [] if table == "decision_records" else [f"DELETE FROM {table}"]
    for way in ways:
        with pytest.raises(exc.DBAPIError, match="append-only"), world.store.write() as db:
            db.exec_driver_sql(way)
    with world.store.read() as db:
        assert db.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar() > 0


def test_deleting_a_record_leaves_the_chain_whole(store):
    append(store, decision(1), decision(2), decision(1, "line-2"))
    with store.write() as db:
        assert decisions.erase_records(db, "line-1") == 2
    assert decisions.chain_findings(chain(store)) == []
    with store.read() as db:
        with pytest.raises(NotFound):
            decisions.record_of(db, "line-1.1")
        assert decisions.record_of(db, "line-2.1")
        assert db.execute(sa.select(sa.func.count()).select_from(RECORDS)).scalar() == 1


def test_an_occasion_has_one_decision_so_a_run_that_was_killed_goes_on(store):
    append(store, decision(1, occasion="2026-03-01"))
    refused("occasion", append, store, decision(2), decision(3, occasion="2026-03-01"))
    refused("occasion", append, store, *(decision(k, occasion="2026-04-01") for k in (4, 5)))
    assert len(chain(store)) == 1
    append(store, decision(2, occasion="2026-03-01", purpose="increase"))
    with store.read() as db:
        names = ["line-1", "line-2"]
        assert decisions.decided(db, names, "review", "2026-03-01") == {"line-1"}


def test_malformed_decisions_are_refused_and_unknown_ones_not_found(store):
    for values in ({"purpose": ""}, {"record": b""}, {"record": "{}"}, {"occasion": "1 2"}):
        with pytest.raises(UsageError):
            append(store, decision(1, **values))
    with store.read() as db:
        with pytest.raises(NotFound):
            decisions.get_decision(db, "line-1.1")
        assert db.execute(sa.select(DECISIONS)).all() == []
    assert append(store) == []
