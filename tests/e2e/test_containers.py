"""The demo as containers on a real engine: `docker compose up`, a verified release, a limit served.

`make test-containers` runs it; tests/containers.py says which engine.
"""

from __future__ import annotations

import json
import ssl

import httpx
import pytest

from server.coordinator import load_federation
from shared.errors import ReleaseRefused
from shared.release import read_release, verify_release
from tests.containers import PARTIES, Project
from tests.support import ROOT

pytestmark = [pytest.mark.containers, pytest.mark.e2e, pytest.mark.timeout(3000)]


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
    assert set(found) == shots | {"superlink", "gate", "relay", "limits", "postgres", *PARTIES}
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


def test_the_demos_people_sign_in_through_the_published_port(demo, client):
    demo.feeds_sent()
    told = json.loads(demo.inside("limits", "confide", "logins", "--format=json").stdout)["data"]
    pages = {"customer": "/me", "officer": "/queue", "operator": "/federation",
             "partner": "/partner", "regulator": "/audit"}  # fmt: skip
    assert {one["role"] for one in told} == set(pages)
    origin = {"Origin": str(client.base_url).rstrip("/")}
    for one in told:
        client.cookies.clear()
        asked = {"client": one["name"], "secret": one["secret"]}
        assert client.post("/sign-in", data=asked, headers=origin).status_code == 303
        shown = client.get(pages[one["role"]])
        assert (shown.status_code, one["name"]) == (200, one["name"])
        assert "<h1>" in shown.text


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
    demo.up("--no-deps", "postgres", "limits")
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
