"""A policy tried on simulated people: the service's rules, the same luck, figures that add up."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from server.accounts.scores import load_policy
from server.commands.replay_common import load_line_policy
from server.limits.batch.columns import NONE
from server.limits.batch.rows import line_of_row, target_of_row
from server.limits.line.limit_acts import accept_offer
from server.limits.line.line import State
from server.replay import play as playing
from server.replay import told
from server.replay.book import Rules, day_of, opened, reviewed
from server.replay.card import FEATURES, grade_places, scores
from server.replay.figures import CAUSES, Prices, Tally
from server.replay.play import Arm, Outcome, Setting, learn, learn_on_lines, moments, play
from server.replay.population import features
from shared.errors import Conflict, DataError, Refused
from shared.metrics import roc_auc
from shared.world.chance import BLOCK, Span, spans
from shared.world.economy import ECONOMIES, Economy
from shared.world.life import DEFAULT_LATE, _strain, live, warm

SEED, MONTHS = 4, 6
SPAN = Span(2, 2 * BLOCK, 2 * BLOCK + 3000)
PRICES = Prices(0.146)


@pytest.fixture(scope="module")
def card():
    return learn(SEED)


@pytest.fixture(scope="module")
def rules():
    return Rules("reference", *load_policy(None), load_line_policy(None))


@pytest.fixture(scope="module")
def arm(card, rules):
    return Arm(rules, card, PRICES)


def setting(*arms, people=3000, months=MONTHS, economy="calm"):
    return Setting(people, months, SEED, ECONOMIES[economy], arms)


@pytest.fixture(scope="module")
def outcome(arm):
    return play(setting(arm, people=BLOCK + 3000))


def tighter(arm, most_minor):
    """Return an arm that bears less expected loss on a line."""
    policy = arm.rules.policy
    cap = replace(policy.expected_loss, most_minor=most_minor)
    return replace(arm, rules=replace(arm.rules, policy=replace(policy, expected_loss=cap)))


def mapping(outcome):
    return told.mapping(outcome, tuple("ab"[: len(outcome.figures)]))


def test_the_figures_are_the_same_however_many_processes_play(arm, outcome):
    two = play(setting(arm, people=BLOCK + 3000), processes=2)
    assert mapping(two) == mapping(outcome)


def test_blocks_are_played_for_themselves_and_add_up(arm, outcome):
    whole = Outcome((playing.Figures(),), playing.Swap())
    for span in spans(BLOCK + 3000):
        whole.add(playing.play_block(setting(arm, people=BLOCK + 3000), span))
    assert mapping(whole) == mapping(outcome)
    assert whole.figures[0].people == BLOCK + 3000


def test_the_same_rules_twice_differ_in_nothing(arm):
    both = play(setting(arm, arm))
    assert both.figures[0].to_mapping() == both.figures[1].to_mapping()
    assert both.swap.cells["only_first"]["people"] == both.swap.cells["only_second"]["people"] == 0
    cell = both.swap.cells["both"]
    assert cell["people"] == both.figures[0].lines
    assert cell["profit_minor_first"] == cell["profit_minor_second"]


def test_the_swap_set_is_everybody_and_its_profit_is_the_months(arm):
    first = tighter(arm, 5_000)
    both = play(setting(arm, first))
    cells = both.swap.cells
    assert sum(cell["people"] for cell in cells.values()) == 3000
    for place, order in enumerate(("first", "second")):
        months = both.figures[place].months
        profit = months["earned_minor"] - months["cost_minor"] - months["loss_minor"]
        total = sum(cell[f"profit_minor_{order}"] for cell in cells.values())
        assert total == pytest.approx(profit.sum())
    assert cells["neither"]["limit_minor_first"] == cells["neither"]["profit_minor_second"] == 0


def test_rules_that_bear_less_loss_lose_less_and_people_go_elsewhere(arm):
    both = play(setting(arm, tighter(arm, 5_000), months=12))
    loose, tight = (told.summary(one) for one in both.figures)
    assert tight["limit_minor"] < loose["limit_minor"]
    assert tight["unmet_minor"] > loose["unmet_minor"]
    lost = [one.months["loss_minor"].sum() for one in both.figures]
    assert lost[1] < lost[0]


def test_what_the_card_expects_is_about_what_is_lost(arm):
    # Over a year, in an economy like the one that it learned in.
    found = told.summary(play(setting(arm, people=2 * BLOCK, months=12)).figures[0])
    assert 0.75 < found["loss_rate"] / found["expected_loss_rate"] < 1.33


def test_all_holders_together_tell_more_and_more_people_get_a_line(arm, card, rules):
    bank = learn(SEED, frozenset({"bank"}))
    life = warm(SPAN, SEED)
    values, late = features(life), np.zeros(len(SPAN), np.bool_)
    for _ in range(12):
        life = live(life, SPAN, SEED, np.zeros(len(SPAN)), Economy(swing=0.0))
        late |= life.card.late >= DEFAULT_LATE
    tells = [roc_auc(late.astype(int), one.default_prob_micro(values)) for one in (card, bank)]
    assert tells[0] > tells[1] + 0.05
    both = play(setting(arm, Arm(rules, bank, PRICES)))
    assert both.figures[0].lines > both.figures[1].lines


def test_a_card_is_learned_on_other_people_and_on_what_some_holders_see(card):
    assert set(features(warm(SPAN, SEED))) == {one.name for one in FEATURES}
    bank = learn(SEED, frozenset({"bank"}))
    owned = {one.name for one in FEATURES if one.owner == "bank"}
    assert {name for plan in bank.plans for name in plan.features} <= owned
    assert {name for plan in card.plans for name in plan.features} - owned
    with pytest.raises(DataError, match="no defaults"):
        playing.fit(features(warm(SPAN, SEED)), np.zeros(len(SPAN), np.bool_))


def test_a_refreshed_card_counts_from_the_month_in_which_its_outcomes_are_over(arm):
    later = learn_on_lines(arm, SEED)
    assert later != arm.card
    both = play(setting(arm, replace(arm, refreshed=later), months=15))
    first, second = (one.months for one in both.figures)
    for name in ("limit_minor", "expected_loss_minor", "score"):
        np.testing.assert_array_equal(first[name][:12], second[name][:12])
    assert (first["score"][12:] != second["score"][12:]).all()


def test_a_grade_is_that_of_the_score_that_is_shown(arm):
    prob = np.array([500, 12_345, 12_346, 24_390, 47_619, 90_910, 500_000])
    names = tuple(arm.rules.policy.grades)
    shown = [names[place] for place in grade_places(prob, names)]
    assert list(zip(scores(prob).tolist(), shown, strict=True)) == [
        *((932, "A"), (700, "A"), (700, "A"), (650, "B"), (600, "C"), (550, "D"), (384, "E"))
    ]
    with pytest.raises(DataError, match="A, B, C, D, E"):
        grade_places(prob, ("good", "bad"))


def test_every_line_is_opened_as_the_service_opens_one(arm):
    life = warm(SPAN, SEED)
    book = opened(arm.rules, arm.card, life)
    limit = book.lines.effective_limit_minor
    assert (limit > 0).all()
    assert (limit % arm.rules.policy.quantum_minor == 0).all()
    for name in ("base", "approved", "advised", "caps"):
        np.testing.assert_array_equal(getattr(book.lines, f"{name}_limit_minor"), limit)
    assert book.lines.is_in(State.ACTIVE).all()


def test_an_offer_is_taken_as_the_service_takes_one(arm):
    start, taken = warm(SPAN, SEED), 0
    for moment in moments(setting(arm, months=10), SPAN, start, arm):
        done, after = moment.book.reviewed, moment.book.lines
        policy = arm.rules.line
        for row in np.flatnonzero(done.line.offer_minor != NONE)[:25].tolist():
            line, target = line_of_row(done.line, row), target_of_row(done.targets, row)
            try:
                line = accept_offer(line, target, policy, done.as_of).line
                taken += 1
            except (Conflict, Refused):
                pass
            assert line_of_row(after, row) == line
        rest = np.flatnonzero(done.line.offer_minor == NONE)[:25].tolist()
        assert all(line_of_row(after, row) == line_of_row(done.line, row) for row in rest)
    assert taken > 20


def test_constant_behaviour_never_loses_more_than_the_floor(arm):
    """No spiral: whoever goes on alike keeps what the caps allow, or the floor (M70, domain 7)."""
    start = warm(SPAN, SEED)
    book = opened(arm.rules, arm.card, start)
    life = start
    for _ in range(3):
        before, life = life, live(life, SPAN, SEED, book.limits(len(SPAN)), ECONOMIES["calm"])
        book = reviewed(book, before, life)
    # From here on every month is the same month, on time.
    late = np.zeros_like(life.line.late)
    calm = replace(
        life, line=replace(life.line, late=late), past=replace(life.past, late=life.past.late * 0)
    )
    policy, base = arm.rules.line, book.lines.base_limit_minor
    floor = (base * float(policy.floor_share)).astype(np.int64) // 10_000 * 10_000
    seen = []
    for _ in range(24):
        after = replace(calm, number=calm.number + 1)
        book = reviewed(book, calm, after)
        calm = after
        seen.append(book.lines.effective_limit_minor)
        assert book.reviewed is not None
        least = np.minimum(floor, book.reviewed.targets.lowest_minor)
        assert (seen[-1] >= np.minimum(least, seen[0])).all()
    # And falling comes to an end: a cut does not cause the next one.
    assert (seen[-1] >= seen[-2]).all()


def test_only_those_with_a_line_are_touched_by_its_rules(arm):
    ends = []
    for one in (arm, tighter(arm, 5_000)):
        *_, last = moments(setting(one, months=12), SPAN, warm(SPAN, SEED), one)
        ends.append(last)
    wide, tight = (end.life.card.late for end in ends)
    lineless = np.ones(len(SPAN), np.bool_)
    lineless[np.concatenate([end.book.rows for end in ends])] = False
    assert lineless.sum() > 500
    np.testing.assert_array_equal(wide[lineless], tight[lineless])
    assert (wide != tight).any()


def test_nobody_draws_above_the_limit_and_what_is_denied_is_found_elsewhere(arm):
    start = warm(SPAN, SEED)
    before = start
    for moment in moments(setting(arm), SPAN, start, arm):
        life, limit = moment.life, moment.before.limits(len(SPAN))
        drew = life.drawn.spent > 0
        assert drew.any()
        assert (life.line.bill[drew] <= limit[drew]).all()
        assert (life.past.others[-1] >= life.card.others).all()
        before = life
    denied = before.drawn.unmet > 0
    assert (before.past.others[-1][denied] > before.card.others[denied]).all()
    both = play(setting(arm, tighter(arm, 5_000), months=12))
    wide, tight = (told.summary(one)["elsewhere_minor"] for one in both.figures)
    assert tight > wide


def test_a_line_strains_by_what_is_owed_and_by_what_it_denies(arm):
    *_, last = moments(setting(arm), SPAN, warm(SPAN, SEED), arm)
    life, has = last.life, last.life.line.bill > 0
    as_it_is = _strain(life)
    assert (as_it_is[~has] == 0).all()
    assert (as_it_is[has] > 0).all()
    owing = _strain(replace(life, line=replace(life.line, bill=2 * life.line.bill)))
    denied = _strain(replace(life, drawn=replace(life.drawn, unmet=2 * life.drawn.unmet + 1)))
    for more in (owing, denied):
        assert (more >= as_it_is).all()
        assert (more[has] > as_it_is[has]).any()
    assert (_strain(warm(SPAN, SEED)) == 0).all()


def test_a_line_in_default_earns_nothing_more_and_is_lost_once(arm):
    start = warm(SPAN, SEED)
    lost = 0.0
    for moment in moments(setting(arm, months=10, economy="downturn"), SPAN, start, arm):
        newly = moment.tally.lost & ~moment.tally_before.lost
        rows = moment.book.rows[newly]
        owed = moment.life.line.bill[rows].sum()
        assert moment.figures["loss_minor"] == pytest.approx(PRICES.loss_given_default * owed)
        assert (moment.tally.lost >= moment.tally_before.lost).all()
        lost += moment.figures["defaults"]
    assert lost == moment.tally.lost.sum() > 0


def test_a_limit_that_comes_back_is_counted_with_its_months(arm):
    outcome = play(setting(arm, months=12))
    figures = outcome.figures[0]
    found = told.summary(figures)
    assert 0 < found["restored"] < 1
    assert min(figures.waited_whole) >= 2  # the cool-down is sixty days
    back = sum(figures.waited_whole.values())
    assert found["restored"] == back / (back + sum(figures.cuts_open.values()))
    assert {"B04", "P-LOSS", "R02"} <= set(figures.codes)
    assert found["median_months"] in figures.waited_whole
    blank = replace_waited(figures)
    assert told.summary(blank)["median_months"] is None


def test_cuts_are_told_by_the_first_of_their_reasons(arm):
    whole = setting(arm, months=8)
    (span,) = spans(whole.people)
    cuts = []
    for one in moments(whole, span, warm(span, SEED), arm):
        new = (one.tally.cut_since > 0) & (one.tally_before.cut_since == 0)
        for row in np.flatnonzero(new):
            codes = one.book.reviewed.codes_of(int(row))
            assert one.tally.cut_for[row] == next(
                (code for code in codes if code.startswith(CAUSES)), ""
            )
            cuts.append(str(one.tally.cut_for[row]))
    rows = told.coming_back(play(whole).figures[0])
    assert {row["code"]: row["cuts"] for row in rows} == Counter(cuts)
    assert rows[0]["code"] == "P-LOSS"
    figures = play(whole).figures[0]
    back = sum(row["restored"] * row["cuts"] for row in rows)
    assert back == pytest.approx(sum(figures.waited_whole.values()))


def test_who_of_whom_has_a_line_is_counted(arm, outcome):
    kinds = outcome.figures[0].kinds
    people = outcome.figures[0].people
    assert (kinds["everybody"]["people"], kinds["everybody"]["lines"]) == (
        people,
        outcome.figures[0].lines,
    )
    poor = kinds["lowest fifth of incomes"]
    assert poor["people"] == pytest.approx(people / 5, abs=2)
    assert poor["lines"] / poor["people"] < outcome.figures[0].lines / people
    business = sum(int(warm(span, SEED).people.business.sum()) for span in spans(people))
    assert kinds["micro businesses"]["people"] == business > 0


def replace_waited(figures):
    other = playing.Figures(dict(figures.months), people=figures.people, lines=figures.lines)
    assert other.waited == {}
    return other


def test_whoever_is_never_late_is_told_apart_by_use(arm):
    groups = play(setting(arm, months=12)).figures[0].groups
    every, half = groups["all"], groups["used half or more"]
    assert 0 < half["lines"] < every["lines"] < 3000
    parts = (groups["used half or more, drew often"], groups["used half or more, drew seldom"])
    for key in ("lines", "first_minor", "last_minor", "whole"):
        assert sum(part[key] for part in parts) == half[key]
    # What the rules do to those who use their line and always pay: the finding of `docs/replay.md`.
    left = {name: one["last_minor"] / one["first_minor"] for name, one in groups.items()}
    assert left["used half or more"] < left["all"] < left["hardly used it"]


def test_every_line_is_in_the_grade_it_was_opened_in_and_in_one_at_the_end(arm):
    figures = play(setting(arm, months=12)).figures[0]
    grades = figures.grades
    assert list(grades) == ["A", "B", "C", "D", "E"]
    assert sum(one["opened"] for one in grades.values()) == figures.lines
    assert sum(one["last"] for one in grades.values()) == figures.months["lines"][-1]
    assert sum(one["defaults"] for one in grades.values()) == figures.months["defaults"].sum()
    assert grades["E"]["opened"] == 0  # no line is opened in it
    share = {name: one["defaults"] / max(one["opened"], 1) for name, one in grades.items()}
    assert share["B"] < share["C"] < share["D"]
    mean = figures.months["score"] / figures.months["lines"]
    assert 500 < mean.min() < mean.max() < 750


def test_fresh_lines_have_cost_what_winning_them_costs(arm):
    book = opened(arm.rules, arm.card, warm(SPAN, SEED))
    tally = Tally.of(book, PRICES)
    assert (tally.profit_minor == -PRICES.opening_minor).all()
    assert day_of(0).isoformat() == "2026-01-01"


def test_the_command_tells_two_policies_beside_each_other(confide, tmp_path):
    words = ("--people", 2000, "--months", 3, "--seed", SEED, "--against-holder", "bank")
    status, out, err = confide("replay", "world", *words)
    assert status == 0, err
    assert "have a line" in out
    assert "only under the other rules" in out
    assert "Nobody here is real" in out
    status, out, _ = confide("replay", "world", *words, "--format", "json")
    assert status == 0
    arms = json.loads(out)["data"]["arms"]
    assert arms[0]["summary"]["approved"] > arms[1]["summary"]["approved"]


def test_the_command_plays_a_budget_that_reaches_for_less(confide):
    words = ("--people", 2000, "--months", 3, "--allocated", 0.5, "--against-allocated", 1)
    status, out, err = confide("replay", "world", *words, "--format", "json")
    assert status == 0, err
    own, joint = (one["summary"] for one in json.loads(out)["data"]["arms"])
    assert own["limit_minor"] < 0.6 * joint["limit_minor"]
    assert own["unmet_minor"] > joint["unmet_minor"]


def test_the_frontier_tells_what_is_beaten_by_what(confide):
    rows = [
        {"loss_rate": loss, "profit_total_minor": profit}
        for loss, profit in ((0.01, 1.0), (0.02, 3.0), (0.02, 2.0), (0.03, 3.0), (0.04, 4.0))
    ]
    assert told.efficient(rows) == [True, True, False, False, True]
    words = ("--people", 2000, "--months", 3, "--times", 0.5, "--times", 2)
    status, out, err = confide("replay", "frontier", *words)
    assert status == 0, err
    assert len(out.splitlines()) == 3
    status, out, _ = confide("replay", "frontier", *words, "--format", "json")
    points = json.loads(out)["data"]["points"]
    assert [one["times"] for one in points] == [0.5, 2.0]
    limits = [one["summary"]["limit_minor"] for one in points]
    assert limits[0] < limits[1]


def test_the_command_shows_a_customer_with_every_reason(confide, arm):
    start = warm(Span(0, 0, 200), SEED)
    row = int(opened(arm.rules, arm.card, start).rows[0])
    words = ("replay", "customer", row, "--months", 3, "--seed", SEED)
    status, out, err = confide(*words)
    assert status == 0, err
    assert [line.split()[0] for line in out.splitlines()] == ["month", "1", "2", "3"]
    status, out, _ = confide(*words, "--format", "json")
    rows = json.loads(out)["data"]["months"]
    found = moments(setting(arm, economy="cycle"), Span(0, 0, 200), start, arm)
    for told_row, moment in zip(rows, found, strict=False):
        at = int(moment.book.rows.searchsorted(row))
        assert told_row["limit_minor"] == moment.book.lines.effective_limit_minor[at]
        assert told_row["codes"] == list(moment.book.reviewed.codes_of(at))


def test_the_command_names_what_is_not_there(confide, arm, tmp_path):
    status, _, err = confide("replay", "world", "--holder", "bnak")
    assert (status, "no holder 'bnak'" in err) == (2, True)
    start = warm(Span(0, 0, 200), SEED)
    declined = min(set(range(200)) - set(opened(arm.rules, arm.card, start).rows.tolist()))
    status, _, err = confide("replay", "customer", declined, "--seed", SEED)
    assert f"customer {declined} has no line" in err
    assert status != 0
    status, _, err = confide("replay", "world", "--policy", tmp_path / "none.toml")
    assert (status, "none.toml" in err) == (3, True)


def test_grounds_to_complain_and_who_stayed_are_counted(arm):
    figures = play(Setting(2000, 6, 1, ECONOMIES["calm"], (arm,))).figures[0]
    months = figures.months
    assert (months["lowered_punctual"] <= months["lowered"]).all()
    assert 0 < months["lowered_punctual"].sum() < months["lowered"].sum()
    assert (months["in_use"] <= months["lines"]).all()
    found = told.summary(figures)
    whole = months["lowered_punctual"].sum() / months["lowered"].sum()
    assert found["lowered_punctual"] == pytest.approx(whole)
    assert 0.3 < found["in_use"] == months["in_use"][-1] / months["lines"][-1]


def test_shares_of_the_floor_are_exact():
    assert Decimal("0.50") == load_line_policy(None).floor_share
