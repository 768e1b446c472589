"""Answers to customers, asked of real lines in a real store that lived through the golden year."""

from __future__ import annotations

import json
import shutil
import tempfile
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import pytest

from server.accounts import answering, customers, drawing, proving
from server.accounts.carrying import months_of
from server.accounts.customers import BureauReport, EvidenceRequest
from server.accounts.desk import RuleText
from server.limits.answers.credit_record import verify_record
from server.limits.answers.linkage import Loan
from server.limits.line import golden
from server.policies import embedded
from server.store import schema
from server.store.engine import open_store
from server.store.holds import HoldRequest
from server.store.lines import get_line
from shared.errors import Conflict, NotFound, Refused, UsageError
from shared.identity import Roster
from tests import postgres
from tests.accounts.kit import BAD, GOOD, PARTIES, START, Office, Scene
from tests.accounts.year import Year, golden_texts

DRAWS = 'reviews = {}\nmin_days = 60\nenter = [{{ metric = "draws"'


@pytest.fixture(scope="module")
def house(empty_file):
    """Return a maker of offices of their own, on SQLite."""
    opened = []

    def make(*, texts=None):
        # On a disk that waits for nothing, where there is one: a year is a hundred transactions.
        folder = Path(tempfile.mkdtemp(prefix="confide-", dir=postgres.scratch()))
        shutil.copy(empty_file, folder / "limits.db")
        store = open_store(f"sqlite:///{folder}/limits.db")
        opened.append((store, folder))
        return Office(Scene(folder / "federation"), store, **(texts or {}))

    yield make
    for one, folder in opened:
        one.close()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def busy(house):
    """FREQUENT until two days after cycle 8, and what was answered then and before."""
    office = house(texts=golden_texts(START.date()))
    year = Year(office, golden.frequent()).live(2)
    second = year.ask(answering.why, year.line, "zh", office.now)
    year.live(6)
    return SimpleNamespace(
        year=year,
        office=office,
        second=second,
        zh=year.ask(answering.why, year.line, "zh", office.now),
        en=year.ask(answering.why, year.line, "en", office.now),
        at=office.now,
    )


@pytest.fixture(scope="module")
def calm(house):
    """STABLE until cycle 4, and what was answered after each."""
    office = house(texts=golden_texts(START.date()))
    year = Year(office, golden.stable())
    answers = []
    for _ in range(6):
        year.live(1)
        answers.append(year.ask(answering.why, year.line, "en", office.now))
    return SimpleNamespace(year=year, office=office, answers=answers)


def day_of(year, number):
    return (year.begun.date() + timedelta(days=number)).isoformat()


def codes(rows):
    return [one["code"] for one in rows]


# --- the example of domain 5.5, on a line that lived it ------------------------------------------


def test_the_line_lived_the_golden_trace(busy):
    assert busy.year.limits == [10000, 9000, 7000, 6000, 5000, 5000, 5000, 5000]


def test_the_studys_explanation_comes_out_word_for_word_of_a_line_that_borrowed_often(busy):
    """{"headline":"额度暂未恢复","family":["B"],"reasons":[B01 ...],"restoration":{...},...}."""
    told, year = busy.zh, busy.year
    assert told["headline"] == "您的额度\uff085,000.00元\uff09暂未恢复"
    assert told["family"] == ["B"]
    (first,) = told["reasons"]
    assert (first["code"], first["not_about_you"]) == ("B01", False)
    assert first["text"].startswith("近30天借款8次\uff08规则\uff1a达到6次进入观察\uff09")
    back = told["why_not_back"]["restoration"]
    assert back["progress"] == "0/2"
    assert back["needs"].startswith("连续2次复评\uff1a30天内借款不超过3次")
    assert back["needs"].endswith("且无逾期")
    assert back["earliest"] == day_of(year, 300)
    assert back["then"].startswith("此后每次复评正常最多恢复2,500.00元")
    assert back["then"].endswith("距上次下调至少60天")
    advice = told["advice"][0]
    assert (advice["code"], advice["expected_limit_minor"]) == ("ADV-FREQ", 1_000_000)
    assert advice["by"] == day_of(year, 360)
    assert back["restored_on"] == advice["by"]


