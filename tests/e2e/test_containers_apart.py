"""A coordinator and three parties, each in a folder of its own: what docs/deploy.md tells to do.

All are on one engine, and meet at the engine's address as machines apart would.
"""

from __future__ import annotations

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest

from clients.data.datasets import embedded_contract, split_holdings, write_parties
from clients.data.world import make_world
from server.coordinator import load_federation
from shared.release import read_release, verify_release
from tests.containers import Demo, Project, image
from tests.support import ROOT

pytestmark = [pytest.mark.containers, pytest.mark.e2e, pytest.mark.timeout(3000)]
PARTIES = ("bank", "bureau", "payments")
HOST = "coordinator.example"
WIDE = f"confide-wide-{os.getpid()}"
#: The network between the machines. Docker keeps bridges apart, published ports included, so all
#: are on one that stands for the internet; there the gate's and the relay's ports have one address,
#: as they have on a machine of their own.
OVER = {
    "party": "{}",
    "coordinator": """
  gate:
    ports: !reset []
    networks:
      operator: {aliases: [relay]}
      watched: {aliases: [relay.watched]}
      outside: {aliases: [coordinator.example]}
  relay: {ports: !reset [], networks: !reset [], network_mode: "service:gate"}
  limits:
    ports: !reset []
    networks: {outside: {aliases: [limits.example]}}
""",
}


class Place(Project):
    """A machine: a folder with a compose file and a folder `federation`, and nobody else's."""

    def __init__(self, environment, folder, kind, name, own):
        (folder / "federation").mkdir(parents=True)
        shutil.copy(ROOT / "deploy" / kind / "compose.yml", folder)
        networks = f"networks: {{outside: {{external: true, name: {WIDE}}}}}"
        (folder / "over.yml").write_text(f"services: {OVER[kind]}\n{networks}\n")
        options = ("-f", "compose.yml", "-f", "over.yml")
        super().__init__(environment | own, folder, f"{name}-{os.getpid()}", *options)
        self.files = folder / "federation"

    def confide(self, *words):
        self.owned()
        return self.run("confide", *words)

    def run(self, service, *words):
        return self.compose("run", "--rm", "-T", service, *words, timeout=900).stdout

    def owned(self):
        """Give the folder to the user of the containers; as anybody else, we are that user."""
        if os.geteuid() == 0:
            for path in (self.files, *self.files.rglob("*")):
                os.chown(path, 10001, 10001)


def contract():
    """Return the demo's contract without the features of who is not there."""
    head, *features = embedded_contract("world")[1].decode().split("[[features]]")
    kept = [one for one in features if any(f'owner = "{name}"' in one for name in PARTIES)]
    return "[[features]]".join([head, *kept]).encode()


@pytest.fixture(scope="module")
def places(built, tmp_path_factory):
    """Set up every machine, train, publish; at the end everything is taken down."""
    folder = tmp_path_factory.mktemp("apart")
    demo = Demo(built)
    demo.compose("pause", check=False)  # where it runs: its nodes ask for work all the time
    owner = "10001:10001" if os.geteuid() == 0 else f"{os.getuid()}:{os.getgid()}"
    common = {"OWNER": owner}
    office = Place(
        built,
        folder / "office",
        "coordinator",
        "confide-office",
        common | {"IMAGE": image(built, "coordinator"), "LIMITS_IMAGE": image(built, "limits")},
    )
    parties = {
        name: Place(
            built,
            folder / name,
            "party",
            f"confide-{name}",
            common
            | {"IMAGE": image(built, "party"), "PARTY": name, "COORDINATOR": HOST}
            | {"LIMITS": "limits.example"},
        )
        for name in PARTIES
    }
    everybody = [office, *parties.values()]
    office.docker("network", "create", "--internal", WIDE)
    try:
        joined(office, parties, folder)
        yield office, parties
    finally:
        left = [line for place in everybody for line in place.down()]
        office.docker("network", "rm", WIDE, check=False)
        demo.compose("unpause", check=False)
    assert left == []


