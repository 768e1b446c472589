"""Champion and challenger on the real command line: trained, compared, shadowed, promoted."""

from __future__ import annotations

import io
import json
import shutil
import sys
from contextlib import redirect_stderr, redirect_stdout
from types import SimpleNamespace

import numpy as np
import pytest

from clients.releases.kept import load_release
from server import cli
from server.api.tokens import Role
from tests.service.live import serving
from tests.three_banks import BANKS, NEEDS_TORCH, by_command, federation_of
from tests.whole_runs import LIGHT, assert_nothing_half_written, change

pytestmark = [pytest.mark.slow, pytest.mark.e2e, NEEDS_TORCH]
SMALL = {
    "rounds": 4,
    "batch": 32,
    "hidden": 8,
    "pieces": 8,
    "learning_rate": 0.02,
    "rows": 20,
    "deadline_s": 300,  # who dies is told at once; who is slow is waited for
}


def run(*arguments, status=0):
    """Run a command, a training as a process of its own; return what it printed."""
    return (by_command if arguments[0] == "train" else here)(*arguments, status=status)


def here(*arguments, status):
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["confide", *map(str, arguments)])
        assert cli.main() == status, err.getvalue()
    return out.getvalue() if status == 0 else err.getvalue()


def told(*arguments):
    return json.loads(run(*arguments, "--format", "json"))["data"]


