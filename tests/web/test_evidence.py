"""`confide replay report`: the articles' questions, answered by a replay, in one file."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import tomllib

import pytest

from server.accounts.scores import load_policy
from server.commands.replay_common import load_line_policy
from server.replay.book import Rules
from server.replay.evidence import MACRO_MONTHS, SCENARIOS, gather
from server.replay.figures import Prices
from server.replay.told import months_of, summary
from server.report.evidence import evidence_of, sections
from server.web.language import texts_in
from tests.support import ROOT
from tests.web.served import a_browser

QUESTIONS = ["low", "back", "often", "macro", "capital", "federation", "downturn"]
COMMAND = "confide replay report --people 3000"


@pytest.fixture(scope="module")
def evidence():
    rules = Rules("rules", *load_policy(None), load_line_policy(None))
    return gather(rules, Prices(0.146), people=3000, months=14, seed=2)


def page(evidence, lang="en"):
    return evidence_of(evidence, lang, "2026-11-23T12:00:00Z", COMMAND)


def test_every_question_has_an_answer_and_pictures_with_their_figures(evidence):
    found = sections(evidence, texts_in("en"))
    assert [one.key for one in found] == QUESTIONS
    charts = [chart for one in found for chart in one.charts]
    assert {chart.state for chart in charts} == {"ready"}
    assert len({chart.key for chart in charts}) == len(charts) == 8
    text = page(evidence)
    headings = re.findall(r"<h2>(.*?)</h2>", text)
    assert len(headings) == len(QUESTIONS) + 1
    assert text.count("<svg") == text.count("text/csv") == 8
    assert COMMAND in text
    assert "{" not in re.sub(r"<style>.*?</style>", "", text, flags=re.DOTALL)


def test_the_answers_are_the_figures_of_the_replay(evidence):
    sums = {name: summary(evidence.figures[name]) for name in SCENARIOS}
    told = {one.key: one.told for one in sections(evidence, texts_in("en"))}
    assert told["federation"]["together"] == f"{sums['rules']['approved']:.1%}"
    assert told["federation"]["alone"] == f"{sums['bank']['approved']:.1%}"
    assert told["downturn"]["lost"] == f"{sums['downturn']['loss_rate']:.1%}"
    assert told["back"]["restored"] == f"{sums['rules']['restored']:.1%}"
    limits = [one["limit_minor"] / 100 for one in months_of(evidence.figures["macro"])]
    assert told["macro"]["during"] == f"{limits[MACRO_MONTHS[1] - 1]:,.0f}"
    # What each scenario is for shows in it.
    assert sums["bank"]["approved"] < sums["rules"]["approved"]
    assert sums["scarce"]["limit_minor"] < sums["rules"]["limit_minor"]
    assert sums["downturn"]["late"] > sums["rules"]["late"]
    rules = [one["limit_minor"] for one in months_of(evidence.figures["rules"])]
    macro = [one["limit_minor"] for one in months_of(evidence.figures["macro"])]
    first, last = MACRO_MONTHS
    assert rules[: first - 1] == macro[: first - 1]
    assert all(macro[at] < rules[at] for at in range(first - 1, last))
    assert evidence.figures["macro"].causes["M-MACRO"] > 0
    assert evidence.figures["scarce"].causes["C-CAP"] > 0


def test_it_loads_nothing_and_says_that_nobody_is_real(evidence):
    text = page(evidence)
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL).group(1)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = html.unescape(re.search(r'Policy" content="(.*?)"', text).group(1))
    assert f"style-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "<script" not in text
    assert not re.findall(r'(?:src|href)="(?!#|data:text/csv)', text)
    assert "Nobody here is real" in text


def test_it_speaks_chinese_with_the_same_figures(evidence):
    english, chinese = (sections(evidence, texts_in(lang)) for lang in ("en", "zh"))
    for one, other in zip(english, chinese, strict=True):
        same = {"first", "second"} if one.key == "low" else set()
        assert {key: value for key, value in one.told.items() if key not in same} == {
            key: value for key, value in other.told.items() if key not in same
        }
    text = page(evidence, "zh")
    assert 'lang="zh-Hans"' in text
    assert "额度为什么低" in text
    for lang in ("en", "zh"):
        said = tomllib.loads((ROOT / f"server/web/texts/{lang}/evidence.toml").read_text())
        assert set(said["evidence"]) >= {f"{one}_told" for one in QUESTIONS}


def test_the_command_writes_the_file_and_tells_its_figures(confide, tmp_path):
    out = tmp_path / "replay.html"
    words = ("--people", 2500, "--months", 3, "-o", out)
    status, said, err = confide("replay", "report", *words)
    assert status == 0, err
    assert said.startswith(f"{out}: ")
    text = out.read_text()
    assert "--people 2500 --months 3 --seed 1" in text
    status, said, _ = confide("replay", "report", *words, "--format", "json", "--lang", "zh")
    assert status == 0
    assert set(json.loads(said)["data"]["arms"]) == set(SCENARIOS)
    assert "额度为什么低" in out.read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("width", "lang", "scheme"), [(360, "zh", "dark"), (1280, "en", "light"), (360, "en", "light")]
)
def test_in_a_browser_it_asks_for_nothing_and_axe_finds_nothing(
    evidence, tmp_path, width, lang, scheme
):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    file = tmp_path / "evidence.html"
    file.write_text(page(evidence, lang))
    asked, said = [], []
    with a_browser() as browser:
        view = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        view.on("request", lambda request: asked.append(request.url))
        view.on("console", lambda message: said.append(message.text))
        view.goto(file.as_uri())
        told = axe.run(view).response["violations"]
        wide = view.evaluate("document.documentElement.scrollWidth")
    assert [one["id"] for one in told] == []
    assert asked == [file.as_uri()]
    assert said == []
    assert wide <= width
