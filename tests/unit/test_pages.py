"""What the pages tell people to type is there: commands, their options, addresses."""

from __future__ import annotations

import json
import re

import click
import pytest

from server.cli import command_line
from tests.support import ROOT

PAGES = ("README.md", "docs/limit-service.md")
FEWER = {"docs/pages.md": 3}  # commands of pages that name no address
_COMMAND = re.compile(r"(?<![\w/.-])confide((?: [a-z][a-z-]*)+)([^\n;|`)]*)")
_ADDRESS = re.compile(r"(?:GET|POST|\$S|:8080|\$ME\"|\$OPERATOR\"|\$OFFICER\") ?(/v1/[^\s\"'`?]+)")


@pytest.fixture(scope="module")
def root():
    return command_line()


def found(root, words):
    """Return the command that words name, or the name of the first that is none."""
    here = root
    for word in words:
        if not isinstance(here, click.Group):
            break  # an argument
        inner = here.commands.get(word)
        if inner is None:
            return word
        here = inner
    return here


def console(page):
    return "\n".join(re.findall(r"```console\n(.*?)```", (ROOT / page).read_text(), re.DOTALL))


def unknown(root, text):
    """Return every command or option of a text that is none."""
    wrong = []
    for line in text.splitlines():
        if not line.startswith("$ "):
            continue
        for words, rest in _COMMAND.findall(re.sub(r"\|[a-z]+", "", line)):
            command = found(root, words.split())
            if isinstance(command, str):
                wrong.append(f"{words.strip()}: no {command}")
                continue
            known = {name for one in command.params for name in one.opts + one.secondary_opts}
            own = re.sub(r"\"[^\"]*\"", "", rest.split("#")[0])
            wrong += [
                f"{words.strip()} {option}"
                for option in re.findall(r"(?<!\S)--?[a-z][a-z-]*", own)
                if option not in known
            ]
    return wrong


@pytest.mark.parametrize("page", [*PAGES, *FEWER])
def test_every_command_of_a_page_exists_with_its_options(root, page):
    assert console(page).count("$ confide ") >= FEWER.get(page, 6)
    assert unknown(root, console(page)) == []


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("$ confide nothing", "nothing: no nothing"),
        ("$ confide log prove x.json", "log prove x: no prove"),
        ("$ confide serve --threads 2", "serve --threads"),
        ("$ X=$(confide token --rolle officer)", "token --rolle"),
    ],
)
def test_what_is_not_there_is_found(root, line, wrong):
    assert unknown(root, line) == [wrong]


@pytest.mark.parametrize("page", PAGES)
def test_every_address_of_a_page_is_in_the_openapi_document(page):
    paths = json.loads((ROOT / "docs" / "openapi.json").read_text())["paths"]
    forms = [re.sub(r"\{[^}]*\}", "[^/]+", path) for path in paths]
    text = re.sub(r"\$\([^)]*\)|\$[CDHLP]\b", "x", (ROOT / page).read_text())
    asked = _ADDRESS.findall(text)
    assert asked
    for one in asked:
        assert any(re.fullmatch(form, one) for form in forms), one
    assert not any(re.fullmatch(form, "/v1/nothing") for form in forms)  # the control
