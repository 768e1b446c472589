"""Domain T33: two punctual customers, one downturn, and limits that return on different days."""

from __future__ import annotations

import json
import sys

import pytest

from server import cli
from server.limits.line.events import replay
from server.limits.line.golden import BASE_MINOR, frequent, run, stable, with_downturn
from tests.line_kit import POLICY, TEXT, policy_with

STABLE, FREQUENT = (run(one, with_downturn(POLICY)) for one in (stable(), frequent()))
#: The rows of section 5.6, as they stand there.
STUDY = {
    "STABLE": "10000 A | 10000 A | 7000 R M01 | 7000 R | 9500 RS R02 | 10000 A R03 | 10000 | 10000"
    " | 10000 | 10000 | 10000 | 10000",
    "FREQUENT": "10000 O B01 | 9000 O B02 | 7000 O M01 | 6000 O B02 | 5000 O B02 | 5000 O B03"
    " | 5000 | 5000 | 5000 H01 1/2 | 5000 R R01 | 7500 RS R02 | 10000 A R03",
}
#: The same with what the study leaves out: a state or a code that goes on.
WHOLE = {
    "STABLE": "10000 A | 10000 A | 7000 R M01 | 7000 R | 9500 RS R02 | 10000 A R03 | 10000 A"
    " | 10000 A | 10000 A | 10000 A | 10000 A | 10000 A",
    "FREQUENT": "10000 O B01 | 9000 O B02 | 7000 O M01 | 6000 O B02 | 5000 O B02 | 5000 O B03"
    " | 5000 O B03 | 5000 O B03 | 5000 O H01 1/2 | 5000 R R01 | 7500 RS R02 | 10000 A R03",
}


@pytest.mark.parametrize("trace", [STABLE, FREQUENT], ids=lambda one: one.customer.name)
def test_t33_every_limit_state_and_code_is_the_studys(trace):
    cells = [row.cell for row in trace.rows]
    assert cells == WHOLE[trace.customer.name].split(" | ")
    for cell, written in zip(cells, STUDY[trace.customer.name].split(" | "), strict=True):
        # A cell of the study is the whole cell, or leaves words of it out; it adds none.
        left = iter(cell.split())
        assert all(word in left for word in written.split()), (cell, written)


def test_t33_both_are_restored_one_on_day_180_and_the_other_on_day_360():
    for trace, day in ((STABLE, 180), (FREQUENT, 360)):
        below = [row.cycle * 30 for row in trace.rows if row.limit_minor < BASE_MINOR]
        assert max(below) + 30 == day
        assert trace.rows[-1].limit_minor == BASE_MINOR


@pytest.mark.parametrize("trace", [STABLE, FREQUENT], ids=lambda one: one.customer.name)
def test_t33_what_is_repaid_can_be_drawn_again_on_day_28_every_time(trace):
    for row in trace.rows:
        assert row.available_repaid_minor == row.limit_repaid_minor
        assert row.available_drawn_minor == row.limit_repaid_minor - row.drawn_minor
        assert row.drawn_minor > 0
        assert row.days_past_due == 0


@pytest.mark.parametrize("trace", [STABLE, FREQUENT], ids=lambda one: one.customer.name)
def test_t33_events_rebuild_the_line(trace):
    assert replay(trace.events) == trace.line
    for row in trace.rows:
        then = replay(trace.events, until=row.on)
        assert (then.state, then.effective_limit_minor) == (row.state, row.limit_minor)


def test_t33_the_way_back_that_is_told_is_the_way_it_goes():
    rows = FREQUENT.rows
    told = rows[8].why  # cycle 9: one clean review of two
    assert told.progress == "1/2"
    assert told.needs[0].earliest == rows[9].on
    assert [(one.on, one.state, one.limit_minor) for one in told.steps] == [
        (row.on, row.state, row.limit_minor) for row in rows[9:]
    ]
    assert (told.earliest, told.restored_on) == (rows[10].on, rows[11].on)


def test_t33_the_downturn_is_told_with_its_end_and_the_steps_after_it():
    told = STABLE.rows[2].why
    assert told.downturn_until == STABLE.rows[3].on
    assert [one.limit_minor for one in told.steps] == [950_000, 1_000_000]
    assert told.restored_on == STABLE.rows[5].on
    assert (told.lost_to_behaviour_minor, told.lost_to_caps_minor) == (0, 300_000)
    held = FREQUENT.rows[4].why
    assert (held.lost_to_behaviour_minor, held.lost_to_caps_minor) == (450_000, 50_000)


def test_a_stricter_exit_brings_the_limit_back_later():
    strict = policy_with(
        ("clean_reviews = 2\n", "clean_reviews = 3\n"), ("reviews = 2\nmin", "reviews = 3\nmin")
    )
    rows = run(frequent(), with_downturn(strict)).rows
    assert [row.cell for row in rows[8:]] == [
        "5000 O H01 1/3",
        "5000 O H01 2/3",
        "5000 R R01",
        "7500 RS R02",
    ]


@pytest.fixture
def confide(monkeypatch, capsys):
    """Run the command line in this process; return the exit status and stdout."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["confide", *map(str, arguments)])
        return cli.main(), capsys.readouterr().out

    return call


def test_the_command_prints_both_customers(confide):
    status, out = confide("replay", "golden")
    assert status == 0
    lines = out.splitlines()
    for cycle in range(12):
        line = lines[2 + cycle]
        assert line.split()[0] == str(cycle + 1)
        for name in ("STABLE", "FREQUENT"):
            assert WHOLE[name].split(" | ")[cycle] in line
    assert "invented" in out


def test_the_command_prints_json_with_the_events(confide):
    status, out = confide("replay", "golden", "--format", "json")
    data = json.loads(out)["data"]
    assert status == 0
    assert [one["name"] for one in data["customers"]] == ["STABLE", "FREQUENT"]
    frequent_one = data["customers"][1]
    assert [row["cell"] for row in frequent_one["cycles"]] == WHOLE["FREQUENT"].split(" | ")
    assert frequent_one["cycles"][2]["codes"] == ["M-MACRO"]
    assert frequent_one["events"][1]["kind"] == "opened"


def test_the_command_takes_another_policy_and_names_what_is_wrong_in_it(confide, tmp_path):
    path = tmp_path / "line.toml"
    path.write_text(TEXT.replace("every_days = 30", "every_days = 0"))
    status, out = confide("replay", "golden", "--line-policy", path, "--format", "json")
    assert status == 2
    assert "review.every_days" in json.loads(out)["error"]["findings"][0]
    path.write_text(TEXT.replace("step_share = 0.25", "step_share = 0.50"))
    status, out = confide("replay", "golden", "--line-policy", path)
    assert "10000 RS" not in out
    assert status == 0
    status, _ = confide("replay", "golden", "--line-policy", tmp_path / "none.toml")
    assert status == 3
