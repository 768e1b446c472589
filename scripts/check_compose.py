"""Hold compose.yml against what `confide train --engine flower` starts, and against its promises.

    python scripts/check_compose.py [compose.yml]

The launcher and the compose file start the same SuperLink, relay and nodes. Their commands are
compared word by word: addresses are those of the containers, everything else must be equal. Then
the promises: nobody else mounts a party's volume, `setup` alone the one with the CA's key, the
limit service alone its store's; parties meet the coordinator, the relay and the limit service
and never each other, only the limit service is published, and no container may do more than it
must. Prints every finding; exits with 1 if there is one.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from clients.keys import AUTHORITY
from server.deployment import HOST, RELAY, SUPERLINK, Deployment, Service
from server.flower_engine import _Plan, _services
from shared.config import Federation, Member

ROOT = Path(__file__).resolve().parent.parent
BASE = Path("/federation")
SUPERLINK_PORT, RELAY_PORT, NODE_PORT = 8000, 8001, 9094
MEETING = {SUPERLINK, RELAY, "limits"}
NODE = ["python", "-m", "clients.supernode"]
DATABASE = BASE / "coordinator" / "superlink.db"

Compose = Mapping[str, Any]


def findings(compose: Compose, dockerfile: str) -> list[str]:
    """Return what is wrong, a line each."""
    services = compose["services"]
    parties = sorted(name for name, one in services.items() if one.get("entrypoint") == NODE)
    if not parties:
        return ["no service runs clients.supernode"]
    found = [*_commands(services, parties), *_environment(services, parties, dockerfile)]
    found += [*_volumes(services, parties), *_networks(compose, parties)]
    for name, one in services.items():
        found += [f"{name}: {text}" for text in _hardening(name, one)]
    return found


def launched(parties: list[str]) -> dict[str, Service]:
    """Return what the launcher would start for these parties, at the containers' places."""
    members = {name: Member("0" * 64, "0" * 64, name) for name in parties}
    federation = Federation("demo", parties[0], "contract.toml", Member("1" * 64), members)
    plan = _Plan(federation, BASE / "federation.toml", "run", BASE / "coordinator", "scorecard")
    ports = [SUPERLINK_PORT, RELAY_PORT, *[NODE_PORT] * len(parties)]
    whole = _services(plan, ports, f"wss://{RELAY}:{RELAY_PORT}", DATABASE)
    return {service.name: service for service in whole}


def _commands(services: Compose, parties: list[str]) -> Iterator[str]:
    moved = {
        SUPERLINK: {HOST: "0.0.0.0"},
        RELAY: {HOST: "0.0.0.0"},
        **{name: {f"{HOST}:{SUPERLINK_PORT}": f"{SUPERLINK}:{SUPERLINK_PORT}"} for name in parties},
    }
    for name, service in launched(parties).items():
        # Held back by the launcher until they are registered; here they start after `register`.
        words = [word for word in service.command if word != "--hold"]
        wanted = ["python", *(moved[name].get(word, word) for word in words)]
        given = services.get(name)
        if given is None:
            yield f"{name}: the launcher starts it, the compose file does not"
            continue
        written = [*given["entrypoint"], *_words(given["command"])]
        if sorted(_pairs(written)) != sorted(_pairs(wanted)):
            yield f"{name}: runs {' '.join(written)}; the launcher runs {' '.join(wanted)}"


def _words(command: list[str]) -> list[str]:
    """Return the words of a command, an option and its value apart."""
    return [part for word in command for part in word.split("=", 1 if word[:2] == "--" else 0)]


def _pairs(words: list[str]) -> list[tuple[str, ...]]:
    """Return every option with its value: their order says nothing."""
    start = next((at for at, word in enumerate(words) if word[:2] == "--"), len(words))
    pairs: list[tuple[str, ...]] = [tuple(words[:start])]
    for word in words[start:]:
        if word[:2] == "--":
            pairs.append((word,))
        else:
            pairs[-1] += (word,)
    return pairs


