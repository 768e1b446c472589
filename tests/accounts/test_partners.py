"""Partners, the budget, allocation runs, the pause of increases, stress, and a partner's book."""

from __future__ import annotations

from decimal import Decimal

import pytest

from server.accounts import (
    allocating,
    budgeting,
    partner_books,
    partners,
    pausing,
    standing,
)
from server.accounts.desk import RuleText
from server.accounts.partners import PartnerRequest
from server.limits.portfolio.budget import budget
from server.policies import embedded
from server.store import allocation_runs, approvals
from server.store.partners import supply
from shared.errors import ConfigError, Conflict, DataError, FourEyes, NotFound
from tests.accounts.kit import GOOD, GOOD_TOO, Office
from tests.accounts.till import BILLION, Till

HALF = Decimal("0.5")


def stopped(act, check):
    with pytest.raises(Conflict) as caught:
        act()
    assert caught.value.check == check


def set_budget(till, own_funds, share="1"):
    return till.write(
        budgeting.set_budget, "budget", own_funds, Decimal(share), "operator", till.now
    )


def allocate(till):
    return till.write(allocating.allocate, "budget", "operator", till.now)


# partners


def test_a_partners_rules_are_checked_with_all_findings(till):
    bad = {"name": "", "grades": ["Z"], "products": [], "most_minor": -1, "colour": "red"}
    asked = PartnerRequest("lake", 1, 1, 0, bad | {"most_default_prob": "2"})
    with pytest.raises(DataError) as caught:
        till.write(partners.set_partner, asked, till.now)
    assert {one.split(":")[0] for one in caught.value.findings} == {
        *("name", "version", "grades", "products", "most_minor", "most_default_prob", "colour")
    }
    assert till.write(lambda desk, db: partners.partners_of(desk, db, till.now)) == []


def test_no_partner_takes_the_lenders_name(till):
    stopped(lambda: till.partner("own"), "id")
    stopped(lambda: till.partner("budget"), "id")


def test_a_pack_that_does_not_know_joint_loans_yet_takes_no_partners(till):
    text, source = embedded("pack_cn")
    late = text.replace(
        'name = "joint_own_share"\nsince = 2022-01-01',
        'name = "joint_own_share"\nsince = 2030-01-01',
    )
    assert late != text
    strict = Till(Office(till.scene, till.store, pack=RuleText.of(late, source)))
    with pytest.raises(ConfigError, match="joint_own_share"):
        strict.partner()
    assert strict.write(lambda desk, db: supply(db)[:2]) == (None, [])


def test_a_partner_told_anew_keeps_what_it_has_out(tills):
    tills.partner("lake")
    line = tills.line()
    tills.draw(line, 100_000)
    again = tills.partner("lake", agreed_minor=80_000)
    assert (again.cap_minor, again.used_minor, again.room_minor) == (80_000, 70_000, 10_000)
    gone = tills.withdraw("lake")
    assert (gone.is_open, gone.used_minor, gone.room_minor) == (False, 70_000, 0)
    tills.repay(line, 100_000)
    assert tills.book().partner.used_minor == 0
    with pytest.raises(NotFound):
        tills.withdraw("moor")


def test_a_book_holds_a_partners_own_part_and_nothing_of_others(tills):
    tills.partner("lake", agreed_minor=30_000)
    tills.partner("hill", grades=["B"])
    line = tills.line()
    made = tills.draw(line, 100_000, months=6)
    book = tills.book("lake")
    [item] = book.items
    assert (item.draw_id, item.amount_minor, item.open_minor) == (made.id, 30_000, 30_000)
    assert (item.grade, item.months, book.draws, book.decided) == ("A", 6, 1, {"": 1})
    assert "hill" not in str(book)
    assert GOOD not in str(book)
    other = tills.book("hill")
    assert (other.draws, other.items) == (0, ())
    assert [one.reason for one in other.refused] == ["grade"]
    with pytest.raises(NotFound):
        tills.book("moor")


def test_a_book_comes_in_pages(till):
    till.partner("lake")
    line = till.line()
    names = sorted(till.draw(line, 10_000, id_=f"d-{k}").id for k in range(5))
    with till.store.read() as db:
        first = partner_books.book(till.desk, db, "lake", till.now, count=3)
        rest = partner_books.book(
            till.desk, db, "lake", till.now, count=3, after=first.items[-1].draw_id
        )
    assert [one.draw_id for one in (*first.items, *rest.items)] == names


# the budget and the pause


def test_t26_a_budget_follows_from_own_funds_and_bounds_what_is_committed(till):
    fund = set_budget(till, BILLION, "0.3")
    rules = till.desk.rules.budget
    assert fund.cap_minor == budget(BILLION, Decimal("0.3"), rules).commitments_minor
    line = till.line()
    assert till.get(line).budget_id == "budget"
    with till.store.read() as db:
        used = budgeting.budget_used(db, "budget")
        assert used >= Decimal(4_000_000) / fund.cap_minor
        assert budgeting.budget_used(db, None) == 0
    with till.store.write() as db:
        stopped(lambda: budgeting.own_funds_of(db, "another"), "budget")


def test_i3_what_is_committed_never_exceeds_the_budget(till):
    set_budget(till, 400_000, "1")  # commits a little less than one line asks for
    stopped(till.line, "fund")


