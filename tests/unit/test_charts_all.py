"""What holds for every chart: words, units, tables, states, and no style or script."""

from __future__ import annotations

import ast
import csv
import io
import re
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from server.web import charts as c
from shared.errors import ConfigError, UsageError
from tests.charts.gallery import TEXTS, TOLD, gallery, words
from tests.charts.reading import SVG, fits, root_of, texts_of

GALLERY = {language: gallery(language) for language in ("en", "zh")}
EVERY = [(language, kind) for language in GALLERY for kind in c.NAMES]
every = pytest.mark.parametrize(("language", "kind"), EVERY)
INSTEAD = {
    "empty": c.empty,
    "loading": c.loading,
    "too_few": c.too_few,
    "error": c.failed,
}
UNITS = {  # of the x axis where it has one, else of y: what must stand in the picture
    "en": {
        "stacked": "Amount (CNY)", "waterfall": "Amount (CNY)", "bars": "Amount (CNY)",
        "worth": "Share of variance explained (%)", "roc": "Goods declined (%)",
        "ks_curve": "Share below the score (%)", "gains": "Bads found (%)",
        "lift": f"Bad rate against all ({c.units.TIMES.text})", "calibration": "Default rate (%)",
        "score_distribution": "Share of the class (%)", "bin_bars": "Bad rate (%)",
        "limit_changes": "Change of the limit (CNY)", "burn_down": "Epsilon left (ε)",
        "cutoff_curve": "Expected loss (million CNY)", "lanes": "Time since the start (s)",
    },
}  # fmt: skip


def test_the_gallery_has_a_chart_of_every_function():
    assert set(GALLERY["en"]) == set(GALLERY["zh"]) == set(TEXTS) == set(c.NAMES)
    assert all(callable(getattr(c, kind)) for kind in c.NAMES)


@every
def test_a_chart_says_what_it_shows_and_what_its_axes_measure(language, kind):
    chart, told = GALLERY[language][kind], words(kind, language)
    root = root_of(chart.svg)
    assert root.get("role") == "img"
    title, desc = root[0], root[1]
    assert (title.tag, title.text) == (f"{SVG}title", told.title)
    assert (desc.tag, desc.text) == (f"{SVG}desc", told.description)
    assert root.get("aria-labelledby") == f"{title.get('id')} {desc.get('id')}"
    drawn = " ".join(one.words for one in texts_of(chart.svg))
    assert told.x in drawn or kind in {"bin_bars", "timeline"}, drawn
    panels = {"stacked", "waterfall", "bars", "holders", "worth", "funnel", "cutoff_curve"}
    assert told.y in drawn or kind in panels, drawn
    assert UNITS.get(language, {}).get(kind, "") in drawn


@every
def test_words_stand_beside_each_other_and_marks_within_the_picture(language, kind):
    fits(GALLERY[language][kind].svg)
    fits(c.standalone(GALLERY[language][kind]))


@every
def test_a_chart_has_no_style_and_no_script_of_its_own(language, kind):
    chart = GALLERY[language][kind]
    for one in root_of(chart.svg).iter():
        assert one.tag.removeprefix(SVG) not in {"script", "style", "foreignObject", "image", "a"}
        for name, value in one.attrib.items():
            assert name != "style"
            assert not name.startswith("on")
            assert "href" not in name
            assert name in {"id", "class", "aria-labelledby", "d"} or "script" not in value
    assert not re.search(r"(?<![\w.])-0(?:\.0+)?(?![\w.])", chart.svg)
    assert "nan" not in chart.svg.lower().replace("finance", "")
    assert "#" not in re.sub(r"url\(#[a-z0-9-]+\)", "", chart.body)  # colours are classes


@every
def test_the_table_holds_what_the_csv_holds(language, kind):
    table = GALLERY[language][kind].table
    assert len(table.head) == len(table.units) == len(table.digits)
    assert table.rows
    assert all(len(row) == len(table.head) for row in table.rows)
    read = list(csv.reader(io.StringIO(c.csv_of(table))))
    assert tuple(read[0]) == table.heads
    assert len(read) == len(table.rows) + 1
    for told, row in zip(read[1:], table.rows, strict=True):
        for text, cell in zip(told, row, strict=True):
            if isinstance(cell, int | float):
                assert float(text) == pytest.approx(cell)
    assert "-0" not in {text for row in table.shown() for text in row}


@every
def test_ids_of_two_charts_on_a_page_differ(language, kind):
    chart = GALLERY[language][kind]
    ids = set(re.findall(r' id="([^"]+)"', chart.svg))
    assert all(one.startswith(f"{chart.key}-") for one in ids)
    assert set(re.findall(r"url\(#([^)]+)\)", chart.svg)) <= ids


@pytest.mark.parametrize("state", INSTEAD)
@pytest.mark.parametrize("language", ["en", "zh"])
def test_what_stands_in_place_of_a_picture_says_why(state, language):
    told = words("roc", language)
    chart = INSTEAD[state](told, [("Score", None)])
    sentence = getattr(TOLD[language], state)
    assert chart.state == state
    assert chart.description.endswith(sentence)
    drawn = "".join(one.words for one in texts_of(chart.svg))
    assert drawn.replace(" ", "") == sentence.replace(" ", "")
    assert chart.table.rows == ()
    assert c.csv_of(chart.table) == "Score\r\n"
    fits(chart.svg)