def test_availability_that_came_back_and_the_limit_that_did_not_are_told_apart(busy):
    at_once = busy.en["why_not_back"]["at_once"]
    assert at_once["repaid_minor"] == at_once["back_minor"] == 320_000
    assert at_once["repaid_on"] == day_of(busy.year, 238)
    assert at_once["available_minor"] == 500_000
    assert "3,200.00 CNY more could be drawn from then on" in at_once["text"][0]
    assert at_once["text"][1].startswith("Nothing is overdue")
    back = busy.en["why_not_back"]["restoration"]
    assert back["missing_minor"] == 500_000
    assert "5,000.00 CNY below the 10,000.00 CNY that you agreed to" in back["text"][0]


@pytest.mark.slow
def test_the_steps_of_the_way_back_are_what_then_happens(busy, house):
    """The plan told after cycle 8 is the year that follows, step by step."""
    planned = [
        (one["on"], one["state"], one["limit_minor"])
        for one in busy.zh["why_not_back"]["restoration"]["steps"]
    ]
    office = house(texts=golden_texts(START.date()))
    year = Year(office, golden.frequent()).live(12)
    lived, before = [], (None, 500_000)
    for one in year.decisions[8:]:
        after = one.record.outcome.after
        now = (after.state.value, after.effective_limit_minor)
        if now != before and now != ("observation", 500_000):
            lived.append((one.record.ask.day.isoformat(), *now))
        before = now
    assert planned == lived
    assert year.limits == [int(k * 1000) for k in (10, 9, 7, 6, 5, 5, 5, 5, 5, 5, 7.5, 10)]
    done = year.ask(answering.why, year.line, "en", office.now)
    assert done["why_not_back"]["restoration"]["missing_minor"] == 0
    assert done["headline"] == "Your limit stays at 10,000.00 CNY"


def test_why_low_goes_from_the_cap_that_binds_to_the_money(busy):
    low = busy.en["why_low"]
    assert low["component"] == "behaviour"
    assert [one["step"] for one in low["path"]] == ["cap", "agreed", "behaviour", "available"]
    assert [one["name"] for one in low["caps"] if one["binds"]] == ["product"]
    assert low["caps"][0]["not_about_you"]


def test_each_review_is_described_and_what_does_not_help_is_said(busy):
    review = busy.en["why_not_back"]["each_review"]
    assert len(review["steps"]) == 8
    assert review["next_on"] == day_of(busy.year, 270)
    helps = " ".join(busy.en["does_not_help"])
    assert "more active" in helps
    assert "for a fee" in helps
    assert "收费为您提额" in " ".join(busy.zh["does_not_help"])


def test_capital_and_the_economy_stand_apart_from_the_person(calm):
    cut = calm.answers[2]  # cycle 3: the downturn
    assert "M-MACRO" in codes(cut["not_about_you"])
    assert "M-MACRO" not in codes(cut["reasons"])
    assert "70 %" in next(one["text"] for one in cut["not_about_you"] if one["code"] == "M-MACRO")
    assert cut["why_not_back"]["restoration"]["downturn_until"] == day_of(calm.year, 120)


def test_the_stable_customer_is_told_the_day_on_which_all_comes_back(calm):
    assert calm.year.limits == [10000, 10000, 7000, 7000, 9500, 10000]
    during = calm.answers[3]["why_not_back"]["restoration"]
    assert during["restored_on"] == day_of(calm.year, 180)
    assert [(one["on"], one["limit_minor"]) for one in during["steps"]] == [
        (day_of(calm.year, 150), 950_000),
        (day_of(calm.year, 180), 1_000_000),
    ]
    assert calm.answers[5]["why_not_back"]["restoration"]["missing_minor"] == 0


# --- a decision, as it was made -----------------------------------------------------------------


def test_a_decision_is_told_as_it_was_and_not_as_things_are_now(busy):
    first, year = busy.year.decisions[0].decision.id, busy.year
    told = year.ask(answering.explain, first, "en")
    assert told["decided_on"] == day_of(year, 30)
    assert "B01" in codes(told["reasons"])
    assert (told["change"]["limit_to_minor"], told["change"]["state_to"]) == (
        1_000_000,
        "observation",
    )
    assert told["restoration"]["missing_minor"] == 0
    assert told["score"] == {
        "value": 770,
        "low": 350,
        "high": 950,
        "grade": "A",
        "default_prob": 0.004702,
        "date": day_of(year, 30),
        "model": "scorecard-0001",
        "missing": [],
    }


