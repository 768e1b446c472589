"""The portfolio's pages: what was counted, told as it was counted, and to officers alone."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from server.accounts import picturing, watching
from server.accounts.kept import Span
from server.accounts.portfolios import buckets_of, portfolio, shown_days
from server.store import pictures
from server.store.pictures import Picture
from server.web.portfolio.counting import Counting
from shared.errors import EnvironmentFault
from tests.web import scenes

PAGES = ("/portfolio", "/restorations", "/rules", "/rules/cutoff", "/rules/compare",
         "/rules/propose")  # fmt: skip


def read(town, work):
    office = town.office
    now = office.clock.now
    with office.store.read() as db:
        office.desk.follow(db, now)
        return work(office.desk, db, now)


def counting_of(town):
    """The count of the pages' own process."""
    for router in town.office.app.state.pages.routers:
        for route in router.routes:
            for cell in getattr(route, "endpoint", None).__closure__ or ():
                if isinstance(cell.cell_contents, Counting):
                    return cell.cell_contents
    raise AssertionError("no page counts")


def past(town, **owed):
    """Put what was owed at the ends of past months into the store: in time and up to 29 days."""
    office = town.office
    with office.store.write() as db:
        for month, (in_time, late) in owed.items():
            value = {
                "lines": 60, "limit_minor": 9 * 10**7, "owed_minor": in_time + late,
                "held_minor": 0, "states": {"active": 60},
                "bucket_lines": {"C": 60, "1-29": 60},
                "bucket_owed_minor": {"C": in_time, "1-29": late},
            }  # fmt: skip
            day = date(2026, int(month[1:]), 28)
            picture = Picture(picturing.TOTALS, day, value, office.clock.now)
            pictures.keep(db, picture, alone=False)


def test_before_a_count_the_pages_say_that_there_is_nothing(busy):
    browser = busy.browser("the-officer")
    for path in ("/portfolio", "/restorations"):
        page = browser.get(path)
        assert "Nothing was counted yet." in page.text
        assert "There is nothing to show yet." in page.text
    assert "was not counted yet" in browser.get("/rules/cutoff").text


def test_a_count_tells_the_sums_of_the_store(busy):
    picturing.count(busy.office.desk)
    told = read(busy, portfolio)
    lines = [busy.office.show(line, who) for who, line in busy.lines.items()]
    whole = told.counted.whole
    assert whole.lines == len(lines) == scenes.PEOPLE
    assert whole.limit_minor == sum(one["limit_minor"] for one in lines)
    assert whole.owed_minor == sum(one["outstanding_minor"] for one in lines) > 0
    assert (
        sum(told.counted.states.values()) == sum(told.counted.bucket_lines.values()) == len(lines)
    )
    assert sum(one.lines for one in told.counted.groups) == len(lines)
    assert 0 < whole.loss_minor < whole.exposure_minor <= whole.limit_minor
    [budget] = told.budgets
    assert budget.fund.used_minor == whole.limit_minor
    assert len(budget.stresses) == 2
    page = busy.browser("the-officer").get("/portfolio")
    assert f"{whole.limit_minor // 100:,}.{whole.limit_minor % 100:02}" in page.text
    assert page.html.count("<svg") >= 6


def test_restorations_are_those_of_the_interface(lowered):
    office = lowered.office
    picturing.count(office.desk)
    span = Span.of(None, None, office.desk.today(office.clock.now))
    now = read(lowered, lambda desk, db, _: watching.restorations(desk, db, span))
    kept = read(lowered, lambda _, db, __: pictures.latest(db, picturing.RESTORATIONS))
    assert kept.value == now
    assert now["all"]["cut"] == 1
    page = lowered.browser("the-officer").get("/restorations")
    assert "Too few people to show." in page.text
    assert "fewer than 50" in page.text


def test_counting_again_on_a_day_replaces_what_was_counted(busy):
    for _ in range(2):
        picturing.count(busy.office.desk)
    busy.office.later(days=1)
    picturing.count(busy.office.desk)
    since = date(2000, 1, 1)
    for name, days in ((picturing.TOTALS, 2), (picturing.PORTFOLIO, 1), (picturing.SCORES, 1)):
        assert len(read(busy, lambda _, db, __, n=name: pictures.days_since(db, n, since))) == days


