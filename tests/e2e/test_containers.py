"""The demo as containers on a real engine: `docker compose up`, a verified release, a limit served.

`make test-containers` runs it; tests/containers.py says which engine.
"""

from __future__ import annotations

import json
import os
import ssl
import time

import httpx
import pytest

from server.coordinator import load_federation
from shared.errors import ReleaseRefused
from shared.release import read_release, verify_release
from tests.containers import Project, free_port
from tests.support import ROOT

pytestmark = [pytest.mark.containers, pytest.mark.e2e, pytest.mark.timeout(3000)]
PARTIES = ("bank", "bureau", "ecommerce", "payments")
FEEDS_S = 300


class Demo(Project):
    """The compose file's project."""

    def __init__(self, environment):
        name, self.port = f"confide-test-{os.getpid()}", free_port()
        own = {"CUSTOMERS": "4000", "LIMITS_PORT": str(self.port), "IMAGE": name}
        super().__init__(environment | own, ROOT, name, "--profile", "demo")

    def feeds_sent(self):
        """Wait for the parties' feeds; they follow the training that `up --wait` waits for."""
        end = time.monotonic() + FEEDS_S
        while any(self.services()[f"{name}-feed"]["State"] != "exited" for name in PARTIES):
            assert time.monotonic() < end, self.compose("logs", "--no-color", check=False).stdout
            time.sleep(1)

    def stranger(self, target, *words, network="bank"):
        """Run a container that has no volume, so no key, in a party's network."""
        where = ("--network", f"{self.name}_{network}", "--read-only", "--tmpfs", "/tmp:exec")
        image = f"{self.name}-{target}:demo"
        entry = ("--entrypoint", "python", "-e", "NO_PROXY=*")
        return self.docker("run", "--rm", *where, *entry, image, *words, check=False)


@pytest.fixture(scope="module")
def demo(engine):
    """Build, start, and wait for the training; at the end everything is taken down."""
    demo = Demo(engine)
    try:
        demo.build()
        demo.up()
        demo.feeds_sent()
        yield demo
    finally:
        left = demo.down()
        for target in ("coordinator", "party", "limits"):
            demo.docker("image", "rm", "--force", f"{demo.name}-{target}:demo", check=False)
    assert left == []


@pytest.mark.parametrize("profile", ["demo", "federation", "limits", "observability", "*"])
def test_the_engines_own_compose_reads_every_profile(engine, profile):
    project = Project(engine, ROOT, "confide-config", "--profile", profile)
    services = set(project.compose("config", "--services").stdout.split())
    assert "setup" in services
    assert ("bank" in services) == (profile in {"demo", "federation", "*"})
    assert ("postgres" in services) == (profile in {"demo", "limits", "*"})
    assert ("prometheus" in services) == (profile in {"observability", "*"})


@pytest.mark.parametrize("name", ["coordinator", "party"])
def test_the_engines_own_compose_reads_the_files_for_machines_apart(engine, name):
    own = {"PARTY": "bank", "COORDINATOR": "coordinator.example"}
    project = Project(engine | own, ROOT / "deploy" / name, "confide-config", "--profile", "*")
    assert project.compose("config", "--quiet").stderr == ""


def test_one_shots_end_well_and_services_stay_healthy(demo):
    found = demo.services()
    shots = {"setup", "register", "train", *(f"{name}-feed" for name in PARTIES)}
    assert set(found) == shots | {"superlink", "relay", "limits", "postgres", *PARTIES}
    for name, row in found.items():
        if name in shots:
            assert (row["State"], row["ExitCode"]) == ("exited", 0), name
        else:
            assert (row["State"], row["Health"]) == ("running", "healthy"), name
    # The nodes were let in before they started: none was turned away, none started twice.
    assert "[code: 2004]" not in demo.compose("logs", "--no-color", *PARTIES).stdout


def test_the_limit_services_image_has_neither_flower_nor_torch(demo):
    code = (
        "import importlib.util as u, json; names = ['flwr', 'torch', 'grpc', 'fastapi']; "
        "print(json.dumps([name for name in names if u.find_spec(name)]))"
    )
    assert json.loads(demo.inside("limits", "python", "-c", code).stdout) == ["fastapi"]
    assert json.loads(demo.inside("bank", "python", "-c", code).stdout)[0] == "flwr"  # the control
    assert "confide 0" in demo.inside("limits", "confide", "--version").stdout


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
    words = ("feed", "customers", "--party=payments", "--first=60", "--format=json")
    told = demo.inside("payments", "confide", *words)
    return [row["pseudonym"] for row in json.loads(told.stdout)["data"]]


@pytest.fixture
def client(demo, tmp_path):
    """Give a client of the published port, which trusts the federation's CA."""
    demo.compose("cp", "limits:/federation/limits/ca.crt", tmp_path / "ca.crt")
    context = ssl.create_default_context(cafile=tmp_path / "ca.crt")
    url = f"https://localhost:{demo.port}"
    with httpx.Client(base_url=url, verify=context, trust_env=False, timeout=60) as client:
        yield client


