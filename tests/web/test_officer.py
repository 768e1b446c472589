"""The risk officer's pages of the model: what they tell, what they do not, and who may look."""

from __future__ import annotations

import csv
import io
import json
import time

import pytest

from server.api.access import Role
from server.limits.words.sentences import Texts
from server.releases.evaluation import evaluation_of
from server.web.charts import PERCENT
from server.web.language import texts_in
from server.web.officer.compare import shadow_charts, swap_cells
from server.web.officer.pictures import curves_of, pictures_of
from server.web.officer.watched import groups_of, month_charts
from server.web.slow import Made
from shared.release import MANIFEST_FILE
from tests.service.desk_kit import good, poor
from tests.web import model_scenes as scenes
from tests.web.conftest import founded

PAGES = (
    "/model",
    "/model/points",
    "/model/months",
    "/model/groups",
    "/compare",
)
FILES = (
    "/model/figures/roc.csv",
    "/model/points.csv",
    "/model/months/stability.csv",
    "/compare/difference.csv",
)
NEVER = {"en": "never opened", "zh": "从未公开"}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A release that tells hardly anything, and no challenger."""
    town = founded(tmp_path_factory.mktemp("plain"))
    yield town
    town.office.close()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A release with everything, a challenger in shadow, and two months of decisions."""
    town = founded(tmp_path_factory.mktemp("whole"))
    scenes.serve_whole(town)
    scenes.challenge(town)
    yield scenes.people(town)
    object.__setattr__(town.office.desk.rules.monitoring, "floor", 50)
    town.office.close()


def shown(town, path, lang="en", name="the-officer", within=20):
    """A page, once what it waits for is there."""
    browser, end = town.browser(name, lang=lang), time.monotonic() + within
    while True:
        page = browser.get(path)
        if 'hx-trigger="every 2s"' not in page.html or time.monotonic() > end:
            return page
        time.sleep(0.05)


def rows_of(town, path):
    answer = town.browser("the-officer").http.get(path)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/csv")
    assert "attachment" in answer.headers["content-disposition"]
    return list(csv.reader(io.StringIO(answer.content.decode("utf-8-sig"))))


def monitored(town, name):
    return town.office.get("alice", f"/v1/monitoring/{name}").json()


def manifest_of(town, name):
    registry, federation = town.office.scores.registry, town.office.kit.federation
    return registry.verified(name, federation, town.office.clock.text()).manifest


# The model.


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_model_page_tells_what_the_parties_signed(whole, lang):
    page = shown(whole, "/model", lang)
    told = manifest_of(whole, "scorecard-0002").evaluation
    for name in ("auc", "ks", "gini", "brier", "log_loss", "calibration_error"):
        assert f"{told[name]:.4f}" in page.text
    for end in (*told["auc_interval"], *told["ks_interval"]):
        assert f"{end:.4f}" in page.text
    assert page.html.count('<svg xmlns="http://www.w3.org/2000/svg"') == 8
    assert page.html.count("ch-ready") == 8
    assert NEVER[lang] not in page.text
    for one in told["alone"].values():
        assert f"{one['auc']:.3f}" in page.text
    assert whole.office.scores.registry.book().champion.digest in page.text


def test_every_picture_has_a_table_and_a_file_with_its_figures(whole):
    page = shown(whole, "/model")
    files = [link for link in page.links if "/model/figures/" in link]
    assert len(files) == 8
    assert page.html.count("<details>") == 8
    for link in files:
        head, *rows = rows_of(whole, link)
        assert rows
        assert all(len(row) == len(head) for row in rows)


def test_the_curves_are_drawn_from_all_that_were_evaluated(whole):
    told = manifest_of(whole, "scorecard-0002").evaluation
    spread = evaluation_of(told).spread
    assert sum(spread.goods) + sum(spread.bads) == told["n"]
    _, *rows = rows_of(whole, "/model/figures/calibration.csv")
    assert sum(int(row[1]) for row in rows) == told["n"]
    _, *rows = rows_of(whole, "/model/figures/roc.csv")
    assert (float(rows[0][1]), float(rows[-1][2])) == (0.0, 100.0)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_what_was_never_opened_is_said_in_words_and_not_drawn(plain, lang):
    page = shown(plain, "/model", lang)
    assert page.html.count("ch-empty") == 7  # all but the worth of the holders
    assert page.text.count(NEVER[lang]) >= 6
    assert "0.7800" in page.text  # the control: what was signed stands there
    answer = plain.browser("the-officer").http.get("/model/figures/roc.csv")
    assert answer.status_code == 404