def test_a_refused_person_counts_until_there_is_a_line(busy):
    picturing.count(busy.office.desk)
    told = read(busy, lambda _, db, __: pictures.latest(db, picturing.SCORES)).value
    row = told["products"]["revolving_consumer"]
    assert sum(one[1] for one in row["refused"]) + row["otherwise"] == 6
    assert sum(one[1] for one in row["lines"]) == scenes.PEOPLE
    assert all(one[0] < row["cutoff"] for one in row["refused"])


def test_the_officer_has_it_counted_and_sees_how_far_it_is(busy):
    browser, count = busy.browser("the-officer"), counting_of(busy)
    answer = browser.send(browser.get("/portfolio").form("/portfolio/count"))
    assert answer.headers["location"] == "/portfolio?done=counting"
    count.wait(60)
    assert count.progress.state == "idle"
    page = browser.get("/portfolio")
    assert "Counted on" in page.text
    assert "Nothing was counted yet." not in page.text


def test_a_count_that_fails_is_told_and_the_last_figures_stay(busy, monkeypatch):
    picturing.count(busy.office.desk)
    before = read(busy, lambda _, db, __: pictures.latest(db, picturing.PORTFOLIO))

    def away(*_):
        raise EnvironmentFault("the store is away")

    monkeypatch.setattr(picturing, "_lines", away)
    browser, count = busy.browser("the-officer"), counting_of(busy)
    browser.send(browser.get("/portfolio").form("/portfolio/count"))
    count.wait(60)
    assert count.progress.state == "failed"
    assert "could not be finished" in browser.get("/portfolio").text
    assert read(busy, lambda _, db, __: pictures.latest(db, picturing.PORTFOLIO)) == before
    monkeypatch.undo()
    count.begin(busy.office.desk)
    count.wait(60)
    assert count.progress.state == "idle"


def test_roll_rates_stand_on_the_page_once_months_were_counted(busy):
    past(busy, m1=(1_000_000, 50_000), m2=(1_000_000, 80_000))
    picturing.count(busy.office.desk)
    page = busy.browser("the-officer").get("/portfolio")
    assert "on time → 1-29 days late" in page.text
    assert "8 %" in page.text


@pytest.mark.parametrize("key", ["commitments", "trend", "prices?budget=budget"])
def test_every_chart_has_its_figures_as_a_file(busy, key):
    picturing.count(busy.office.desk)
    name, _, query = key.partition("?")
    answer = busy.browser("the-officer").http.get(f"/portfolio/{name}.csv?{query}")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/csv")
    assert len(answer.text.splitlines()) > 1


def test_an_unknown_chart_is_not_there(busy):
    busy.browser("the-officer").get("/portfolio/nothing.csv", status=404)


@pytest.mark.parametrize("who", ["mei", "the-operator", "the-regulator", "the-partner"])
def test_the_pages_are_for_officers_alone(town, who):
    browser = town.browser(who)
    for path in PAGES:
        browser.get(path, status=403)
    for path in ("/portfolio/commitments.csv", "/restorations.csv", "/rules/cutoff.csv"):
        browser.get(path, status=403)


def test_nobody_counts_without_a_session_or_its_mac(town):
    form = town.browser("the-officer").get("/portfolio").form("/portfolio/count")
    assert town.browser().http.post(form.action, data={"back": ""}).status_code in {303, 401}
    other = town.browser("second-officer")
    other.send(form, status=403)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_pages_speak_both_languages(busy, lang):
    picturing.count(busy.office.desk)
    browser = busy.browser("the-officer", lang=lang)
    told = {"en": ("Shadow prices", "Until all is back"), "zh": ("影子价格", "到完全恢复")}[lang]
    assert told[0] in browser.get("/portfolio").text
    assert told[1] in browser.get("/restorations").text


def test_a_trend_tells_each_day_of_the_last_month_and_month_ends_before():
    days = [date(2026, 1, 1) + timedelta(days=one) for one in range(100)]
    told = shown_days(days)
    assert told[:2] == [date(2026, 1, 31), date(2026, 2, 28)]
    assert told[2:] == days[-32:]
    assert shown_days([]) == []


def test_buckets_follow_from_the_rules(busy):
    found = buckets_of(busy.office.desk.rules.line)
    assert found == ("C", "1-29", "30-59", "60-89", "90-119", "120+")
