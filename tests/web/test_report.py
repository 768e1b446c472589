"""`confide report`: one file, of what was signed, that asks for nothing."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from server import cli
from server.report.figures import costs_of, results_of
from server.report.scored import rising, scored_of
from shared.challenger.compare import Pairs, compare
from shared.challenger.verdict import Verdict
from shared.errors import EnvironmentFault, NotFound, ReleaseRefused
from shared.scorecard.spread import Spread
from tests import networks
from tests.service.kit import NOW, Kit, card, real_now
from tests.web.served import a_browser

PLAIN = {"gini": 0.57, "brier": 0.14, "log_loss": 0.44, "calibration_error": 0.02}
ALONE = {
    "bank": {"auc": 0.65, "auc_interval": [0.6, 0.7], "ks": 0.2, "ks_interval": [0.1, 0.3]},
    "bureau": {"auc": 0.75, "auc_interval": [0.7, 0.8], "ks": 0.4, "ks_interval": [0.3, 0.5]},
}
PICTURES = {
    "report-auc", "report-ks", "report-worth", "report-reach", "report-curve", "report-roc",
    "report-gap", "report-scores", "report-calibration", "report-gains", "report-lift",
}  # fmt: skip
COSTS = {"report-seconds", "report-traffic", "report-memory"}


def spread(people=3000):
    rng = np.random.default_rng(4)
    points = rng.integers(-10, 120, people)
    prob = card().calibration.default_prob(points)
    return Spread.of_rows((rng.random(people) < prob).astype(int), points, prob)


def evaluation(**more):
    both = {"auc": 0.79, "auc_interval": [0.75, 0.83], "ks": 0.45, "ks_interval": [0.4, 0.5]}
    told = both | PLAIN | {"n": 3000, "bad_rate": 0.23, "alone": ALONE}
    return told | {"by_points": spread().to_mapping()} | more


def record(kit, run="run-1", **more):
    """What a coordinator writes down of a run."""
    replies = {
        party: {"bytes_sent": 1000 * at, "peak_rss_mb": 100.0 + at}
        for at, party in enumerate(kit.federation.holders, start=1)
    }
    phases = {"align": replies, "moments": replies, "score": replies, "release": replies}
    outcome = {"run": run, "seconds": dict.fromkeys(phases, 1.5), **phases, **more}
    folder = kit.folder / "coordinator" / "runs" / run
    folder.mkdir(parents=True)
    (folder / "outcome.json").write_text(json.dumps({"ok": True, "outcome": outcome}))
    return folder


@pytest.fixture
def kit(tmp_path):
    return Kit(tmp_path / "federation")


@pytest.fixture
def whole(kit):
    """A federation with a release that says everything, and the record of its run."""
    now = real_now()
    kit.serve(now=now, created=now, evaluation=evaluation())
    record(kit)
    return kit


def run(kit, *words, lang="en"):
    """Write a report; return its text and what the command told."""
    path = kit.folder / "report.html"
    path.unlink(missing_ok=True)
    options = ["--federation", kit.path, "-o", path, "--lang", lang, "--format", "json"]
    command = cli.command_line("report")
    done = CliRunner().invoke(command, [str(word) for word in ("report", *words, *options)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return path.read_text(encoding="utf-8"), json.loads(done.stdout)["data"]


def shown(text):
    """The words of a page."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", text)).split())


def test_a_release_and_its_run_give_the_same_report(whole):
    text, told = run(whole)
    assert run(whole, "run-1")[0] == text == run(whole, "scorecard-0001")[0]
    assert (told["release"], told["run"]) == ("scorecard-0001", "run-1")
    assert told["bytes"] == len(text.encode()) < 300_000


def test_it_has_every_picture_with_its_table_and_figures_to_take_away(whole):
    text, told = run(whole)
    assert told["pictures"] == dict.fromkeys(PICTURES | COSTS, "ready")
    assert text.count("<figure") == text.count("<details>") == len(told["pictures"])
    links = re.findall(
        r'href="data:text/csv;charset=utf-8;base64,([^"]+)" download="([^"]+)"', text
    )
    assert {name for _, name in links} == {f"{key}.csv" for key in told["pictures"]}
    assert all(base64.b64decode(body).decode().count("\r\n") > 1 for body, _ in links)


