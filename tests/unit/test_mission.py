"""The mission table names only what there is: functions, commands, endpoints, files and tests."""

from __future__ import annotations

import ast
import importlib
import json
import re
from functools import cache

import pytest

from server import cli
from tests.support import ROOT

PAGE = ROOT / "docs" / "mission.md"
ROWS = [f"M{number:02}" for number in range(1, 109)]
QUOTED = re.compile(r"`([^`]+)`")
ISSUE = re.compile(r"issues? \d")
WORD = re.compile(r"[a-z_0-9]+")


def table(text):
    """Return the rows of every table: what, who does it, what proves it, what is open."""
    found = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| M"):
            assert len(cells) == 5, line
            found.append(cells)
    return found


@cache
def page():
    return PAGE.read_text(encoding="utf-8")


@cache
def endpoints():
    """Every method and address of the OpenAPI document."""
    paths = json.loads((ROOT / "docs" / "openapi.json").read_text())["paths"]
    return {f"{method.upper()} {path}" for path, ways in paths.items() for method in ways}


@cache
def commands():
    """Every command of the command line, with its groups."""

    def inside(command, words):
        yield " ".join(words)
        for name, one in getattr(command, "commands", {}).items():
            yield from inside(one, [*words, name])

    return set(inside(cli.command_line(), ["confide"]))


@cache
def every_test():
    """Every test, as `folder/file.py::name`."""
    found = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                found.add(f"{path.relative_to(ROOT / 'tests')}::{node.name}")
    return found


def is_there(name):
    """Return whether a module, or something inside of one, can be imported."""
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            value = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[cut:]:
            if not hasattr(value, attribute):
                return False
            value = getattr(value, attribute)
        return True
    return False


def missing(name):
    """Return why a name of the column `done by` stands for nothing; empty if it does."""
    if name.startswith("confide "):
        return "" if name in commands() else "no such command"
    if re.match(r"(GET|POST|PUT|DELETE|PATCH) /", name):
        return "" if name in endpoints() else "no such endpoint"
    if "/" in name or name.endswith(".md"):
        return "" if (ROOT / name).is_file() else "no such file"
    if name.startswith(("server.", "clients.", "shared.")):
        return "" if is_there(name) else "nothing of that name can be imported"
    # A word of a rule file, a role or a duty: no name of code.
    return "" if WORD.fullmatch(name) else "no name that this test knows"


def test_every_row_of_the_mission_stands_in_the_table_once():
    assert sorted(row[0] for row in table(page())) == sorted(ROWS)
    assert len(table(page())) == 108


def test_every_name_in_the_table_stands_for_something():
    wrong = [
        f"{row[0]}: {name}: {why}"
        for row in table(page())
        for name in QUOTED.findall(row[2])
        if (why := missing(name))
    ]
    assert wrong == []


def test_every_row_names_a_test_that_there_is_or_says_what_is_open():
    wrong = []
    for number, _, does, proof, is_open in table(page()):
        named = QUOTED.findall(proof)
        wrong += [f"{number}: no test {name}" for name in named if name not in every_test()]
        if not named and not is_open:
            wrong.append(f"{number}: neither proven nor open")
        if not does and not is_open:
            wrong.append(f"{number}: nothing does it")
    assert wrong == []


def test_what_is_open_names_the_issue_that_finishes_it():
    for number, *_, is_open in table(page()):
        assert not is_open or ISSUE.search(is_open), number


def test_the_page_says_that_its_data_are_made_up():
    assert "nothing here describes a real lender" in page()


@pytest.mark.parametrize(
    "name",
    [
        "server.limits.line.review.reviewed_twice",
        "server.nowhere.function",
        "confide review stop",
        "GET /v1/nothing",
        "server/policies/nothing.toml",
        "what is this?",
    ],
)
def test_control_a_made_up_name_is_found_missing(name):
    assert missing(name)


def test_control_a_made_up_test_or_row_is_found_missing():
    assert "unit/test_mission.py::test_that_is_not_there" not in every_test()
    name = test_control_a_made_up_test_or_row_is_found_missing.__name__
    assert f"unit/test_mission.py::{name}" in every_test()
    shorter = page().replace("| M07 |", "| M00 |", 1)
    assert sorted(row[0] for row in table(shorter)) != sorted(ROWS)
