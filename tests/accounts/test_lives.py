"""Whatever happens to a line, in any order: its invariants hold after every step."""

from __future__ import annotations

import shutil
import tempfile
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.accounts.customers import resolve_case, withdraw_consent
from server.accounts.nightly import review_due
from server.store.engine import open_store
from shared.errors import ConfideError
from tests import postgres
from tests.accounts.kit import Office
from tests.accounts.test_reviewing import approved
from tests.depth import depth

AMOUNTS = st.integers(0, 45).map(lambda hundreds: hundreds * 100_000)
STEPS = st.one_of(
    st.tuples(st.just("wait"), st.sampled_from([0, 1, 29, 30, 60])),
    st.tuples(st.just("draw"), AMOUNTS),
    st.tuples(st.just("repay"), AMOUNTS),
    st.tuples(st.just("self_lower"), AMOUNTS),
    st.tuples(st.just("temporary"), st.sampled_from([0, 100_000, 200_000])),
    st.tuples(st.just("override"), AMOUNTS),
    st.tuples(
        st.sampled_from(
            [
                "review",
                "increase",
                "restore",
                "accept_offer",
                "decline_offer",
                "freeze_fraud",
                "freeze_purpose",
                "release",
                "close",
                "night",
                "silence",
                "publish",
                "consent",
                "withdraw",
                "dispute",
                "settle",
            ]
        ),
        st.just(0),
    ),
)
MAY_RAISE = {"review", "increase", "restore", "accept_offer", "override", "night"}


class Lives:
    """One customer's line, its open consents and disputes."""

    def __init__(self, office):
        self.office = office
        self.consents, self.cases = [office.consent()], []
        self.id = office.open(consent=False).line.id

    def step(self, what, value):
        office, line = self.office, self.id
        if what == "wait":
            office.now += timedelta(days=value)
        elif what in {"draw", "repay"}:
            getattr(office, what)(line, value)
        elif what == "override":
            given = approved(office, line, value)
            office.decide(line, what, limit_minor=value, note="so", approval_id=given)
        elif what in {"self_lower", "temporary"}:
            office.decide(line, what, limit_minor=value)
        elif what == "night":
            review_due(office.desk)
        elif what == "silence":
            office.silence("bureau")
        elif what == "publish":
            office.publish(3)
        elif what == "consent":
            self.consents.append(office.consent())
        elif what == "withdraw":
            office.write(withdraw_consent, self.consents.pop().id, office.now)
        elif what == "dispute":
            self.cases.append(office.case())
        elif what == "settle":
            office.write(resolve_case, self.cases.pop().id, "upheld", "officer:a", "so", office.now)
        else:
            office.decide(line, what)

    def forbidden(self):
        """Return whether anything forbids a raise (invariant I13)."""
        silent = "bureau" not in self.office.scores.feeds.shelf.in_use
        return bool(self.cases) or not self.consents or silent

    def check(self, what, before, was):
        office, line = self.office, self.id
        told, stored = office.rebuilt(line)
        assert told == stored
        now = office.domain(line)
        if now.effective_limit_minor > before.effective_limit_minor:
            assert what in MAY_RAISE
            assert not was
            reviewed = before.next_review_on is None or office.day >= before.next_review_on
            assert what in {"accept_offer", "override"} or reviewed
        held = office.get(line)
        assert held.may_draw == (now.may_draw and held.closed_at is None)
        if held.closed_at is None:
            assert held.totals.limit_minor >= now.effective_limit_minor


@pytest.mark.slow
@settings(
    max_examples=depth(15, 25),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=st.lists(STEPS, min_size=3, max_size=14))
def test_whatever_happens_a_line_is_the_sum_of_its_decisions(scene, empty_file, steps):
    with tempfile.TemporaryDirectory(prefix="confide-", dir=postgres.scratch()) as folder:
        shutil.copy(empty_file, f"{folder}/limits.db")
        store = open_store(f"sqlite:///{folder}/limits.db")
        try:
            lives = Lives(Office(scene, store))
            for what, value in steps:
                before, was = lives.office.domain(lives.id), lives.forbidden()
                try:
                    lives.step(what, value)
                except (ConfideError, IndexError):
                    assert lives.office.domain(lives.id) == before
                    continue
                lives.check(what, before, was)
            assert lives.office.replayed(lives.id) >= 1
            assert lives.office.findings() == []
        finally:
            store.close()
