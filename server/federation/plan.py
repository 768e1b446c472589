"""What a federation's supervisor is to run: the table of its processes, and their places."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from server.engines.deployment import HOST, RELAY, SUPERLINK, Service
from server.engines.flower import node_config
from server.engines.run_files import coordinator_home
from server.federation.state import FOLDER, Places
from shared.config import Federation
from shared.edge.files import read_text
from shared.errors import Refused
from shared.identity import node_fingerprint

GATE: Final = "gate"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to run, and where.

    Parameters
    ----------
    path : Path
        The federation file.
    federation : Federation
    host : str
        Where the gate's parties' port and the relay listen.
    places : Places
    parties : tuple of str
        Whose nodes run here.
    """

    path: Path
    federation: Federation
    host: str
    places: Places
    parties: tuple[str, ...]

    @property
    def home(self) -> Path:
        """The coordinator's folder."""
        return coordinator_home(self.federation, self.path)

    def party_home(self, party: str) -> Path:
        """Return a party's folder."""
        return self.path.parent / self.federation.home(party)


def services(plan: Plan) -> list[Service]:
    """Return the table of processes."""
    home, places = plan.home, plan.places
    files = {"certificate": home / "tls.crt", "key": home / "tls.key", "ca": home / "ca.crt"}
    shown = [word for name, path in files.items() for word in (f"--{name}", str(path))]
    agreed = ["--federation", str(plan.path)]
    superlink = [
        *("-m", "server.superlink", "--host", HOST, "--port", str(places.superlink)),
        *("--database", str(home / FOLDER / "superlink.db"), "--enable-supernode-auth"),
        "--disable-runtime-dependency-installation",
        *("--ssl-certfile", str(files["certificate"]), "--ssl-keyfile", str(files["key"])),
        *("--ssl-ca-certfile", str(files["ca"]), *_metrics(places.metrics, 0)),
    ]
    gate = [
        *("-m", "server.gate", *agreed, *shown, "--superlink", f"{HOST}:{places.superlink}"),
        *("--host", plan.host, "--port", str(places.gate)),
        *("--operator-host", HOST, "--operator-port", str(places.operator)),
        *_metrics(places.metrics, 1),
    ]
    relay = ["-m", "server.relay", *agreed, *shown, "--host", plan.host]
    relay += ["--port", str(places.relay), *_metrics(places.metrics, 2)]
    table = {SUPERLINK: superlink, GATE: gate, RELAY: relay}
    own = [
        Service(name, tuple(words), home, home / "logs" / f"federation.{name}.log", again=True)
        for name, words in table.items()
    ]
    return own + [_node(plan, party, at) for at, party in enumerate(plan.parties)]


def _node(plan: Plan, party: str, at: int) -> Service:
    place, places = plan.party_home(party), plan.places
    relay = f"wss://{HOST}:{places.relay}"
    config = {"federation": str(plan.path), "party": party, "relay": relay}
    words = [
        *("-m", "clients.supernode", "--hold", "--superlink", f"{HOST}:{places.gate}"),
        *("--root-certificates", str(place / "ca.crt")),
        *("--auth-supernode-private-key", str(place / "node.key")),
        *("--host", HOST, "--port", str(places.nodes[at]), "--node-config", node_config(config)),
        *_metrics(places.metrics, 3 + at),
    ]
    return Service(party, tuple(words), place, place / "logs" / "federation.log", held=True)


def _metrics(first: int, at: int) -> tuple[str, ...]:
    return ("--metrics", f"{HOST}:{first + at}") if first else ()


def node_keys(plan: Plan) -> dict[str, bytes]:
    """Return each party's public node key, checked against its pin.

    Raises
    ------
    Refused
        If one is not the pinned one.
    """
    found = {}
    for party, member in plan.federation.parties.items():
        path = plan.party_home(party) / "node.pub"
        found[party] = read_text(path).encode()
        if node_fingerprint(found[party]) != member.node:
            raise Refused(f"{path} is not the node key that {plan.path} pins", party=party)
    return found
