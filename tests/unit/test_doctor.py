"""`confide doctor`: each check is made to fail, and says how to mend it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from clients.keys.changes import revoke_party, rotate_keys
from server.coordinator import load_federation
from server.doctor import agreed, machine, reach, secrets
from server.doctor.findings import FAIL, OK, WARN
from server.engines import guardian
from server.federation.state import FOLDER
from shared.edge.files import exclusive
from tests.whole_runs import build, change


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return build(tmp_path_factory.mktemp("federation"), customers=300)


@pytest.fixture
def path(made, tmp_path):
    shutil.copytree(made.parent, tmp_path / "copy")
    return tmp_path / "copy" / "federation.toml"


@pytest.fixture
def federation(path):
    return load_federation(path)[0]


def only(found, level):
    """Return the single finding of a level; all others must be well."""
    (one,) = [each for each in found if each.level != OK]
    assert one.level == level
    assert one.said
    assert one.mend
    return one


def all_well(found):
    assert found
    assert all(one.level == OK for one in found), found


def test_versions_are_held_against_what_is_asked_for():
    all_well([one for one in machine.versions() if one.level != WARN])
    assert "too old" in only(machine.versions((3, 10, 1)), FAIL).said
    one = only(machine.versions(wanted=["pytest<1", 'torch>99; extra == "neural"']), FAIL)
    assert "asked for is pytest<1" in one.said
    assert "pip install" in one.mend
    assert "is not installed" in only(machine.versions(wanted=["no-such-package>=1"]), WARN).said
    all_well(machine.versions(wanted=["pytest>=1.0,<999", "numpy"]))


def test_a_full_disk_and_one_that_is_nearly_full(tmp_path, monkeypatch):
    all_well(machine.disk(tmp_path, low=1, least=1))
    assert "GiB are free" in only(machine.disk(tmp_path, low=1 << 60), WARN).said
    assert only(machine.disk(tmp_path, low=1 << 60, least=1 << 60), FAIL).mend.startswith("make")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert "cannot be written" in only(machine.disk(tmp_path, low=1, least=1), FAIL).said


def test_a_port_that_somebody_has():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        assert str(taken) in only(machine.ports([taken]), FAIL).said
    all_well(machine.ports([taken]))
    all_well(machine.ports([]))


def test_processes_of_a_run_that_is_gone():
    all_well(machine.leftovers())
    marker = os.urandom(8).hex()
    lost = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(60)"],
        env={**os.environ, guardian.MARKER: marker},
    )
    try:
        end = time.monotonic() + 10
        while not guardian.marked(marker) and time.monotonic() < end:
            time.sleep(0.02)
        one = only(machine.leftovers(), FAIL)
        assert str(lost.pid) in one.mend
        guard = subprocess.Popen([sys.executable, guardian.__file__, marker], stdin=subprocess.PIPE)
        end = time.monotonic() + 10
        while machine.leftovers()[0].level != OK and time.monotonic() < end:
            time.sleep(0.05)
        all_well(machine.leftovers())  # it has a guardian, so somebody will end it
        guard.stdin.close()
        guard.wait(20)
        assert lost.wait(20)
    finally:
        lost.kill()
        lost.wait()


def test_files_that_a_crash_has_left(tmp_path):
    folder = tmp_path / "bank" / "runs"
    folder.mkdir(parents=True)
    (folder / ".card.json.abcd.part").touch()
    all_well(machine.half_written(tmp_path))  # it may be under way
    one = only(machine.half_written(tmp_path, now=time.time() + 7200), WARN)
    assert ".card.json.abcd.part" in one.said


def test_a_federation_that_is_up_but_not_whole(path, federation):
    home = path.parent / "coordinator"
    all_well(machine.standing(home))
    with exclusive(home / FOLDER):
        assert "starting or stopping" in only(machine.standing(home), WARN).said
        places = {"superlink": 1, "operator": 2, "gate": 3, "relay": 4, "nodes": {0: 5}}
        running = [
            {"name": name, "pid": 1, "port": 1, "since": "2026-01-01T00:00:00Z", "restarts": 0}
            for name in ("superlink", "gate", "relay")
        ]
        state = {
            "since": "2026-01-01T00:00:00Z",
            "ready": True,
            "places": {**places, "parties": ["bank"], "metrics": 0},
            "services": running,
        }
        (home / FOLDER / "state.json").write_text(json.dumps(state))
        assert only(machine.standing(home), FAIL).said.startswith("bank died")


def test_a_federation_file_that_is_wrong_missing_or_pins_too_little(path):
    found, said = agreed.federation_file(path)
    assert found is not None
    all_well(said)
    text = path.read_text()
    path.write_text(text.replace('ca = "', 'other = "'))
    found, said = agreed.federation_file(path)
    assert found is None
    assert "other" in only(said, FAIL).said
    path.write_text("\n".join(line for line in text.splitlines() if not line.startswith("ca = ")))
    assert (
        "does not pin the certificate authority" in only(agreed.federation_file(path)[1], WARN).said
    )
    path.unlink()
    assert "`confide init`" in only(agreed.federation_file(path)[1], FAIL).mend


def test_a_contract_that_is_missing_or_does_not_fit(path, federation):
    all_well(agreed.contract(path, federation))
    file = path.parent / "contract.toml"
    text = file.read_text()
    file.write_text(text.replace("[[features]]", "[[featurez]]", 1))
    assert any(one.level == FAIL for one in agreed.contract(path, federation))
    file.unlink()
    assert "contract.toml" in only(agreed.contract(path, federation), FAIL).said
    file.write_text(text)
    revoke_party(path, "bureau", datetime.now(UTC))
    other = load_federation(path)[0]
    assert "names bureau" in only(agreed.contract(path, other), FAIL).said
    change(path, builder="payments")
    other = load_federation(path)[0]
    assert only(agreed.contract(path, other), FAIL)


def test_keys_that_are_not_the_pinned_ones(path, federation):
    all_well(agreed.pinned_keys(path, federation))
    other = build(path.parent / "other", customers=300).parent
    for name in ("identity.key", "node.pub"):
        shutil.copy(other / "bank" / name, path.parent / "bank" / name)
    found = [one for one in agreed.pinned_keys(path, federation) if one.level == FAIL]
    assert ["identity.key" in found[0].said, "node.pub" in found[1].said] == [True, True]
    for home in (*federation.holders, "coordinator"):
        shutil.rmtree(path.parent / home)
    assert "no member's key" in only(agreed.pinned_keys(path, federation), WARN).said


def test_a_key_that_others_can_read(path, federation):
    all_well(secrets.permissions(path, federation))
    key = path.parent / "bureau" / "node.key"
    key.chmod(0o644)
    assert only(secrets.permissions(path, federation), FAIL).mend == f"chmod 600 {key}"


def test_certificates_with_few_days_none_or_of_another_authority(path, federation):
    now = datetime.now(UTC)
    all_well(secrets.certificates(path, federation, now))
    soon = secrets.certificates(path, federation, now + timedelta(days=390))
    assert {one.level for one in soon} == {WARN}
    assert "days left" in soon[0].said
    late = secrets.certificates(path, federation, now + timedelta(days=400))
    assert {one.level for one in late} == {FAIL}
    assert "expired" in late[0].said
    early = secrets.certificates(path, federation, now - timedelta(days=1))
    assert "clock" in early[0].mend
    other = build(path.parent / "other", customers=300).parent
    shutil.copy(other / "bank" / "tls.crt", path.parent / "bank" / "tls.crt")
    assert "is not signed by" in only(secrets.certificates(path, federation, now), FAIL).said
    shutil.copy(other / "bank" / "ca.crt", path.parent / "bank" / "ca.crt")
    assert "not the authority" in only(secrets.certificates(path, federation, now), FAIL).said


def test_a_certificate_that_was_revoked(path, federation):
    old = (path.parent / "bank" / "tls.crt").read_bytes()
    rotate_keys(path, "bank", datetime.now(UTC))
    all_well(secrets.certificates(path, federation))
    (path.parent / "bank" / "tls.crt").write_bytes(old)
    assert "was revoked" in only(secrets.certificates(path, federation), FAIL).said


class Other(BaseHTTPRequestHandler):
    """A service with a clock of its own."""

    ahead = 0.0

    def do_GET(self):
        self.send_response_only(200)
        self.send_header("Date", formatdate(time.time() + self.ahead, usegmt=True))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def other(path):
    """Start a service with the coordinator's certificate; return its address."""
    home = path.parent / "coordinator"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(home / "tls.crt", home / "tls.key")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Other)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_others_that_are_not_there_or_show_another_certificate(path, other, made):
    home = path.parent / "bank"
    answer, found = reach.reach("relay", other, home)
    assert answer is not None
    all_well(found)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"127.0.0.1:{free.getsockname()[1]}"
        assert "does not answer" in only(reach.reach("relay", nobody, home)[1], FAIL).said
    assert "is no address" in only(reach.reach("relay", "relay", home)[1], FAIL).said
    foreign = build(path.parent / "foreign", customers=300).parent / "bank"
    assert "does not hold" in only(reach.reach("relay", other, foreign)[1], FAIL).said
    (home / "tls.key").chmod(0o644)
    assert "can be read by others" in only(reach.reach("relay", other, home)[1], FAIL).said