def joined(office, parties, folder):
    """Follow docs/deploy.md: keys at every party, requests, certificates, a training, feeds."""

    def at_every_party(work):
        with ThreadPoolExecutor() as pool:
            return list(pool.map(work, parties.values()))

    (office.files / "contract.toml").write_bytes(contract())
    for name in ("releases", "password", "database"):
        (office.files / name).mkdir(mode=0o700)
    names = ("--host", HOST, "--limits-host", "limits.example")
    office.confide("init", ".", "--contract", "contract.toml", "--apart", *names)
    for name, place in parties.items():
        told = place.confide("keys", "request", name)
        shutil.copy(place.files / f"{name}.request", office.files)  # a mail
        digest = told.splitlines()[1]  # a call
        office.confide("keys", "sign", f"{name}.request", "--digest", digest)
    world = make_world(4000, 1)
    tables = {name: world[name] for name in PARTIES}
    agreed, _ = embedded_contract("world")
    write_parties(folder / "world", split_holdings(tables, agreed, test_share=0.3), contract())
    for name, place in parties.items():
        for file in ("federation.toml", "contract.toml", f"{name}.crt"):
            shutil.copy(office.files / file, place.files)
        for table in (folder / "world" / name).iterdir():
            shutil.copy(table, place.files / name)
        place.confide("keys", "install", f"{name}.crt")
    secret = os.urandom(32).hex()
    for file, line in (("password", secret), ("pgpass", f"postgres:5432:confide:confide:{secret}")):
        (office.files / "password" / file).write_text(f"{line}\n")
        (office.files / "password" / file).chmod(0o600)
    office.owned()
    office.up()
    office.run("register")
    at_every_party(lambda place: place.up("node"))
    office.run("train")
    office.confide("model", "promote", "scorecard-0001", "--reason", "the first one")
    office.compose("--profile", "limits", "up", "-d", "--no-build", "--wait", timeout=900)
    at_every_party(lambda place: place.run("feed"))


def test_every_party_signed_a_release_with_a_key_that_only_it_has(places):
    office, parties = places
    federation, _ = load_federation(office.files / "federation.toml")
    folder = office.files / "releases" / "scorecard-0001"
    files = [(folder / name).read_bytes() for name in ("manifest.json", "signatures.json")]
    release = read_release(*files)
    verify_release(release, federation, now=release.manifest.created, newest=0)
    assert set(release.signatures) == set(PARTIES)
    for name, place in parties.items():
        there = {path.name for path in place.files.rglob("*.key")}
        # The last was agreed on by the parties, in the run, and no one else has it.
        assert there == {"identity.key", "node.key", "tls.key", "pseudonym.key"}
        assert [path.name for path in (office.files / name).iterdir()] == ["node.pub"]


def test_the_limit_service_has_every_partys_feed(places):
    office, _ = places
    code = (
        "import json, ssl, urllib.request as u; "
        "trusted = ssl.create_default_context(cafile='/federation/limits/ca.crt'); "
        "print(u.urlopen('https://localhost:8443/readyz', context=trusted).read().decode())"
    )
    told = json.loads(office.inside("limits", "python", "-c", code).stdout)
    assert told == {"status": "ready", "release": "scorecard-0001", "missing": []}


def test_what_runs_at_the_coordinator_has_no_way_to_the_cas_key(places):
    office, _ = places
    assert (office.files / "ca" / "ca.key").is_file()
    for service in ("superlink", "gate", "relay", "limits"):
        there = office.inside(service, "ls", "-A", "/federation/ca", check=False)
        assert there.stdout == "", service


def test_parties_reach_the_gate_and_the_relay_and_neither_superlink_nor_operators_port(places):
    office, parties = places
    code = (
        "import socket, sys\n"
        "for place in sys.argv[1:]:\n"
        "    host, port = place.split(':')\n"
        "    try: print(socket.create_connection((host, int(port)), 3) and 'reached')\n"
        "    except OSError: print('not')\n"
    )
    outside = [f"{HOST}:{port}" for port in (8001, 8002, 8000, 8003, 9100, 9101, 9102)]
    superlink = office.addresses("superlink")["operator"]
    asked = [*outside, f"{superlink}:8000", "limits.example:8443"]
    told = parties["bank"].inside("node", "python", "-c", code, *asked).stdout.split()
    assert told == ["reached"] * 2 + ["not"] * 6 + ["reached"]
    assert office.inside("gate", "python", "-c", code, "coordinator:8000").stdout.split() == [
        "reached"
    ]
