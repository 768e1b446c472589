"""What confide uses of Flower beyond its published interface: a version that differs fails here."""

from __future__ import annotations

import importlib
import inspect
import io
import json
import os
import subprocess
import sys
import time
import zipfile
from types import SimpleNamespace

import pytest
from flwr.app import ConfigRecord, Error, Message, RecordDict
from flwr.cli.build import build_fab_from_files
from flwr.cli.config_utils import get_fab_config, get_fab_metadata
from flwr.cli.install import install_from_fab
from flwr.common.config import parse_config_args
from flwr.supercore.object_store.in_memory_object_store import InMemoryObjectStore
from flwr.supercore.task_identity import TaskIdentity
from flwr.supernode.nodestate.in_memory_nodestate import InMemoryNodeState

from clients.app import app as client_app
from clients.simulated.app import app as simulated_client
from server.app import app as server_app
from server.engines.flower import node_config
from server.engines.flower_grid import NamedGrid
from server.engines.launcher import new_run
from server.engines.local import DIED, PARTY_DIED, PARTY_FORGED
from server.engines.run_files import RunFiles, error_from_value, error_to_value, run_folder
from server.engines.simulation import app as simulated_server
from server.exchange import join
from shared.arrays import pack_value
from shared.edge import flower_private, nursery
from shared.edge.bundle import bundle, digest
from shared.errors import (
    BadPeer,
    ConfideError,
    ConfigError,
    DataError,
    DrawRefused,
    PartyLost,
    Refused,
    RunFailed,
    TooMany,
    UsageError,
    codes,
)
from tests.support import ROOT


def test_flower_takes_the_bundle_and_it_holds_no_code(tmp_path):
    assert get_fab_metadata(bundle()) == ("confide/confide", "1.0.0")
    placed = install_from_fab(bundle(), tmp_path, skip_prompt=True)
    assert [path.name for path in placed.iterdir()] == ["pyproject.toml"]


def test_the_bundle_says_what_flowers_own_builder_would():
    with zipfile.ZipFile(io.BytesIO(bundle())) as archive:
        whole = archive.read("pyproject.toml")
    theirs, _ = build_fab_from_files({"pyproject.toml": whole})
    assert get_fab_config(bundle()) == get_fab_config(theirs)


@pytest.mark.parametrize("simulation", [False, True])
def test_the_bundle_names_the_installed_apps(simulation):
    components = get_fab_config(bundle(simulation=simulation))["tool"]["flwr"]["app"]["components"]
    apps = (simulated_server, simulated_client) if simulation else (server_app, client_app)
    for role, app in zip(("serverapp", "clientapp"), apps, strict=True):
        module, _, name = components[role].partition(":")
        assert getattr(importlib.import_module(module), name) is app


@pytest.mark.usefixtures("task")
@pytest.mark.parametrize("changed", [True, False])
def test_a_node_answers_what_it_was_asked_though_a_late_reply_was_left(changed):
    theirs = importlib.import_module(flower_private.NODE)
    store = InMemoryObjectStore()
    state = InMemoryNodeState(store)
    early, asked = (Message(RecordDict(), 1, kind) for kind in ("query.a", "query.b"))
    for message in (early, asked):
        message.metadata.__dict__["_message_id"] = message.object_id
    node = SimpleNamespace(
        _pull_and_store_message=lambda receive: receive()[0].metadata.run_id,
        _push_messages=theirs._push_messages,
    )
    if changed:
        flower_private.answer_what_was_asked(node)
    sent = []

    def send(message, tree, seconds):
        del tree, seconds
        sent.append(message.metadata.reply_to_message_id)
        if message.metadata.reply_to_message_id == early.object_id:  # meanwhile the app is done
            theirs._insert_message(Message(RecordDict(), reply_to=asked), state, store)
        return set(), ""

    theirs._insert_message(Message(RecordDict(), reply_to=early), state, store)
    node._pull_and_store_message(receive=lambda: (asked, None))
    node._push_messages(state=state, object_store=store, send=send, push_object=None)
    # The control: Flower's own sends the late one alone, and is one behind from then on.
    assert sent == [early.object_id, asked.object_id][: 2 if changed else 1]


def test_a_node_takes_no_other_bundle():
    flower_private.check_bundle(bundle())
    for other in (bundle() + b"\0", bundle(simulation=True)):
        with pytest.raises(Refused, match="another app than confide's"):
            flower_private.check_bundle(other)
    assert len(digest()) == 64


def fresh(code):
    """Run code in a new process: the changes are made for good."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_changes_to_flower_reach_what_they_are_for():
    said = fresh("""
