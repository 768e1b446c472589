"""A run as its events, checkpoint and outcome tell it, whatever part of them is there."""

from __future__ import annotations

import json
import os

import pytest

from server.federation.state import FOLDER
from server.runs.folder import RunsFolder
from server.runs.link import Watched, leave, link_to, take_away
from server.runs.story import Loss, Written, story_of
from shared.edge.files import exclusive
from shared.errors import EnvironmentFault, NotFound


def event(at, kind, /, **details):
    return {"event": kind, "details": details, "at": at}


def replies(*parties, **more):
    return {name: {"seconds": 1.0, "bytes_sent": 10, "bytes_received": 5, "peak_rss_mb": 9.0} | more
            for name in parties}  # fmt: skip


def told(*events, checkpoint=None, outcome=None, rounds=(), touched=0.0, now=110.0):
    written = Written(events, checkpoint, outcome, rounds, touched)
    return story_of("r", written, now, 60.0)


BEGAN = (event(100.0, "began", process=1), event(100.0, "joining"))
ALIGNED = event(105.0, "done", name="align", seconds=3.0, replies=replies("a", "b", n_train=7,
                                                                          n_test=3))  # fmt: skip


def test_phases_follow_each_other_and_the_last_one_is_under_way():
    story = told(*BEGAN, event(102.0, "phase", name="align"), ALIGNED,
                 event(106.0, "phase", name="moments"))  # fmt: skip
    assert [(one.name, one.start, one.seconds) for one in story.phases] == [
        ("join", 0.0, 2.0), ("align", 2.0, 3.0), ("moments", 6.0, None)]  # fmt: skip
    assert (story.state, story.under_way.name) == ("running", "moments")
    assert (story.parties, story.bytes_sent) == (("a", "b"), 20)
    assert story.customers == {"train": 7, "test": 3}


@pytest.mark.parametrize(("now", "state"), [(160.0, "running"), (161.1, "silent")])
def test_a_run_is_silent_after_more_than_the_patience(now, state):
    assert told(*BEGAN, event(101.0, "phase", name="align"), now=now).state == state


def test_what_else_is_written_counts_as_a_word():
    assert told(*BEGAN, now=300.0, touched=290.0).state == "running"


def test_a_phase_that_is_started_again_is_told_once_a_start():
    story = told(
        *BEGAN,
        event(102.0, "phase", name="moments"),
        event(104.0, "lost", name="moments", party="c", left=["a", "b"]),
        event(105.0, "done", name="moments", seconds=3.0, replies=replies("a", "b")),
    )
    assert story.lost == (Loss("c", "moments", 4.0, ("a", "b")),)
    assert story.parties == ("a", "b", "c")
    assert story.phases[-1].start == 2.0


def test_a_loss_without_a_phase_is_of_the_one_under_way():
    story = told(*BEGAN, event(102.0, "phase", name="neural_2"), event(103.0, "lost", party="c"))
    assert story.lost[0].phase == "neural_2"
    assert (story.kind, story.phases[-1].round) == ("neural", 2)


def test_a_run_that_went_on_has_its_earlier_phases_from_the_checkpoint():
    kept = {"order": ["align", "moments", "score"], "attempt": 2,
            "outcome": {"seconds": {"align": 4.0}, "align": replies("a"),
                        "join": {"a": {"contract": "x"}}, "lost": {"z": "bins"}}}  # fmt: skip
    story = told(*BEGAN, event(103.0, "resumed", name="moments", done=["align"]),
                 event(103.0, "phase", name="moments"), checkpoint=kept)  # fmt: skip
    assert [(one.name, one.start) for one in story.phases] == [
        ("align", 0.0), ("join", 4.0), ("moments", 7.0)]  # fmt: skip
    assert (story.ahead, story.attempt, story.resumed) == (("score",), 2, True)
    assert story.contracts == {"a": "x"}
    assert story.lost == (Loss("z", "bins", None),)