def customers(n=1500):
    rng = np.random.default_rng(4)
    label = (rng.random(n) < 0.25).astype(int)
    return {
        "ID": np.array([f"c{number:05d}" for number in range(n)], dtype=object),
        "DEFAULT": label,
        "INCOME": rng.lognormal(10 - label, 0.8),
        "USED": rng.normal(size=n) + label,
    }


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Three banks with a card that serves and a network: the federation file, and the results."""
    folder = tmp_path_factory.mktemp("banks")
    path = federation_of(folder, customers(), INCOME='low = 0\ndirection = "down"', USED="")
    change(path, **(LIGHT | SMALL))
    card = told("train", "-f", path)
    run("model", "promote", card["release"]["name"], "-f", path)
    network = told("train", "-f", path, "--model", "neural")
    return SimpleNamespace(path=path, card=card, network=network)


@pytest.fixture
def copied(trained, tmp_path):
    return shutil.copytree(trained.path.parent, tmp_path / "out") / "federation.toml"


def test_a_network_is_released_verified_shown_and_compared_by_its_own_manifest(trained):
    path, made = trained.path, trained.network["release"]
    assert made["name"] == "neural-0002"
    assert made["signatures"] == list(BANKS)
    assert made["against"]["champion"] == trained.card["release"]["digest"]
    states = {one["name"]: one["state"] for one in told("model", "list", "-f", path)}
    assert states == {"scorecard-0001": "champion", "neural-0002": "challenger"}
    checked = told("model", "verify", "neural-0002", "-f", path)
    assert "weights" in checked["checks"]
    assert checked["by"] == list(BANKS)
    shown = told("model", "show", "neural-0002", "-f", path)
    assert shown["kind"] == "neural"
    assert shown["digest"] == made["digest"]
    assert shown["evaluation"]["auc"] > 0.75
    compared = told("model", "compare", "neural-0002", "-f", path)
    assert compared["signed"]
    assert compared["promotable"], compared["problem"]
    assert compared["comparison"] == made["against"]["comparison"]
    assert_nothing_half_written(path.parent)


def test_the_limit_service_scores_it_in_shadow_and_then_lets_it_decide(trained, copied):
    live = SimpleNamespace(folder=copied.parent, path=copied)
    with serving(live, workers=1) as service:
        address = ("--to", f"http://127.0.0.1:{service.port}", "-f", copied)
        for bank in BANKS:
            run("feed", "publish", "-p", bank, *address)
            run("feed", "publish", "-p", bank, "--release", "neural-0002", *address)
        person = best_customer(copied)
        line = open_line(service, person)
        assert line["limit_minor"] > 0
        seen = asked(service, "/v1/monitoring/challenger", Role.REGULATOR)
        assert (seen["champion"], seen["challenger"]) == ("scorecard-0001", "neural-0002")
        assert seen["refused"] == ""
        shadow = told("model", "compare", "neural-0002", "-f", copied)["shadow"]
        assert shadow["challenger"] == "neural-0002"
        run("model", "promote", "neural-0002", "-f", copied)
        service.until(lambda: asked(service, "/v1/model", Role.REGULATOR)["name"] == "neural-0002")
        limit = asked(service, f"/v1/customers/{person}/limit", Role.OPERATOR)
        assert limit["limit_minor"] > 0
    log = told("model", "show", "neural-0002", "-f", copied)["log"]
    digest = trained.card["release"]["digest"]
    assert f"against {digest[:12]}" in log[-1]["reason"]


def best_customer(path):
    """Return the pseudonym of a customer with many points by both models."""
    best = []
    for bank in BANKS:
        points = {}
        for name in ("scorecard-0001", "neural-0002"):
            lines = (path.parent / bank / "feeds" / f"{name}.feed").read_text().splitlines()[1:]
            points[name] = {one[0]: one[1] for one in map(json.loads, lines)}
        both = [points["scorecard-0001"], points["neural-0002"]]
        best += [(min(both[0][name], both[1][name]), name) for name in both[0]]
    return max(best)[1]


def open_line(service, person):
    """Open a line for a customer as the app does."""
    consent = {"purpose": "credit_line", "holders": list(BANKS), "categories": ["repayment"]}
    posted(service, f"/v1/customers/{person}/consents", consent, Role.CUSTOMER, person)
    day = {"as_of": load_day(service)}
    posted(service, f"/v1/customers/{person}/bureau", day, Role.OPERATOR)
    body = {"customer_id": person, "product": "revolving_consumer"}
    made = posted(service, "/v1/lines", body, Role.CUSTOMER, person)
    return asked(service, f"/v1/customers/{person}/limit", Role.OPERATOR) | made


def load_day(service):
    release = load_release(service.kit.folder / "north" / "releases")
    return release.manifest.created[:10]


def posted(service, path, body, role, subject=""):
    headers = service.bearer(role, subject) | {
        "Content-Type": "application/json",
        "Idempotency-Key": f"key-{path}",
    }
    status, raw = service.ask(path, "POST", json.dumps(body).encode(), headers)
    assert status == 201, raw
    return json.loads(raw)


def asked(service, path, role):
    status, raw = service.ask(path, headers=service.bearer(role))
    assert status == 200, raw
    return json.loads(raw)


def test_forged_weights_are_refused_by_name(copied):
    path = copied.parent / "releases" / "neural-0002" / "weights.safetensors"
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    for command in ("verify", "promote"):
        refused = run("model", command, "neural-0002", "-f", copied, status=4)
        assert "'weights'" in refused


def test_a_network_without_a_champion_to_compare_with_is_not_promoted(copied):
    shutil.rmtree(copied.parent / "south" / "releases" / "scorecard-0001")
    later = told("train", "-f", copied, "--model", "neural")["release"]
    assert later["name"] == "neural-0003"
    assert later["against"] is None
    assert "south cannot score by" in later["not_compared"]
    assert "'comparison'" in run("model", "promote", "neural-0003", "-f", copied, status=4)
    run("model", "promote", "neural-0002", "-f", copied)  # the control


def test_a_run_that_ended_is_resumed_to_the_very_same_release(trained, copied):
    again = told("train", "-f", copied, "--model", "neural", "--resume", trained.network["run"])
    assert again["release"] == trained.network["release"]
    assert len(told("model", "list", "-f", copied)) == 2


def test_a_party_whose_weights_are_others_signs_nothing_and_is_named(trained, copied):
    name = trained.network["run"]
    file = copied.parent / "west" / "runs" / name / "neural_weights.npy"
    np.save(file, np.load(file) * 1.001)
    refused = run("train", "-f", copied, "--model", "neural", "--resume", name, status=4)
    assert "west" in refused
    assert "'weights'" in refused
