"""Random days at the till: whatever is asked in whatever order, the invariants of money hold.

I1 amounts are whole and never negative. I2 nothing is taken above the limit; after a cut nothing is
available. I3 no fund gives more than its cap, and the lender has its share of every draw. I5 every
decision is made again from its record. I6 a repetition finds the first answer and changes nothing.
I14 what is owed, held and available add up to the limit where nothing else binds. I15 shares add up
to draws, allocations to repayments.
"""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from server.store import draws, funds, holds
from server.store.engine import open_store
from server.store.tables import ALLOCATIONS, DRAWDOWNS, FUNDS, HOLDS, LINES, REPAYMENTS, SHARES
from shared.errors import Conflict
from tests.accounts.kit import GOOD, GOOD_TOO, Office, Scene
from tests.accounts.till import Till, a_till
from tests.depth import depth
from tests.stores import empty_file, server  # noqa: F401 - fixtures

AMOUNT = st.sampled_from([9_999, 10_000, 10_001, 33_333, 100_001, 1_234_567, 4_000_000])
PLACE = st.integers(0, 30)
STEP = st.one_of(
    st.tuples(st.just("draw"), AMOUNT, PLACE),
    st.tuples(st.just("hold"), AMOUNT, PLACE),
    st.tuples(st.just("post"), PLACE, PLACE),
    st.tuples(st.just("void"), PLACE, PLACE),
    st.tuples(st.just("repay"), st.integers(1, 4_000_000), PLACE),
    st.tuples(st.just("again"), PLACE, PLACE),
    st.tuples(st.just("wait"), st.sampled_from([1, 60, 2_000]), PLACE),
    st.tuples(st.just("partner"), st.sampled_from([0, 5_000, 50_000, 10**9]), PLACE),
    st.tuples(st.just("leave"), PLACE, PLACE),
    st.tuples(st.just("lower"), st.sampled_from([500_000, 1_000_000, 3_000_000]), PLACE),
)


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return Scene(tmp_path_factory.mktemp("federation"))


class Day:
    """Two lines with two partners, and what was answered so far."""

    def __init__(self, till):
        self.till = till
        with till.store.write() as db:
            funds.set_fund(
                db, "budget", kind="budget", cap_minor=9_000_000, is_open=True, at=till.now
            )
        till.partner("hill")
        till.partner("lake", agreed_minor=60_000)
        self.lines = [till.line(GOOD), till.line(GOOD_TOO)]
        self.answers = []  # function and answer
        self.held = []

    def play(self, step):
        kind, value, place = step
        before = self.till.everything()
        try:
            getattr(self, kind)(value, place)
        except Conflict:
            assert self.till.everything() == before, "a refusal left something"
        assert broken(self.till) == []

    def answered(self, act):
        answer = act()
        self.answers.append((act, answer))
        return answer

    def draw(self, amount, place):
        asked = self.till.ask(self.lines[place % 2], amount)
        self.answered(lambda: self.till.do_draw(asked))

    def hold(self, amount, place):
        asked = self.till.ask(self.lines[place % 2], amount)
        self.held.append(self.answered(lambda: self.till.do_hold(asked)).id)

    def post(self, which, _):
        if self.held:
            name = self.held[which % len(self.held)]
            self.answered(lambda: self.till.post(name))

    def void(self, which, _):
        if self.held:
            self.till.void(self.held[which % len(self.held)])

    def repay(self, amount, place):
        ref = f"ref-{len(self.answers)}"
        line, day = self.lines[place % 2], self.till.day
        self.answered(lambda: self.till.repay(line, amount, ref=ref, day=day))

    def again(self, which, _):
        """I6: a repetition finds what it did, or what has become of the hold, and does nothing."""
        if self.answers:
            act, first = self.answers[which % len(self.answers)]
            before = self.till.everything()
            found = act()
            assert self.till.everything() == before
            if isinstance(first, holds.Hold):
                assert (found.id, found.amount_minor) == (first.id, first.amount_minor)
            elif isinstance(first, draws.Drawdown):
                assert (found.id, found.terms) == (first.id, first.terms)
            else:
                assert found == first

    def wait(self, minutes, _):
        self.till.later(minutes=minutes)

    def partner(self, agreed, place):
        self.till.partner(["hill", "lake"][place % 2], agreed_minor=agreed)

    def leave(self, which, _):
        self.till.withdraw(["hill", "lake"][which % 2])

    def lower(self, limit, place):
        self.till.decide(self.lines[place % 2], "self_lower", by="customer:app", limit_minor=limit)

    def made_again(self):
        """I5: every decision of the day is made again from its record alone, bit for bit."""
        for line in self.lines:
            assert self.till.replayed(line) >= 1


def broken(till):
    """Return what does not hold."""
    return [*_balances(till), *_lines(till), *_lent(till)]


