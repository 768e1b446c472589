"""The operator's pages: runs as the coordinator wrote them down, live, and the parties."""

from __future__ import annotations

import asyncio
import json
import shutil
import time

import pytest

from server.api.app import create_app
from server.engines.run_files import RunFiles, written
from server.runs.folder import RunsFolder
from server.web.federation import stream
from shared.errors import PartyLost, RunFailed, TooMany
from tests.service.desk_kit import LOOSE
from tests.service.kit import CONTRACT
from tests.web.run_scenes import LIVE, LOST, OVER, PARTIES, START, events_of, told


@pytest.fixture
def watched(town, home):
    """The service, told of the coordinator's folder."""
    app = town.office.app
    town.office.app = create_app(town.office.desk, rates=LOOSE, runs=RunsFolder(home))
    yield town
    town.office.app = app


def operator(town, **options):
    return town.browser("the-operator", **options)


@pytest.mark.parametrize(("lang", "under_way"), [("en", "Under way"), ("zh", "进行中")])
def test_runs_stand_newest_first_with_what_became_of_them(watched, lang, under_way):
    page = operator(watched, lang=lang).get("/federation")
    runs = [one for one in page.links if one.startswith("/federation/runs/")]
    assert [one.rpartition("/")[2] for one in runs[:3]] == [LIVE, OVER, LOST]
    for told_there in (under_way, "scorecard-0001", "0.790", "0.450", "payments"):
        assert told_there in page.text
    assert page.html.count("<tr>") == 5  # the damaged one, too, and the head


def test_long_lists_are_told_page_by_page(town, tmp_path):
    for n in range(23):
        told(tmp_path, f"20260302T0000{n:02d}-aaaaaa", events_of(START - 100, []))
    app = town.office.app
    town.office.app = create_app(town.office.desk, rates=LOOSE, runs=RunsFolder(tmp_path))
    try:
        browser = operator(town)
        first = browser.get("/federation")
        [older] = [one for one in first.links if "before=" in one]
        second = browser.get(older)
    finally:
        town.office.app = app
    runs = [
        {one for one in page.links if one.startswith("/federation/runs/")}
        for page in (first, second)
    ]
    assert [len(one) for one in runs] == [20, 3]
    assert not runs[0] & runs[1]


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_run_that_ended_shows_phases_parties_bytes_and_what_was_signed(watched, lang):
    page = operator(watched, lang=lang).get(f"/federation/runs/{OVER}")
    for expected in ("2,857", "702", "AUC 0.7900", "scorecard-0001", "4/4", "10.0 MB", "134 MB"):
        assert expected in page.text
    # The release of that name in the registry is of another run: nothing of it is shown.
    assert ("check run" if lang == "en" else "没有通过核对") in page.text
    assert "data-events" not in page.html
    assert "/static/live" not in page.html
    assert page.html.count('class="ch ch-ready"') == 2


def test_the_privacy_ledger_is_what_the_parties_signed(watched, home):
    there = told(home, "run-1", events_of(START - 7200, [("release", {"name": "scorecard-0001"})]))
    page = operator(watched).get("/federation/runs/run-1")
    shutil.rmtree(there)
    assert page.text.count("1" * 16) == len(PARTIES)
    assert page.text.count("none was added") == len(PARTIES)


def test_a_release_that_was_changed_on_disk_is_told_and_not_shown(watched, home):
    there = told(home, "run-1", events_of(START - 7200, [("release", {"name": "scorecard-0001"})]))
    path = watched.office.kit.folder / "releases" / "scorecard-0001" / "manifest.json"
    whole = path.read_bytes()
    browser = operator(watched)
    assert "1" * 16 in browser.get("/federation/runs/run-1").text  # the control
    path.write_bytes(whole.replace(b'"ledger_lines":7', b'"ledger_lines":8', 1))
    try:
        page = browser.get("/federation/runs/run-1")
    finally:
        path.write_bytes(whole)
        shutil.rmtree(there)
    assert "fails its check signature" in page.text
    assert "1" * 16 not in page.text


def test_a_run_under_way_is_brought_up_to_date_and_can_be_refreshed_without_scripts(watched):
    page = operator(watched).get(f"/federation/runs/{LIVE}")
    assert "Score and evaluate, for 7.0 s" in page.text
    assert f"/federation/runs/{LIVE}" in page.links  # the link Refresh
    [live] = [attrs for _, attrs in page.tags if attrs.get("id") == "live"]
    assert live["data-events"] == f"/federation/runs/{LIVE}/events"
    assert live["hx-get"] == f"/federation/runs/{LIVE}"


def test_a_run_without_a_word_is_silent_and_says_how_to_go_on(watched):
    watched.office.later(days=1)
    page = operator(watched).get(f"/federation/runs/{LIVE}")
    assert "Nothing was written down for 24 h 00 min" in page.text
    assert f"confide train --resume {LIVE}" in page.text


def test_what_ended_a_run_is_told_under_the_partys_name(watched):
    page = operator(watched).get(f"/federation/runs/{LOST}")
    assert "payments: did not answer" in page.text
    assert "start it again" in page.text


def test_a_damaged_run_is_told_so_and_spoils_no_other(watched):
    page = operator(watched).get("/federation/runs/20260228T000000-dddddd")
    assert "malformed" in page.text


@pytest.mark.parametrize("which", ["lanes", "sent"])
def test_figures_can_be_taken_along(watched, which):
    answer = operator(watched).http.get(f"/federation/runs/{OVER}/{which}.csv")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.text.count("\r\n") > len(PARTIES)
    assert all(party in answer.text for party in PARTIES)