import inspect
from importlib import import_module
from shared.edge import flower_private as private
private.prepare_node(); private.prepare_coordinator()
node, app, grid = map(import_module, (private.NODE, private.CLIENT_APP, private.GRID))
# The names are looked up in the module when the function runs: else a replaced one has no effect.
for function, names in (
    (node.start_client_internal, ("time", "_pull_and_store_message", "_push_messages")),
    (node._push_messages, ("time",)),
    (node._pull_and_store_message, ("pull_objects", "get_fused_config_from_fab")),
    (app.pull_task_input, ("pull_and_inflate_object_from_tree",)),
    (grid.HttpGrid.pull_messages, ("pull_objects",)),
):
    missing = set(names) - set(inspect.unwrap(function).__code__.co_names)
    assert not missing, (function, missing)
assert "sleep(3)" in inspect.getsource(node.start_client_internal)
import time
began = time.monotonic(); node.time.sleep(3)
assert time.monotonic() - began < 1
# A bundle is read, and so checked, before it is kept and before a process is started for it.
source = inspect.getsource(node._pull_and_store_message)
steps = [source.index(step) for step in
         ("= get_fab(", "get_fused_config_from_fab(", "store_fab(", "create_task(")]
assert steps == sorted(steps)
try:
    node.get_fused_config_from_fab(b"another", None)
except Exception as error:
    print(type(error).__name__, error)
""")
    assert said.startswith("Refused the coordinator sent another app")


@pytest.mark.slow
def test_every_bundle_of_a_run_goes_through_the_coordinators_check():
    said = fresh("""
import inspect
from importlib import import_module
from shared.edge import bundle, flower_private as private
private.prepare_coordinator()
control = import_module(private.CONTROL)
reads = "get_fab_config"
# Whatever keeps a bundle, or makes a run of one, reads it first, under the replaced name.
for name, function in inspect.getmembers(control, inspect.isfunction):
    source = inspect.getsource(function)
    at = [source.index(step) for step in ("state.store_app(", "state.create_run(",
          "state.store_fab(") if step in source]
    if at:
        assert reads in source and source.index(reads + "(") < min(at), name
        print(name)
assert control.get_fab_config(bundle.bundle())["project"]["name"] == "confide"
try:
    control.get_fab_config(bundle.bundle() + b"\\0")
except import_module(private.ERRORS).FlowerError as error:
    print(error.code.name, error.public_details)
""")
    *functions, refusal = said.splitlines()
    assert {"start_run", "add_app"} <= set(functions)
    assert refusal == "INVALID_APP_SPEC another app than confide's; nothing of it was run"


@pytest.mark.parametrize(
    "run", ["", "..", "../../outside", "/tmp/x", "a/b", "a\\b", "a\0b", "a" * 65]
)
def test_a_runs_name_is_no_path_at_the_coordinator(tmp_path, run):
    with pytest.raises(Refused, match="it is no path"):
        run_folder(tmp_path, run)
    assert run_folder(tmp_path, new_run()).parent == tmp_path / "runs"  # the control


def test_waits_that_are_shortened_have_the_names_they_had():
    module = importlib.import_module("flwr.supercore.inflatable.inflatable_utils")
    for function in (module.pull_objects, module.pull_and_inflate_object_from_tree):
        assert {"initial_backoff", "backoff_cap"} <= set(inspect.signature(function).parameters)


def test_flowers_commands_are_there_by_name():
    for name in (
        "flower-superlink",
        "flower-supernode",
        "flower-superexec",
        "flwr-clientapp",
        "flwr-serverapp",
    ):
        assert callable(nursery.load(name))
    with pytest.raises(LookupError, match="flwr-nothing is not installed"):
        nursery.load("flwr-nothing")


#: A command that says who it is and waits; it starts the other one as Flower starts its own.
NURSERY = """
import os, subprocess, sys, threading, time
from shared.edge import nursery

def helper():
    print("helper", os.getpid(), sys.argv[1:], "marker" in sys.modules, flush=True)
    if "die" in sys.argv:
        os.kill(os.getpid(), 9)
    sys.exit(0)

def main():
    print("main", os.getpid(), sys.argv[1:], flush=True)
    subprocess.run(["flwr-helper", *sys.argv[1:]])
    if "give up" in sys.argv:  # as a SuperNode does, with its server's thread still there
        threading.Thread(target=time.sleep, args=(45,)).start()
        sys.exit(7)
    time.sleep(30 if "die" in sys.argv else 0.1)