def test_a_cut_names_first_what_cut_and_says_so_in_the_headline(busy):
    told = busy.year.ask(answering.explain, busy.year.decisions[1].decision.id, "zh")
    assert told["headline"] == "您的额度已由10,000.00元下调至9,000.00元"
    assert told["reasons"][0]["code"] == "B02"
    assert "频繁借款" in told["reasons"][0]["text"]
    assert busy.second["why_low"]["component"] == "behaviour"


def test_at_most_four_reasons_and_enquiries_whatever_is_asked(busy, calm):
    for world in (busy, calm):
        for one in world.year.decisions[2:6]:
            told = world.year.ask(answering.explain, one.decision.id, "en")
            assert 1 <= len(told["reasons"]) + len(told["not_about_you"]) <= 5
            assert all(row["text"] for row in told["reasons"] + told["not_about_you"])


def test_an_opening_is_explained_in_the_words_of_an_opening(busy):
    opened = busy.office.records(busy.year.line)[0][0]
    told = busy.year.ask(answering.explain, opened.id, "en")
    assert told["headline"] == "Your limit is 10,000.00 CNY"
    assert codes(told["not_about_you"]) == ["P-PRODUCT"]


def test_explanations_follow_the_deployed_policy(house):
    """Another exit rule gives another sentence, other dates and another advice."""
    texts = golden_texts(START.date())
    line = texts["line"].text.replace(
        'exit = [{ metric = "draws", days = 30, at_most = 3 }]',
        'exit = [{ metric = "draws", days = 30, at_most = 2 }]',
        1,
    )
    line = line.replace(DRAWS.format(2), DRAWS.format(3), 1)
    office = house(texts={**texts, "line": type(texts["line"]).of(line, "line.toml")})
    year = Year(office, golden.frequent()).live(2)
    told = year.ask(answering.why, year.line, "en", office.now)
    back = told["why_not_back"]["restoration"]
    assert back["progress"] == "0/3"
    assert back["needs"].startswith("3 reviews in a row (loans in 30 days: at most 2")
    assert told["advice"][0]["action"] == "Borrow at most 2 times in 30 days."


# --- other lives of a line ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plain(house):
    return house()


def test_a_line_without_history_has_nothing_to_come_back(plain):
    line = plain.line(GOOD)
    with plain.store.read() as db:
        told = answering.why(plain.desk, db, line, "zh", plain.now)
    assert told["why_not_back"]["at_once"]["repaid_minor"] is None
    assert told["why_not_back"]["restoration"]["missing_minor"] == 0
    assert told["state"] == {"code": "active", "text": "正常使用"}
    assert told["why_low"]["component"] == "caps"


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize(
    ("purpose", "code"),
    [("freeze_fraud", "P-FRAUD"), ("freeze_purpose", "B10"), ("close", "P-CLOSE")],
)
def test_frozen_and_closed_lines_say_so(house_line, language, purpose, code):
    office, line = house_line
    made = office.decide(line, purpose)
    with office.store.read() as db:
        told = answering.why(office.desk, db, line, language, office.now)
        then = answering.explain(office.desk, db, made.decision.id, language)
    assert told["reasons"][0]["code"] == then["reasons"][0]["code"] == code
    assert told["available_minor"] == 0
    assert then["score"] is None
    if code != "P-CLOSE":
        assert told["headline"] == then["headline"]


@pytest.fixture
def house_line(house):
    office = house()
    return office, office.line()


def test_withdrawn_consent_dispute_and_a_silent_holder_are_told(house_line):
    office, line = house_line
    office.case()
    office.silence("bureau")
    with office.store.read() as db:
        told = answering.why(office.desk, db, line, "en", office.now)
        consent = customers.consents_of(db, GOOD)[0]
    assert "P-DISPUTE" in codes(told["reasons"])
    (silent,) = [one for one in told["not_about_you"] if one["code"] == "H-MISSING"]
    assert "the credit bureau" in silent["text"]
    office.write(customers.withdraw_consent, consent.id, office.now)
    with office.store.read() as db:
        gone = answering.why(office.desk, db, line, "en", office.now)
    assert "P-CONSENT" in codes(gone["reasons"])
    assert gone["score"] is None
    assert gone["available_minor"] == 0