def test_it_tells_where_it_comes_from(whole):
    words = shown(run(whole)[0])
    manifest = whole.registry.verified("scorecard-0001", whole.federation, real_now()).manifest
    for one in (manifest.digest(), manifest.contract, manifest.agreement, "4 of 4; 4 must"):
        assert one in words
    for party in manifest.parties.values():
        assert party.fingerprint in words
        assert party.ledger_head in words
    assert "simulated or public" in words
    assert "no epsilon holds for anything" in words


def test_it_loads_nothing_and_its_own_policy_lets_it_load_nothing(whole):
    text, _ = run(whole)
    [policy] = re.findall(r'Content-Security-Policy" content="([^"]+)"', text)
    [style] = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert html.unescape(policy) == (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    assert not re.search(r"<script|<link|<img|<iframe|\sstyle=|\son[a-z]+=|@import|url\(h", text)
    places = re.findall(r'(?:href|src|action)="([^"]*)"', text)
    assert places
    assert all(one.startswith(("#", "data:text/csv")) for one in places)


def test_it_speaks_chinese_with_the_same_figures(whole):
    english, chinese = run(whole)[0], run(whole, lang="zh")[0]
    assert '<html lang="zh-Hans">' in chinese
    assert "训练报告" in chinese
    assert "Training report" not in chinese
    for figure in ("0.7900", "0.7500 \N{EN DASH} 0.8300", "0.4500"):
        assert figure in shown(english)
        assert figure in shown(chinese)


def test_what_a_release_does_not_say_is_said_to_be_missing(kit):
    now = real_now()
    kit.serve(now=now, created=now)
    text, told = run(kit)
    assert set(told["pictures"]) == {"report-worth", "report-reach", "report-curve"}
    words = shown(text)
    assert "Not in this report: ROC curve, KS curve, How scores are spread" in words
    assert "This machine has no record of the run" in words


def test_who_was_lost_on_the_way_is_named(kit):
    now = real_now()
    kit.serve(now=now, created=now)
    record(kit, lost={"ecommerce": "score"})
    words = shown(run(kit)[0])
    assert "the online shop was lost in phase Score, calibrate, evaluate" in words


def test_a_network_has_its_rounds_and_what_it_was_held_against(kit):
    now = real_now()
    kit.serve(now=now, created=now)
    rng = np.random.default_rng(1)
    prob = rng.random(600) * 0.5
    label = (rng.random(600) < prob).astype(float)
    found = compare(Pairs.of_rows(label, prob, prob * 0.9 + 0.01), rng, replicates=20)
    champion = kit.registry.book().champion.digest
    told = evaluation(against=Verdict(champion, "", found).to_mapping())
    del told["alone"]
    draft = networks.manifest(kit, created=now, run="run-2", parent=champion, evaluation=told)
    kit.registry.take(networks.signed(kit, draft), kit.federation, now)
    rounds = [{"round": at, "loss": 0.5 / at, "verdict": "better"} for at in (1, 2, 3)]
    rounds.append({"round": 4, "loss": 0.6, "verdict": "harm"})
    folder = record(kit, "run-2")
    outcome = {"run": "run-2", "rounds": rounds}
    (folder / "outcome.json").write_text(json.dumps({"ok": True, "outcome": outcome}))
    text, written = run(kit, "run-2")
    assert written["release"] == "neural-0002"
    assert {"report-rounds", "report-roc", "report-curve"} <= set(written["pictures"])
    words = shown(text)
    assert "Against the release that served" in words
    assert champion[:12] in words
    assert "undone because they harmed: 1" in words
    assert draft.model.weights in words
    assert "All parties hold the same columns" in words


def test_a_release_that_expired_says_so(kit):
    kit.serve(now=NOW, evaluation=evaluation(), created="2025-12-01T12:00:00Z")
    assert kit.registry.book().champion.expires < real_now()
    assert "This release expired on 30 May 2026" in shown(run(kit)[0])


def test_words_of_a_release_are_words_and_no_markup(kit):
    now, alone = real_now(), {"<script>alert(1)</script>": ALONE["bank"]}
    kit.serve(now=now, created=now, evaluation=evaluation(alone=alone))
    text, _ = run(kit)
    assert "<script" not in text
    assert "alert(1)" in shown(text)


# --- what cannot be reported ----------------------------------------------------------------------


def test_there_is_no_such_run(whole):
    with pytest.raises(NotFound, match="no run and no release 'run-9'") as caught:
        run(whole, "run-9")
    assert "scorecard-0001" in caught.value.hint


def test_there_is_no_release_yet(kit):
    with pytest.raises(NotFound, match="no release yet"):
        run(kit)


def test_a_run_without_a_release_has_nothing_that_was_signed(whole):
    record(whole, "run-2")
    with pytest.raises(NotFound, match="run-2 has left no release"):
        run(whole, "run-2")


def test_a_forged_release_is_refused_and_no_report_is_written(whole):
    path = whole.registry.folder / "scorecard-0001" / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b'"auc":0.79', b'"auc":0.99'))
    with pytest.raises(ReleaseRefused) as caught:
        run(whole)
    assert caught.value.check == "signature"
    assert not (whole.folder / "report.html").exists()