def test_another_release_is_shown_by_its_name_and_no_other_is_there(whole):
    page = shown(whole, "/model?release=scorecard-0001")
    assert "scorecard-0001" in page.text
    assert "served before" in page.text
    browser = whole.browser("the-officer")
    browser.get("/model", 404, release="scorecard-0099")
    browser.get("/model", 422, release="../secret")


def test_a_network_has_figures_but_no_lines_of_points(whole):
    assert "Neural network of" in shown(whole, "/model?release=neural-0003").text
    page = shown(whole, "/model/points?release=neural-0003")
    assert "no lines of points" in page.text
    whole.browser("the-officer").get("/model/points.csv", 404, release="neural-0003")


def test_a_release_that_was_tampered_with_is_refused_by_the_check(plain):
    path = plain.office.kit.registry.folder / "scorecard-0001" / MANIFEST_FILE
    kept = path.read_bytes()
    book = plain.office.kit.registry.folder / "registry.json"
    try:
        path.write_bytes(kept.replace(b'"auc":0.78', b'"auc":0.99'))
        book.write_bytes(book.read_bytes())  # the registry has changed: everything is read again
        for one in ("/model", "/model/points", "/model-card"):
            page = plain.browser("the-officer").get(one, 503)
            assert "signature" in page.text
            assert "0.99" not in page.text
        assert "signature" not in plain.browser().get("/model-card", 503).text
    finally:
        path.write_bytes(kept)
        book.write_bytes(book.read_bytes())
    assert "0.7800" in shown(plain, "/model").text


def test_without_a_release_the_page_says_so(tmp_path):
    town = founded(tmp_path)
    folder = town.office.kit.registry.folder
    for one in (folder / "scorecard-0001").iterdir():
        one.unlink()
    (folder / "scorecard-0001").rmdir()
    (folder / "registry.json").unlink()
    for path in ("/model", "/model/points", "/model-card"):
        assert "No release serves" in shown(town, path).text
    assert "There is no challenger" in shown(town, "/compare").text
    town.office.close()


# Points.


def test_the_points_of_every_holder_are_those_of_the_card_by_number_of_bin(whole):
    card = manifest_of(whole, "scorecard-0002").card
    found = []
    for holder in ("bank", "bureau", "ecommerce", "payments"):
        head, *rows = rows_of(whole, f"/model/points.csv?holder={holder}")
        assert head == ["Line", "Topic", "Bin", "Label", "Points", "Mean"]
        found += [(row[0], int(row[2]), int(row[4])) for row in rows]
        page = shown(whole, f"/model/points?holder={holder}")
        assert all(line.name in page.text for line in card.of(holder))
    wanted = [
        (line.name, number, points)
        for line in card.lines
        for number, points in enumerate(line.points)
    ]
    assert sorted(found) == sorted(wanted)
    browser = whole.browser("the-officer")
    browser.get("/model/points", 404, holder="nobody")
    browser.get("/model/points", 404, holder="bank", line=9)


# Months and groups.


def test_the_months_are_those_of_the_monitoring(whole):
    page, told = shown(whole, "/model/months"), monitored(whole, "drift")
    assert [one["month"] for one in told["months"]] == ["2026-03", "2026-04"]
    _, *rows = rows_of(whole, "/model/months/stability.csv")
    assert [(row[0], int(row[1])) for row in rows] == [
        (one["month"], one["people"]) for one in told["months"]
    ]
    assert float(rows[1][2]) == pytest.approx(told["months"][1]["score"]["index"], abs=5e-4)
    _, *holders = rows_of(whole, "/model/months/holders-by-month.csv")
    assert len(holders) == len(told["months"][1]["holders"])
    assert f"{told['models']['scorecard-0002']}" in page.text
    assert page.html.count("ch-ready") == 2


