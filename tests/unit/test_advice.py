"""Advice that is true, what-if answers that leave no trace, and the files both are read from."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import pytest

from server.api.wording import texts_in
from server.limits.answers.actions import NEVER, parse_actions
from server.limits.answers.advice import advice_view, advise, holds, to_avoid
from server.limits.answers.line_reviews import LineReviews
from server.limits.answers.whatif import (
    FACTS,
    Change,
    PolicyReviews,
    changed,
    limit_on,
    parse_changes,
    what_if,
    what_if_view,
)
from server.limits.caps.caps import Income, Inputs
from server.limits.caps.decide import decide
from server.limits.caps.snapshot import Rating, Snapshot
from server.limits.line.line import Line, State
from server.limits.line.review import review
from server.limits.line.target import target_of
from server.limits.line.triggers import Facts as LineFacts
from server.limits.rules.line_lint import parse_line_policy
from server.limits.rules.line_policy import Condition, Rule
from server.limits.rules.pack import parse_pack
from server.limits.rules.policy import LossCap, Macro
from server.limits.rules.policy_lint import parse_policy
from server.limits.words.explain import Money, tell
from server.policies import embedded
from shared.errors import ConfigError, UsageError

DAY = date(2026, 3, 1)
NEXT = DAY + timedelta(days=1)
FAR = DAY + timedelta(days=540)
PACK = parse_pack(*embedded("pack_cn"))
ACTIONS = parse_actions(*embedded("advice"))
REFERENCE = parse_policy(*embedded("reference"))
# Everybody's income is looked at, and nothing is presumed of anybody.
POLICY = replace(
    REFERENCE,
    grades={name: replace(row, presumed_minor=0) for name, row in REFERENCE.grades.items()},
)
# Nobody's is.
NO_INCOME = replace(
    REFERENCE,
    grades={name: replace(row, presumed_minor=None) for name, row in REFERENCE.grades.items()},
)
B_RATING = Rating(70, Decimal("0.02"), 664, "B")
HOLDERS = ("bank", "bureau")
CNY = Money("CNY", 2)


def snapshot(missing=None, rating=B_RATING):
    return Snapshot(rating, rating, dict.fromkeys(HOLDERS, 35), missing or {}, ())


def reviews(policy=POLICY, missing=None, **facts):
    return PolicyReviews(policy, PACK, snapshot(missing), Inputs(DAY, **facts))


def advised(given, actions=ACTIONS, codes=("UTILISATION",)):
    return advise(given, actions, holders=HOLDERS, card_codes=codes)


DECLARED = Income(800_000, "declared", 0)


def test_proof_of_income_is_advised_with_the_limit_that_the_policy_then_gives():
    found = advised(reviews(income=DECLARED, current_minor=600_000))
    (proof,) = found.advice
    assert proof.codes == ("ADV-PROOF",)
    assert [change.value for change in proof.changes] == ["bank"]
    # Declared counts .3: 2.5 x 2,400 = 6,000. With the bank's word 2.5 x 8,000 = 20,000.
    assert (proof.otherwise_minor, proof.expected_minor) == (600_000, 2_000_000)
    assert proof.by == DAY + timedelta(days=7)
    real = decide(
        POLICY, PACK, snapshot(), Inputs(proof.by, income=replace(DECLARED, source="bank"))
    )
    assert real.limit_minor == proof.expected_minor


def test_two_caps_that_both_bind_need_two_actions():
    income = Income(800_000, "declared", 250_000)
    found = advised(reviews(income=income, current_minor=0))
    pairs = [one for one in found.advice if len(one.codes) == 2]
    assert pairs
    assert pairs[0].codes == ("ADV-PROOF", "ADV-DEBT")
    single = [one.expected_minor for one in found.advice if len(one.codes) == 1]
    assert all(pairs[0].expected_minor > limit for limit in single)
    assert all(holds(one, reviews(income=income, current_minor=0)) for one in found.advice)


def test_the_least_step_that_reaches_the_limit_is_advised():
    # With 10,000 drawn the loss cap binds; with less, at some point, it is the grade.
    policy = replace(NO_INCOME, expected_loss=LossCap(20_500, Decimal("0.7"), Decimal("0.5")))
    given = reviews(policy, drawn_minor=1_000_000)
    (util,) = advised(given).advice
    assert util.codes == ("ADV-UTIL",)
    reached = [
        what_if(given, [Change("drawn_minor", 100_000 * tenth, DAY)], FAR).limit_minor
        for tenth in range(11)
    ]
    assert util.expected_minor == max(reached)
    most = max(tenth for tenth, limit in enumerate(reached) if limit == max(reached))
    assert util.changes[0].value == 100_000 * most


def test_an_unknown_income_can_be_proven_and_the_least_that_helps_most_is_named():
    (proof,) = advised(reviews()).advice
    assert proof.codes == ("ADV-PROOF-NEW",)
    # 2.5 x 9,000 = 22,500; from there on the loss cap binds, 150 / (.02 x .7 x .5) = 21,428.
    assert (proof.changes[0].value, proof.expected_minor) == (900_000, 2_140_000)
    view = advice_view(advised(reviews()), [], texts_in("en"), CNY)["advice"][0]
    assert view["action"].startswith("If your income is 9,000.00 CNY a month or more")


def test_nothing_is_advised_where_nothing_computable_binds():
    found = advised(reviews(NO_INCOME, own_minor=100_000))
    assert found.advice == ()
    view = advice_view(found, [], texts_in("en"), CNY)
    assert view["notes"][0].startswith("We could compute nothing that you might do now")


def test_a_cap_that_the_customer_set_is_never_advised_against():
    assert "own_minor" in NEVER
    found = advised(reviews(own_minor=100_000, income=DECLARED))
    assert all(change.fact != "own_minor" for one in found.advice for change in one.changes)
    # Control: lifting it would raise the limit.
    lifted = what_if(reviews(NO_INCOME, own_minor=100_000), [Change("own_minor", 10**7, DAY)], FAR)
    assert lifted.limit_minor > lifted.otherwise_minor


def test_what_the_customer_gets_by_waiting_is_no_merit_of_an_action():
    slump = [
        Macro(date(2026, 1, 1), Decimal("0.5"), "slump"),
        Macro(date(2026, 3, 3), Decimal(1), "base"),
    ]
    given = reviews(replace(NO_INCOME, macro=tuple(slump)), drawn_minor=10, current_minor=0)
    assert limit_on(given.path((), FAR), FAR) > limit_on(given.path((), FAR), DAY)
    assert advised(given).advice == ()


def test_an_advice_counts_against_the_same_day_without_it():
    (proof,) = advised(reviews(income=DECLARED)).advice
    path = reviews(income=DECLARED).path((), FAR)
    assert proof.otherwise_minor == limit_on(path, proof.by) < proof.expected_minor


def test_no_line_is_promised_while_a_holder_is_missing():
    found = advised(reviews(missing={"bureau": "stale"}, income=DECLARED))
    assert (found.advice, found.waits_for) == ((), ("bureau",))
    # Control: the caps alone would give more.
    bare = reviews(income=DECLARED)
    assert advised(bare).advice


def test_a_limit_that_is_kept_because_a_holder_is_missing_is_not_promised_to_rise():
    given = reviews(missing={"bureau": "stale"}, income=DECLARED, current_minor=600_000)
    assert advised(given).advice == ()


def test_a_promise_above_the_policy_does_not_hold():
    given = reviews(income=DECLARED)
    (proof,) = advised(given).advice
    assert holds(proof, given)
    assert not holds(replace(proof, expected_minor=proof.expected_minor + 1), given)
    assert not holds(replace(proof, by=proof.by - timedelta(days=1)), given)


def test_activity_is_advised_only_where_the_card_has_a_feature_of_it():
    without = advice_view(advised(reviews()), [], texts_in("en"), CNY)
    with_it = advice_view(advised(reviews(), codes=("LOGINS",)), [], texts_in("en"), CNY)
    no_effect = "Being more active in the app does not change your limit."
    assert no_effect in without["notes"]
    assert no_effect not in with_it["notes"]
    assert "Use the app more regularly." in with_it["notes"]


def test_advice_says_what_only_the_holders_could_compute():
    for language, words in (
        ("en", "known only to the bank and the credit bureau"),
        ("zh", "只有银行和征信机构"),
    ):
        view = advice_view(advised(reviews()), [], texts_in(language), CNY)
        assert any(words in note for note in view["notes"])
        assert view["actions"] == "advice/2026.1"


def test_advice_reads_as_a_sentence_with_a_date_in_both_languages():
    found = advised(reviews(income=DECLARED))
    (one,) = advice_view(found, [], texts_in("en"), CNY)["advice"]
    assert one["action"] == "Prove your income with a statement from your bank."
    assert one["result"].startswith(
        "Limit of 20,000.00 CNY instead of 6,000.00 CNY, from 8 March 2026 "
    )
    (zh,) = advice_view(found, [], texts_in("zh"), CNY)["advice"]
    assert zh["action"] == "提供银行流水\uff0c证明您的收入。"
    assert (one["expected_limit_minor"], one["by"]) == (zh["expected_limit_minor"], zh["by"])


def rule(code, metric, threshold, days):
    enter = (Condition(metric, days, 0, Decimal(threshold), rising=True),)
    return Rule(code, "observe", enter, (), 2, 60, steps_down=False, least_minor=0)


def test_what_to_avoid_comes_from_the_triggers_in_force():
    rules = [
        rule("B01", "draws", "6", 30),
        rule("B04", "utilisation", "0.90", 30),
        rule("B05", "spend_surge", "2.0", 30),
        rule("B07", "score_drop", "30", 0),
    ]
    assert to_avoid(rules, texts_in("en")) == (
        "paying late",
        "borrowing 6 times or more in 30 days",
        "using 90 % of the limit or more",
        "spending 2 times your monthly average or more",
    )
    assert to_avoid(rules[:1], texts_in("zh")) == ("逾期还款", "30天内借款6次或以上")


def test_of_a_trigger_with_two_thresholds_both_are_told():
    rules = parse_line_policy(*embedded("line_reference")).rules.values()
    told = [one for one in to_avoid(rules, texts_in("en")) if "lenders or more" in one]
    assert told == [
        "asking 4 lenders or more within 30 days",
        "asking 6 lenders or more within 90 days",
    ]


def test_what_if_runs_the_policy_and_changes_nothing():
    given = reviews(income=DECLARED, current_minor=600_000)
    before = given.path((), FAR)
    answer = what_if(given, [Change("income_source", "bank", NEXT)], FAR)
    assert (answer.limit_minor, answer.otherwise_minor, answer.day) == (2_000_000, 600_000, NEXT)
    assert answer.binding == ("income",)
    assert given.path((), FAR) == before == answer.otherwise
    assert given.inputs == Inputs(DAY, income=DECLARED, current_minor=600_000)
    view = what_if_view(answer, B_RATING, HOLDERS)
    assert (view["score"], view["default_prob"]) == (664, 0.02)
    assert view["by"] == "2026-03-02"


def test_what_if_without_a_change_is_the_decision():
    given = reviews(income=DECLARED)
    decision = decide(POLICY, PACK, snapshot(), Inputs(DAY, income=DECLARED))
    answer = what_if(given, [], DAY)
    assert answer.limit_minor == answer.otherwise_minor == decision.limit_minor
    assert answer.binding == decision.binding


def test_a_wish_for_a_what_if_is_checked_with_all_findings():
    given = reviews(income=DECLARED)
    with pytest.raises(UsageError) as caught:
        parse_changes(
            {"age": 30, "income_source": "friend", "drawn_minor": -1, "obligations_minor": True},
            given,
            ["bank", "declared"],
            DAY,
        )
    for words in ("age: cannot", "income_source: must be one of", "drawn_minor: must", "obligat"):
        assert words in caught.value.message
    good = parse_changes({"drawn_minor": 5}, given, ["bank"], DAY)
    assert good == (Change("drawn_minor", 5, DAY),)


def test_a_fact_of_an_unknown_income_cannot_be_changed():
    with pytest.raises(UsageError, match="income_minor"):
        changed(Inputs(DAY), [Change("income_minor", 1, DAY)], "bank")
    assert "income_minor" not in reviews().facts()


def test_no_fact_that_can_be_changed_says_who_somebody_is():
    assert not NEVER & (FACTS.keys() - {"own_minor"})


@pytest.mark.parametrize("fact", ["age", "region", "social_ties", "own_minor"])
def test_an_action_file_can_never_advise_on_who_somebody_is(fact):
    text, source = embedded("advice")
    with pytest.raises(ConfigError, match="must never be advised on"):
        parse_actions(text.replace('fact = "draws"', f'fact = "{fact}"'), source)


def test_an_action_file_is_linted_with_all_findings_at_once():
    text, source = embedded("advice")
    broken = text.replace('fact = "draws"', 'fact = "mood"').replace("most = 3 ", "most = 4 ")
    broken = broken.replace("step = 1\n", "").replace("to = [0]", "to = []")
    with pytest.raises(ConfigError) as caught:
        parse_actions(broken, source)
    paths = [finding.split(":")[0] for finding in caught.value.findings]
    assert paths == ["action[1].to", "action[2].fact", "action[2]", "most"]


def test_steps_are_whole_and_end_at_the_least():
    actions = {action.code: action for action in ACTIONS.actions}
    down = actions["ADV-UTIL"].options(1003, DAY)
    assert len(down) == 10
    assert down[-1][0].value == 0
    assert all(type(change.value) is int for change, _ in down)
    assert actions["ADV-UTIL"].options(0, DAY) == ()
    assert [change.value for change, _ in actions["ADV-FREQ"].options(3, DAY)] == [2, 1, 0]
    assert actions["ADV-PROOF"].options("bank", DAY) == ()
    assert [one.value for one, _ in actions["ADV-PROOF"].options("declared", DAY)] == [
        "platform",
        "bank",
    ]


# --- a line with a history (domain 5.6) ----------------------------------------------------------

OPENED = date(2026, 1, 1)
LINE_POLICY = parse_line_policy(*embedded("line_reference"))
TEN = 1_000_000
SLUMP = (
    Macro(OPENED, Decimal(1), "base"),
    Macro(OPENED + timedelta(days=61), Decimal("0.7"), "slump"),
    Macro(OPENED + timedelta(days=121), Decimal(1), "base"),
)
GOLDEN = [10, 9, 7, 6, 5, 5, 5, 5, 5, 5, 7.5, 10]


def cycle(number):
    return OPENED + timedelta(days=30 * number)


def line_reviews(draws=8, owed=0, late=0, day=OPENED, line=None, policy=None):
    line = line or Line(
        product="revolving_consumer",
        state=State.ACTIVE,
        base_limit_minor=TEN,
        approved_limit_minor=TEN,
        effective_limit_minor=TEN,
        advised_limit_minor=TEN,
        caps_limit_minor=TEN,
        opened_on=OPENED,
        next_review_on=cycle(1),
        changed_on=OPENED,
    )
    limits = policy or replace(NO_INCOME, product_cap_minor=TEN, macro=SLUMP)
    caps = PolicyReviews(
        limits,
        PACK,
        snapshot(),
        Inputs(day, current_minor=line.effective_limit_minor, drawn_minor=owed),
    )
    measures = {"draws_30d": draws, "peak_balance_30d": owed, "score": 664}
    seen = LineFacts(outstanding_minor=owed, measures=measures, days_past_due=late)
    return LineReviews(line, seen, LINE_POLICY, caps)


def after(number, **facts):
    """Return the reviews that come after some cycles of frequent borrowing."""
    given = line_reviews()
    line = given.line
    for at in range(1, number + 1):
        line, _ = given._review(line, (), cycle(at))
    return line_reviews(day=cycle(number), line=line, **facts)


def test_a_path_is_the_golden_trace_of_frequent_borrowing():
    """The run ahead is the real one: limits of domain 5.6, cycle by cycle."""
    path = line_reviews().path([Change("draws", 1, cycle(9))], cycle(12))
    assert [step.limit_minor for step in path] == [TEN, *(int(k * 100_000) for k in GOLDEN)]
    assert path[1].reasons[0] == "B01"


def test_fewer_draws_are_advised_with_the_day_on_which_the_limit_is_back():
    given = after(8)
    found = advised(given)
    freq = found.advice[0]
    assert freq.codes == ("ADV-FREQ",)
    assert freq.changes[0].value == 3  # the exit of the rule, not one draw fewer
    assert (freq.expected_minor, freq.otherwise_minor) == (TEN, TEN // 2)
    assert freq.by == cycle(12)
    assert holds(freq, given)
    view = advice_view(found, LINE_POLICY.rules.values(), texts_in("zh"), CNY)
    assert view["advice"][0]["action"] == "30天内借款不超过3次。"
    assert "30天内借款6次或以上" in view["avoid"]


def test_paying_what_is_overdue_is_advised_and_keeps_the_line_open():
    given = line_reviews(draws=1, late=20)
    pay = next(one for one in advised(given).advice if one.codes == ("ADV-PAY",))
    # Without paying, the days go on: past 60 nothing can be drawn.
    assert limit_on(given.path((), cycle(6)), cycle(6)) == 0
    assert pay.expected_minor > pay.otherwise_minor
    assert holds(pay, given)


def test_a_higher_limit_is_only_offered_and_the_advice_says_so():
    policy = replace(POLICY, product_cap_minor=2 * TEN)
    given = line_reviews(draws=1, policy=policy)
    inputs = replace(given.caps.inputs, income=Income(700_000, "platform"))
    given = replace(given, caps=replace(given.caps, inputs=inputs))
    found = advised(given)
    proof = next(one for one in found.advice if "ADV-PROOF" in one.codes)
    assert proof.offered
    assert proof.expected_minor > TEN
    one = advice_view(found, [], texts_in("en"), CNY)["advice"][0]
    assert "you decide" in one["result"]


def test_less_debt_is_out_of_the_peak_only_when_the_window_has_passed():
    given = line_reviews(draws=1, owed=950_000)
    change = Change("drawn_minor", 100_000, cycle(1))
    seen = [given._seen_on(day, [change]) for day in (cycle(1), cycle(2))]
    assert [one.outstanding_minor for one in seen] == [100_000, 100_000]
    assert [one.measures["peak_balance_30d"] for one in seen] == [950_000, 100_000]
    as_share = replace(change, fact="utilisation", value=Decimal("0.1"))
    assert given._owed(as_share) == change


def test_line_and_caps_must_speak_of_the_same_debt():
    given = line_reviews(owed=5)
    with pytest.raises(UsageError, match="what is owed"):
        replace(given, seen=LineFacts(outstanding_minor=6))
    with pytest.raises(UsageError, match="no reviews"):
        replace(given, line=Line())


def test_every_reason_of_a_path_has_a_sentence_that_its_figures_fill():
    given, told = line_reviews(), []
    line = given.line
    for number in range(1, 13):
        begun = [Change("draws", 1, cycle(9))] if number >= 9 else []
        seen = given._seen_on(cycle(number), begun)
        decision = decide(
            given.caps.policy,
            PACK,
            snapshot(),
            Inputs(cycle(number), current_minor=line.effective_limit_minor),
        )
        target = target_of(decision, LINE_POLICY, cycle(number))
        done = review(line, seen, target, LINE_POLICY, cycle(number))
        line = done.line
        told += [tell(one, texts_in(lang), CNY) for one in done.reasons for lang in ("en", "zh")]
    assert {one.code for one in told} >= {"B01", "B02", "B03", "M-MACRO", "H01", "R01", "R02"}
    assert any(one.text.startswith("You borrowed 8 times within 30 days") for one in told)
    assert any("近30天借款8次\uff08规则\uff1a达到6次进入观察\uff09" in one.text for one in told)
    assert all(one.not_about_you == (one.family == "outside") for one in told)