def test_a_picture_that_there_is_not_is_not_found(watched):
    assert operator(watched).http.get(f"/federation/runs/{OVER}/keys.csv").status_code in {404, 422}


@pytest.mark.parametrize("run", ["nothing", "%2e%2e", "%2e%2e%2fidentity.key", "a" * 65])
def test_no_name_leads_out_of_the_folder(watched, home, run):
    (home / "identity.key").write_text("secret")
    answer = operator(watched).http.get(f"/federation/runs/{run}")
    assert answer.status_code in {404, 422}
    assert "secret" not in answer.text


@pytest.mark.parametrize("who", ["mei", "the-officer", "the-regulator", "the-partner"])
@pytest.mark.parametrize(
    "path", ["", "/parties", f"/runs/{OVER}", f"/runs/{OVER}/events", f"/runs/{OVER}/lanes.csv"]
)
def test_nobody_but_an_operator_sees_them(watched, who, path):
    assert watched.browser(who).http.get(f"/federation{path}").status_code == 403
    assert watched.browser().http.get(f"/federation{path}").status_code == 303  # to sign in


def test_every_operators_page_is_found_by_the_role_alone(watched):
    """The control: the same addresses answer an operator."""
    browser = operator(watched)
    for path in ("", "/parties", f"/runs/{OVER}", f"/runs/{OVER}/lanes.csv"):
        assert browser.http.get(f"/federation{path}").status_code == 200


def test_parties_are_shown_with_keys_contract_feed_and_last_word(watched):
    page = operator(watched).get("/federation/parties")
    kit = watched.office.kit
    for party in PARTIES:
        assert kit.people[party].fingerprint in page.text
    assert kit.people["coordinator"].fingerprint in page.text
    assert CONTRACT in page.text
    assert f"/federation/runs/{LIVE}" in page.links
    assert "Exchange moments, fit" in page.text
    assert page.text.count("feed in date") == len(PARTIES)
    assert "7 openings when it signed scorecard-0001" in page.text


def test_another_contract_is_told(watched, home):
    replies = {party: {"contract": CONTRACT, "node": 1} for party in PARTIES}
    replies["bureau"]["contract"] = "0" * 64
    body = {"outcome": {"join": replies, "seconds": {}}, "order": [], "attempt": 1}
    (home / "runs" / LIVE / "scorecard.json").write_text(json.dumps({"body": body}))
    page = operator(watched).get("/federation/parties")
    (home / "runs" / LIVE / "scorecard.json").unlink()
    assert page.text.count("another contract") == 1
    assert page.text.count("same contract") == len(PARTIES) - 1


def test_a_service_that_was_told_of_no_folder_says_how_to_tell_it(town):
    page = operator(town).get("/federation")
    assert "confide serve --runs coordinator" in page.text
    assert operator(town).http.get(f"/federation/runs/{OVER}").status_code == 404
    assert "Certificate authority" in operator(town).get("/federation/parties").text


def test_pages_about_runs_write_nothing(watched, home):
    def there():
        return {path: path.stat().st_mtime_ns for path in home.rglob("*")}

    before = there()
    browser = operator(watched)
    for path in ("", "/parties", f"/runs/{LIVE}", f"/runs/{OVER}/sent.csv"):
        browser.http.get(f"/federation{path}")
    assert there() == before


def gathered(states, **options):
    """What a stream says of a run's states, one after the other; the last one stays."""
    left = list(states)

    def state():
        return left.pop(0) if len(left) > 1 else left[0]

    async def all_of_it():
        gate = stream.Gate(1)
        source = stream.changes(
            state, options.pop("ending", lambda: False), gate, every_s=0.001, **options
        )
        found = [text async for text in source]
        gate.check()  # it was left
        return "".join(found)

    return asyncio.run(all_of_it())


def test_a_stream_tells_each_change_once_and_ends_with_the_run():
    text = gathered([("a", False), ("a", False), ("b", False), ("c", True)])
    versions = [one.partition("-")[0] for one in text.split("data: ")[1:]]
    assert [one.strip() for one in versions] == ["a", "b", "c"]
    assert text.startswith("retry: ")


def test_a_stream_ends_with_the_service_and_by_itself():
    assert gathered([("a", False)], ending=lambda: True).count("event:") == 0
    began = time.monotonic()
    assert "event: changed" in gathered([("a", False)], longest_s=0.05)
    assert time.monotonic() - began < 5


def test_no_more_streams_than_there_is_room_for():
    gate = stream.Gate(1)
    with gate.counted(), pytest.raises(TooMany):
        gate.check()
    gate.check()


def test_a_stream_of_a_run_that_is_over_ends_at_once(watched):
    answer = operator(watched).http.get(f"/federation/runs/{OVER}/events")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.text.count("event: changed") == 1
    assert "bank" not in answer.text


def test_engine_local_leaves_what_the_page_reads(tmp_path):
    heard = []
    with written(tmp_path, "r", lambda event, _: heard.append(event)) as files:
        files.finish({})
    assert RunsFolder(tmp_path).story("r", time.time()).state == "ended"
    with pytest.raises(PartyLost), written(tmp_path, "s", lambda *_: None):
        raise PartyLost("gone", party="bank")
    failed = RunsFolder(tmp_path).story("s", time.time())
    assert (failed.state, failed.failure.party) == ("failed", "bank")
    with pytest.raises(KeyboardInterrupt), written(tmp_path, "t", lambda *_: None):
        raise KeyboardInterrupt
    with pytest.raises(RunFailed, match="KeyboardInterrupt"):
        RunFiles(tmp_path / "runs" / "t").outcome()
