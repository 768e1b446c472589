"""Activations of rules are dated, ordered and never change; a lease is one process's at a time."""

from __future__ import annotations

import threading
from datetime import date, timedelta

import pytest
from sqlalchemy import exc

from server.store import approvals, rulebook
from server.store.approvals import Proposal
from server.store.lease import lease
from server.store.people import keep_texts, texts_at
from server.store.rulebook import Activation
from shared.errors import Conflict, FourEyes
from tests.store.kit import START

DIGESTS = ["a" * 64, "b" * 64, "c" * 64]


def activated(store, number, *days, kind="policy"):
    """Let a text hold from each of some days, by one approval."""
    at = START + timedelta(minutes=number)
    with store.write() as db:
        keep_texts(db, [(kind, f"{one[0]}.toml", f"text {one[0]}", one) for one in DIGESTS], at)
        asked = Proposal(f"approval-{number}", "rules", "d" * 64, {}, "ada", "better")
        approvals.propose(db, asked, at + timedelta(days=1), at)
        approvals.decide(db, asked.id, "bob", at, approve=True, answer="")
        approvals.use(db, asked.id, "rules", "d" * 64, at)
        rows = [
            Activation(kind, "", DIGESTS[number], date.fromisoformat(day), f"v{number}", asked.id)
            for day in days
        ]
        rulebook.activate(db, rows, at)


def test_a_schedule_is_by_day_and_of_one_day_the_newest_comes_last(store):
    activated(store, 0, "2026-05-01", "2026-03-01")
    activated(store, 1, "2026-03-01")
    with store.read() as db:
        plan = [(str(one.since), one.title) for one in rulebook.schedule(db)]
        told = [(one.activation.title, one.proposer, one.approver) for one in rulebook.history(db)]
        assert rulebook.text_at(db, DIGESTS[0]) == ("text a", "a.toml")
        assert rulebook.text_at(db, "0" * 64) is None
    assert plan == [("2026-03-01", "v0"), ("2026-03-01", "v1"), ("2026-05-01", "v0")]
    assert told == [("v0", "ada", "bob"), ("v0", "ada", "bob"), ("v1", "ada", "bob")]


@pytest.mark.parametrize("way", ["UPDATE activations SET title = 'x'", "DELETE FROM activations"])
def test_the_database_itself_refuses_to_change_an_activation(store, way):
    activated(store, 0, "2026-03-01")
    with pytest.raises(exc.DBAPIError, match="append-only"), store.write() as db:
        db.exec_driver_sql(way)
    with store.read() as db:
        assert len(rulebook.schedule(db)) == 1


def test_an_activation_needs_its_approval_and_its_text(store):
    row = Activation("policy", "", DIGESTS[0], date(2026, 3, 1), "v0", "approval-9")
    with pytest.raises(exc.DBAPIError), store.write() as db:
        rulebook.activate(db, [row], START)


def test_a_lease_is_held_once_and_given_back_whatever_happens(store):
    with lease(store, "job"):
        with pytest.raises(Conflict) as caught, lease(store, "job"):
            pytest.fail("held twice")
        assert caught.value.check == "lease"
        with lease(store, "another"):
            pass
    with pytest.raises(RuntimeError), lease(store, "job"):
        raise RuntimeError
    with lease(store, "job"):
        pass


def test_workers_that_start_together_keep_the_same_texts_once(store):
    rows = [("policy", "p.toml", f"text {one[0]}", one) for one in DIGESTS]
    failed = []

    def another():
        try:
            with store.write() as db:
                keep_texts(db, rows[::-1], START)
        except Exception as error:  # noqa: BLE001 - the test looks at it
            failed.append(error)

    later = threading.Thread(target=another)
    with store.write() as db:
        keep_texts(db, rows, START)
        later.start()
        later.join(0.3)
        assert later.is_alive()  # the control: it waits for what is not committed yet
    later.join()
    assert failed == []
    with store.read() as db:
        assert texts_at(db, DIGESTS) == {one: f"text {one[0]}" for one in DIGESTS}


def test_who_proposed_cannot_approve_or_reject_in_another_role(store):
    with store.write() as db:
        asked = Proposal("approval", "override", "line", {}, "officer:ada", "better")
        approvals.propose(db, asked, START + timedelta(days=1), START)
    for same in ("operator:ada", "ada", "officer:ada"):
        for approve in (True, False):
            with pytest.raises(FourEyes), store.write() as db:
                approvals.decide(db, "approval", same, START, approve=approve, answer="")
    with store.write() as db:
        approvals.decide(db, "approval", "officer:adam", START, approve=True, answer="")
