"""What phases leave behind becomes numbers that outlive their processes."""

from __future__ import annotations

import urllib.request

import pytest
from prometheus_client import generate_latest

from shared.edge import history
from shared.edge.exporter import expose, read_place
from shared.edge.history import Entry
from shared.edge.phase_metrics import registry_of
from shared.errors import EnvironmentFault, UsageError


@pytest.fixture
def home(tmp_path):
    for entry in (
        Entry("bank", "r1", "align", seconds=0.2, bytes_sent=10, bytes_received=20),
        Entry("bank", "r1", "neural-1", seconds=4.0),
        Entry("bank", "r1", "neural-2", seconds=40.0),
        Entry("bank", "r2", "align", outcome="party-lost", seconds=120.0),
        Entry("coordinator", "r1", history.RUN),
        Entry("coordinator", "r2", history.RUN, outcome="party-lost", lost="shop"),
    ):
        history.note(tmp_path, entry)
    return tmp_path


def test_phases_are_counted_by_how_they_ended(home):
    text = generate_latest(registry_of(home)).decode()
    for line in (
        'confide_phases_total{member="bank",outcome="ok",phase="align"} 1.0',
        'confide_phases_total{member="bank",outcome="party-lost",phase="align"} 1.0',
        'confide_phases_total{member="bank",outcome="ok",phase="neural"} 2.0',
        'confide_phase_seconds_bucket{le="10.0",member="bank",phase="neural"} 1.0',
        'confide_phase_seconds_sum{member="bank",phase="neural"} 44.0',
        'confide_phase_bytes_total{direction="received",member="bank",phase="align"} 20.0',
        'confide_runs_total{member="coordinator",outcome="ok"} 1.0',
        'confide_drop_outs_total{party="shop"} 1.0',
    ):
        assert line in text, text


def test_a_torn_line_and_one_of_another_form_are_passed_over(home):
    with (home / history.FILE).open("ab") as stream:
        stream.write(b'[1]\n{"member": "bank", "of": "later"}\n{"member": "ba')
    assert len(list(history.entries(home))) == 6


def test_a_long_file_begins_anew_and_the_one_before_still_counts(home, monkeypatch):
    monkeypatch.setattr(history, "_LARGEST", 10)
    history.note(home, Entry("bank", "r3", "align"))
    assert (home / history.FILE).read_text().count("\n") == 1
    assert len(list(history.entries(home))) == 7


def test_a_disk_that_takes_nothing_stops_no_phase(tmp_path):
    history.note(tmp_path / "nowhere", Entry("bank", "r1", "align"))
    assert list(history.entries(tmp_path / "nowhere")) == []


def test_numbers_are_told_on_this_machine_and_a_taken_port_is_named(home):
    port = expose(registry_of(home), "0")
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as page:
        assert b"confide_runs_total" in page.read()
    with pytest.raises(EnvironmentFault, match=f"cannot tell metrics at 127.0.0.1 port {port}"):
        expose(registry_of(home), str(port))


def test_a_place_is_a_port_or_a_host_and_a_port():
    assert read_place("9100") == ("127.0.0.1", 9100)
    assert read_place("0.0.0.0:9100") == ("0.0.0.0", 9100)
    assert read_place("[::1]:9100") == ("::1", 9100)
    for wrong in ("", "host", "host:", "99999"):
        with pytest.raises(UsageError, match="PORT or HOST:PORT"):
            read_place(wrong)
