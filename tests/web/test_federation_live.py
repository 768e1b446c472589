"""A run under way in a real browser: its page follows it without being asked."""

from __future__ import annotations

import json
import time

import pytest

from server.api.app import create_app
from server.runs.folder import RunsFolder
from tests.service.desk_kit import LOOSE
from tests.web.served import a_browser, on_a_port

RUN = "20260302T075500-bbbbbb"


@pytest.fixture
def page(town, tmp_path):
    """An operator before the page of a run under way; what must not happen is collected."""
    tell(tmp_path, "began", 0, process=1)
    tell(tmp_path, "phase", 1, name="align")
    app = create_app(town.office.desk, rates=LOOSE, runs=RunsFolder(tmp_path))
    with on_a_port(app) as url, a_browser() as browser:
        made = browser.new_context(locale="en-GB").new_page()
        made.seen = []
        made.on("console", lambda one: made.seen.append(one.text) if one.type == "error" else None)
        made.on("pageerror", lambda one: made.seen.append(str(one)))
        made.goto(f"{url}/sign-in?next=/federation/runs/{RUN}")
        made.fill("#client", "the-operator")
        made.fill("#secret", town.secrets["the-operator"])
        made.click("main button")
        made.wait_for_selector("text=Align customers, for")
        yield made


def tell(folder, event, after, **details):
    home = folder / "runs" / RUN
    home.mkdir(parents=True, exist_ok=True)
    line = {"event": event, "details": details, "at": 1772438380.0 + after}
    with (home / "progress.jsonl").open("a") as stream:
        stream.write(json.dumps(line) + "\n")


def test_a_page_follows_its_run_and_keeps_what_was_opened(page, tmp_path):
    page.focus("#live summary")
    page.keyboard.press("Enter")
    parts = {"bank": {"seconds": 2.0, "bytes_sent": 10, "bytes_received": 1, "n_train": 9,
                      "n_test": 1}}  # fmt: skip
    tell(tmp_path, "done", 3, name="align", seconds=2.0, replies=parts)
    tell(tmp_path, "phase", 4, name="moments")
    page.wait_for_selector("text=Exchange moments, fit, for")
    assert page.locator("#live details").first.get_attribute("open") is not None
    assert page.evaluate("document.activeElement.tagName") == "SUMMARY"
    assert "Exchange moments" in page.text_content("#told-now")
    (tmp_path / "runs" / RUN / "outcome.json").write_text('{"ok": true, "outcome": {}}')
    page.wait_for_selector("#live .pill.good")
    assert page.seen == []


@pytest.mark.slow
def test_without_events_the_page_asks(page, tmp_path):
    page.route("**/events", lambda route: route.abort())
    page.add_init_script("delete window.EventSource")
    page.reload()
    tell(tmp_path, "phase", 4, name="moments")
    began = time.monotonic()
    page.wait_for_selector("text=Exchange moments, fit, for", timeout=20_000)
    assert time.monotonic() - began < 20
