"""Lines, holds, draws and repayments: what they do, and what they refuse without a trace."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
import sqlalchemy as sa

from server.store import changes, checks, draws, holds, lines, repayments
from server.store.changes import LineChange
from server.store.draws import Share, Terms
from server.store.ids import new_id
from server.store.tables import LINE_EVENTS
from shared.errors import ConfideError, Conflict, NotFound, UsageError
from tests.store.kit import START, terms


def totals(world, line):
    found = world.get(line).totals
    return found.outstanding_minor, found.held_minor, found.available_minor


def events(world, line):
    with world.store.read() as db:
        query = sa.select(LINE_EVENTS.c.kind).where(LINE_EVENTS.c.line_id == line)
        return list(db.execute(query.order_by(LINE_EVENTS.c.version)).scalars())


def refused(check, function, *args, **kwargs):
    with pytest.raises(Conflict) as caught:
        function(*args, **kwargs)
    assert caught.value.check == check
    return caught.value


def test_a_line_comes_back_as_it_was_opened(world):
    line = world.get(world.line(5_000))
    assert line.totals.limit_minor == line.available_minor == 5_000
    assert line.version == 1
    assert line.domain == {"windows": [], "limit": 5_000}
    assert (line.opened_at, line.closed_at) == (START, None)
    assert line.opened_at.tzinfo is UTC
    assert (line.policy_ref, line.model_ref) == ("policy-1", "model-1")


def test_a_customer_has_one_open_line_of_a_product(world):
    first = world.line(customer="kim")
    refused("id", world.line, customer="kim")
    world.change(first, state="CLOSED", may_draw=False, limit_minor=0, closed=True)
    second = world.line(customer="kim")
    with world.store.read() as db:
        assert {one.id for one in lines.lines_of(db, "kim")} == {first, second}
        assert [one.id for one in lines.page_of_lines(db)] == [second]
    refused("state", world.change, first, state="ACTIVE")


def test_a_hold_is_set_aside_then_posted_and_the_events_say_so(world):
    line = world.line(10_000)
    held = world.hold(line, 4_000)
    assert totals(world, line) == (0, 4_000, 6_000)
    drawn = world.post(held.id, terms(4_000))
    assert totals(world, line) == (4_000, 0, 6_000)
    assert (drawn.amount_minor, drawn.open_minor, drawn.purpose) == (4_000, 4_000, "shopping")
    assert drawn.terms == {"apr": "0.12"}
    assert events(world, line) == ["opened", "held", "posted"]
    assert world.get(line).version == 3


def test_a_hold_is_resolved_at_most_once(world):
    line = world.line(10_000)
    posted, voided, over = (world.hold(line, 1_000, seconds=60).id for _ in range(3))
    world.post(posted, terms(1_000))
    world.void(voided)
    world.later(seconds=60)
    refused("hold", world.post, over, terms(1_000))
    refused("hold", world.void, over)
    assert world.expire(line) == 1
    assert world.expire(line) == 0
    refused("hold", world.void, posted)
    refused("hold", world.post, voided, terms(1_000))
    assert refused("hold", world.post, over, terms(1_000)).message == "the hold is expired"
    assert totals(world, line) == (1_000, 0, 9_000)
    assert events(world, line).count("expired") == 1


def test_posting_voiding_or_holding_again_changes_nothing(world):
    line = world.line(10_000)
    first = world.hold(line, 1_000, hold_id="h")
    assert world.hold(line, 1_000, hold_id="h") == first
    refused("id", world.hold, line, 1_001, hold_id="h")
    refused("id", world.hold, world.line(), 1_000, hold_id="h")
    drawn = world.post("h", terms(1_000))
    assert world.post("h", terms(1_000)) == drawn
    world.hold(line, 500, hold_id="v")
    assert world.void("v") == world.void("v")
    again = world.draw(line, 300, hold_id="d")
    assert world.draw(line, 300, hold_id="d") == again
    refused("id", world.draw, line, 301, hold_id="d")
    assert totals(world, line) == (1_300, 0, 8_700)
    assert world.get(line).version == 6


def test_nothing_above_the_available_is_held_or_drawn(world):
    line = world.line(1_000)
    world.draw(line, 400)
    world.hold(line, 500)
    for ask in (world.hold, world.draw):
        refused("available", ask, line, 101)
    world.draw(line, 100)
    assert totals(world, line) == (500, 500, 0)
    refused("available", world.draw, line, 1)


def test_money_of_holds_that_nobody_swept_is_available(world):
    line = world.line(1_000)
    world.hold(line, 800, seconds=60)
    refused("available", world.draw, line, 300)
    world.later(seconds=61)
    with world.store.read() as db:
        assert holds.lines_with_expired(db, world.at) == [line]
    world.draw(line, 300)
    assert totals(world, line) == (300, 0, 700)
    assert events(world, line) == ["opened", "held", "expired", "drawn"]
    with world.store.read() as db:
        assert holds.lines_with_expired(db, world.at) == []


def test_a_state_without_draws_still_takes_repayments(world):
    line = world.line(1_000)
    world.draw(line, 600)
    held = world.hold(line, 100)
    world.change(line, state="FROZEN", may_draw=False)
    assert world.get(line).available_minor == 0
    refused("state", world.draw, line, 1)
    refused("state", world.hold, line, 1)
    refused("state", world.post, held.id, terms(100))
    assert world.repay(line, 600).available_minor == 0
    world.void(held.id)
    assert totals(world, line) == (0, 0, 1_000)


def test_a_cut_below_what_is_out_leaves_nothing_available_and_the_hold_good(world):
    line = world.line(1_000)
    world.draw(line, 600)
    held = world.hold(line, 300)
    world.change(line, limit_minor=500, state="REDUCED")
    assert totals(world, line) == (600, 300, 0)
    refused("available", world.draw, line, 1)
    world.post(held.id, terms(300))
    world.repay(line, 500)
    assert totals(world, line) == (400, 0, 100)


def test_a_change_that_was_reckoned_from_an_older_version_is_refused(world):
    line = world.line(1_000)
    before = world.get(line)
    world.draw(line, 100)
    refused("version", world.change, line, version=before.version, limit_minor=2_000)
    world.change(line, limit_minor=2_000, domain={"é": [1, {"b": 2, "a": None}]})
    now = world.get(line)
    assert (now.version, now.totals.limit_minor) == (3, 2_000)
    assert now.domain == {"é": [1, {"a": None, "b": 2}]}
    assert (now.policy_ref, now.model_ref) == ("policy-2", "model-2")


def test_many_lines_change_together_or_none_does(world):
    names = [world.line(1_000) for _ in range(3)]
    world.draw(names[2], 1)

    def change_all(versions):
        with world.store.write() as db:
            wanted = [
                LineChange(one, version, "REDUCED", True, 700, {}, "p", "m", "review")
                for one, version in zip(names, versions, strict=True)
            ]
            changes.change_lines(db, wanted, world.at)

    refused("version", change_all, (1, 1, 1))
    assert {world.get(one).totals.limit_minor for one in names} == {1_000}
    change_all((1, 1, 2))
    assert {world.get(one).totals.limit_minor for one in names} == {700}


def test_money_out_keeps_a_line_from_closing(world):
    line = world.line(1_000)
    world.draw(line, 1)
    closing = {"state": "CLOSED", "may_draw": False, "limit_minor": 0, "closed": True}
    refused("state", world.change, line, **closing)
    world.repay(line, 1)
    refused("state", world.change, line, **closing | {"limit_minor": 5})
    world.change(line, **closing)
    assert world.get(line).closed_at == world.at
    refused("state", world.draw, line, 1)


def test_repayments_go_to_the_oldest_drawdown_first(world):
    line = world.line(10_000)
    first, second = (world.draw(line, amount).id for amount in (300, 500))
    paid = world.repay(line, 400)
    assert [(one.drawdown_id, one.amount_minor) for one in paid.allocations] == [
        (first, 300),
        (second, 100),
    ]
    assert (paid.outstanding_minor, paid.available_minor) == (400, 9_600)


def test_a_repayment_as_given_goes_where_it_says(world):
    line, other = world.line(10_000), world.line(10_000)
    first, second = (world.draw(line, amount).id for amount in (300, 500))
    elsewhere = world.draw(other, 900).id
    paid = world.repay(line, 450, to={second: 400, first: 50})
    assert [(one.drawdown_id, one.amount_minor) for one in paid.allocations] == [
        (second, 400),
        (first, 50),
    ]
    refused("outstanding", world.repay, line, 200, to={second: 200})
    with pytest.raises(NotFound):
        world.repay(line, 100, to={elsewhere: 100})
    with pytest.raises(UsageError, match="add up"):
        world.repay(line, 100, to={first: 99})


def test_more_than_is_outstanding_is_refused(world):
    line = world.line(1_000)
    refused("outstanding", world.repay, line, 1)
    world.draw(line, 500)
    world.hold(line, 100)
    refused("outstanding", world.repay, line, 501)
    assert totals(world, line) == (500, 100, 400)
    world.repay(line, 500)


def test_a_payment_reported_twice_in_any_order_is_applied_once_and_told_alike(world):
    line = world.line(1_000)
    world.draw(line, 900)
    one, two = world.repay(line, 100, ref="a"), world.repay(line, 200, ref="b")
    world.draw(line, 50)
    assert world.repay(line, 200, ref="b") == two
    assert world.repay(line, 100, ref="a") == one
    assert totals(world, line)[0] == 650
    refused("reference", world.repay, line, 101, ref="a")
    refused("reference", world.repay, line, 100, ref="a", day=date(2026, 3, 2))
    other = world.line(1_000)
    refused("reference", world.repay, other, 100, ref="a")
    with world.store.read() as db:
        assert repayments.repayments_of(db, line) == [one, two]


def test_a_repayment_over_hundreds_of_drawdowns_finds_them_all(world):
    line = world.line(10_000)
    with world.store.write() as db:
        for _ in range(150):
            draws.draw(db, world.ask(line, 10), terms(10), world.at)
    assert len(world.repay(line, 1_495).allocations) == 150
    with world.store.read() as db:
        (left,) = draws.drawdowns_of(db, line, only_open=True)
        assert left.open_minor == 5


def test_a_partner_funds_its_share_gets_its_repayment_and_keeps_its_cap(world):
    world.fund("bank", 1_000)
    line = world.line(100_000)
    drawn = world.draw(line, 1_001, bank=700)
    assert [(one.partner_id, one.amount_minor) for one in drawn.shares] == [
        ("bank", 700),
        ("own", 301),
    ]
    assert world.get_fund().used_minor == 700
    refused("fund", world.draw, line, 1_000, bank=301)
    assert totals(world, line)[0] == 1_001
    paid = world.repay(line, 501)
    assert sum(one.amount_minor for one in paid.allocations) == 501
    # 700 * 500 / 1001 = 349.65 stays with the bank, rounded down; the unit over stays with us.
    assert world.get_fund().used_minor == 349
    world.draw(line, 1_000, bank=651)
    assert world.get_fund().room_minor == 0
    world.fund("bank", 10)
    assert world.get_fund().room_minor == 0
    world.repay(line, 1_500)
    assert world.get_fund().used_minor == 0


def test_a_partner_that_withdraws_between_hold_and_post_changes_nothing(world):
    world.fund("bank", 1_000)
    line = world.line(1_000)
    held = world.hold(line, 500)
    world.fund("bank", 1_000, is_open=False)
    assert "bank is closed" in str(refused("fund", world.post, held.id, terms(500, bank=350)))
    assert totals(world, line) == (0, 500, 500)
    world.post(held.id, terms(500))
    assert world.get_fund().used_minor == 0
    with pytest.raises(NotFound, match="no fund other"):
        world.post(world.hold(line, 100).id, terms(100, bank=70, fund="other"))


def test_a_partner_that_has_withdrawn_is_still_repaid(world):
    world.fund("bank", 1_000)
    line = world.line(1_000)
    world.draw(line, 500, bank=350)
    world.fund("bank", 0, is_open=False)
    world.repay(line, 500)
    assert world.get_fund().used_minor == 0


def test_shares_that_do_not_add_up_are_refused(world):
    line = world.line(1_000)
    held = world.hold(line, 500)
    refused("shares", world.post, held.id, terms(499))
    for shares in ([], [Share("own", 250), Share("own", 250)]):
        with pytest.raises(UsageError, match="shares"):
            world.post(held.id, Terms(shares, "p", "m"))
    with pytest.raises(UsageError, match="amount_minor"):
        world.post(held.id, Terms([Share("own", 600), Share("x", -100)], "p", "m"))
    assert totals(world, line) == (0, 500, 500)


def test_limits_are_committed_from_a_budget_that_does_not_overflow(world):
    world.fund("budget", 2_500, kind="budget")
    first = world.line(1_000, budget="budget")
    second = world.line(1_000, budget="budget")
    refused("fund", world.line, 501, budget="budget")
    refused("fund", world.change, first, limit_minor=1_501)
    assert world.get(first).totals.limit_minor == 1_000
    world.change(second, limit_minor=400)
    world.change(first, limit_minor=2_100)
    assert world.get_fund("budget").used_minor == 2_500
    refused("fund", world.fund, "budget", 5)


@pytest.mark.parametrize("amount", [0, -1, 10**15 + 1, 2**63, 1.0, True, "5", None])
def test_what_is_no_amount_is_refused(world, amount):
    line = world.line(1_000)
    for ask in (world.hold, world.draw, world.repay):
        with pytest.raises(UsageError):
            ask(line, amount)
    assert world.get(line).version == 1


@pytest.mark.parametrize("name", ["", "-a", "a b", "x" * 65, "a\n", "é", None, 7, "a'; --"])
def test_what_is_no_id_is_refused(world, name):
    line = world.line(1_000)
    with pytest.raises(UsageError):
        world.ask(line, 1, hold_id=name or " ", purpose="x").id and world.ask(name, 1)


def test_another_currency_is_refused_by_name(world):
    line = world.line(1_000)
    world.draw(line, 100)
    for ask in (world.hold, world.draw, world.repay):
        refused("currency", ask, line, 100, currency="USD")
        with pytest.raises(UsageError, match="ISO 4217"):
            ask(line, 100, currency="yuan")


def test_unknown_lines_and_holds_are_not_found(world):
    for ask in (world.hold, world.draw, world.repay):
        with pytest.raises(NotFound):
            ask("nobody", 1)
    for ask in (world.get, world.void, world.expire):
        with pytest.raises(NotFound):
            ask("nothing")
    with pytest.raises(NotFound):
        world.post("nothing", terms(1))


def test_a_clock_that_goes_back_does_not_turn_events_round(world):
    line = world.line(1_000)
    world.later(days=1)
    world.draw(line, 1)
    world.at = START - timedelta(days=30)
    world.draw(line, 2)
    world.change(line, limit_minor=900)
    world.repay(line, 3)
    with world.store.read() as db:
        at = list(db.execute(sa.select(LINE_EVENTS.c.at).order_by(LINE_EVENTS.c.version)).scalars())
    assert at == sorted(at)
    assert at[1:] == [START + timedelta(days=1)] * 4


def test_a_line_as_it_was_is_read_from_its_events(world):
    line = world.line(1_000)
    seen = {}
    for step in (
        lambda: world.draw(line, 300),
        lambda: world.hold(line, 200),
        lambda: world.change(line, limit_minor=600, state="REDUCED", domain={"cut": 1}),
        lambda: world.repay(line, 250),
    ):
        world.later(days=1)
        step()
        now = world.get(line)
        seen[world.at] = (now.version, now.state, now.domain, now.totals)
    for at, (version, state, domain, told) in seen.items():
        with world.store.read() as db:
            was = checks.state_at(db, line, at + timedelta(hours=1))
        assert (was.version, was.state, was.domain) == (version, state, domain)
        assert was.limit_minor == told.limit_minor
        assert (was.outstanding_minor, was.held_minor) == (told.outstanding_minor, told.held_minor)
    with world.store.read() as db:
        assert checks.state_at(db, line).version == 5
        with pytest.raises(NotFound):
            checks.state_at(db, line, START - timedelta(days=1))


def test_repaying_then_drawing_conserves_the_limit(world):
    """I14."""
    line = world.line(1_000)
    world.draw(line, 700)
    world.hold(line, 100)
    for step in (lambda: world.repay(line, 400), lambda: world.draw(line, 400)):
        step()
        assert sum(totals(world, line)) == 1_000


def test_an_error_that_is_caught_inside_its_transaction_still_ends_it(world):
    world.fund("bank", 10)
    line = world.line(1_000)
    with (
        pytest.raises(ConfideError, match="inside the transaction"),
        world.store.write() as db,
        pytest.raises(Conflict),
    ):
        # The line's row was updated before the partner's room was found too small.
        draws.draw(db, world.ask(line, 100), terms(100, bank=70), world.at)
    assert world.get(line).version == 1


def test_a_time_without_zone_is_refused(world):
    line = world.line(1_000)
    world.at = datetime(2026, 3, 1)  # noqa: DTZ001
    with pytest.raises(UsageError, match="time zone"):
        world.draw(line, 1)
    world.at = START
    with pytest.raises(UsageError, match="expire after"):
        world.hold(line, 1, seconds=0)


def test_ids_sort_by_time_and_never_repeat():
    made = [new_id(START + timedelta(milliseconds=k)) for k in range(1_000)]
    assert made == sorted(made)
    assert len({new_id(START) for _ in range(1_000)}) == 1_000
    assert {len(one) for one in made} == {26}
