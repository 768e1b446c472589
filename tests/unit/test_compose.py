"""compose.yml runs what `confide federation up` runs, and keeps parties apart."""

from __future__ import annotations

import copy
import importlib

import pytest
import yaml

from tests.support import ROOT
from tests.whole_runs import build

check = importlib.import_module("scripts.check_compose")


@pytest.fixture
def compose():
    return yaml.safe_load((ROOT / "compose.yml").read_text())


def findings(compose, dockerfile=""):
    return check.findings(compose, dockerfile or (ROOT / "Dockerfile").read_text())


def test_the_compose_file_is_in_order(compose):
    assert findings(compose) == []


@pytest.mark.parametrize(
    ("service", "key", "value", "said"),
    [
        ("superlink", "command", ["--host=0.0.0.0"], "`federation up` runs"),
        ("gate", "command", ["--operator-host=0.0.0.0"], "`federation up` runs"),
        ("bank", "command", ["--superlink=superlink:8000"], "`federation up` runs"),
        ("bank", "environment", {}, "FLWR_SUPEREXEC_TASK_POLL_INTERVAL"),
        ("bank", "volumes", ["bureau:/federation/bureau"], "mounts the volume of bureau"),
        ("limits", "volumes", ["coordinator:/c"], "mounts the volume of coordinator"),
        ("limits", "volumes", ["database:/d"], "mounts the volume of database"),
        ("bank", "volumes", ["password:/p:ro"], "mounts the volume of password"),
        ("postgres", "volumes", ["password:/p"], "may write the password"),
        ("grafana", "volumes", ["./deploy/observability:/o"], "of the host"),
        ("train", "volumes", ["watching:/w"], "mounts the volume of watching"),
        ("bank-feed", "volumes", ["limits:/l"], "mounts the volume of limits"),
        ("limits", "healthcheck", {"test": ["CMD", "true"]}, "must ask /readyz"),
        ("superlink", "volumes", ["authority:/ca"], "mounts the volume of authority"),
        ("setup", "volumes", ["coordinator:/federation/ca"], "a volume of its own"),
        ("bank", "volumes", ["./bank:/federation/bank"], "of the host"),
        ("bank", "volumes", ["agreement:/federation"], "may write the agreement"),
        ("bank", "networks", ["bank", "bureau"], "meets bureau"),
        ("bank", "networks", ["public"], "leads out"),
        ("bank", "networks", ["bank", "operator"], "meets register, superlink, train"),
        ("superlink", "networks", ["operator", "bank"], "is on bank's network bank"),
        ("superlink", "networks", ["operator", "bank-watched"], "is on bank's network"),
        ("superlink", "networks", ["operator", "public"], "is on network public"),
        ("superlink", "networks", ["operator", "database"], "is on network database"),
        ("superlink", "networks", ["operator"], "is not superlink.watched on network watched"),
        ("prometheus", "networks", ["watched", "operator"], "meets the operator's network"),
        ("grafana", "networks", ["watching", "watched"], "meets what tells metrics"),
        ("bank", "networks", ["bank", "watched"], "meets"),
        ("bank", "networks", ["bank", "bank-watched"], "is not bank.watched"),
        ("prometheus", "command", [], "must listen at prometheus.watching alone"),
        ("gate", "networks", {"operator": None}, "is not gate.operator on network operator"),
        (
            "relay",
            "networks",
            {"bank": {"aliases": ["relay.watched"]}, "watched": {"aliases": ["relay.watched"]}},
            "is a name on another network",
        ),
        ("train", "networks", None, "default network"),
        ("relay", "ports", ["8001:8001"], "publishes"),
        ("limits", "ports", ["8443:8443"], "publishes"),
        ("postgres", "ports", ["127.0.0.1:5432:5432"], "publishes"),
        ("postgres", "networks", ["database", "public"], "leads out"),
        ("relay", "networks", ["database"], "meets the database"),
        ("bank", "profiles", ["demo"], "demo and federation"),
        ("limits", "profiles", [], "no profile"),
        ("setup", "profiles", ["demo"], "every profile"),
        ("payments", "image", "other:1", "nobody builds"),
        ("postgres", "image", "postgres", "names a version"),
        ("postgres", "user", "0:0", "user must be"),
        ("postgres", "cpus", None, "cpus is missing"),
        ("postgres", "healthcheck", None, "healthcheck is missing"),
        ("payments", "healthcheck", None, "healthcheck is missing"),
        ("postgres", "environment", {"POSTGRES_PASSWORD": "x"}, "must be in a file"),
        ("limits", "environment", {"CONFIDE_STORE_URL": "postgresql://a:b@c/d"}, "a password"),
        ("bank", "read_only", False, "read_only"),
        ("train", "cap_drop", [], "cap_drop"),
        ("bank", "cap_add", ["NET_ADMIN"], "cap_add"),
        ("setup", "security_opt", [], "security_opt"),
        ("relay", "mem_limit", None, "mem_limit is missing"),
        ("limits", "healthcheck", None, "healthcheck is missing"),
    ],
)
def test_what_is_changed_is_named(compose, service, key, value, said):
    broken = copy.deepcopy(compose)
    broken["services"][service][key] = value
    if value is None:
        del broken["services"][service][key]
    image = compose["services"][service]["image"]
    found = [text for text in findings(broken) if service in text or image in text]
    assert any(said in text for text in found), findings(broken)