def test_the_groups_are_those_of_the_monitoring(whole):
    page, told = shown(whole, "/model/groups"), monitored(whole, "inclusion")
    (group,) = told["groups"]
    assert group["impact_ratio"]["value"] is not None
    assert group["restoration_ratio"]["value"] is None
    for one in (group["impact_ratio"], group["mean_difference"]):
        assert f"{one['value']:.2f} {one['people']} people" in page.text
    (opening,) = told["openings"]
    assert f"{opening['asked']} {opening['opened']}" in page.text


def test_without_a_file_of_groups_the_page_says_so(plain):
    page = shown(plain, "/model/groups")
    assert "no file of groups" in page.text
    assert "Nobody has asked" in page.text


def test_a_flag_is_shown_beside_its_figure():
    figure = {"value": 0.5, "people": 60, "flagged": True}
    names = ("impact_ratio", "mean_difference", "limit_ratio", "restoration_ratio")
    told = {"groups": [{"group": "b"} | dict.fromkeys((*names, "override_ratio"), figure)]}
    (group,) = groups_of(told)
    assert group.figures[0] == ("impact_ratio", 0.5, 60, True)
    assert groups_of(None) == groups_of({"groups": None}) == ()


@pytest.mark.parametrize(("state", "look"), [("loading", "ch-loading"), ("error", "ch-error")])
def test_pictures_that_are_not_there_say_why(state, look):
    texts = texts_in("en")
    charts = (*month_charts(Made(state), texts), *shadow_charts(Made(state), PERCENT, texts))
    assert all(look in one.svg and not one.table.rows for one in charts)


def test_a_page_whose_figures_are_on_their_way_says_so_and_looks_again(whole, monkeypatch):
    monkeypatch.setattr("server.web.slow.Slow.ask", lambda *_: Made("loading"))
    for path in ("/model/months", "/model/groups", "/compare"):
        page = whole.browser("the-officer").get(path)
        assert "being worked out" in page.text
        assert 'hx-trigger="every 2s"' in page.html
        assert any(link.startswith(path) for link in page.links)
    whole.browser("the-officer").get("/model/months/stability.csv", 404)
    monkeypatch.setattr("server.web.slow.Slow.ask", lambda *_: Made("error"))
    assert "could not be worked out" in whole.browser("the-officer").get("/model/months").text


# Champion and challenger.


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_comparison_is_the_signed_one_and_that_of_the_shadow(whole, lang):
    page, told = shown(whole, "/compare", lang), monitored(whole, "challenger")
    signed = manifest_of(whole, "neural-0003").evaluation["against"]["comparison"]
    for name in ("auc", "ks", "brier"):
        for side in ("champion", "challenger"):
            assert f"{signed[name][side]:.4f}" in page.text
    assert f"{signed['customers']:,}" in page.text
    assert texts_in(lang).say("compare.standing_fits") in page.text
    assert page.html.count("ch-ready") == 3
    assert f"{told['people']} people" in page.text or lang == "zh"


def test_swap_set_and_migration_are_those_of_the_monitoring(whole):
    shown(whole, "/compare")
    told = monitored(whole, "challenger")
    _, *rows = rows_of(whole, "/compare/swap.csv")
    sides = ("both", "swapped_in", "swapped_out", "neither")
    wanted = [told["swap"][side] for side in sides]
    assert [row[1] for row in rows] == [
        "" if cell is None else str(cell["people"]) for cell in wanted
    ]
    _, *rows = rows_of(whole, "/compare/migration.csv")
    assert [row[0] for row in rows] == list(told["grades"])
    _, *rows = rows_of(whole, "/compare/difference.csv")
    assert len(rows) == 3


@pytest.mark.parametrize(
    ("better", "words"),
    [(True, "lets the challenger serve"), (False, "ranks worse than the release that serves")],
)
def test_a_comparison_says_whether_it_lets_the_challenger_serve(tmp_path, better, words):
    town = founded(tmp_path)
    scenes.challenge(town, 2, better=better)
    page = shown(town, "/compare")
    assert words in page.text
    assert "No decision has noted" in page.text  # nobody was scored by both yet
    # Once another release serves, the comparison holds against none.
    town.office.kit.serve(3)
    assert "another release than the one that serves" in shown(town, "/compare").text
    page = shown(town, "/compare?release=scorecard-0001")
    assert "not compared with another release" in page.text
    town.browser("the-officer").get("/compare", 404, release="scorecard-0003")
    town.office.close()