def test_one_person_pauses_increases_and_two_let_them_go_on(tills):
    set_budget(tills, BILLION)
    line = tills.line()
    with tills.store.write() as db:
        pausing.set_pause(db, True, "officer:kim", "markets", tills.now)
    with tills.store.read() as db:
        assert pausing.paused(db).by == "officer:kim"
        assert budgeting.budget_used(db, "budget") == budgeting.budget_used(db, None) == 1
    codes = [one.code for one in tills.decide(line, "increase").reasons]
    assert "C-PAUSE" in codes
    with tills.store.read() as db:
        seen = standing.look_at(tills.desk, db, tills.get(line), tills.now)
    assert seen.facts.budget_used == 1
    assert tills.draw(line, 20_000).amount_minor == 20_000  # draws go on
    resume = (False, "kim", "calm", tills.now)
    stopped(lambda: tills.write(lambda _, db: pausing.set_pause(db, *resume)), "approval")
    with tills.store.write() as db:
        asked = pausing.propose_resume(db, "officer:kim", "calm again", tills.now)

    def apply():
        return tills.write(lambda _, db: pausing.apply_pause(db, asked.id, tills.now))

    with pytest.raises(FourEyes), tills.store.write() as db:
        approvals.decide(db, asked.id, "officer:kim", tills.now, approve=True, answer="")
    stopped(apply, "approval")
    with tills.store.write() as db:
        approvals.decide(db, asked.id, "officer:lee", tills.now, approve=True, answer="yes")
    assert apply().by == "officer:lee"
    with tills.store.read() as db:
        assert not pausing.paused(db).paused
        assert budgeting.budget_used(db, "budget") < 1
    stopped(apply, "approval")


# allocation


def two_lines(till):
    return till.line(GOOD), till.line(GOOD_TOO)


def test_an_allocation_with_room_for_all_scales_nothing(tills):
    set_budget(tills, BILLION)
    two_lines(tills)
    run = allocate(tills)
    assert run.result["scales"] == {"revolving_consumer/A": "1"}
    [segment] = run.inputs["segments"]
    assert (segment["customers"], segment["asked_minor"]) == (2, 8_000_000)
    with tills.store.read() as db:
        assert allocating.latest_run(db, "budget") == run
        assert set(budgeting.scales_of(db, "budget").values()) <= {Decimal(1)}
        assert budgeting.scales_of(db, None) == {}


def test_the_scale_of_an_allocation_is_what_the_next_review_uses(tills):
    set_budget(tills, BILLION)
    line, _ = two_lines(tills)
    set_budget(tills, 700_000)
    run = allocate(tills)
    with tills.store.read() as db:
        scale = budgeting.scales_of(db, "budget")["revolving_consumer", "A"]
    assert 0 < scale < 1
    assert str(scale) == run.result["scales"]["revolving_consumer/A"]
    assert run.result["binding"]
    committed = run.result["limits_minor"]["revolving_consumer/A"] * 2
    assert committed <= run.inputs["commitments_minor"]
    decided = tills.review(line)
    assert decided.record.grounds.scale == scale
    assert "C-CAP" in [one.code for one in decided.reasons]
    after = tills.domain(line).effective_limit_minor
    assert after < 4_000_000
    set_budget(tills, BILLION)
    allocate(tills)
    with tills.store.read() as db:
        assert budgeting.scales_of(db, "budget")["revolving_consumer", "A"] == 1


def test_an_allocation_needs_a_budget_and_lines(till):
    stopped(lambda: allocate(till), "budget")
    set_budget(till, BILLION)
    stopped(lambda: allocate(till), "budget")


def test_an_allocation_asks_no_more_of_small_firms_than_they_ask_for(till):
    set_budget(till, BILLION)
    two_lines(till)
    assert allocate(till).inputs["inclusion_share"] == "0.000000"
    till.line(GOOD, "micro_business")
    run = allocate(till)
    assert run.inputs["inclusion_share"] == "0.1"
    assert run.result["scales"]["micro_business/A"] == "1"


def test_partners_room_counts_in_an_allocation(till):
    till.partner("lake")
    set_budget(till, BILLION, "0.3")
    line, _ = two_lines(till)
    till.draw(line, 1_000_000)
    run = allocate(till)
    [segment] = run.inputs["segments"]
    assert segment["partner_shares"] == {"lake": 0.7}
    assert run.inputs["partners_minor"]["lake"] == till.book().partner.cap_minor


def test_a_bad_year_costs_more_the_worse_it_is(till):
    set_budget(till, BILLION)
    line, _ = two_lines(till)
    till.draw(line, 1_000_000)

    def stress(own_funds, share=Decimal(1)):
        with till.store.read() as db:
            return allocating.stress_test(till.desk, db, own_funds, share, till.now)

    mild, severe = stress(BILLION)
    assert (mild.scenario, severe.scenario) == ("downturn", "severe")
    assert 0 < mild.loss_minor < severe.loss_minor
    assert severe.holds
    assert not stress(10_000)[1].holds
    assert stress(BILLION, HALF)[1].loss_minor <= severe.loss_minor // 2 + 1


def test_runs_are_kept_newest_first(till):
    set_budget(till, BILLION)
    two_lines(till)
    runs = []
    for _ in range(3):
        runs.append(allocate(till).id)
        till.later(seconds=1)
    with till.store.read() as db:
        found = allocation_runs.runs_of(db, "budget", count=2)
        assert [one.id for one in found] == runs[:0:-1]
        assert [one.id for one in allocation_runs.runs_of(db, "budget", before=runs[1])] == [
            runs[0]
        ]
