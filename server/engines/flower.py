"""Engine `flower`: a training on Flower's Deployment Engine.

On one machine it starts SuperLink, relay and a SuperNode for every party, all with TLS and with
the nodes' keys registered; on machines apart they run already and are named. Then it submits the
run and follows what the `ServerApp` writes at the coordinator. Nothing of Flower is left behind.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from server.coordinator import Coordinator, Report, as_environment, load_federation
from server.engines.deployment import (
    HOST,
    RELAY,
    SUPERLINK,
    Deployment,
    Service,
    answers,
    demand_port,
    deployed,
    free_ports,
    wait_for,
)
from server.engines.flower_follow import START_S, StartAgain, follow, named
from server.engines.run_files import RunFiles, coordinator_home, run_folder
from shared.config import Federation
from shared.edge.files import exclusive, read_text, refuse_open
from shared.edge.tls import pin_of, read_certificate
from shared.errors import ConfideError, EnvironmentFault, Refused, UsageError
from shared.identity import node_fingerprint
from shared.jobs import COORDINATOR

if TYPE_CHECKING:
    from server.engines.flower_control import Control

_START_S = START_S
_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class _Plan:
    """What every part of a run needs to know."""

    federation: Federation
    path: Path
    run: str
    home: Path
    model: str
    resume: bool = False

    @property
    def folder(self) -> Path:
        return run_folder(self.home, self.run)

    def party_home(self, party: str) -> Path:
        return self.path.parent / self.federation.home(party)

    def log(self, name: str) -> Path:
        home = self.home if name in {SUPERLINK, RELAY, "serverapp"} else self.party_home(name)
        what = f"{name}." if home == self.home else ""
        return home / "logs" / f"{self.run}.{what}log"


def _to_stderr(sentence: str) -> None:
    sys.stderr.write(f"{sentence}\n")


def train_flower(
    federation_path: Path,
    run: str,
    flags: Mapping[str, Any],
    report: Report,
    *,
    model: str = "scorecard",
    resume: bool = False,
    warn: Callable[[str], None] = _to_stderr,
    port: int = 0,
    relay_port: int = 0,
    superlink: str = "",
    relay: str = "",
) -> dict[str, Any]:
    """Train on Flower's Deployment Engine.

    Parameters
    ----------
    federation_path : Path
    run : str
        Identifier; see `server.engines.launcher.new_run`.
    flags : mapping of str to value
        Settings from the command line, by path.
    report : callable
        Told of progress.
    model : {"scorecard", "neural"}
    resume : bool
        Whether to go on with a run from its last round (neural model) or phase.
    warn : callable
        Takes a sentence about something that was mended, such as a relay that was started again.
    port, relay_port : int
        Ports of the SuperLink and of the relay on this machine; 0 finds free ones.
    superlink, relay : str
        Host and port of a SuperLink and a relay that run already, on machines apart; nothing is
        started then. The coordinator's folder must be the one that the SuperLink's app works in.

    Returns
    -------
    dict
        The outcome; see `server.phases.run_phases`.

    Raises
    ------
    ConfideError
        Under the name of the party, and with the phase, at which it happened.
    """
    path = federation_path.absolute()
    federation, _ = load_federation(path, dict(flags))
    plan = _Plan(federation, path, run, coordinator_home(federation, path), model, resume)
    Coordinator.load(path, run)  # its key is checked before anything starts
    if superlink or relay:
        _check_apart(superlink, relay, flags)
        keys = _node_keys(plan)
        with exclusive(plan.home), _control(superlink, plan.home) as control:
            control.wait(_START_S)
            _clear(plan)
            return _follow(plan, control, None, report, _submit(plan, control, keys, relay))
    keys = _node_keys(plan)
    _check_certificates(plan)
    _check_secrets(plan)
    with exclusive(plan.home):
        for _ in range(_ATTEMPTS):
            _clear(plan)
            ports = _ports(len(keys), port, relay_port)
            try:
                with deployed(as_environment(flags), warn) as deployment:
                    return _train(plan, deployment, keys, ports, report)
            except StartAgain as again:
                warn(f"{again}; everything is started again")
                why = again
    raise EnvironmentFault(f"{why}, {_ATTEMPTS} times", hint="train again")


def register_nodes(federation_path: Path, superlink: str) -> tuple[str, ...]:
    """Let the parties' nodes into a SuperLink, so that they may start.

    Parameters
    ----------
    federation_path : Path
    superlink : str
        Host and port of one that runs already.

    Returns
    -------
    tuple of str
        The parties.

    Raises
    ------
    Refused
        If a party's public node key is not the pinned one.
    EnvironmentFault
        If the SuperLink does not answer.
    """
    federation, _ = load_federation(federation_path)
    home = coordinator_home(federation, federation_path)
    keys = _node_keys(_Plan(federation, federation_path, "", home, ""))
    with _control(superlink, home) as control:
        control.wait(_START_S)
        return tuple(control.register(keys))


def _check_apart(superlink: str, relay: str, flags: Mapping[str, Any]) -> None:
    if not (superlink and relay):
        raise UsageError("a SuperLink and a relay that run already are named together, or neither")
    if flags:
        raise UsageError(
            f"{', '.join(sorted(flags))}: settings of one run do not reach other machines",
            hint="change federation.toml at every party",
        )


def _node_keys(plan: _Plan) -> dict[str, bytes]:
    """Return each party's public node key, checked against its pin."""
    keys = {}
    for party, member in plan.federation.parties.items():
        path = plan.party_home(party) / "node.pub"
        hint = "`confide keys init` makes and pins what is missing"
        if not member.node:
            raise Refused(f"{plan.path} pins no node key", hint=hint, party=party)
        keys[party] = read_text(path).encode()
        if node_fingerprint(keys[party]) != member.node:
            raise Refused(f"{path} is not the node key that {plan.path} pins", party=party)
    return keys


