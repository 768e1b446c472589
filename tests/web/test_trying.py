"""Rules tried on simulated people, on a page: what came of it, how far it is, what is refused."""

from __future__ import annotations

import csv
import io
import threading
import time

import pytest

from server.accounts import playing
from server.replay.told import LEVELS
from server.web.language import texts_in
from server.web.policy.trying import Form
from tests.service.test_routes_simulations import SLOW, TIGHT, waiting

PATH = "/rules/try"
FEW = {"go": 1, "people": 900, "months": 3}
BUSY = 'aria-busy="true"'


@pytest.fixture
def proposed(town):
    """The service with a policy that waits for a second person."""
    town.tight = waiting(town.office, *TIGHT)
    return town


def shown(town, lang="en", within=60, **asked):
    """The page, once the people have lived."""
    browser, end = town.browser("the-officer", lang=lang), time.monotonic() + within
    while True:
        page = browser.get(PATH, **asked)
        if BUSY not in page.html:
            return page
        assert time.monotonic() < end, page.text
        time.sleep(0.05)


def simulated(town, **body):
    told = {name: value for name, value in FEW.items() if name != "go"}
    headers = town.office.headers("alice")
    answer = town.office.http.post("/v1/simulations", json=told | body, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def rows_of(town, key, **asked):
    answer = town.browser("the-officer").http.get(f"{PATH}/{key}.csv", params=asked)
    assert answer.status_code == 200, answer.text
    return list(csv.reader(io.StringIO(answer.content.decode("utf-8-sig"))))


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_form_names_every_version_and_says_that_nobody_is_real(proposed, lang):
    page, texts = shown(proposed, lang), texts_in(lang)
    assert texts.say("try.simulated") in page.text
    options = {told.get("value") for tag, told in page.tags if tag == "option"}
    own = proposed.office.desk.rules.sources
    assert {proposed.tight, own["policy"].digest, own["line"].digest, ""} <= options
    assert own["pack"].digest not in options
    assert texts.say("try.answer") not in page.text
    assert PATH in page.links
    assert PATH in proposed.browser("the-officer", lang=lang).get("/rules").links


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_two_policies_stand_beside_each_other_as_the_api_tells_them(proposed, lang):
    page = shown(proposed, lang, **FEW, second=proposed.tight)
    told, texts = simulated(proposed, policy_b=proposed.tight), texts_in(lang)
    for level, rows in LEVELS.items():
        assert texts.say(f"try.level_{level}") in page.text
        for name, _ in rows:
            assert texts.say(f"tried.{name}") in page.text
    for one in told["rules"]:
        assert f"{100 * one['summary']['approved']:.2f}%" in page.text
        assert f"{one['summary']['limit_minor'] / 100:,.0f}" in page.text
    assert page.html.count("ch-ready") == 2
    own = proposed.office.desk.rules.sources["policy"].digest
    assert f"/rules/compare?before={own}&after={proposed.tight}" in page.links


def test_the_swap_set_and_the_limits_are_there_as_files(proposed):
    asked = FEW | {"second": proposed.tight}
    page, told = shown(proposed, **asked), simulated(proposed, policy_b=proposed.tight)
    assert len([one for one in page.links if ".csv?" in one]) == 2
    head, *rows = rows_of(proposed, "try-swap", **asked)
    assert len(head) == 5
    assert sum(int(row[1]) for row in rows) == FEW["people"]
    both = told["swap"]["both"]
    assert float(rows[0][3]) == pytest.approx(both["limit_minor_second"] / 100, abs=0.51)
    assert float(rows[0][4]) == pytest.approx(both["profit_minor_second"] / 100, abs=0.51)
    _, *rows = rows_of(proposed, "try-limits", **asked)
    assert [row[0] for row in rows] == ["1", "2", "3"]
    for place, one in enumerate(told["rules"], start=1):
        last = one["months"][-1]["limit_minor"] / 100
        assert float(rows[-1][place]) == pytest.approx(last, abs=0.51)
    answer = proposed.browser("the-officer").http.get(f"{PATH}/swap.csv", params=asked)
    assert answer.status_code == 404


def test_one_policy_alone_has_no_swap_set_and_a_frontier_where_it_is_asked_for(proposed):
    page = shown(proposed, **FEW, frontier=1)
    assert page.html.count("ch-ready") == 1
    assert "What bearing less or more risk would bring: First rules" in page.text
    assert "Second rules over" not in page.text
    [one] = simulated(proposed, frontier=True)["rules"]
    for point in one["frontier"]:
        assert f"{100 * point['summary']['loss_rate']:.2f}%" in page.text


def test_nobody_with_a_line_and_few_people_are_told_in_words(proposed):
    page = shown(proposed, go=1, people=1, months=1, seed=2, second=proposed.tight)
    assert "Too few people to show." in page.text
    assert page.html.count("ch-too-few") == 1


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize(
    ("field", "value"),
    [("people", "0"), ("people", "20001"), ("months", "37"), ("seed", "-1"), ("economy", "boom"),
     ("people", "²"), ("months", "1e3"), ("people", "9" * 5000)],
)  # fmt: skip
def test_what_is_out_of_bounds_comes_back_with_its_name_and_the_form(town, lang, field, value):
    browser, texts = town.browser("the-officer", lang=lang), texts_in(lang)
    page = browser.get(PATH, status=422, **(FEW | {field: value}))
    assert texts.say("try.refused") in page.text
    assert f"#{field}" in page.links
    assert len([one for one in page.forms if one.action == PATH]) == 1
    kept = dict(page.form(PATH).fields)
    if field != "months":
        assert kept["months"] == "3"
    assert texts.say("try.answer") not in page.text


def test_rules_that_cannot_be_tried_come_back_with_what_is_wrong(town):
    browser, own = town.browser("the-officer"), town.office.desk.rules.sources
    for asked, said in (
        ({"first": "5f" * 32}, "first policy: there is no rule text of that SHA-256"),
        ({"second": own["line"].digest}, "second policy: line/2026.1 is of kind line"),
        ({"second_line": "x"}, "second line policy: there is no rule text"),
    ):
        page = browser.get(PATH, status=422, **FEW, **asked)
        assert said in page.text


def test_who_looks_meanwhile_is_told_and_comes_again_without_scripts(proposed, monkeypatch):
    began, go, play = threading.Event(), threading.Event(), playing.play

    def held(*args, **options):
        began.set()
        assert go.wait(30)
        return play(*args, **options)

    monkeypatch.setattr(playing, "play", held)
    browser, asked = proposed.browser("the-officer"), FEW | {"seed": 77}
    page = browser.get(PATH, **asked)
    assert began.wait(20)
    assert BUSY in page.html
    assert "The people are living with the rules." in page.text
    [again] = [one for one in page.links if one.startswith(f"{PATH}?") and "lang=" not in one]
    # The API plays in the same process: it tells when to come again, and waits for nobody.
    answer = proposed.office.http.post(
        "/v1/simulations", json={"people": 50}, headers=proposed.office.headers("alice")
    )
    assert answer.status_code == 429
    go.set()
    end = time.monotonic() + 30
    while BUSY in (page := browser.get(again)).html:
        assert time.monotonic() < end
        time.sleep(0.05)
    assert "Figures over all months" in page.text


def test_a_replay_that_fails_is_told_as_one(proposed, monkeypatch, caplog):
    def fails(*_args, **_options):
        raise ZeroDivisionError

    monkeypatch.setattr(playing, "play", fails)
    page = shown(proposed, **FEW, seed=78)
    assert "could not be worked out" in page.text
    assert "ZeroDivisionError" in caplog.text


def test_the_second_rules_are_those_that_differ(town):
    slow = waiting(town.office, *SLOW)
    assert Form.of({"second_line": slow}).wanted()[1].line_policy == slow
    assert Form.of({"second_line": slow}).wanted()[1].policy == ""
    assert Form.of({}).wanted()[1] is None
