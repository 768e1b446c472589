"""What `confide federation up` would start, and how its words read in containers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from server.engines.deployment import HOST, RELAY, SUPERLINK, Service
from server.federation.plan import GATE, Plan
from server.federation.plan import services as planned
from server.federation.state import FOLDER, Places
from shared.config import Federation
from shared.sections import Member

BASE = Path("/federation")
SUPERLINK_PORT, RELAY_PORT, GATE_PORT, OPERATOR_PORT, NODE_PORT = 8000, 8001, 8002, 8003, 9094
METRICS_PORT = 9100
ANYWHERE = "0.0.0.0"  # of a container: which networks it is on says who reaches it


def launched(parties: list[str], relay: str) -> dict[str, Service]:
    """Return what the supervisor would start for these parties, dialling this relay."""
    members = {name: Member("0" * 64, "0" * 64, name) for name in parties}
    federation = Federation("demo", parties[0], "contract.toml", Member("1" * 64), members)
    ports = Places(
        superlink=SUPERLINK_PORT,
        operator=OPERATOR_PORT,
        gate=GATE_PORT,
        relay=RELAY_PORT,
        nodes=dict.fromkeys(range(len(parties)), NODE_PORT),
        parties=tuple(parties),
        metrics=METRICS_PORT,
    )
    plan = Plan(BASE / "federation.toml", federation, ANYWHERE, ports, tuple(parties))
    here, table = f"wss://{HOST}:{RELAY_PORT}", {}
    for one in planned(plan):
        words = tuple(word.replace(here, relay) for word in one.command)
        table[one.name] = replace(one, command=words)
    return table


def places(parties: list[str], gate: str) -> dict[str, dict[str, str]]:
    """Return which words of each service's command are others in containers.

    Parameters
    ----------
    parties : list of str
    gate : str
        The name at which parties dial the gate.
    """
    coordinator = "coordinator"  # the SuperLink's name on the operator's network alone
    kept = BASE / coordinator / "superlink.db"
    return {
        SUPERLINK: {
            HOST: coordinator,
            str(BASE / coordinator / FOLDER / "superlink.db"): str(kept),
            **_told(SUPERLINK, 0),
        },
        GATE: {
            HOST: f"{GATE}.operator",
            f"{HOST}:{SUPERLINK_PORT}": f"{coordinator}:{SUPERLINK_PORT}",
            **_told(GATE, 1),
        },
        RELAY: _told(RELAY, 2),
        **{name: place(at, gate, name) for at, name in enumerate(parties)},
    }


def place(at: int, gate: str, name: str) -> dict[str, str]:
    """Return which words of the command of a node, the service `name`, are others."""
    return {f"{HOST}:{GATE_PORT}": f"{gate}:{GATE_PORT}", **_told(name, 3 + at)}


def _told(name: str, at: int) -> dict[str, str]:
    port = METRICS_PORT + at
    return {f"{HOST}:{port}": f"{name}.watched:{port}"}