def _check_certificates(plan: _Plan) -> None:
    """Refuse to start with a certificate authority that the federation does not pin."""
    homes = {party: plan.party_home(party) for party in plan.federation.holders}
    for name, home in {**homes, COORDINATOR: plan.home}.items():
        path = home / "ca.crt"
        with _at(name):
            if pin_of(read_certificate(path)) != plan.federation.ca:
                raise Refused(
                    f"{path} is not the certificate authority that {plan.path} pins",
                    hint="fetch it from the coordinator, or run `confide keys init`",
                )


def _check_secrets(plan: _Plan) -> None:
    """Refuse a private key that others can read."""
    secrets = {party: plan.party_home(party) / "node.key" for party in plan.federation.holders}
    for name, path in {**secrets, COORDINATOR: plan.home / "tls.key"}.items():
        with _at(name):
            refuse_open(path)


@contextlib.contextmanager
def _at(member: str) -> Iterator[None]:
    """Say at whom it is that something is wrong."""
    try:
        yield
    except ConfideError as error:
        error.party = member
        raise


def _ports(parties: int, port: int, relay_port: int) -> list[int]:
    for wanted, what in ((port, SUPERLINK), (relay_port, RELAY)):
        if wanted:
            demand_port(wanted, what)
    found = free_ports(parties + 2)
    return [port or found[0], relay_port or found[1], *found[2:]]


def _train(
    plan: _Plan, deployment: Deployment, keys: Mapping[str, bytes], ports: list[int], report: Report
) -> dict[str, Any]:
    # It must outlive the SuperLink's process, not this machine.
    database = deployment.memory / "superlink.db"
    relay = f"wss://{HOST}:{ports[1]}"
    with named(lambda: "start"):
        deployment.start(_services(plan, ports, relay, database))
        with _control(f"{HOST}:{ports[0]}", plan.home) as control:
            if not wait_for(control.reachable, _START_S, deployment):
                raise EnvironmentFault(
                    "the SuperLink did not start in time", hint=f"see {plan.log(SUPERLINK)}"
                )
            # Registered first, released then: a node that comes earlier is turned away.
            nodes = control.register(keys)
            deployment.release()
            number = control.start(_run_config(plan, nodes, relay))
            if not wait_for(lambda: answers(ports[1]), _START_S, deployment):
                raise EnvironmentFault(
                    "the relay did not start in time", hint=f"see {plan.log(RELAY)}"
                )
            return _follow(plan, control, deployment, report, number)


