"""Hold the compose files against what `confide federation up` starts, and their promises.

    python -m scripts.check_compose

The supervisor and the compose file start the same SuperLink, gate, relay and nodes. Their
commands are compared word by word: addresses are those of the containers, all else is equal. Then
the promises: nobody else mounts a party's volume, `setup` alone the one with the CA's key,
PostgreSQL alone its data; parties meet the gate, the relay and the limit service, never each other
and never the SuperLink (_compose_networks.py), only the limit service and Grafana are published, on
this machine, and no container may do more than it must. deploy/coordinator and deploy/party are the
same on machines apart: their commands are compared likewise. Prints every finding; exits with 1 if
there is one.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from clients.keys.keyfiles import AUTHORITY
from scripts import _compose_networks as meet
from scripts._compose_table import BASE, RELAY_PORT, launched, place, places
from server.engines.deployment import RELAY, SUPERLINK, Deployment, Service
from server.federation.plan import GATE

ROOT = Path(__file__).resolve().parent.parent
OPERATORS = (SUPERLINK, GATE, RELAY)
USER = "10001:10001"
WATCHING = "./deploy/observability"
APART = {"PARTY": "bank", "COORDINATOR": "coordinator.example"}
NODE = ["python", "-m", "clients.supernode"]

Compose = Mapping[str, Any]


def findings(compose: Compose, dockerfile: str) -> list[str]:
    """Return what is wrong with the demo's file, a line each."""
    services = compose["services"]
    parties = sorted(name for name, one in services.items() if one.get("entrypoint") == NODE)
    if not parties:
        return ["no service runs clients.supernode"]
    table = launched(parties, f"wss://{RELAY}:{RELAY_PORT}")
    moved = places(parties, GATE)
    found = [*_commands(services, table, moved), *_profiles(services, table)]
    found += [*_environment(services, table, dockerfile), *_images(services, dockerfile)]
    found += [*_volumes(services, parties), *meet.meetings(compose, parties)]
    heard = {name: (f"{name}.watched", "watched") for name in OPERATORS}
    heard |= {name: (f"{name}.watched", f"{name}-watched") for name in parties}
    found += meet.metrics_heard(services, heard)
    return found + [f"{name}: {text}" for name, one in services.items() for text in _hardening(one)]


def findings_apart(coordinator: Compose, party: Compose, dockerfile: str) -> list[str]:
    """Return what is wrong with the files for machines apart, a line each."""
    name, host = APART["PARTY"], APART["COORDINATOR"]
    table = launched([name], f"wss://{host}:{RELAY_PORT}")
    moved = places([name], host) | {name: place(0, host, "node")}
    services = {**coordinator["services"], **party["services"]}
    services[name] = services.pop("node")
    found = [*_commands(services, table, moved), *_environment(services, table, dockerfile)]
    found += [f"{name}: {text}" for name, one in services.items() for text in _hardening(one)]
    published = {GATE, RELAY, "limits"}
    found += meet.meetings_apart(coordinator)
    heard = {one: (f"{one}.watched", "watched") for one in OPERATORS}
    found += meet.metrics_heard(coordinator["services"], heard)
    found += meet.metrics_heard(party["services"], {"node": ("node.watched", "watched")})
    return found + [
        f"{one}: publishes {services[one]['ports']}"
        for one in services
        if "ports" in services[one] and one not in published
    ]


def filled(text: str) -> Compose:
    """Return a file for machines apart with its variables filled in."""
    known = dict(APART)

    def value(match: re.Match[str]) -> str:
        return known.get(match[1], match[3] if match[2] == ":-" else "")

    # A default may itself have a variable: inner ones first.
    while (done := re.sub(r"\$\{(\w+)(?:(:-|:\?)([^${}]*))?\}", value, text)) != text:
        text = done
    whole: Compose = yaml.safe_load(text)
    return whole


def _commands(
    services: Compose, table: Mapping[str, Service], moved: Mapping[str, Mapping[str, str]]
) -> Iterator[str]:
    for name, service in table.items():
        # Held back by the supervisor until registered; here they start after `register`.
        words = [word for word in service.command if word != "--hold"]
        wanted = ["python", *(moved[name].get(word, word) for word in words)]
        given = services.get(name)
        if given is None:
            yield f"{name}: `federation up` starts it, the compose file does not"
            continue
        written = [*given["entrypoint"], *_words(given["command"])]
        if sorted(_pairs(written)) != sorted(_pairs(wanted)):
            yield f"{name}: runs {' '.join(written)}; `federation up` runs {' '.join(wanted)}"


def _profiles(services: Compose, table: Mapping[str, Service]) -> Iterator[str]:
    for name, one in services.items():
        profiles = one.get("profiles", [])
        if name == "setup" and profiles:
            yield f"{name}: belongs to every profile, so to none"
        if name != "setup" and not profiles:
            yield f"{name}: belongs to no profile"
        if name in table and profiles != ["demo", "federation"]:
            yield f"{name}: belongs to the profiles demo and federation"