def test_a_withheld_cell_stays_withheld():
    cell = {"people": 40, "known": 30, "bads": 3, "old_minor": 0, "new_minor": 500}
    few = cell | {"known": 12}
    told = {"both": cell, "swapped_in": few, "swapped_out": None, "neither": None}
    both, came, went, neither = swap_cells(told)
    assert (both.people, both.bad_rate, both.volume) == (40, 0.1, 500)
    assert came.bad_rate is None
    assert went.people is neither.people is None
    grades = {"A": {"A": 40, "B": None}, "B": {"A": None, "B": 30}}
    made = Made("ready", None, {"swap": told, "grades": grades, "people": 90})
    swap, moved = shadow_charts(made, PERCENT, texts_in("en"))
    assert [row[1] for row in swap.table.rows] == [40, 40, None, None]
    assert moved.table.rows[0] == ("A", 40, None)
    few = Made("ready", None, {"swap": None, "grades": None, "people": None})
    assert {one.state for one in shadow_charts(few, PERCENT, texts_in("en"))} == {"too_few"}


# Who may look.


def test_nobody_but_an_officer_sees_them(whole):
    for name in ("mei", "the-operator", "the-regulator", "the-partner"):
        browser = whole.browser(name)
        for path in (*PAGES, *FILES):
            answer = browser.http.get(path)
            assert answer.status_code == 403, (name, path)
            assert "scorecard-0002" not in answer.text
        assert not {"/model", "/compare"} & set(browser.get("/", 200, stay="1").links)
    for path in (*PAGES, *FILES):
        answer = whole.browser().http.get(path)
        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/sign-in")
    links = whole.browser("the-officer").get("/", 200, stay="1").links
    assert {"/model", "/compare"} <= set(links)


@pytest.mark.parametrize("name", ["", "mei", "the-regulator", "the-officer"])
def test_the_model_card_is_for_everybody_and_its_lines_for_officers(whole, name):
    page = whole.browser(name).get("/model-card")
    manifest = manifest_of(whole, "scorecard-0002")
    assert manifest.name in page.text
    assert manifest.digest() in page.text
    assert f"{manifest.evaluation['auc']:.4f}" in page.text
    officer = name == "the-officer"
    assert ("utilisation" in page.text) == officer
    other = whole.browser(name).get("/model-card", release="scorecard-0001")
    assert ("scorecard-0001" in other.text) == officer


def test_no_page_names_a_customer(whole):
    names = {good(number) for number in range(30)} | {poor(number) for number in range(12)}
    for path in (*PAGES, "/model-card"):
        html = shown(whole, path).html
        assert not any(name in html for name in names)


def test_pages_are_small(whole):
    for path in (*PAGES, "/model-card"):
        assert len(shown(whole, path).html.encode()) < 80_000


# Without a browser.


def test_both_languages_have_all_words_of_every_picture(whole):
    manifest = manifest_of(whole, "scorecard-0002")
    both = [pictures_of(manifest, texts_in(lang)) for lang in ("en", "zh")]
    assert [one.key for one in both[0]] == [one.key for one in both[1]]
    for ours, others in zip(*both, strict=True):
        assert ours.title != others.title
        assert ours.table.rows[0][-1] == others.table.rows[0][-1]
        assert ours.svg.count("<path") == others.svg.count("<path")


def test_an_evaluation_of_few_people_is_not_drawn():
    told = evaluation_of({"auc": 0.7, "by_points": {"points": [0, 9], "goods": [15], "bads": [5],
                                                   "expected": [0.2]}})  # fmt: skip
    texts = texts_in("en")
    assert isinstance(texts, Texts)
    states = {one.key: one.state for one in curves_of(told, texts)}
    assert states["roc"] == states["gains"] == "too_few"
    assert states["distribution"] == "empty"
    assert states["calibration"] == "ready"


def test_the_release_alone_says_what_is_drawn(whole):
    """The figures are those in the file that was signed, byte for byte."""
    folder = whole.office.kit.registry.folder / "scorecard-0002"
    told = json.loads((folder / MANIFEST_FILE).read_bytes())["evaluation"]["by_points"]
    spread = evaluation_of(manifest_of(whole, "scorecard-0002").evaluation).spread
    assert spread.to_mapping() == told
    assert Role.OFFICER == "officer"
