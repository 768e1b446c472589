"""compose.yml runs what the launcher runs, and keeps parties apart."""

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
        ("superlink", "command", ["--host=0.0.0.0"], "the launcher runs"),
        ("bank", "command", ["--superlink=superlink:8000"], "the launcher runs"),
        ("bank", "environment", {}, "FLWR_SUPEREXEC_TASK_POLL_INTERVAL"),
        ("bank", "volumes", ["bureau:/federation/bureau"], "mounts the volume of bureau"),
        ("limits", "volumes", ["coordinator:/c"], "mounts the volume of coordinator"),
        ("bank", "volumes", ["store:/s"], "mounts the volume of store"),
        ("bank-feed", "volumes", ["limits:/l"], "mounts the volume of limits"),
        ("limits", "healthcheck", {"test": ["CMD", "true"]}, "must ask /readyz"),
        ("superlink", "volumes", ["authority:/ca"], "mounts the volume of authority"),
        ("setup", "volumes", ["coordinator:/federation/ca"], "a volume of its own"),
        ("bank", "volumes", ["./bank:/federation/bank"], "of the host"),
        ("bank", "volumes", ["agreement:/federation"], "may write the agreement"),
        ("bank", "networks", ["bank", "bureau"], "meets bureau"),
        ("bank", "networks", ["public"], "leads out"),
        ("train", "networks", None, "default network"),
        ("relay", "ports", ["8001:8001"], "publishes"),
        ("limits", "ports", ["8443:8443"], "publishes"),
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
    found = [text for text in findings(broken) if service in text]
    assert any(said in text for text in found), findings(broken)


def test_a_service_of_the_launcher_that_is_not_there_is_named(compose):
    del compose["services"]["relay"]
    assert any("relay: the launcher starts it" in text for text in findings(compose))


def test_the_cas_key_lies_where_setup_alone_mounts(compose, tmp_path):
    made = build(tmp_path, customers=300).parent
    (key,) = made.rglob("ca.key")
    place = str(check.BASE / key.parent.relative_to(made))
    mounted = {
        volume.split(":")[0]
        for one in compose["services"].values()
        for volume in one.get("volumes", [])
        if volume.split(":")[1] == place
    }
    assert mounted == {"authority"}
    compose["services"]["setup"]["volumes"].remove("authority:/federation/ca")
    assert any("a volume of its own" in text for text in findings(compose))


def test_a_variable_that_the_image_drops_is_named(compose):
    text = (ROOT / "Dockerfile").read_text().replace("FLWR_TELEMETRY_ENABLED=0", "OTHER=0")
    assert any("FLWR_TELEMETRY_ENABLED" in found for found in findings(compose, text))