def test_a_clock_that_is_ten_minutes_off(path, other, monkeypatch):
    home = path.parent / "bank"
    answer, _ = reach.reach("relay", other, home)
    all_well(reach.clocks([answer], 300))
    for ahead, word in ((-600, "ahead of"), (600, "behind")):
        monkeypatch.setattr(Other, "ahead", float(ahead))
        answer, _ = reach.reach("relay", other, home)
        one = only(reach.clocks([answer], 300), FAIL)
        assert f"s {word} that of the relay" in one.said
    all_well(reach.clocks([], 300))


def test_the_command_says_all_and_ends_with_1_where_something_is_wrong(confide, path, other):
    status, out, _ = confide("doctor", "-f", path, "--relay", other, "--party", "bank")
    assert status == 0, out
    assert "FAIL" not in out
    (path.parent / "bank" / "tls.key").chmod(0o640)
    status, out, _ = confide("doctor", "-f", path, "--format", "json")
    assert status == 1
    value = json.loads(out)["data"]
    assert value["well"] is False
    wrong = [one for one in value["findings"] if one["level"] == FAIL]
    assert [one["check"] for one in wrong] == ["secrets"]
    assert wrong[0]["mend"].startswith("chmod 600")
    status, _, err = confide("doctor", "-f", path, "--party", "nobody")
    assert status == 2
    assert "'nobody' is no party" in err