def _images(services: Compose, dockerfile: str) -> Iterator[str]:
    """Every image of ours is a target, built by somebody in each profile that runs it."""
    targets = set(re.findall(r"(?m)^FROM (?!\$)\S+ AS (\w+)$", dockerfile))
    built: dict[str, set[str]] = {}
    for one in services.values():
        if "build" in one:
            built.setdefault(one["image"], set()).update(one.get("profiles", ["", "demo"]))
            target = one["build"]["target"]
            if target not in targets or f"-{target}:" not in one["image"]:
                yield f"{one['image']}: is not what the target {target} makes"
    for name, one in services.items():
        if "pull_policy" in one and one["image"] not in built:
            yield f"{name}: nobody builds {one['image']}"
        elif "pull_policy" not in one and not re.match(r"\$\{[A-Z]+_IMAGE:-.+:.+\}$", one["image"]):
            yield f"{name}: {one['image']} must be a variable that names a version"


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


def _environment(services: Compose, table: Mapping[str, Service], dockerfile: str) -> Iterator[str]:
    """Compare what Flower, and numpy, are told by variables."""
    image = dict(re.findall(r"(?m)^(?:ENV)?\s+([A-Z_]+)=(\S+?)(?: \\)?$", dockerfile))
    here = Path()
    deployment = Deployment("", here, here, {}, print, _guard=None)  # type: ignore[arg-type]
    for name, service in table.items():
        told = deployment._variables(service, here)  # noqa: SLF001 - what is checked here
        given = image | services.get(name, {}).get("environment", {})
        for key, value in told.items():
            ours = key.startswith(("FLWR_", "OMP_", "OPENBLAS_")) and key != "FLWR_HOME"
            if ours and str(given.get(key)) != value:
                yield f"{name}: {key} is {given.get(key)!r}; `federation up` sets {value!r}"


def _volumes(services: Compose, parties: list[str]) -> Iterator[str]:
    allowed = {name: {name, f"{name}-feed", "setup"} for name in parties}
    allowed |= {"authority": {"setup"}, "limits": {"setup", "limits", "watcher"}}
    allowed |= {"database": {"setup", "postgres"}, "watching": {"watcher", "prometheus"}}
    allowed["password"] = {"setup", "postgres", "limits", "watcher"}
    allowed["coordinator"] = {"setup", *OPERATORS, "register", "train"}
    for name, one in services.items():
        for source, target, writes in map(_mount, one.get("volumes", [])):
            if source in allowed and name not in allowed[source]:
                yield f"{name}: mounts the volume of {source}"
            if source.startswith(("/", ".")) and (source != WATCHING or writes):
                yield f"{name}: mounts {source} of the host"
            if target == str(BASE) and name != "setup" and writes:
                yield f"{name}: may write the agreement"
            if source == "password" and name != "setup" and writes:
                yield f"{name}: may write the password"

    mounts = services.get("setup", {}).get("volumes", [])
    if f"authority:{BASE / AUTHORITY}" not in mounts:
        yield f"setup: the CA's key needs a volume of its own at {BASE / AUTHORITY}"


def _mount(given: str | Mapping[str, Any]) -> tuple[str, str, bool]:
    """Return what is mounted where, and whether it may be written."""
    if not isinstance(given, str):
        return given["source"], given["target"], not given.get("read_only")
    source, target, *mode = given.split(":")
    return source, target, mode != ["ro"]


def _hardening(one: Compose) -> Iterator[str]:
    wanted: dict[str, Any] = {
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
    }
    for key, value in wanted.items():
        if one.get(key) != value:
            yield f"{key} must be {value}"
    for key in ("privileged", "cap_add", "pid", "ipc", "devices"):
        if key in one:
            yield f"{key} must not be there"
    if one.get("user", USER) != USER:
        yield f"user must be {USER}"
    for key in ("pids_limit", "mem_limit", "cpus", "ulimits", "tmpfs"):
        if key not in one:
            yield f"{key} is missing"
    if one.get("restart") == "unless-stopped" and "healthcheck" not in one:
        yield "healthcheck is missing"
    if "serve" in one.get("command", []) and "/readyz" not in str(one.get("healthcheck")):
        yield "healthcheck must ask /readyz"
    for key, value in one.get("environment", {}).items():
        if re.search(r"(?i)password$|secret$|token$", key):
            yield f"{key} must be in a file"
        if re.search(r"://[^/@]*:[^/@]*@", str(value)):
            yield f"{key} holds a password"


def main() -> int:
    dockerfile = (ROOT / "Dockerfile").read_text()
    demo = yaml.safe_load((ROOT / "compose.yml").read_text())
    apart = [
        filled((ROOT / "deploy" / name / "compose.yml").read_text())
        for name in ("coordinator", "party")
    ]
    found = [f"compose.yml: {text}" for text in findings(demo, dockerfile)]
    found += [f"deploy: {text}" for text in findings_apart(*apart, dockerfile)]
    print(*found, sep="\n") if found else print("as `confide federation up`")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