def test_a_registry_that_names_another_run_is_refused(whole):
    path = whole.registry.folder / "registry.json"
    path.write_text(path.read_text().replace("run run-1", "run run-7"))
    with pytest.raises(ReleaseRefused, match="says that it is of run-1"):
        run(whole, "run-7")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"ok": false}', '{"outcome": 3}'])
def test_a_damaged_record_is_named(whole, text):
    path = whole.folder / "coordinator" / "runs" / "run-1" / "outcome.json"
    path.write_text(text)
    with pytest.raises(EnvironmentFault, match=r"outcome\.json is damaged"):
        run(whole)


@pytest.mark.parametrize(
    "changes",
    [{"seconds": {"align": "soon"}}, {"align": {"bank": {}}}, {"rounds": [{}]}, {"lost": 3}],
)
def test_a_record_that_holds_something_else_is_refused(changes):
    plain = {"seconds": {"align": 1.0}, "align": {"bank": {"bytes_sent": 1, "peak_rss_mb": 2}}}
    assert costs_of(plain).peaks == {"bank": 2.0}
    with pytest.raises(EnvironmentFault):
        costs_of(plain | changes)


@pytest.mark.parametrize(
    "more",
    [{"auc": "high"}, {"alone": 3}, {"alone": {"bank": 3}}, {"auc_interval": [1]},
     {"by_points": {}}, {"n": "many"}],
)  # fmt: skip
def test_an_evaluation_that_cannot_be_read_is_refused(kit, more):
    assert results_of(kit.manifest(evaluation=evaluation())).scored is not None
    with pytest.raises(ReleaseRefused) as caught:
        results_of(kit.manifest(evaluation=evaluation(**more)))
    assert caught.value.check == "evaluation"


# --- counts by score ------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9), st.integers(0, 9)), min_size=1),
    st.integers(0, 500),
)
def test_bins_rise_and_lose_nobody(groups, start):
    edges = np.cumsum([start, *(step for step, _, _ in groups)]).tolist()
    goods, bads = ([one[at] for one in groups] for at in (1, 2))
    made = rising(edges, goods, bads)
    if edges[0] == edges[-1]:
        assert made.edges == ()
        return
    assert list(made.edges) == sorted(set(made.edges)) == sorted(set(edges))
    assert (sum(made.goods), sum(made.bads)) == (sum(goods), sum(bads))


def test_scores_are_counted_as_the_release_counts_points():
    whole, model = spread(), card()
    scored = scored_of(whole, model.calibration, model.scale)
    assert sum(scored.bins.people) == sum(whole.goods) + sum(whole.bads)
    assert sum(one.count for one in scored.tenths) == sum(scored.bins.people)
    probs = [one.mean_prob for one in scored.tenths]
    assert probs == sorted(probs)
    assert min((*scored.told.goods, *scored.told.bads)) >= 20


# --- in a browser ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("width", "lang", "scheme"),
    [(360, "zh", "dark"), pytest.param(1440, "en", "light", marks=pytest.mark.slow)],
)
def test_in_a_browser_it_asks_for_nothing_and_axe_finds_nothing(whole, width, lang, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    run(whole, lang=lang)
    seen = []
    with a_browser() as browser:
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page.on("console", lambda one: seen.append(one.text))
        page.on("request", lambda one: seen.append(one.url))
        page.goto(f"file://{whole.folder}/report.html")
        told = axe.run(page).response["violations"]
        root = "document.documentElement"
        fits = page.evaluate(f"{root}.scrollWidth <= {root}.clientWidth")
        with page.expect_download() as taken:
            page.locator("summary").first.click()
            page.locator("a[download]").first.click()
        name = taken.value.suggested_filename
    assert [one["id"] for one in told] == []
    assert fits
    assert name == "report-auc.csv"
    assert [one for one in seen if not one.startswith(("file:", "data:text/csv"))] == []
