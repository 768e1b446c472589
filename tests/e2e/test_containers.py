"""The demo as containers on a real engine: `docker compose up`, a verified release, a limit served.

`make test-containers` runs it. $CONFIDE_TEST_ENGINE is `docker` for the engine that already runs,
or a script that starts a private one: it is called with a new folder and a command, runs the
command with DOCKER_HOST set and a base image $CONFIDE_TEST_BASE at hand, and takes all down again.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
from pathlib import Path

import httpx
import pytest

from server.coordinator import load_federation
from shared.errors import ReleaseRefused
from shared.release import read_release, verify_release
from tests.support import ROOT

pytestmark = [pytest.mark.containers, pytest.mark.e2e, pytest.mark.timeout(3000)]
PARTIES = ("bank", "bureau", "ecommerce", "payments")
_START_S, _BUILD_S, _UP_S = 300, 1200, 1200


@pytest.fixture(scope="module")
def engine():
    """Give the environment in which `docker` works, or skip with the reason."""
    given = os.environ.get("CONFIDE_TEST_ENGINE", "")
    if not given:
        pytest.skip("no container engine: set CONFIDE_TEST_ENGINE, or `make test-containers`")
    if given == "docker":
        if (
            shutil.which("docker") is None
            or subprocess.run(["docker", "info"], check=False, capture_output=True).returncode
        ):
            pytest.skip("CONFIDE_TEST_ENGINE=docker, but `docker info` fails")
        yield dict(os.environ)
        return
    script = (ROOT / given).resolve()
    if not script.is_file():
        pytest.skip(f"no container engine: CONFIDE_TEST_ENGINE={script} is not there")
    # Short, since the engine's socket lies in it.
    work = Path(tempfile.mkdtemp(prefix="engine-"))
    yield from _private(script, work)
    shutil.rmtree(work, ignore_errors=True)


def _private(script, work):
    """Hold a private engine open while the tests run."""
    log, told = work / "engine.log", work / "environment.json"
    dump = "import json, os, sys; json.dump(dict(os.environ), open(sys.argv[1], 'w'))"
    command = f'python3 -c "{dump}" {told}.part && mv {told}.part {told} && cat'
    with log.open("wb") as out:
        holder = subprocess.Popen(
            [script, work / "engine", "sh", "-c", command],
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=out,
        )
    try:
        end = time.monotonic() + _START_S
        while not told.exists():
            if holder.poll() is not None or time.monotonic() > end:
                pytest.skip(f"the container engine does not start: {log.read_text()[-800:]}")
            time.sleep(0.2)
        base = os.environ.get("CONFIDE_TEST_BASE", "demo-localbase:py311")
        # The classic builder: the other one asks a registry for what is here.
        yield json.loads(told.read_text()) | {"BASE": base, "DOCKER_BUILDKIT": "0"}
    finally:
        holder.stdin.close()
        holder.wait(timeout=_START_S)


class Demo:
    """The compose project of this test."""

    def __init__(self, environment, name, port):
        self.name, self.port = name, port
        own = {"CUSTOMERS": "4000", "LIMITS_PORT": str(port), "IMAGE": f"{name}:test"}
        self.environment = environment | own

    def docker(self, *words, timeout=300, check=True):
        done = subprocess.run(
            ["docker", *map(str, words)],
            check=False,
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        assert not check or done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done

    def compose(self, *words, **options):
        return self.docker("compose", "--project-name", self.name, *words, **options)

    def inside(self, service, *words, check=True):
        return self.compose("exec", "-T", service, *words, check=check)

    def services(self):
        """Return every service's container, by name."""
        rows = self.compose("ps", "--all", "--format", "json").stdout.splitlines()
        return {row["Service"]: row for row in map(json.loads, rows)}

    def feeds_sent(self, limit=300):
        """Wait for the parties' feeds; they follow the training that `up --wait` waits for."""
        end = time.monotonic() + limit
        while any(self.services()[f"{name}-feed"]["State"] != "exited" for name in PARTIES):
            assert time.monotonic() < end, self.compose("logs", "--no-color", check=False).stdout
            time.sleep(1)

    def left(self):
        """Return what of the project is still there."""
        label = f"label=com.docker.compose.project={self.name}"
        return [
            line
            for kind in (("ps", "-a"), ("volume", "ls"), ("network", "ls"))
            for line in self.docker(*kind, "-q", "--filter", label).stdout.split()
        ]