def token(demo, *words):
    return demo.inside("limits", "confide", "token", *words).stdout.strip()


def test_a_limit_is_served_through_the_published_port(demo, customers, client):
    assert client.get("/readyz").json()["status"] == "ready"
    assert client.get(f"/v1/customers/{customers[0]}/limit").status_code == 401
    client.headers["Authorization"] = f"Bearer {token(demo, '--role=operator')}"
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
    with (
        pytest.raises(httpx.ConnectError),
        httpx.Client(base_url=client.base_url, trust_env=False) as other,
    ):
        other.get("/healthz")


def lines_in(demo):
    words = ("psql", "--username=confide", "--tuples-only", "--no-align", "-c")
    return int(demo.inside("postgres", *words, "SELECT count(*) FROM lines").stdout)


def test_a_line_is_in_postgresql_and_outlives_a_restart_of_both(demo, customers, client):
    asked = {"purpose": "credit_line", "holders": list(PARTIES), "categories": ["repayment"]}
    before = lines_in(demo)
    for number, name in enumerate(customers):
        mine = token(demo, "--role=customer", f"--subject={name}")
        client.headers["Authorization"] = f"Bearer {mine}"
        client.headers["Idempotency-Key"] = f"c{number}"
        assert client.post(f"/v1/customers/{name}/consents", json=asked).status_code == 201
        client.headers["Idempotency-Key"] = f"l{number}"
        body = {"customer_id": name, "product": "revolving_consumer"}
        opened = client.post("/v1/lines", json=body).json()
        if opened["line_id"]:
            break
    path = f"/v1/lines/{opened['line_id']}"
    shown = client.get(path).json()
    assert lines_in(demo) == before + 1
    demo.compose("restart", "--timeout", "10", "postgres", "limits")
    demo.up("postgres", "limits")
    assert client.get(path).json() == shown
    told = demo.inside("limits", "confide", "store", "check", "--format=json").stdout
    assert json.loads(told)["status"] == "ok"


def test_the_databases_password_is_in_a_file_for_its_two_ends_alone(demo):
    stat = ("stat", "-c", "%a %u", "/federation/password/pgpass")
    code = "import os; s = os.stat('/federation/password/pgpass'); print(oct(s.st_mode), s.st_uid)"
    assert demo.inside("limits", "python", "-c", code).stdout.split() == ["0o100600", "10001"]
    secret = demo.inside("limits", "cat", "/federation/password/password").stdout.strip()
    assert len(secret) == 64
    for name in ("limits", "postgres"):
        assert secret not in demo.docker("inspect", demo.services()[name]["ID"]).stdout
    assert demo.inside("bank", *stat, check=False).returncode != 0
    # Asked for over the network, and not to be had without.
    code = (
        "import psycopg, sys\n"
        "try: psycopg.connect('postgresql://confide@postgres/confide' + sys.argv[1])\n"
        "except psycopg.OperationalError as error: print(error)\n"
    )
    without = demo.inside("limits", "python", "-c", code, "").stdout
    assert "password" in without
    given = "?passfile=/federation/password/pgpass"
    assert demo.inside("limits", "python", "-c", code, given).stdout == ""


def reaches(demo, service, host, port):
    code = f"import socket; socket.create_connection(('{host}', {port}), 3)"
    return demo.inside(service, "python", "-c", code, check=False).returncode == 0


def test_a_party_meets_the_coordinator_the_relay_and_the_limit_service_and_nobody_else(demo):
    for host, port in (("superlink", 8000), ("relay", 8001), ("limits", 8443)):
        assert reaches(demo, "bank", host, port), host
    names = ["relay", "bureau", "train", "postgres", "example.org"]
    # At once: the engine takes its time over each name that it does not know.
    code = (
        "import socket, sys; from concurrent.futures import ThreadPoolExecutor\n"
        "def knows(name):\n"
        "    try: return bool(socket.getaddrinfo(name, None))\n"
        "    except OSError: return False\n"
        "print(*ThreadPoolExecutor().map(knows, sys.argv[1:]))\n"
    )
    told = demo.inside("bank", "python", "-c", code, *names).stdout.split()
    assert told == ["True", "False", "False", "False", "False"]
    assert not reaches(demo, "bank", "1.1.1.1", 443)


def address(demo, service, network):
    told = json.loads(demo.docker("inspect", demo.services()[service]["ID"]).stdout)
    return told[0]["NetworkSettings"]["Networks"][f"{demo.name}_{network}"]["IPAddress"]


def test_a_party_does_not_reach_another_by_its_address(demo):
    """A node listens on its own loopback alone, so a listener is put beside it."""
    there = address(demo, "bureau", "bureau")
    serve = ("python", "-m", "http.server", "8099", "--directory", "/tmp")
    demo.compose("exec", "-d", "bureau", *serve)
    end = time.monotonic() + 30
    while not reaches(demo, "bureau", there, 8099):  # the control: it does listen
        assert time.monotonic() < end
        time.sleep(0.3)
    assert reaches(demo, "relay", there, 8099)  # and who shares its network reaches it
    for party in ("bank", "ecommerce", "payments"):
        assert not reaches(demo, party, there, 8099), party
    assert not reaches(demo, "bank", address(demo, "postgres", "database"), 5432)