def test_a_run_of_before_there_were_events_is_told_by_its_checkpoint_alone():
    kept = {"order": ["align", "release"], "attempt": 1,
            "outcome": {"seconds": {"align": 4.0, "release": 1.0}, "align": replies("a"),
                        "release": replies("a", name="n-1", digest="d")}}  # fmt: skip
    story = told(checkpoint=kept, touched=1000.0, now=9999.0)
    assert (story.state, story.seconds, story.release) == ("ended", 5.0, "n-1")


def test_an_error_ends_it_under_its_own_code():
    error = {"code": "run-failed", "reported": "refused", "message": "no", "hint": "", "party": "a"}
    story = told(*BEGAN, outcome={"ok": False, "error": error})
    assert (story.state, story.failure.code, story.failure.party) == ("failed", "refused", "a")
    assert story.under_way is None


def test_a_loss_that_noise_hides_is_none():
    rows = ({"round": 1, "loss": float("nan"), "customers": 9, "verdict": "unchecked"},)
    assert told(*BEGAN, rounds=rows).rounds[0].loss is None


def test_a_line_that_is_half_written_is_left_for_the_next_look(tmp_path):
    home = tmp_path / "runs" / "r"
    home.mkdir(parents=True)
    whole = json.dumps(BEGAN[0]) + "\n"
    (home / "progress.jsonl").write_text(whole + '{"event": "ph')
    folder = RunsFolder(tmp_path)
    before = folder.version("r")
    assert folder.story("r", 101.0).phases == ()
    (home / "progress.jsonl").write_text(whole + json.dumps(BEGAN[1]) + "\n")
    assert folder.version("r") != before
    assert [one.name for one in folder.story("r", 101.0).phases] == ["join"]


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    home = tmp_path / "runs" / "r"
    home.mkdir(parents=True)
    with (home / "progress.jsonl").open("wb") as stream:
        os.truncate(stream.fileno(), 33 << 20)
    assert RunsFolder(tmp_path).story("r", 1.0).failure.code == "damaged"


def test_what_is_no_run_is_not_found_and_not_listed(tmp_path):
    (tmp_path / "runs" / "with space").mkdir(parents=True)
    (tmp_path / "runs" / "link").symlink_to(tmp_path)
    folder = RunsFolder(tmp_path)
    assert folder.listed(1.0).runs == ()
    for name in ("..", "with space", "nothing"):
        with pytest.raises(NotFound):
            folder.story(name, 1.0)


def test_a_folder_without_runs_is_empty_and_one_that_is_a_file_is_told(tmp_path):
    assert RunsFolder(tmp_path).listed(1.0).runs == ()
    (tmp_path / "runs").write_text("")
    with pytest.raises(EnvironmentFault, match="cannot read"):
        RunsFolder(tmp_path).listed(1.0)


def test_processes_count_only_while_their_supervisor_lives(tmp_path):
    home = tmp_path / FOLDER
    home.mkdir()
    one = {"name": "relay", "pid": 1, "port": 2, "since": "2026-03-02T08:00:00Z", "restarts": 0}
    (home / "state.json").write_text(json.dumps({"services": [one]}))
    folder = RunsFolder(tmp_path)
    assert folder.services() is None
    with exclusive(home):
        assert [found.name for found in folder.services()] == ["relay"]
    assert folder.services() is None


def test_a_training_is_told_where_it_can_be_watched_while_the_service_lives(tmp_path):
    home, runs = tmp_path / "limits", tmp_path / "coordinator"
    assert link_to(home, runs, "r") == ""
    with exclusive(home):
        leave(home, Watched("http://127.0.0.1:8080", str(runs)))
        assert link_to(home, runs, "r") == "http://127.0.0.1:8080/federation/runs/r"
        assert link_to(home, tmp_path / "another", "r") == ""
    assert link_to(home, runs, "r") == ""  # it died without a word
    take_away(home)
    assert link_to(home, runs, "r") == ""