commands = {"flwr-main": main, "flwr-helper": helper}
nursery.load = commands.__getitem__
nursery.run("flwr-main", ["flwr-helper"], ["this"], vital=["flwr-helper"])
"""


def nurse(tmp_path, *arguments):
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", NURSERY, *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)},
        check=False,
        timeout=60,
    )
    return done, time.monotonic() - began


def test_a_helper_is_a_child_of_the_warm_process_with_its_own_arguments(tmp_path):
    done, _ = nurse(tmp_path, "one", "two words")
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith(("main", "helper"))]
    main, helper = sorted(lines, reverse=True)
    assert main.endswith("['one', 'two words']")
    assert "['one', 'two words']" in helper
    assert main.split()[1] != helper.split()[1]


def test_a_command_that_gives_up_ends_whatever_threads_it_leaves(tmp_path):
    done, seconds = nurse(tmp_path, "give up")
    assert done.returncode == 7
    assert seconds < 40


def test_a_killed_helper_that_is_vital_ends_the_command(tmp_path):
    done, seconds = nurse(tmp_path, "die")
    assert done.returncode != 0
    assert "flwr-helper was killed by signal 9" in done.stderr
    assert seconds < 20


def test_flower_reads_back_what_a_node_is_told():
    values = {"federation": "/a b/it's/federation.toml", "party": "bank", "relay": "wss://h:1"}
    assert parse_config_args([node_config(values)]) == values
    odd = {"federation": '/a "b"/\\federation.toml'}
    assert parse_config_args([node_config(odd)]) == odd
    for bad in ('it\'s "both"', "a\nb", "it's\\"):
        with pytest.raises(UsageError, match="federation"):
            node_config({"federation": bad})


class Grid:
    """A grid whose replies a test makes."""

    def __init__(self, ids, answer):
        self._ids, self._answer, self._sent = list(ids), answer, {}

    def get_node_ids(self):
        return self._ids.pop(0) if len(self._ids) > 1 else self._ids[0]

    def push_messages(self, messages):
        for number, message in enumerate(messages):
            message.metadata.__dict__["_message_id"] = f"m{number}"
            self._sent[f"m{number}"] = message
        return list(self._sent)

    def pull_messages(self, message_ids):
        return [self._answer(self._sent.pop(name)) for name in message_ids if name in self._sent]


@pytest.fixture
def task():
    TaskIdentity.run_id = TaskIdentity.node_id = TaskIdentity.task_id = 1


def signed(request, party):
    value = {"party": party, "ok": True, "result": {}}
    return Message(
        RecordDict({"reply": ConfigRecord({"value": pack_value(value)})}), reply_to=request
    )


def ask(answer):
    grid = NamedGrid(Grid([[7, 9]], answer), {"bank": 9, "payments": 7}, deadline=1.0)
    messages = [
        Message(RecordDict(), dst_node_id=node, message_type="train.moments") for node in (7, 9)
    ]
    return sorted(
        (reply.error.code, reply.error.reason) if reply.has_error() else (0, "answered")
        for reply in grid.send_and_receive(messages, timeout=10)
    )


def test_a_reply_counts_only_under_the_name_that_the_nodes_key_is_registered_for(task):
    names = {7: "payments", 9: "bank"}
    well = (0, "answered")
    assert ask(lambda it: signed(it, names[it.metadata.dst_node_id])) == [well, well]
    forged = (PARTY_FORGED, "payments: its node answers phase moments under another name")
    assert ask(lambda it: signed(it, "bank")) == [well, forged]
    assert ask(lambda it: signed(it, ""))[1] == forged
    nothing = ask(lambda it: Message(RecordDict(), reply_to=it))
    assert nothing[1] == forged


def test_flowers_own_errors_get_the_name_of_the_party_and_of_the_phase(task):
    lost = ask(lambda it: Message(Error(5, "Error: Node Unavailable"), reply_to=it))
    why = f"{DIED} in phase moments; Flower says: Error: Node Unavailable"
    assert lost == [(PARTY_DIED, f"bank: {why}"), (PARTY_DIED, f"payments: {why}")]


def test_the_grid_waits_for_all_nodes_and_shows_only_those_of_parties():
    nodes = {"bank": 9, "payments": 7}
    late = Grid([[], [7], [7, 8], [7, 8, 9]], None)
    assert sorted(NamedGrid(late, nodes, deadline=10.0).get_node_ids()) == [7, 9]
    assert NamedGrid(Grid([[7, 8]], None), nodes, deadline=0.3).get_node_ids() == [7]


def test_a_party_known_to_have_died_is_no_node_to_wait_for():
    nodes = {"bank": 9, "payments": 7}
    grid = NamedGrid(Grid([[7], [7, 9]], None), nodes, 600.0, lambda: {"bank"})
    assert grid.get_node_ids() == [7]
    assert grid.get_node_ids() == [7]  # Flower itself would notice after a minute


def joining(lost, *, dead=()):
    """Let two nodes join whose answers fail so often; return whoever joined."""
    left = dict(lost)

    def answer(request):
        node = request.metadata.dst_node_id
        if left.get(node, 0):
            left[node] -= 1
            return Message(Error(5, "Error: Node Unavailable"), reply_to=request)
        return signed(request, {7: "payments", 9: "bank"}[node])

    grid = NamedGrid(Grid([[7, 9]], answer), {"bank": 9, "payments": 7}, 1.0, lambda: dead)
    protocol = SimpleNamespace(deadline_s=5)
    federation = SimpleNamespace(protocol=protocol, holders=("bank", "payments"))
    return sorted(join(grid, SimpleNamespace(federation=federation, run="run")))


def test_a_node_whose_former_life_was_asked_to_join_is_asked_again(task):
    """Flower gives a question up with the life that it was put to, some 50 s after its end."""
    assert joining({}) == ["bank", "payments"]
    assert joining({9: 1}) == ["bank", "payments"]
    with pytest.raises(PartyLost, match="Node Unavailable") as lost:
        joining({9: 2})
    assert lost.value.party == "bank"
    with pytest.raises(PartyLost, match="is not there") as lost:
        joining({}, dead={"bank"})
    assert lost.value.party == "bank"


def test_a_party_whose_process_died_is_not_waited_for(task):
    """Flower itself would notice after a minute; the others' replies still count."""
    dead = set()
    nodes = {"bank": 9, "payments": 7}
    grid = NamedGrid(Grid([[7, 9]], lambda it: signed(it, "bank")), nodes, 1.0, lambda: dead)
    message = Message(RecordDict(), dst_node_id=7, message_type="train.moments")
    (name,) = grid.push_messages([message])
    grid._grid._sent.clear()  # it never answers
    assert list(grid.pull_messages([name])) == []
    dead.add("bank")
    assert list(grid.pull_messages([name])) == []
    dead.add("payments")
    (lost,) = grid.pull_messages([name])
    assert (lost.error.code, lost.error.reason) == (
        PARTY_DIED,
        f"payments: {DIED} in phase moments",
    )