SHAKE = """
import socket, ssl, sys
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
if len(sys.argv) > 3:
    context.load_cert_chain(sys.argv[3] + ".crt", sys.argv[3] + ".key")
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 10) as plain:
    print("connected")
    with context.wrap_socket(plain) as secure:
        secure.sendall(b"GET /health HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
        print(secure.recv(64).split(b"\\r\\n")[0].decode())
"""


def ready(refused):
    """Return whether a stranger came as far as the TLS handshake: it was refused, not lost."""
    return "connected" in refused.stdout


def test_the_relay_refuses_a_container_without_a_certificate(demo):
    own = ("python", "-c", SHAKE, "relay", "8001", "/federation/bank/tls")
    assert "200" in demo.inside("bank", *own).stdout  # the control
    refused = demo.stranger("party", "-c", SHAKE, "relay", "8001")
    # The connection ends without a word: uvicorn sends no alert (docs/decisions/0011-relay.md).
    assert "HTTP" not in refused.stdout
    assert ready(refused)
    foreign = (
        "from clients.certificates import *; from datetime import UTC, datetime as d; "
        "made = issue(new_authority('demo', d.now(UTC)), 'bank', (), d.now(UTC)); "
        "open('/tmp/tls.crt', 'wb').write(made.certificate); "
        "open('/tmp/tls.key', 'wb').write(made.key)"
    )
    shake = SHAKE.replace("sys.argv[3]", "'/tmp/tls'").replace("len(sys.argv) > 3", "True")
    refused = demo.stranger("party", "-c", f"{foreign}\n{shake}", "relay", "8001")
    assert "HTTP" not in refused.stdout
    assert ready(refused)


def test_the_superlink_refuses_a_container_without_its_key(demo, tmp_path):
    demo.compose("cp", "limits:/federation/limits/ca.crt", tmp_path / "ca.crt")
    trusted = (
        "import runpy, sys; open('/tmp/ca.crt', 'w').write(sys.argv.pop()); "
        "sys.argv[0] = 'node'; runpy.run_module('clients.supernode', run_name='__main__')"
    )
    node = ("--superlink=superlink:8000", "--host=127.0.0.1", "--port=9094")
    ca = ("--root-certificates=/tmp/ca.crt", (tmp_path / "ca.crt").read_text())
    keyless = demo.stranger("party", "-c", trusted, *node, *ca)
    assert keyless.returncode != 0
    assert "[code: 2001]" in keyless.stdout + keyless.stderr
    made = (
        "from pathlib import Path; from clients.keyfiles import own_node_key; "
        "own_node_key(Path('/tmp'), force=False); "
    )
    key = "--auth-supernode-private-key=/tmp/node.key"
    unknown = demo.stranger("party", "-c", made + trusted, *node, key, *ca)
    assert unknown.returncode != 0
    assert "[code: 2004]" in unknown.stdout + unknown.stderr


FEED = """
import http.client, ssl, sys
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
calls = [("PUT", "/v1/feeds/bank"), ("GET", "/v1/lines/x"), ("GET", "/metrics")]
for method, path in calls:
    body = b"x" * 100 if method == "PUT" else None
    server = http.client.HTTPSConnection("limits", 8443, context=context, timeout=20)
    server.request(method, path, body, {"Content-Type": "application/octet-stream"})
    print(server.getresponse().status)
"""


def test_the_limit_service_refuses_a_container_without_a_key_or_a_token(demo):
    """Customers' apps have no certificate: a feed counts by its signature, all else by a token."""
    told = demo.stranger("party", "-c", FEED)
    assert told.returncode == 0, told.stderr
    feed, line, metrics = map(int, told.stdout.split())
    assert (line, metrics) == (401, 401)
    assert 400 <= feed < 500
    # And a container that lacks the CA's certificate does not take the service for what it says.
    plain = "import urllib.request; urllib.request.urlopen('https://limits:8443/healthz')"
    refused = demo.stranger("party", "-c", plain)
    assert refused.returncode != 0
    assert "CERTIFICATE_VERIFY_FAILED" in refused.stderr


def test_a_party_has_its_own_keys_and_tables_and_of_the_others_only_public_keys(demo):
    own = demo.inside("bank", "ls", "/federation/bank").stdout.split()
    assert {"node.key", "identity.key", "train.parquet"} <= set(own)
    for other in ("bureau", "ecommerce", "payments"):
        assert demo.inside("bank", "ls", f"/federation/{other}").stdout.split() == ["node.pub"]
    for other in ("coordinator", "password", "database"):
        assert demo.inside("bank", "ls", "-A", f"/federation/{other}").stdout == ""
    assert demo.inside("bank", "id", "-u").stdout.strip() == "10001"
    for place in ("/opt/confide/here", "/federation/federation.toml"):
        assert demo.inside("bank", "touch", place, check=False).returncode != 0
    assert demo.inside("bank", "touch", "/federation/bank/here").returncode == 0  # the control