@pytest.fixture(scope="module")
def demo(engine):
    """Build, start, and wait for the training; at the end everything is taken down."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    demo = Demo(engine, f"confide-test-{os.getpid()}", port)
    try:
        demo.compose("build", timeout=_BUILD_S)
        started = demo.compose("up", "-d", "--no-build", "--wait", timeout=_UP_S, check=False)
        if started.returncode:
            logs = demo.compose("logs", "--no-color", "--tail", "40", check=False).stdout
            pytest.fail(f"docker compose up: {started.stderr[-2000:]}\n{logs[-8000:]}")
        demo.feeds_sent()
        yield demo
    finally:
        demo.compose("down", "--volumes", "--timeout", "10", check=False)
        left = demo.left()
        demo.docker("image", "rm", "--force", f"{demo.name}:test", check=False)
    assert left == []


def test_one_shots_end_well_and_services_stay_healthy(demo):
    found = demo.services()
    shots = {"setup", "register", "train", *(f"{name}-feed" for name in PARTIES)}
    assert set(found) == shots | {"superlink", "relay", "limits", *PARTIES}
    for name, row in found.items():
        if name in shots:
            assert (row["State"], row["ExitCode"]) == ("exited", 0), name
        else:
            assert row["State"] == "running", name
    for name in ("superlink", "relay", "limits"):
        assert found[name]["Health"] == "healthy"
    # The nodes were let in before they started: none was turned away, none started twice.
    assert "[code: 2004]" not in demo.compose("logs", "--no-color", *PARTIES).stdout


def test_the_release_is_signed_by_every_party_and_a_changed_one_is_refused(demo, tmp_path):
    for name in ("federation.toml", "releases"):
        demo.compose("cp", f"limits:/federation/{name}", tmp_path / name)
    federation, _ = load_federation(tmp_path / "federation.toml")
    (folder,) = (tmp_path / "releases").glob("scorecard-*")
    files = [(folder / name).read_bytes() for name in ("manifest.json", "signatures.json")]
    release = read_release(*files)
    now = release.manifest.created
    verify_release(release, federation, now=now, newest=0)
    assert set(release.signatures) == set(PARTIES)
    told = json.loads(demo.inside("limits", "confide", "model", "verify", "--format=json").stdout)
    assert told["data"]["by"] == list(PARTIES)
    changed = read_release(files[0].replace(b'"auc":0.7', b'"auc":0.9', 1), files[1])
    assert changed.manifest != release.manifest
    with pytest.raises(ReleaseRefused) as caught:
        verify_release(changed, federation, now=now, newest=0)
    assert caught.value.check == "signature"


@pytest.fixture(scope="module")
def customers(demo):
    """Give some pseudonyms; only a party can make them."""
    told = demo.inside(
        "payments",
        "confide",
        "feed",
        "customers",
        "--party=payments",
        "--first=60",
        "--format=json",
    )
    return [row["pseudonym"] for row in json.loads(told.stdout)["data"]]


def test_a_limit_is_served_through_the_published_port(demo, customers, tmp_path):
    demo.compose("cp", "limits:/federation/limits/ca.crt", tmp_path / "ca.crt")
    context = ssl.create_default_context(cafile=tmp_path / "ca.crt")
    url = f"https://localhost:{demo.port}"
    token = demo.inside("limits", "confide", "token", "--role=operator").stdout.strip()
    with httpx.Client(base_url=url, verify=context, trust_env=False, timeout=60) as client:
        assert client.get("/readyz").json()["status"] == "ready"
        assert client.get(f"/v1/customers/{customers[0]}/limit").status_code == 401
        client.headers["Authorization"] = f"Bearer {token}"
        answers = [client.get(f"/v1/customers/{name}/limit") for name in customers]
        whole = [
            answer.json()
            for answer in answers
            if answer.is_success and not answer.json()["score"]["missing"]
        ]
        assert whole, [answer.text for answer in answers[:3]]
        for limit in whole:
            assert {row["party"] for row in limit["score"]["holders"]} == set(PARTIES)
            assert limit["binding"]
        assert client.get(f"/v1/customers/{'0' * 64}/limit").status_code == 404
    # The control: its certificate is the federation's own, which nobody else trusts.
    with pytest.raises(httpx.ConnectError), httpx.Client(base_url=url, trust_env=False) as client:
        client.get("/healthz")


def test_a_line_outlives_a_restart_of_the_limit_service(demo, customers, tmp_path):
    demo.compose("cp", "limits:/federation/limits/ca.crt", tmp_path / "ca.crt")
    context = ssl.create_default_context(cafile=tmp_path / "ca.crt")
    url = f"https://localhost:{demo.port}"
    asked = {"purpose": "credit_line", "holders": list(PARTIES), "categories": ["repayment"]}
    with httpx.Client(base_url=url, verify=context, trust_env=False, timeout=60) as client:
        for number, name in enumerate(customers):
            words = ("token", "--role=customer", f"--subject={name}")
            token = demo.inside("limits", "confide", *words).stdout.strip()
            client.headers["Authorization"] = f"Bearer {token}"
            client.headers["Idempotency-Key"] = f"c{number}"
            consents = f"/v1/customers/{name}/consents"
            assert client.post(consents, json=asked).status_code == 201
            client.headers["Idempotency-Key"] = f"l{number}"
            body = {"customer_id": name, "product": "revolving_consumer"}
            opened = client.post("/v1/lines", json=body).json()
            if opened["line_id"]:
                break
        path = f"/v1/lines/{opened['line_id']}"
        before = client.get(path).json()
        demo.compose("restart", "--timeout", "10", "limits")
        demo.compose("up", "-d", "--no-build", "--no-recreate", "--wait", "limits")
        assert client.get(path).json() == before
    # The store has a volume of its own: none of it lies with the keys.
    assert "limits.db" in demo.inside("limits", "ls", "/federation/store").stdout
    assert "limits.db" not in demo.inside("limits", "ls", "/federation/limits").stdout
    told = demo.inside("limits", "confide", "store", "check", "--format=json").stdout
    assert json.loads(told)["status"] == "ok"


def reaches(demo, service, host, port):
    code = f"import socket; socket.create_connection(('{host}', {port}), 3)"
    return demo.inside(service, "python", "-c", code, check=False).returncode == 0


def test_a_party_meets_the_coordinator_the_relay_and_the_limit_service_and_nobody_else(demo):
    for host, port in (("superlink", 8000), ("relay", 8001), ("limits", 8443)):
        assert reaches(demo, "bank", host, port), host
    # A node listens on its own loopback alone, so names are what is looked at.
    found = [
        demo.inside("bank", "getent", "hosts", name, check=False).returncode
        for name in ("relay", "bureau", "train", "example.org")
    ]
    assert found[0] == 0
    assert 0 not in found[1:]
    assert not reaches(demo, "bank", "1.1.1.1", 443)


def test_a_party_has_its_own_keys_and_tables_and_of_the_others_only_public_keys(demo):
    own = demo.inside("bank", "ls", "/federation/bank").stdout.split()
    assert {"node.key", "identity.key", "train.parquet"} <= set(own)
    for other in ("bureau", "ecommerce", "payments"):
        assert demo.inside("bank", "ls", f"/federation/{other}").stdout.split() == ["node.pub"]
    assert demo.inside("bank", "ls", "-A", "/federation/coordinator").stdout == ""
    assert demo.inside("bank", "id", "-u").stdout.strip() == "10001"
    for place in ("/opt/confide/here", "/federation/federation.toml"):
        assert demo.inside("bank", "touch", place, check=False).returncode != 0
    assert demo.inside("bank", "touch", "/federation/bank/here").returncode == 0  # the control