def test_a_run_that_is_begun_again_keeps_its_checkpoint_and_forgets_its_dead(tmp_path):
    files = RunFiles(tmp_path)
    assert files.dead() == frozenset()
    files.tell("began", {})
    files.bury("bank")
    files.bury("payments")
    assert files.dead() == {"bank", "payments"}
    files.finish({})
    (tmp_path / "neural.npz").write_bytes(b"kept")
    files.clear()
    assert files.outcome() is None
    assert files.dead() == frozenset()
    assert [path.name for path in tmp_path.iterdir()] == ["neural.npz"]


def test_every_error_survives_its_way_through_the_outcome_file(tmp_path):
    made = {
        ConfigError: ConfigError("file.toml", ["a: must be b"]),
        DataError: DataError("train.parquet", ["A: column is missing"], hint="h"),
        RunFailed: RunFailed("m", hint="h", party="bank", reported="data"),
        DrawRefused: DrawRefused("m", check="price", reason="P-COST"),
        TooMany: TooMany("m", after=3),
    }
    for number, kind in enumerate(codes().values()):
        if issubclass(kind, ConfigError | DataError):
            error = made.get(kind) or kind("file", ["finding"])
        else:
            checked = {"check": "c"} if "check" in inspect.signature(kind).parameters else {}
            error = made.get(kind) or kind("m", hint="h", party="bank", **checked)
        files = RunFiles(tmp_path / str(number))
        assert files.outcome() is None
        files.fail(error)
        with pytest.raises(ConfideError) as raised:
            files.outcome()
        assert type(raised.value) is type(error)
        assert str(raised.value) == str(error)
        assert raised.value.exit_status == error.exit_status
        assert error_to_value(raised.value) == error_to_value(error)
    assert error_from_value(error_to_value(BadPeer("m"))).code == "bad-peer"
    assert isinstance(error_from_value(error_to_value(PartyLost("m"))), PartyLost)


def test_progress_is_read_line_by_line_and_a_half_written_line_waits(tmp_path):
    files, reader = RunFiles(tmp_path), RunFiles(tmp_path)
    assert list(reader.events()) == []
    files.tell("phase", {"name": "align"})
    assert list(reader.events()) == [("phase", {"name": "align"})]
    line = json.dumps({"event": "done", "details": {}}).encode() + b"\n"
    with (tmp_path / "progress.jsonl").open("ab") as stream:
        stream.write(line[:7])
        stream.flush()
        assert list(reader.events()) == []
        stream.write(line[7:])
    assert list(reader.events()) == [("done", {})]
    files.finish({"seconds": {"align": 1.5}, "node": 2**63})
    assert reader.outcome() == {"seconds": {"align": 1.5}, "node": 2**63}
