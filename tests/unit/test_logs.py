"""Logs: what a line holds, what it never holds, and who says which form it has."""

from __future__ import annotations

import io
import json
import logging

import pytest

from shared.edge import logs

LOG = logging.getLogger("tested")
PSEUDONYM = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


@pytest.fixture
def written(request):
    """Configure the log in a form; return what reads its lines."""
    stream = io.StringIO()

    def configured(form):
        logs.configure("relay", stream=stream, environ={logs.VARIABLE: form})
        return lambda: stream.getvalue().splitlines()

    yield configured
    logs.configure("tests", environ={})


def test_a_json_line_says_when_who_where_and_what(written):
    lines = written("json")
    with logs.bound(run="r1", party="bank"), logs.bound(phase="align", request="q7"):
        logs.step(LOG, "a phase ended", seconds=1.5, bytes_sent=7)
    (line,) = map(json.loads, lines())
    assert line.pop("at").endswith("Z")
    assert line == {
        "level": "info",
        "service": "relay",
        "logger": "tested",
        "event": "a phase ended",
        "run": "r1",
        "party": "bank",
        "phase": "align",
        "request": "q7",
        "seconds": 1.5,
        "bytes_sent": 7,
    }


def test_what_was_bound_ends_with_its_block(written):
    lines = written("json")
    with logs.bound(run="r1"):
        logs.bind(phase="align")
    logs.step(LOG, "outside")
    assert not {"run", "phase"} & json.loads(lines()[0]).keys()


def test_people_read_one_line_a_step(written):
    lines = written("text")
    with logs.bound(run="r1"):
        logs.step(LOG, "a phase ended", seconds=1.23456)
    assert lines()[0].endswith("Z INFO a phase ended run=r1 seconds=1.235")


def test_without_the_variable_only_what_went_wrong_is_told(written):
    lines = written("")
    logs.step(LOG, "a phase began")
    logs.step(LOG, "a phase failed", level=logging.ERROR, code="data")
    assert len(lines()) == 1
    assert lines()[0].endswith("ERROR a phase failed code=data")


def test_a_name_that_the_log_does_not_know_is_a_mistake_of_the_program():
    for mistake in (
        lambda: logs.step(LOG, "it", customer="A-1"),
        lambda: logs.step(LOG, "it", amount=5),
        lambda: logs.bind(pseudonym="x"),
    ):
        with pytest.raises(TypeError, match="a log knows no"):
            mistake()


@pytest.mark.parametrize("form", ["json", "text", ""])
def test_neither_an_exceptions_text_nor_a_key_nor_a_pseudonym_is_written(written, form):
    lines = written(form)

    def fails():
        raise ValueError("customer 4711 owes 12,345")

    try:
        fails()
    except ValueError:
        LOG.exception("the lookup of %s failed", PSEUDONYM)
    logs.step(LOG, "it", level=logging.WARNING, reason=PSEUDONYM)
    text = "\n".join(lines())
    assert "ValueError at test_logs.py:" in text
    for secret in ("4711", "12,345", PSEUDONYM, PSEUDONYM[:24]):
        assert secret not in text
    assert text.count("<hex>") == 2


def test_a_line_break_in_a_value_does_not_start_a_line(written):
    lines = written("text")
    logs.step(LOG, "it", reason="a\n2026-01-01T00:00:00Z ERROR forged")
    assert len(lines()) == 1


def test_a_librarys_own_lines_get_the_form_too(written, monkeypatch):
    theirs, stream = logging.getLogger("theirs"), io.StringIO()
    handler = logging.StreamHandler(stream)
    monkeypatch.setattr(theirs, "handlers", [handler])
    monkeypatch.setattr(theirs, "propagate", False)
    logs.configure(
        "party", stream=io.StringIO(), environ={logs.VARIABLE: "json"}, takeover=("theirs",)
    )
    theirs.warning("hello")
    assert json.loads(stream.getvalue())["event"] == "hello"
