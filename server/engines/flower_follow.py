"""Follow a run of Flower's from outside: its events, its processes, how it ends.

A SuperNode that dies ends the run by name, unless the `ServerApp` has said that the others may go
on without that party (event `spare`). Then the death is written down in the run's folder, where
the app finds it, and the run goes on under the protocol's own rules.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from server.coordinator import Report
from server.engines.deployment import SUPERLINK, Deployment, Died, PortTaken, tail
from server.engines.flower_control import Control
from server.engines.run_files import RunFiles
from shared.edge.files import write_atomic
from shared.errors import BadPeer, ConfideError, EnvironmentFault, PartyLost, RunFailed

#: Seconds in which a process, or a run, must have begun.
START_S = 90.0

_POLL_S = 0.05
_STATUS_EVERY_S = 2.0
# What Flower's SuperLink says of a node whose key it does not know, or that shows none.
_NODE_REFUSED = (b"[code: 2001]", b"[code: 2004]")
# Phases in which nothing leaves a party.
_BEFORE = frozenset({"start", "join"})
_WRONG_CERTIFICATE = b"certificate_verify_failed"
# Events for the follower alone.
_INNER = frozenset({"began", "spare"})


class StartAgain(Exception):
    """Something went wrong before anything was exchanged."""


def follow(
    files: RunFiles,
    log: Callable[[str], Path],
    control: Control,
    number: int,
    deployment: Deployment | None,
    report: Report,
    *,
    patience: float,
) -> dict[str, Any]:
    """Tell of progress until the run has ended.

    Parameters
    ----------
    files : RunFiles
        What the `ServerApp` writes.
    log : callable
        Takes the name of a process, returns the path of its log.
    control : Control
    number : int
        Flower's number of the run.
    deployment : Deployment or None
        The processes, where they are this launcher's own.
    report : callable
    patience : float
        Seconds for which the SuperLink may stay away while the run writes nothing.

    Returns
    -------
    dict
        The outcome.

    Raises
    ------
    ConfideError
        The error that ended the run.
    """
    watch = _Watch(files, log, control, number, patience, local=deployment is not None)
    try:
        with named(lambda: watch.phase):
            while True:
                for event, details in files.events():
                    watch.note(event, details)
                    if event not in _INNER:
                        report(event, details)
                outcome = files.outcome()
                if outcome is not None:
                    return outcome
                if deployment is not None:
                    watch.look_after(deployment)
                watch.check()
                time.sleep(_POLL_S)
    except (KeyboardInterrupt, ConfideError) as error:
        if deployment is None:
            control.stop(number)
        if isinstance(error, PartyLost | RunFailed) and "phase" not in error.message:
            error.message += f" (in phase {watch.phase})"
        raise


class _Watch:
    """Looks after a run from outside: its phase, its status at Flower, its process."""

    def __init__(
        self,
        files: RunFiles,
        log: Callable[[str], Path],
        control: Control,
        number: int,
        patience: float,
        *,
        local: bool,
    ) -> None:
        self._files, self._log, self._control = files, log, control
        self._number, self._patience, self._local = number, patience, local
        self.phase = "start"
        self._spare: frozenset[str] = frozenset()
        self._process = 0
        self._submitted = self._asked = self._heard = time.monotonic()

    def note(self, event: str, details: Mapping[str, Any]) -> None:
        """Take in one event of the run."""
        self._heard = time.monotonic()
        if event == "began":
            self._process = int(details["process"])
        elif event == "phase":
            self.phase = str(details["name"])
        elif event == "joining":
            self.phase = "join"
        elif event == "spare":
            self._spare = frozenset(details["parties"])

    def look_after(self, deployment: Deployment) -> None:
        """Start again what may be; write down a death that the run may survive.

        Raises
        ------
        Died
            If the run cannot go on without it.
        """
        try:
            deployment.check()
        except Died as death:
            party = death.service.name
            if party not in self._spare:
                raise
            deployment.bury(party)
            self._files.bury(party)

    def check(self) -> None:
        """Raise if the `ServerApp` ended, or never began, or is out of reach, without a word."""
        now = time.monotonic()
        if self._local and self._process and not _lives(self._process):
            self._end("its process died")
        if now - self._asked < _STATUS_EVERY_S:
            return
        self._asked = now
        status = self._control.status(self._number)
        if status is None:
            self._endure(now)
        else:
            self._heard = now
        if status is not None and status.ended:
            self._end(status.details or "stopped")
        if not self._process and now - self._submitted > START_S:
            raise EnvironmentFault(
                f"the run did not begin within {START_S:g} s", hint=f"see {self._log(SUPERLINK)}"
            )

    def _endure(self, now: float) -> None:
        if now - self._heard <= self._patience:
            return
        raise EnvironmentFault(
            f"the SuperLink has not answered for {self._patience:.0f} s, and the run has told "
            f"nothing since phase {self.phase}",
            hint=f"start it, then `confide train --resume`; see {self._log(SUPERLINK)}",
        )

    def _end(self, why: str) -> None:
        if self._files.outcome() is not None:  # it was faster than this question
            return
        log = self._log("serverapp")
        self._control.stop(self._number)  # Flower itself notices after a minute only
        said = self._control.log(self._number) if not log.exists() else ""
        if said:
            write_atomic(log, said.encode())
        # An exception of its own it would have told of (`recorded`): it was killed, or its machine.
        raise RunFailed(
            f"the coordinator's app failed in phase {self.phase}: {why.splitlines()[0]}",
            hint=f"train again; see {log}",
            reported=EnvironmentFault.code,
        )


@contextlib.contextmanager
def named(phase: Callable[[], str]) -> Iterator[None]:
    """Turn the death of a process into an error that names the party and the phase.

    Parameters
    ----------
    phase : callable
        Returns the phase of the moment.
    """
    try:
        yield
    except Died as death:
        party, log = death.service.name, death.service.log
        if SUPERLINK in death.restarted and phase() in _BEFORE:
            # Flower lets a node in once: one that did not hear the answer is turned away.
            raise StartAgain(f"{party}: its node did not survive the SuperLink") from death
        if party == SUPERLINK:
            raise EnvironmentFault(
                f"the SuperLink died in phase {phase()}", hint=f"see {log}"
            ) from death
        said = tail(log).lower()
        if any(code in said for code in _NODE_REFUSED):
            raise BadPeer(
                "the SuperLink does not know the key of its node",
                hint=f"is node.key the partner of node.pub? see {log}",
                party=party,
            ) from death
        if _WRONG_CERTIFICATE in said:
            raise BadPeer(
                "its node does not trust the SuperLink's certificate",
                hint=f"see {log}",
                party=party,
            ) from death
        raise PartyLost(
            f"its node died in phase {phase()}", hint=f"see {log}", party=party
        ) from death
    except PortTaken:
        if phase() in _BEFORE:
            raise StartAgain("another program took a port of this run") from None
        raise EnvironmentFault(
            "another program took a port of this run", hint="train again"
        ) from None


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