def test_a_refused_language_an_unknown_decision_and_a_deleted_record_are_named(house_line):
    office, line = house_line
    made = office.decide(line, "review")
    with office.store.read() as db:
        with pytest.raises(UsageError, match="lang must be one of en, zh"):
            answering.why(office.desk, db, line, "fr", office.now)
        with pytest.raises(NotFound):
            answering.explain(office.desk, db, "nothing", "en")
        assert answering.explain(office.desk, db, made.decision.id, "en")
    office.write(customers.erase_customer, GOOD, "operator:desk", office.now)
    with office.store.read() as db, pytest.raises(NotFound, match="no record"):
        answering.explain(office.desk, db, made.decision.id, "en")


# --- what if --------------------------------------------------------------------------------------


def everything(store):
    """Return every row of every table."""
    with store.read() as db:
        return {
            table.name: sorted(repr(tuple(row)) for row in db.execute(table.select()))
            for table in schema.METADATA.sorted_tables
        }


def test_a_what_if_leaves_the_whole_store_as_it_was(busy):
    before = everything(busy.office.store)
    assert sum(map(len, before.values())) > 100
    busy.office.now = busy.at
    told = busy.year.ask(answering.what_if, busy.year.line, {"draws": 2}, 180, busy.at)
    busy.year.ask(answering.why, busy.year.line, "en", busy.at)
    assert everything(busy.office.store) == before
    assert (told["limit_minor"], told["otherwise_limit_minor"]) == (1_000_000, 500_000)
    assert told["by"] == day_of(busy.year, 360)
    assert told["score_held_by"] == sorted(PARTIES)


def test_the_comparison_would_notice_a_single_row(house_line):
    """Control: one consent more is seen."""
    office, _ = house_line
    before = everything(office.store)
    office.consent(purpose="credit_record")
    assert everything(office.store) != before


def test_a_change_counts_from_the_day_on_which_it_can_be_seen(busy):
    told = busy.year.ask(answering.what_if, busy.year.line, {"draws": 2}, 180, busy.at)
    # The last draw was on day 234: it is out of the window of 30 days on day 264.
    assert told["seen_from"] == {"draws": day_of(busy.year, 264)}
    proof = busy.year.ask(
        answering.what_if, busy.year.line, {"income_proven_minor": 900_000}, 30, busy.at
    )
    assert proof["seen_from"] == {"income_proven_minor": day_of(busy.year, 247)}


def test_what_cannot_be_changed_on_this_line_is_a_conflict_and_nonsense_is_an_error(house_line):
    office, line = house_line
    with office.store.read() as db:
        for changes, error, match in (
            ({"income_minor": 5}, Conflict, "nothing is known of income_minor"),
            ({"income_source": "friend"}, Conflict, "nothing is known|must be one of"),
            ({"age": 30}, UsageError, "age: cannot be changed"),
            ({"draws": -1}, UsageError, "draws: must be"),
        ):
            with pytest.raises(error, match=match):
                answering.what_if(office.desk, db, line, changes, 30, office.now)
        for days in (0, 721):
            with pytest.raises(UsageError, match="horizon_days"):
                answering.what_if(office.desk, db, line, {}, days, office.now)
    office.decide(line, "close")
    with office.store.read() as db, pytest.raises(Conflict, match="no coming reviews"):
        answering.what_if(office.desk, db, line, {}, 30, office.now)


# --- what a customer carries ----------------------------------------------------------------------


def test_a_record_needs_consent_and_then_verifies_at_the_reader(busy):
    office, year = busy.office, busy.year
    office.now = busy.at
    key = proving.make_log_key(office.desk)
    with office.store.read() as db, pytest.raises(Refused, match="no consent"):
        answering.credit_record(office.desk, db, GOOD, busy.at, subject="mortgage-1")
    office.consent(purpose="credit_record")
    before = everything(office.store)
    with office.store.read() as db:
        signed = answering.credit_record(office.desk, db, GOOD, busy.at, subject="mortgage-1")
        with pytest.raises(UsageError, match="pseudonym"):
            answering.credit_record(office.desk, db, GOOD, busy.at, subject=GOOD)
        with pytest.raises(NotFound):
            answering.credit_record(office.desk, db, GOOD, busy.at, subject="a", line_id="other")
    assert everything(office.store) == before
    roster = Roster({"tested": key.fingerprint})
    record = verify_record(signed.to_bytes(), roster, office.day)
    assert (record.subject, record.issuer) == ("mortgage-1", "tested")
    assert record.months == 8
    assert record.months_due == record.months_on_time > 0
    assert record.on_time_rate == "1.0000"
    # Eight draws of 400 at once, of a limit that was 9,000 within three months before.
    assert 0.3 < float(record.peak_utilisation) < 0.7
    assert GOOD.encode() not in signed.to_bytes()
    assert year.limits