def _environment(services: Compose, parties: list[str], dockerfile: str) -> Iterator[str]:
    """Compare what the launcher tells Flower, and numpy, by variables."""
    image = dict(re.findall(r"(?m)^(?:ENV)?\s+([A-Z_]+)=(\S+?)(?: \\)?$", dockerfile))
    here = Path()
    deployment = Deployment("", here, here, {}, print, _guard=None)  # type: ignore[arg-type]
    for name, service in launched(parties).items():
        told = deployment._variables(service, here)  # noqa: SLF001 - what is checked here
        given = image | services.get(name, {}).get("environment", {})
        for key, value in told.items():
            ours = key.startswith(("FLWR_", "OMP_", "OPENBLAS_")) and key != "FLWR_HOME"
            if ours and str(given.get(key)) != value:
                yield f"{name}: {key} is {given.get(key)!r}; the launcher sets {value!r}"


def _volumes(services: Compose, parties: list[str]) -> Iterator[str]:
    private = {*parties, "coordinator", "authority", "limits", "store"}
    allowed = {name: {name, f"{name}-feed", "setup"} for name in parties}
    allowed |= {"authority": {"setup"}, "limits": {"setup", "limits"}, "store": {"limits"}}
    allowed["coordinator"] = {"setup", SUPERLINK, RELAY, "register", "train"}
    for name, one in services.items():
        for mount in one.get("volumes", []):
            source, target, *mode = mount.split(":")
            if source in private and name not in allowed[source]:
                yield f"{name}: mounts the volume of {source}"
            if source.startswith(("/", ".")):
                yield f"{name}: mounts {source} of the host"
            if target == str(BASE) and name != "setup" and mode != ["ro"]:
                yield f"{name}: may write the agreement"

    mounts = services.get("setup", {}).get("volumes", [])
    if f"authority:{BASE / AUTHORITY}" not in mounts:
        yield f"setup: the CA's key needs a volume of its own at {BASE / AUTHORITY}"


def _networks(compose: Compose, parties: list[str]) -> Iterator[str]:
    services, networks = compose["services"], compose["networks"]
    members = {
        network: {name for name, one in services.items() if network in one.get("networks", [])}
        for network in networks
    }
    for party in parties:
        for network in services[party]["networks"]:
            beyond = members[network] - MEETING - {party, f"{party}-feed"}
            if beyond:
                yield f"{party}: meets {', '.join(sorted(beyond))} on network {network}"
            if not (networks[network] or {}).get("internal"):
                yield f"{party}: network {network} leads out"
    for name, one in services.items():
        if "networks" not in one and one.get("network_mode") != "none":
            yield f"{name}: is on the default network"
        for port in one.get("ports", []):
            if name != "limits" or not port.startswith("127.0.0.1:"):
                yield f"{name}: publishes {port}"


def _hardening(name: str, one: Compose) -> Iterator[str]:
    wanted: dict[str, Any] = {
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
    }
    for key, value in wanted.items():
        if one.get(key) != value:
            yield f"{key} must be {value}"
    for key in ("privileged", "cap_add", "pid", "ipc", "devices", "user"):
        if key in one:
            yield f"{key} must not be there"
    for key in ("pids_limit", "mem_limit", "tmpfs"):
        if key not in one:
            yield f"{key} is missing"
    if name in MEETING and "healthcheck" not in one:
        yield "healthcheck is missing"
    if name == "limits" and "/readyz" not in str(one.get("healthcheck")):
        yield "healthcheck must ask /readyz"


def main() -> int:
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "compose.yml"
    compose = yaml.safe_load(path.read_text())
    found = findings(compose, (ROOT / "Dockerfile").read_text())
    for text in found:
        print(f"{path.name}: {text}")
    if not found:
        print(f"{path.name}: as the launcher, {len(compose['services'])} services")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
