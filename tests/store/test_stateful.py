"""Any sequence of holds, posts, voids, expiries, repayments and changes, beside a simple model."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from server.store import checks, draws
from shared.errors import Conflict
from tests.depth import depth
from tests.store.kit import NUMBERS, World, terms

AMOUNTS = st.integers(1, 400)
LINES = st.integers(0, 1)


class Model:
    """What a line should be: a limit, a switch, holds by id, and what each drawdown owes."""

    def __init__(self, limit):
        self.limit, self.may_draw, self.holds, self.owed = limit, True, {}, {}

    @property
    def outstanding(self):
        return sum(self.owed.values())

    def held(self):
        return sum(amount for amount, _ in self.holds.values())

    def sweep(self, at):
        self.holds = {k: one for k, one in self.holds.items() if one[1] > at}

    def refusal(self, amount, at):
        if not self.may_draw:
            return "state"
        room = self.limit - self.outstanding - self.held()
        if room < amount:
            room += sum(one for one, until in self.holds.values() if until <= at)
        return "available" if room < amount else None


class Machine(RuleBasedStateMachine):
    held = Bundle("held")
    paid = Bundle("paid")

    def __init__(self, store):
        super().__init__()
        self.world = World(store)

    @initialize(limits=st.tuples(st.integers(0, 1_000), st.integers(0, 1_000)))
    def begin(self, limits):
        self.lines = [self.world.line(limit) for limit in limits]
        self.models = [Model(limit) for limit in limits]
        self.fund = f"bank-{next(NUMBERS)}"
        self.room = 300
        self.fund_open = True
        self.world.fund(self.fund, self.room)
        self.funded = {}

    def told(self, check, function, *args, **kwargs):
        """The answer, which must be a refusal of that name if there is one."""
        try:
            answer = function(*args, **kwargs)
        except Conflict as error:
            answer, found = None, error.check
        else:
            found = None
        assert found == check
        return answer

    def no_fund(self, part):
        used = sum(self.funded.values())
        return bool(part) and (not self.fund_open or self.room - used < part)

    @rule(target=held, line=LINES, amount=AMOUNTS, seconds=st.sampled_from([60, 600]))
    def hold(self, line, amount, seconds):
        model, at = self.models[line], self.world.at
        name = f"h-{next(NUMBERS)}"
        refusal = model.refusal(amount, at)
        if self.told(
            refusal, self.world.hold, self.lines[line], amount, seconds=seconds, hold_id=name
        ):
            self.swept(line, amount)
            model.holds[name] = (amount, at + timedelta(seconds=seconds))
        return (line, name, amount)

    def swept(self, line, amount):
        """Expired holds are given back when a request needs their room."""
        model = self.models[line]
        if model.limit - model.outstanding - model.held() < amount:
            model.sweep(self.world.at)

    @rule(one=held, part=st.integers(0, 400))
    def post(self, one, part):
        line, name, amount = one
        model, part = self.models[line], min(part, amount)
        known = model.holds.get(name)
        given = terms(amount, bank=part, fund=self.fund)
        if name in model.owed:
            assert self.world.post(name, given).amount_minor == amount
        elif known is not None:
            refusal = "hold" if known[1] <= self.world.at else None
            refusal = refusal or (None if model.may_draw else "state")
            refusal = refusal or ("fund" if self.no_fund(part) else None)
            if self.told(refusal, self.world.post, name, given):
                del model.holds[name]
                model.owed[name] = amount
                self.funded[name] = part

    @rule(one=consumes(held))
    def void(self, one):
        line, name, _ = one
        known = self.models[line].holds.get(name)
        if known is not None:
            over = known[1] <= self.world.at
            if self.told("hold" if over else None, self.world.void, name):
                del self.models[line].holds[name]
        elif name in self.models[line].owed:
            self.told("hold", self.world.void, name)

    @rule(line=LINES, amount=AMOUNTS, part=st.integers(0, 400))
    def draw(self, line, amount, part):
        model, part = self.models[line], min(part, amount)
        name = f"d-{next(NUMBERS)}"
        refusal = model.refusal(amount, self.world.at) or ("fund" if self.no_fund(part) else None)
        asked = self.world.ask(self.lines[line], amount, hold_id=name)

        def draw():
            with self.world.store.write() as db:
                given = terms(amount, bank=part, fund=self.fund)
                return draws.draw(db, asked, given, self.world.at)

        if self.told(refusal, draw):
            self.swept(line, amount)
            model.owed[name] = amount
            self.funded[name] = part

    @rule(target=paid, line=LINES, amount=AMOUNTS)
    def repay(self, line, amount):
        model, ref = self.models[line], f"r-{next(NUMBERS)}"
        refusal = "outstanding" if amount > model.outstanding else None
        made = self.told(refusal, self.world.repay, self.lines[line], amount, ref=ref)
        if made is None:
            return (line, ref, amount, None)
        left = amount
        for name, owed in model.owed.items():
            less = min(owed, left)
            got = [one.amount_minor for one in made.allocations if one.drawdown_id == name]
            assert sum(got) == less
            model.owed[name] -= less
            left -= less
        for one in made.allocations:
            if one.partner_id == self.fund:
                self.funded[one.drawdown_id] -= one.amount_minor
        assert made.outstanding_minor == model.outstanding
        return (line, ref, amount, made)

    @rule(one=paid)
    def repay_again(self, one):
        line, ref, amount, made = one
        if made is not None:
            assert self.world.repay(self.lines[line], amount, ref=ref) == made

    @rule(line=LINES, limit=st.integers(0, 1_000), may_draw=st.booleans())
    def change(self, line, limit, may_draw):
        self.models[line].limit, self.models[line].may_draw = limit, may_draw
        state = "ACTIVE" if may_draw else "FROZEN"
        self.world.change(self.lines[line], limit_minor=limit, may_draw=may_draw, state=state)

    @rule(room=st.integers(0, 600), is_open=st.booleans())
    def change_fund(self, room, is_open):
        self.room, self.fund_open = room, is_open
        self.world.fund(self.fund, room, is_open=is_open)

    @rule(seconds=st.sampled_from([-30, 1, 45, 700]))
    def wait(self, seconds):
        self.world.later(seconds=seconds)

    @rule(line=LINES)
    def expire(self, line):
        model = self.models[line]
        over = sum(until <= self.world.at for _, until in model.holds.values())
        assert self.world.expire(self.lines[line]) == over
        model.sweep(self.world.at)

    @invariant()
    def totals_are_those_of_the_model(self):
        """I1, I2."""
        for line, model in zip(self.lines, self.models, strict=True):
            now = self.world.get(line)
            told = now.totals
            assert (told.limit_minor, told.outstanding_minor) == (model.limit, model.outstanding)
            assert told.held_minor == model.held()
            room = max(0, model.limit - model.outstanding - model.held())
            assert now.available_minor == (room if model.may_draw else 0)

    @invariant()
    def fund_is_what_is_open_in_its_shares(self):
        """I3."""
        if hasattr(self, "fund"):
            assert self.world.get_fund(self.fund).used_minor == sum(self.funded.values())

    def teardown(self):
        """I18."""
        if hasattr(self, "lines"):
            assert self.world.findings() == []
            with self.world.store.read() as db:
                for line in self.lines:
                    was, now = checks.state_at(db, line), self.world.get(line)
                    assert (was.version, was.state, was.may_draw, was.domain) == (
                        now.version,
                        now.state,
                        now.may_draw,
                        now.domain,
                    )


def test_any_sequence_leaves_what_the_simple_model_says(store):
    run_state_machine_as_test(
        lambda: Machine(store),
        settings=settings(
            max_examples=15,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.slow
@pytest.mark.timeout(900)  # a minute or two by itself, more where the cores are busy
def test_hundreds_of_long_sequences_leave_what_the_simple_model_says(store):
    run_state_machine_as_test(
        lambda: Machine(store),
        settings=settings(
            max_examples=depth(20, 100),
            stateful_step_count=50,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