def _balances(till):
    with till.store.read() as db:
        for table, columns in (
            (LINES, ("limit_minor", "outstanding_minor", "held_minor")),
            (FUNDS, ("cap_minor", "used_minor")),
            (DRAWDOWNS, ("amount_minor", "open_minor")),
            (HOLDS, ("amount_minor",)),
        ):
            for row in db.execute(sa.select(table)).mappings():
                for one in columns:
                    if type(row[one]) is not int or row[one] < 0:
                        yield f"I1 {table.name}.{one}"
        budget = funds.get_fund(db, "budget")
        committed = db.execute(sa.select(sa.func.sum(LINES.c.limit_minor))).scalar()
    if not committed == budget.used_minor <= budget.cap_minor:
        yield "I3 budget"
    yield from till.findings()


def _lines(till):
    with till.store.read() as db:
        names = db.execute(sa.select(LINES.c.id)).scalars().all()
    for name in names:
        view = till.view(name)
        totals, parts = view.line.totals, view.available.parts
        free = parts["effective"] - parts["outstanding"] - parts["held"]
        lowered = view.domain.effective_limit_minor < 4_000_000
        if free < 0 and not lowered:
            yield "I2 above the limit"
        if free < 0 and view.available.amount_minor:
            yield "I2 available after a cut"
        if view.available.binding == ("limit",) and free >= 0:
            whole = parts["outstanding"] + parts["held"] + view.available.amount_minor
            if whole != view.domain.effective_limit_minor:
                yield "I14"
        if totals.outstanding_minor != sum(one.open_minor for one in view.lenders):
            yield "I15 lenders"


def _lent(till):
    with till.store.read() as db:
        used = {}
        for name, amount, owed in db.execute(
            sa.select(DRAWDOWNS.c.id, DRAWDOWNS.c.amount_minor, DRAWDOWNS.c.open_minor)
        ).all():
            shares = db.execute(sa.select(SHARES).where(SHARES.c.drawdown_id == name)).all()
            own = sum(one.amount_minor for one in shares if one.partner_id == "own")
            own_open = sum(one.open_minor for one in shares if one.partner_id == "own")
            if sum(one.amount_minor for one in shares) != amount:
                yield "I15 shares"
            if own * 10 < amount * 3 or own_open * 10 < owed * 3:
                yield "I3 own share"
            for one in shares:
                used[one.partner_id] = used.get(one.partner_id, 0) + one.open_minor
        for fund in db.execute(sa.select(FUNDS).where(FUNDS.c.kind == "partner")).all():
            if fund.used_minor != used.get(fund.id, 0):
                yield "I3 partner"
        told = sa.select(ALLOCATIONS.c.repayment_id, sa.func.sum(ALLOCATIONS.c.amount_minor))
        sums = dict(db.execute(told.group_by(ALLOCATIONS.c.repayment_id)).all())
        for one in db.execute(sa.select(REPAYMENTS)).all():
            if sums.get(one.id) != one.amount_minor:
                yield "I15 allocations"


@given(st.lists(STEP, max_size=14))
@settings(max_examples=8, deadline=None)
def test_i1_i2_i3_i5_i6_i14_i15_hold_after_every_step_on_sqlite(scene, empty_file, steps):  # noqa: F811
    with a_till(scene, empty_file) as till:
        day = Day(till)
        for step in steps:
            day.play(step)
        day.made_again()


@pytest.mark.slow
@given(st.lists(STEP, min_size=5, max_size=40))
@settings(max_examples=depth(12, 40), deadline=None)
def test_i1_i2_i3_i5_i6_i14_i15_hold_over_long_days_on_sqlite(scene, empty_file, steps):  # noqa: F811
    with a_till(scene, empty_file) as till:
        day = Day(till)
        for step in steps:
            day.play(step)
        day.made_again()


@pytest.mark.slow
@given(st.lists(STEP, min_size=5, max_size=25))
@settings(max_examples=depth(4, 10), deadline=None)
def test_i1_i2_i3_i5_i6_i14_i15_hold_after_every_step_on_postgresql(scene, server, steps):  # noqa: F811
    store = open_store(server.new_database(server.template), pool=4)
    till = Till(Office(scene, store))
    day = Day(till)
    for step in steps:
        day.play(step)
    day.made_again()
    store.close()


def test_what_looks_for_broken_invariants_finds_them(scene, empty_file):  # noqa: F811
    with a_till(scene, empty_file) as till:
        day = Day(till)
        for step in [("draw", 100_001, 0), ("repay", 33_333, 0)]:
            day.play(step)
        assert broken(till) == []
        for column, by, code in [
            (SHARES.c.amount_minor, -1, "I15 shares"),
            (LINES.c.held_minor, 1, "line's holds"),
            (FUNDS.c.used_minor, 1, "I3 partner"),
        ]:
            for delta, found in ((by, True), (-by, False)):
                with till.store.write() as db:
                    db.execute(sa.update(column.table).values({column: column + delta}))
                assert any(one.startswith(code) for one in broken(till)) == found, code
