"""Engine `flower` on the real command line: SuperLink, relay and SuperNodes, TLS and own keys."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from server.coordinator import load_federation
from server.engines import flower as flower_engine
from server.engines.deployment import HOST, answers, deployed, free_ports, wait_for
from server.engines.flower import train_flower
from server.engines.flower_control import Control
from server.engines.launcher import new_run
from server.engines.run_files import RunFiles
from shared.errors import BadPeer, EnvironmentFault, Refused, UsageError
from tests.flower_runs import FlowerRun
from tests.whole_runs import HOLDERS, assert_nothing_half_written, build, cards

pytestmark = pytest.mark.e2e


@pytest.fixture
def flower(tmp_path_factory):
    """Start `confide train --engine flower`; what a test leaves running is killed at its end."""
    runs = []

    def start(path, *arguments):
        runs.append(FlowerRun(path, tmp_path_factory.mktemp("output"), *arguments))
        return runs[-1]

    yield start
    for run in runs:
        run.clean_up()


def numbers(value, path=""):
    """Return every number of a JSON value by its path, and every text."""
    if isinstance(value, dict):
        return [leaf for key in sorted(value) for leaf in numbers(value[key], f"{path}/{key}")]
    if isinstance(value, list):
        return [leaf for at, item in enumerate(value) for leaf in numbers(item, f"{path}/{at}")]
    return [(path, value)]


def assert_same_card(one, other):
    ours, theirs = numbers(json.loads(one.read_text())), numbers(json.loads(other.read_text()))
    assert [path for path, _ in ours] == [path for path, _ in theirs]
    assert any(isinstance(value, float) for _, value in ours)
    for (path, left), (_, right) in zip(ours, theirs, strict=True):
        if isinstance(left, float):
            assert left == pytest.approx(right, abs=1e-9), path
        elif not path.endswith(("run", "created", "digest")):
            assert left == right, path


@pytest.mark.slow
def test_it_gives_the_card_of_engine_local_and_a_second_run_is_refused(confide, flower, tmp_path):
    path = build(tmp_path / "flower")
    shutil.copytree(tmp_path / "flower", tmp_path / "local")
    first = flower(path)
    first.until(lambda: first.processes("server.superlink"))
    second = flower(path)
    assert second.end() == 3
    assert f"another run is using {tmp_path / 'flower' / 'coordinator'}" in second.stderr
    assert first.end() == 0, first.stderr
    assert not first.left_behind()
    assert "warn" not in first.stderr.lower()
    status, _, err = confide("train", "-f", tmp_path / "local" / "federation.toml")
    assert status == 0, err
    (ours,), (theirs,) = cards(tmp_path / "flower"), cards(tmp_path / "local")
    assert_same_card(ours, theirs)
    assert_nothing_half_written(tmp_path / "flower")
    # Every process has a log of its own, where it belongs.
    for party in HOLDERS:
        assert list((tmp_path / "flower" / party / "logs").glob("*.log"))
    logs = {log.name.split(".")[-2] for log in (tmp_path / "flower/coordinator/logs").iterdir()}
    assert logs == {"superlink", "relay"}
    # What Flower keeps of a run is gone with it.
    assert not list((tmp_path / "flower").rglob("*.db*"))


@pytest.fixture(scope="module")
def federation(tmp_path_factory):
    return build(tmp_path_factory.mktemp("federation"))


@pytest.fixture
def copy(federation, tmp_path):
    shutil.copytree(federation.parent, tmp_path / "copy")
    return tmp_path / "copy" / "federation.toml"


def other_node_key(path):
    key = ec.generate_private_key(ec.SECP384R1())
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.OpenSSH,
            serialization.NoEncryption(),
        )
    )
    path.chmod(0o600)
    return key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )


@pytest.mark.slow
def test_a_node_whose_key_is_not_registered_is_turned_away_by_name(copy, flower):
    other_node_key(copy.parent / "payments" / "node.key")  # its node.pub is still the pinned one
    run = flower(copy)
    assert run.end() == 4, run.stderr
    assert "payments: the SuperLink does not know the key of its node" in run.stderr
    assert not run.left_behind()
    assert not list(copy.parent.rglob("ledger.jsonl"))


def train(path, **more):
    return train_flower(path, new_run(), {}, lambda event, details: None, **more)


def test_a_node_key_other_than_the_pinned_one_is_refused_before_anything_starts(copy):
    public = other_node_key(copy.parent / "bureau" / "node.key")
    (copy.parent / "bureau" / "node.pub").write_bytes(public)
    with pytest.raises(Refused, match=r"bureau: .*node.pub is not the node key"):
        train(copy)
    assert not (copy.parent / "coordinator" / "logs").exists()


def test_a_private_key_that_others_can_read_is_refused(copy):
    (copy.parent / "bank" / "node.key").chmod(0o640)
    with pytest.raises(Refused, match=r"bank: .*node.key can be read by others"):
        train(copy)


def test_a_certificate_authority_other_than_the_pinned_one_is_refused(copy, tmp_path):
    other = build(tmp_path / "other", customers=300)
    shutil.copy(other.parent / "bank" / "ca.crt", copy.parent / "bank" / "ca.crt")
    with pytest.raises(Refused, match=r"bank: .*ca.crt is not the certificate authority"):
        train(copy)


def test_a_demanded_port_that_is_taken_is_named(copy):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        for name in ("port", "relay_port"):
            with pytest.raises(EnvironmentFault, match=f"port {taken}, asked for the"):
                train(copy, **{name: taken})


def test_machines_apart_need_both_addresses_and_take_no_settings_of_one_run(copy):
    with pytest.raises(UsageError, match="together"):
        train(copy, superlink="localhost:1")
    with pytest.raises(UsageError, match=r"scorecard\.thresholds"):
        train_flower(
            copy,
            new_run(),
            {"scorecard.thresholds": 3},
            lambda event, details: None,
            superlink="localhost:1",
            relay="localhost:2",
        )


@pytest.fixture
def impostor(tmp_path):
    """A server with another federation's certificate, and that federation's CA."""
    home = build(tmp_path / "other", customers=300).parent / "coordinator"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(home / "tls.crt", home / "tls.key")
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}", home / "ca.crt"
    server.shutdown()
    server.server_close()


def test_a_superlink_with_another_federations_certificate_is_refused(copy, impostor):
    address, ca = impostor
    with pytest.raises(BadPeer, match="did not sign"):
        train(copy, superlink=address, relay="127.0.0.1:1")
    # The control: who trusts that authority gets past the certificate, to a server that is none.
    with Control(address, ca) as control, pytest.raises(EnvironmentFault, match="did not do it"):
        control.reachable()


def test_a_superlink_that_is_not_there_is_named(copy, monkeypatch):
    monkeypatch.setattr(flower_engine, "_START_S", 0.2)
    with pytest.raises(EnvironmentFault, match=r"no SuperLink answers at 127\.0\.0\.1:1"):
        train(copy, superlink="127.0.0.1:1", relay="127.0.0.1:2")


@pytest.mark.slow
def test_machines_apart_a_running_superlink_and_relay_are_used_and_left_running(flower, tmp_path):
    """They are stopped by whoever started them."""
    path = build(tmp_path / "federation")
    federation, _ = load_federation(path)
    plan = flower_engine._Plan(federation, path, "apart", path.parent / "coordinator", "scorecard")
    ports = free_ports(2 + len(HOLDERS))
    said = []
    with deployed({}, said.append) as fleet:
        relay = f"wss://{HOST}:{ports[1]}"
        services = flower_engine._services(plan, ports, relay, fleet.memory / "superlink.db")
        fleet.start(services[:2])
        assert wait_for(lambda: all(answers(port) for port in ports[:2]), 90, fleet)
        with flower_engine._control(f"{HOST}:{ports[0]}", plan.home) as control:
            control.wait(30)
            first = control.register(flower_engine._node_keys(plan))
            assert control.register(flower_engine._node_keys(plan)) == first  # twice is once
        fleet.start(services[2:])
        fleet.release()
        run = new_run()
        events = []
        outcome = train_flower(
            path,
            run,
            {},
            lambda event, details: events.append(event),
            superlink=f"{HOST}:{ports[0]}",
            relay=f"{HOST}:{ports[1]}",
        )
        fleet.check()  # all still there
    assert outcome["run"] == run
    assert events.count("done") >= 3
    assert len(cards(path.parent)) == 1
    assert RunFiles(path.parent / "coordinator" / "runs" / run).outcome() == outcome
    assert not said


@pytest.mark.slow
def test_a_partys_own_error_keeps_its_code_its_name_and_its_exit_status(copy, flower):
    (copy.parent / "payments" / "identity.key").chmod(0o640)
    run = flower(copy, "--format", "json")
    assert run.end() == 4, run.stderr
    error = json.loads(run.stdout)["error"]
    assert (error["code"], error["party"]) == ("refused", "payments")
    assert "identity.key can be read by others" in error["message"]
    assert "chmod 600" in error["hint"]
    assert not run.left_behind()