def test_every_word_is_escaped():
    evil = '<script>alert("&1")</script>'
    told = replace(words("bars"), title=evil, description=evil, x=evil, y=evil)
    chart = c.bars(told, [c.Bar(evil, 3.0), c.Bar("\x00\x1b[2J", 1.0)], c.Unit("<b>"))
    for svg in (chart.svg, c.standalone(chart)):
        root = root_of(svg)
        assert root[0].text == evil
        assert not list(root.iter(f"{SVG}script"))
    assert c.csv_of(chart.table).count("\r\n") == 3


def test_a_text_is_no_formula_in_a_spreadsheet():
    chart = c.bars(words("bars"), [c.Bar("=1+1", -3.0)], c.Unit())
    assert c.csv_of(chart.table).splitlines()[1] == "'=1+1,-3,"


def test_a_missing_name_is_refused_with_all_that_are_missing():
    with pytest.raises(UsageError, match="chart roc: names are missing: model, random, auc"):
        c.roc(replace(words("roc"), names={"threshold": "Score"}), c.ScoreBins((), (), ()))


@pytest.mark.parametrize("kind", c.NAMES)
def test_words_come_from_a_table_of_texts(kind):
    told = words(kind)
    table = {"title": told.title, "description": told.description, "x": told.x, "y": told.y}
    assert c.Words.of_mapping(told.key, table | dict(told.names), told.told) == told
    with pytest.raises(ConfigError, match="y: must be given; title: must be text"):
        c.Words.of_mapping(told.key, {"title": 3, "description": "d", "x": "x"}, told.told)


def test_words_must_not_be_empty_and_keys_fit_an_id():
    with pytest.raises(UsageError, match=r"x: must not be empty; key: must be of lower-case"):
        replace(words("roc"), key="1 a", x="")


def test_a_picture_outside_the_pages_brings_its_style_and_shows_its_title():
    svg = c.standalone(GALLERY["en"]["roc"])
    root = root_of(svg)
    assert (
        next(one.text for one in root.iter(f"{SVG}style")).count("prefers-color-scheme:dark") == 1
    )
    assert texts_of(svg)[0].words == "ROC curve"
    assert root.get("width") == "720"
    assert "http" not in svg.replace("http://www.w3.org/2000/svg", "")


def test_every_class_has_its_rule():
    used = {
        name
        for charts in GALLERY.values()
        for chart in charts.values()
        for value in re.findall(r'class="([^"]+)"', chart.svg)
        for name in value.split()
    }
    used |= {n for s in INSTEAD.values() for n in re.findall(r"ch-\w+", s(words("roc")).body)}
    unruled = {name for name in used if not re.search(rf"\.{name}\b(?!-)", c.STYLE)}
    assert unruled <= {"ch-ready", "ch-empty", "ch-loading", "ch-too", "ch-error", "ch-too-few"}


def test_pictures_are_the_same_every_time():
    again = gallery("en")
    assert {kind: chart.svg for kind, chart in again.items()} == {
        kind: chart.svg for kind, chart in GALLERY["en"].items()
    }


def test_the_reading_of_pictures_sees_a_word_over_another():
    svg = GALLERY["en"]["roc"].svg
    text = '<text x="340" y="20" font-size="11">outside the box</text>'
    with pytest.raises(AssertionError):
        fits(svg.replace("</svg>", f"{text}</svg>"))
    first = re.search(r"<text [^>]*>[^<]*</text>", svg)
    with pytest.raises(AssertionError):
        fits(svg.replace("</svg>", f"{first[0]}</svg>"))
    with pytest.raises(ET.ParseError):
        root_of(svg.replace("</desc>", ""))


def contrast(one, other):
    """Return the contrast of two colours by WCAG 2.2, from 1 to 21."""

    def light(colour):
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        r, g, b = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    high, low = sorted((light(one), light(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_colours_can_be_read_in_light_dark_and_print():
    grounds = re.findall(r"\.ch\{(--ch-[^}]+)\}", c.STYLE)
    assert len(grounds) == 3
    for declared in grounds:
        colours = dict(re.findall(r"--ch-(\w+):(#[0-9a-f]{6})", declared))
        for name in ("ink", "soft"):
            assert contrast(colours[name], colours["ground"]) >= 4.5
        for at in range(1, 7):
            assert contrast(colours[f"s{at}"], colours["ground"]) >= 3.0
        assert contrast(colours["ground"], colours["s1"]) >= 4.5  # names within a lane


def test_charts_know_no_file_clock_request_or_other_part_of_the_server():
    allowed = {"server.web.charts", "shared.errors", "shared.metrics", "shared.stability"}
    allowed |= {"shared.trueness", "numpy"}
    pure = {"__future__", "collections", "csv", "dataclasses", "datetime", "io", "itertools"}
    pure |= {"math", "re", "typing", "unicodedata", "xml"}
    assert pure <= sys.stdlib_module_names | {"__future__"}
    files = sorted(Path(c.__file__).parent.glob("*.py"))
    assert len(files) > 10
    for file in files:
        tree = ast.parse(file.read_text(encoding="utf-8"))
        names = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        names |= {
            alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.Import)
            for alias in node.names
        }
        for name in names:
            known = name.split(".")[0] in pure or any(
                name == one or name.startswith(f"{one}.") for one in allowed
            )
            assert known, (file.name, name)
        calls = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)} | {
            node.id for node in ast.walk(tree) if isinstance(node, ast.Name)
        }
        assert not calls & {"open", "now", "utcnow", "getenv"}, file.name