def _services(plan: _Plan, ports: list[int], relay: str, database: Path) -> list[Service]:
    home, federation = plan.home, str(plan.path)
    own = {"certificate": home / "tls.crt", "key": home / "tls.key", "ca": home / "ca.crt"}
    superlink = [
        "-m", "server.superlink", "--host", HOST, "--port", str(ports[0]),
        "--database", str(database), "--enable-supernode-auth",
        "--disable-runtime-dependency-installation",
        "--ssl-certfile", str(own["certificate"]), "--ssl-keyfile", str(own["key"]),
        "--ssl-ca-certfile", str(own["ca"]),
    ]  # fmt: skip
    mailbox = [
        "-m", "server.relay", "--federation", federation, "--host", HOST, "--port", str(ports[1]),
        *(word for name, path in own.items() for word in (f"--{name}", str(path))),
    ]  # fmt: skip
    services = [
        Service(SUPERLINK, tuple(superlink), home, plan.log(SUPERLINK), again=True),
        Service(RELAY, tuple(mailbox), home, plan.log(RELAY), again=True),
    ]
    for party, port in zip(plan.federation.holders, ports[2:], strict=True):
        place = plan.party_home(party)
        config = {"federation": federation, "party": party, "relay": relay}
        node = [
            "-m", "clients.supernode", "--hold", "--superlink", f"{HOST}:{ports[0]}",
            "--root-certificates", str(place / "ca.crt"),
            "--auth-supernode-private-key", str(place / "node.key"),
            "--host", HOST, "--port", str(port), "--node-config", node_config(config),
        ]  # fmt: skip
        services.append(Service(party, tuple(node), place, plan.log(party), held=True))
    return services


def node_config(values: Mapping[str, str]) -> str:
    """Return the text that `flower-supernode --node-config` reads as these values.

    Raises
    ------
    UsageError
        If a value has both kinds of quotes: Flower's reader knows no escape.
    """
    words = []
    for name, value in values.items():
        quote = next((mark for mark in "'\"" if mark not in value), "")
        if not quote or "\n" in value or (quote == '"' and "\\" in value):
            raise UsageError(
                f"{name}: Flower cannot be told of {value!r}", hint="rename the folder"
            )
        words.append(f"{name}={quote}{value}{quote}")
    return " ".join(words)


@contextlib.contextmanager
def _control(address: str, home: Path) -> Iterator[Control]:
    # Flower takes a second to import; meanwhile the processes start.
    from server.engines.flower_control import Control  # noqa: PLC0415

    with Control(address, home / "ca.crt") as control:
        yield control


def _run_config(plan: _Plan, nodes: Mapping[str, int], relay: str) -> dict[str, str | bool]:
    return {
        "federation": str(plan.path),
        "run": plan.run,
        "relay": relay,
        "nodes": json.dumps(nodes),
        "model": plan.model,
        "resume": plan.resume,
    }


def _submit(plan: _Plan, control: Control, keys: Mapping[str, bytes], relay: str) -> int:
    url = relay if "://" in relay else f"wss://{relay}"
    return control.start(_run_config(plan, control.register(keys), url))


def _clear(plan: _Plan) -> None:
    """Remove what an earlier start of this run left; a run that goes on keeps its checkpoint."""
    if plan.resume:
        RunFiles(plan.folder).clear()
    else:
        shutil.rmtree(plan.folder, ignore_errors=True)


def _follow(
    plan: _Plan, control: Control, deployment: Deployment | None, report: Report, number: int
) -> dict[str, Any]:
    files = RunFiles(plan.folder)
    # Parties give each other up first: whoever is later is told by them.
    patience = plan.federation.protocol.deadline_s + START_S
    return follow(files, plan.log, control, number, deployment, report, patience=patience)