def test_a_month_with_a_late_payment_is_not_on_time(house_line):
    office, line = house_line
    asked = HoldRequest("late-1", line, 300_000, "CNY", "daily")
    office.write(drawing.draw, asked, 3, office.now)
    office.later(days=45)
    with office.store.read() as db:
        rows = answering_months(office, db, line)
    assert [one.due for one in rows] == [False, True]
    assert [one.on_time for one in rows] == [True, False]
    assert rows[0].peak_drawn_minor == 300_000


def answering_months(office, db, line):
    return months_of(office.desk, db, get_line(db, line), office.day)


def mortgage(amount=100_000_000):
    return Loan("mortgage", amount, Decimal("0.036"), 360, Decimal("0.5"))


def test_linkage_counts_the_balance_and_the_whole_limit(house_line):
    office, line = house_line
    with office.store.read() as db, pytest.raises(Conflict, match="nothing is known of the income"):
        answering.linkage(office.desk, db, line, mortgage(), "en", office.now)
    proof = EvidenceRequest(GOOD, "income_flow", 1_500_000, "bank", office.day, "5f" * 32)
    office.write(customers.add_evidence, proof, office.now)
    with office.store.read() as db:
        told = answering.linkage(office.desk, db, line, mortgage(), "zh", office.now)
    assert told["dti_drawn"] < told["dti_full_limit"]
    assert told["effect"] in {"fits", "undrawn", "over"}
    assert told["effect_text"].startswith(("房贷", "按您"))
    assert "不是征信查询" in told["note"]


def test_data_are_shown_holder_by_holder_with_and_without_consent(house_line):
    office, _ = house_line
    report = BureauReport(GOOD, office.day, obligations_minor=5)
    office.write(customers.report_bureau, report, office.now)
    with office.store.read() as db:
        told = answering.data_used(office.desk, db, GOOD, "zh", office.now)
        nobody = answering.data_used(office.desk, db, BAD, "en", office.now)
    assert [one["party"] for one in told["holders"]] == list(PARTIES)
    bank = told["holders"][0]
    assert (bank["name"], bank["consented"], bank["told"]) == ("银行", True, True)
    assert {one["code"] for one in bank["topics"]} == {"UTILISATION", "REPAYMENT"}
    assert bank["points"] == 71
    assert told["bureau"]["obligations_minor"] == 5
    assert not any(one["consented"] or one["told"] for one in nobody["holders"])
    assert nobody["lines"] == nobody["consents"] == []
    assert any("active" in one for one in nobody["never_used"])


def test_answers_are_ready_for_json(busy, calm):
    for one in (busy.zh, busy.en, *calm.answers):
        assert json.loads(json.dumps(one, ensure_ascii=False, allow_nan=False)) == one


@pytest.mark.parametrize("name", ["zh", "en"])
def test_a_language_has_only_its_own_punctuation_and_dates(busy, name):
    told = json.dumps(getattr(busy, name), ensure_ascii=False)
    texts = [line for line in told.split('"') if any("\u4e00" <= c <= "\u9fff" for c in line)]
    assert bool(texts) == (name == "zh")
    for line in texts:
        plain = line.replace("(", "").split(",")
        assert all(not part or part[0].isdigit() for part in plain[1:]), line
        assert "None" not in line


def test_advice_on_the_golden_line_is_true_when_it_is_lived(house):
    """I17 over stored lines: who does as advised gets what was promised, from the real service."""
    office = house(texts=golden_texts(START.date()))
    year = Year(office, golden.frequent()).live(3)
    told = year.ask(answering.why, year.line, "en", office.now)
    best = told["advice"][0]
    assert best["code"] == "ADV-FREQ"
    by = date.fromisoformat(best["by"])
    year.who = golden.Customer("ADVISED", (*year.who.draws[:3], *(((5, 40_000),),) * 20))
    while office.day < by:
        year.live(1)
    line = office.domain(year.line)
    promised, else_minor = best["expected_limit_minor"], best["otherwise_limit_minor"]
    assert line.effective_limit_minor >= promised > else_minor


# --- sentences that are true for whoever reads them -----------------------------------------------


def asked(office, line, language="en"):
    with office.store.read() as db:
        return answering.why(office.desk, db, line, language, office.now)