def test_a_service_of_the_supervisor_that_is_not_there_is_named(compose):
    del compose["services"]["relay"]
    assert any("relay: `federation up` starts it" in text for text in findings(compose))


def test_the_cas_key_lies_where_setup_alone_mounts(compose, tmp_path):
    made = build(tmp_path, customers=300).parent
    (key,) = made.rglob("ca.key")
    place = str(check.BASE / key.parent.relative_to(made))
    mounted = {
        source
        for one in compose["services"].values()
        for source, target, _ in map(check._mount, one.get("volumes", []))
        if target == place
    }
    assert mounted == {"authority"}
    compose["services"]["setup"]["volumes"].remove("authority:/federation/ca")
    assert any("a volume of its own" in text for text in findings(compose))


def test_a_variable_that_the_image_drops_is_named(compose):
    text = (ROOT / "Dockerfile").read_text().replace("FLWR_TELEMETRY_ENABLED=0", "OTHER=0")
    assert any("FLWR_TELEMETRY_ENABLED" in found for found in findings(compose, text))


@pytest.fixture
def apart():
    return [
        check.filled((ROOT / f"deploy/{name}/compose.yml").read_text())
        for name in ("coordinator", "party")
    ]


def findings_apart(apart):
    return check.findings_apart(*apart, (ROOT / "Dockerfile").read_text())


def test_the_files_for_machines_apart_are_in_order(apart):
    assert findings_apart(apart) == []
    assert "wss://coordinator.example:8001" in str(apart[1]["services"]["node"]["command"])


@pytest.mark.parametrize(
    ("file", "service", "key", "value", "said"),
    [
        (0, "superlink", "command", ["--host=0.0.0.0"], "`federation up` runs"),
        (0, "superlink", "ports", ["8000:8000"], "publishes"),
        (0, "superlink", "networks", ["operator", "outside"], "superlink: is on network outside"),
        (0, "postgres", "networks", ["operator"], "meets the operator's network"),
        (0, "gate", "command", ["--operator-host=0.0.0.0"], "`federation up` runs"),
        (0, "gate", "networks", ["operator", "outside"], "is not gate.operator"),
        (0, "relay", "command", ["--host=0.0.0.0"], "`federation up` runs"),
        (1, "node", "command", ["--host=0.0.0.0"], "`federation up` runs"),
        (1, "node", "networks", ["outside"], "is not node.watched"),
        (1, "node", "environment", {}, "FLWR_SUPEREXEC_TASK_POLL_INTERVAL"),
        (1, "node", "ports", ["9094:9094"], "publishes"),
        (1, "feed", "read_only", False, "read_only"),
        (0, "postgres", "ports", ["5432:5432"], "publishes"),
        (0, "limits", "healthcheck", {"test": ["CMD", "true"]}, "must ask /readyz"),
    ],
)
def test_what_is_changed_in_a_file_for_machines_apart_is_named(
    apart, file, service, key, value, said
):
    apart[file]["services"][service][key] = value
    assert any(said in text for text in findings_apart(apart)), findings_apart(apart)


def test_no_service_that_runs_mounts_the_cas_key(apart):
    for name, one in apart[0]["services"].items():
        mounts = [mount.split(":") for mount in one.get("volumes", [])]
        whole = [words for words in mounts if words[1] == "/federation"]
        if name == "confide":  # the commands that sign are of it
            assert whole
        elif whole:
            assert any(place.startswith("/federation/ca:") for place in one["tmpfs"]), name
