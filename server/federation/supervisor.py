"""The processes of a federation that stay: SuperLink, gate, relay, and on one machine the parties.

    python -m server.federation --federation federation.toml [--no-parties] ...

is what `confide federation up` starts. It looks after the processes until it is told to stop: what
dies is started again, a party after a while, since Flower lets a node in again only once it counts
its last life as over. What runs stands in `federation/state.json` of the coordinator's folder; the
lock beside it is held for as long as this process lives, so nobody takes a stale file for news.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from server.coordinator import load_federation
from server.engines.deployment import (
    HOST,
    RELAY,
    SUPERLINK,
    Deployment,
    Died,
    PortTaken,
    answers,
    deployed,
    free_ports,
    wait_for,
)
from server.engines.flower_control import Control
from server.federation.plan import GATE, Plan, node_keys, services
from server.federation.state import FOLDER, Places, Running, State, write_state
from shared.edge import logs
from shared.edge.clock import utc_now
from shared.edge.files import exclusive, write_atomic
from shared.errors import ConfideError, EnvironmentFault

_START_S: Final = 180.0
_LOOK_S: Final = 0.5
_LONG_S: Final = 600.0  # who lived so long may die again without being given up
_FIRST_WAIT_S, _LONGEST_WAIT_S = 5.0, 120.0
_LOG = logging.getLogger(__name__)


class Keeper:
    """Looks after the processes of a plan.

    Parameters
    ----------
    plan : Plan
    deployment : Deployment
    stop : threading.Event
        Set when all is to end.
    """

    def __init__(self, plan: Plan, deployment: Deployment, stop: threading.Event) -> None:
        self._plan, self._deployment, self._stop = plan, deployment, stop
        self._table = {service.name: service for service in services(plan)}
        self._began = utc_now()
        self._since: dict[str, tuple[int, str, float]] = {}
        self._due: dict[str, tuple[float, float]] = {}  # a party: when it comes again, the wait
        self._deaths: Counter[str] = Counter()
        self._told: State | None = None

    def start(self) -> None:
        """Start everything; return when it answers.

        Raises
        ------
        EnvironmentFault
            If something does not, in time.
        """
        keys, places, fleet = node_keys(self._plan), self._plan.places, self._deployment
        fleet.start(self._table.values())
        self.tell(ready=False)
        ca = self._plan.home / "ca.crt"
        with Control(f"{HOST}:{places.superlink}", ca) as control:
            self._wait(control.reachable, SUPERLINK)
            # Registered first, released then: a node that comes earlier is turned away.
            control.register(keys)
        self._wait(lambda: answers(places.relay), RELAY)
        self._wait(lambda: answers(places.gate), GATE)
        fleet.release()
        self.tell(ready=True)

    def _wait(self, condition: Callable[[], bool], name: str) -> None:
        if not wait_for(condition, _START_S, self._deployment):
            log = self._table[name].log
            raise EnvironmentFault(f"the {name} did not start in time", hint=f"see {log}")

    def keep(self) -> None:
        """Start again what dies, until it is time to stop."""
        while not self._stop.wait(_LOOK_S):
            try:
                self._deployment.check()
            except Died as death:
                self._mourn(death.service.name)
            now = time.monotonic()
            for party, (when, _) in list(self._due.items()):
                if now >= when and party not in self._deployment.running():
                    service = self._table[party]
                    words = tuple(word for word in service.command if word != "--hold")
                    self._deployment.start([replace(service, command=words, held=False)])
            self._forgive(now)
            self.tell(ready=True)

    def _mourn(self, party: str) -> None:
        self._deaths[party] += 1
        _, before = self._due.get(party, (0.0, 0.0))
        wait = min(_LONGEST_WAIT_S, max(_FIRST_WAIT_S, 2 * before))
        self._due[party] = (time.monotonic() + wait, wait)
        with logs.bound(party=party):
            said = "a party's node died; it is started again"
            logs.step(_LOG, said, level=logging.WARNING, seconds=wait)

    def _forgive(self, now: float) -> None:
        for name, (_, _, began) in self._since.items():
            if now - began > _LONG_S:
                self._due.pop(name, None)
                if name in self._deployment.running():
                    self._deployment.forgive(name)

    def tell(self, *, ready: bool) -> None:
        """Write down what runs, if it has changed."""
        found = []
        for name, (pid, restarts) in self._deployment.running().items():
            before = self._since.get(name)
            if before is None or before[0] != pid:
                self._since[name] = before = (pid, utc_now(), time.monotonic())
            found.append(
                Running(
                    name, pid, self._plan.places.of(name), before[1], restarts + self._deaths[name]
                )
            )
        state = State(self._began, ready, self._plan.places, tuple(found))
        if state != self._told:
            write_state(self._plan.home, state)
            self._told = state


def run(plan: Plan, stop: threading.Event) -> None:
    """Run a federation's processes until told to stop.

    Raises
    ------
    ConfideError
        If something does not start, or dies again and again.
    """
    place = plan.home / FOLDER
    with exclusive(place, what="federation"):
        write_atomic(place / "pid", str(os.getpid()).encode())
        try:
            with deployed({}, lambda said: _LOG.warning("%s", said)) as deployment:
                keeper = Keeper(plan, deployment, stop)
                try:
                    keeper.start()
                    logs.step(_LOG, "the federation is up", count=len(deployment.running()))
                    keeper.keep()
                except PortTaken:
                    raise EnvironmentFault(
                        "another program took a port", hint="`confide federation up` again"
                    ) from None
                except Died as death:
                    raise EnvironmentFault(
                        "its node died before the federation was up",
                        hint=f"see {death.service.log}",
                        party=death.service.name,
                    ) from death
        finally:
            (place / "state.json").unlink(missing_ok=True)
    logs.step(_LOG, "the federation is down")


def plan_of(options: argparse.Namespace) -> Plan:
    """Return the plan that the arguments ask for."""
    path = options.federation.absolute()
    federation, _ = load_federation(path)
    parties = () if options.no_parties else federation.holders
    found = free_ports(4 + len(parties))
    places = Places(
        superlink=found[0],
        operator=options.operator_port or found[1],
        gate=options.port or found[2],
        relay=options.relay_port or found[3],
        nodes=dict(enumerate(found[4:])),
        parties=parties,
        metrics=options.metrics,
    )
    return Plan(path, federation, options.host, places, parties)


def main() -> int:
    """Run as a process."""
    parser = argparse.ArgumentParser(prog="python -m server.federation", allow_abbrev=False)
    parser.add_argument("--federation", type=Path, required=True)
    parser.add_argument("--no-parties", action="store_true")
    parser.add_argument("--host", default=HOST)
    for name in ("port", "relay-port", "operator-port", "metrics"):
        parser.add_argument(f"--{name}", type=int, default=0)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    logs.configure("federation")
    try:
        run(plan_of(parser.parse_args()), stop)
    except ConfideError as error:
        print(json.dumps({"error": str(error)}), file=sys.stderr, flush=True)  # noqa: T201
        return error.exit_status
    return 0