def test_consent_that_ran_out_is_not_told_as_withdrawn_nor_as_an_outage(house):
    office = house()
    office.consent(GOOD, until=office.day + timedelta(days=9))
    line = office.open(GOOD, consent=False).line.id
    before = asked(office, line)
    assert (before["why_low"]["component"], before["available_minor"]) == ("caps", 4_000_000)
    office.later(days=20)
    told = asked(office, line)
    assert told["headline"].startswith("No new loans for now")
    assert (told["why_low"]["component"], told["available_minor"]) == ("consent", 0)
    assert codes(told["reasons"]) == ["P-CONSENT"]
    assert "or it has run out" in told["reasons"][0]["text"]
    assert told["not_about_you"] == []
    assert codes(told["why_not_back"]["restoration"]["waits_for"]) == ["P-CONSENT"]


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("purpose", ["freeze_fraud", "close"])
def test_a_repayment_on_a_line_that_is_shut_promises_no_money(house, purpose, language):
    office = house()
    line = office.line(GOOD)
    office.draw(line, 100_000)
    office.decide(line, purpose)
    office.repay(line, 40_000)
    said = asked(office, line, language)["why_not_back"]["at_once"]
    assert said["available_minor"] == 0
    assert any(word in said["text"][0] for word in ("nothing can be drawn", "目前不能借款"))
    assert not any(word in said["text"][0] for word in ("more could be drawn", "即可再借"))


def test_who_was_cut_is_told_by_which_decision_and_why_also_after_the_watch(house):
    office = house()
    line = office.line(GOOD)
    asked_for = HoldRequest("late-1", line, 100_000, "CNY", "daily")
    office.write(drawing.draw, asked_for, 3, office.now)
    office.later(days=70)
    decided = office.decide(line, "review")
    assert decided.new_minor < decided.old_minor
    cut = asked(office, line)["why_low"]["last_cut"]
    assert (cut["decision_id"], cut["on"]) == (decided.decision.id, office.day.isoformat())
    assert (cut["limit_from_minor"], cut["limit_to_minor"]) == (4_000_000, decided.new_minor)
    assert "B08" in codes(cut["reasons"])
    assert "was lowered from 40,000.00 CNY" in cut["text"]


def test_who_lowered_the_own_limit_is_told_that_and_others_of_no_cut(house):
    office = house()
    line, other = office.line(GOOD), office.line(GOOD, "micro_business")
    office.decide(line, "self_lower", by="customer:app", limit_minor=1_000_000)
    told = asked(office, line)
    assert told["why_low"]["component"] == "agreed"
    assert "because you wanted it" in told["why_low"]["last_cut"]["text"]
    assert codes(told["why_low"]["last_cut"]["reasons"]) == ["P-OWN"]
    assert asked(office, other)["why_low"]["last_cut"] is None


def test_a_temporary_amount_that_ran_out_is_no_cut(house):
    office = house()
    line = office.line(GOOD)
    office.decide(line, "temporary", limit_minor=100_000)
    office.later(days=40)
    office.publish()
    office.decide(line, "review")
    assert office.get(line).totals.limit_minor == 4_000_000
    assert asked(office, line)["why_low"]["last_cut"] is None


def test_who_leaves_a_line_unused_is_told_so_where_the_policy_takes_it_back(house):
    """Domain 7: both policies are real, and advice follows the one in force."""
    text = embedded("line_reference")[0]
    rule = "\n[inactivity]\nafter_days = 60\nshare = 0.10\nfloor_share = 0.50\n"
    for texts, is_told in ((None, False), ({"line": RuleText.of(text + rule, "line.toml")}, True)):
        office = house(texts=texts)
        line = office.line(GOOD)
        office.later(days=61)
        told = asked(office, line)
        assert ("I-IDLE" in codes(told["reasons"])) == is_told
        assert ("unused for 60 days" in told["avoid"]) == is_told


@pytest.mark.parametrize(("language", "word"), [("en", "No line can"), ("zh", "无法为您开通")])
def test_who_is_declined_is_told_so_and_of_no_line_that_there_is_not(plain, language, word):
    declined = plain.open(BAD)
    assert declined.line is None
    with plain.store.read() as db:
        told = answering.explain(plain.desk, db, declined.decision.id, language)
    assert word in told["headline"]
    assert told["line_id"] is None
    assert told["reasons"]
