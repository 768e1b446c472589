"""Where a training of a scorecard stands, on disk after every phase.

One file, `runs/<run>/scorecard.json` of the coordinator's folder, there whole or not at all, with
the digest of what it says. It holds the parties' replies and nothing finer: the coordinator never
had more. A phase counts once it is written. What was under way when a run was interrupted is taken
from the parties if all of them had ended it, and is played again, under the next attempt, if not.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from server.coordinator import Coordinator
from server.engines.run_files import run_folder
from server.exchange import Replies
from server.resuming import ANEW, agreed_otherwise, damaged, nothing_left
from shared.edge.files import write_atomic
from shared.errors import EnvironmentFault, NotFound, Refused

FILE = "scorecard.json"

_FIELDS = ("agreement", "keys", "parties", "attempt", "job", "lost", "outcome", "order")
_TOLD = ("ended", "paid", "kept")


@dataclass(slots=True)
class Checkpoint:
    """Where a training stands.

    Parameters
    ----------
    path : Path or None
        The file; None keeps nothing.
    agreement : str
        Digest of all that the parties agreed on; see `Federation.agreement`.
    keys : dict of str to str
        Fingerprint of each party's key.
    parties : list of str
        Who is left.
    order : list of str
        The phases of this training.
    attempt : int
        That is under way, or comes next; it rises whenever a phase is started again.
    job : dict
        What the next phase is told of those before.
    lost : list of str
        Parties that the others went on without.
    outcome : dict
        See `server.phases.run_phases`; the phases in it have ended.
    """

    path: Path | None
    agreement: str
    keys: dict[str, str]
    parties: list[str]
    order: list[str]
    attempt: int = 1
    job: dict[str, Any] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    outcome: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def begin(
        cls, coordinator: Coordinator, contract: str, parties: Collection[str], order: list[str]
    ) -> Checkpoint:
        """Write down where every training begins.

        Raises
        ------
        Refused
            If the run has begun before.
        """
        federation = coordinator.federation
        path = file_of(coordinator.home, coordinator.run) if coordinator.home else None
        if path and path.exists():
            raise Refused(
                f"run {coordinator.run} has begun already: a run's name is used once",
                hint="go on with it by --resume, or start a new run",
            )
        outcome = {"run": coordinator.run, "contract": contract, "seconds": {}}
        begun = cls(
            path,
            federation.agreement(contract),
            _keys(coordinator),
            list(parties),
            order,
            job={"attempts": {}},
            outcome=outcome,
        )
        begun.save()
        return begun

    @classmethod
    def load(cls, coordinator: Coordinator) -> Checkpoint:
        """Read where a run stands; whether it fits, `check_agreement` says.

        Raises
        ------
        NotFound
            If the run has left none.
        EnvironmentFault
            If the file is damaged.
        Refused
            If a party's key is another one now; names it.
        """
        if coordinator.home is None:
            raise NotFound("this coordinator keeps no runs", hint="train without --resume")
        path = file_of(coordinator.home, coordinator.run)
        body = _read(path)
        try:
            found = cls(path, **{name: body[name] for name in _FIELDS})
        except (KeyError, TypeError) as error:
            raise damaged(path) from error
        keys = _keys(coordinator)
        for party in sorted(found.keys.keys() | keys.keys()):
            if found.keys.get(party) != keys.get(party):
                raise Refused(
                    "its key in the federation file was changed since this run began",
                    hint=f"change it back, or {ANEW}",
                    party=party,
                )
        return found

    def check_agreement(self, coordinator: Coordinator, contract: str) -> None:
        """Refuse to go on under another agreement.

        Raises
        ------
        Refused
        """
        if self.agreement != coordinator.federation.agreement(contract):
            raise agreed_otherwise()

    def save(self) -> None:
        """Write it in place of the one before, whole or not at all."""
        if self.path is None:
            return
        body = json.loads(json.dumps({name: getattr(self, name) for name in _FIELDS}))
        value = {"check": _check(body), "body": body}
        write_atomic(self.path, json.dumps(value, sort_keys=True).encode() + b"\n")

    @property
    def done(self) -> list[str]:
        """The phases that have ended, in their order."""
        return [phase for phase in self.order if phase in self.outcome]

    @property
    def next(self) -> str:
        """The phase that comes next; empty where all have ended."""
        return next((phase for phase in self.order if phase not in self.outcome), "")

    def count(
        self,
        coordinator: Coordinator,
        phase: str,
        replies: Replies,
        attempt: int,
        seconds: float,
        learned: Mapping[str, Any],
    ) -> None:
        """Count a phase as ended: write it down, and tell of it.

        Parameters
        ----------
        coordinator : Coordinator
        phase : str
        replies : mapping
        attempt : int
            Under which it ended.
        seconds : float
        learned : mapping
            What later phases need to be told.
        """
        self.outcome[phase] = replies
        self.outcome["seconds"][phase] = seconds
        self.job |= learned
        self.job["attempts"][phase] = attempt
        self.save()
        coordinator.tell("done", name=phase, seconds=seconds, replies=replies)

    @property
    def told(self) -> dict[str, Any]:
        """What the parties are told when the run goes on: they say whether they had ended it."""
        under_way = {"phase": self.next, "attempt": self.attempt}
        return {"attempt": self.attempt + 1, "resumed": under_way}

    def go_on(
        self, coordinator: Coordinator, joined: Replies, cohort: Collection[str]
    ) -> tuple[Replies | None, int]:
        """Take the phase that was under way from the parties, or have it played again.

        Parameters
        ----------
        coordinator : Coordinator
        joined : mapping
            What the parties said when they joined again.
        cohort : collection of str
            Who took part in that phase.

        Returns
        -------
        replies : mapping or None
            Of the phase, where all parties had ended it.
        attempt : int
            Under which they had.

        Raises
        ------
        Refused
            See `ended_before`.
        """
        coordinator.tell("resumed", name=self.next, done=self.done)
        found = ended_before(self.next, joined, cohort) if self.next else None
        told = [[reply.pop(name, None) for name in _TOLD] for reply in joined.values()]
        before, self.attempt = self.attempt, self.attempt + 1
        if found is None:
            self.job["released"] = next((kept for *_, kept in told if kept), None)
            self.save()  # no message is ever sent twice under one attempt
        return found, before


def file_of(home: Path, run: str) -> Path:
    """Return where a run's checkpoint lies.

    Raises
    ------
    Refused
        If the name could be a path.
    """
    return run_folder(home, run) / FILE


def ended_before(
    phase: str, joined: Mapping[str, Mapping[str, Any]], cohort: Collection[str]
) -> Replies | None:
    """Return the replies of a phase that all parties had ended; None if it is to be played again.

    Parameters
    ----------
    phase : str
        That was under way when the run was interrupted.
    joined : mapping
        What the parties said of it when they joined again.
    cohort : collection of str
        Who took part.

    Raises
    ------
    Refused
        If a party has drawn noise for it: a second draw would be a second release.
    """
    if all(joined[name].get("ended") is not None for name in cohort):
        return {name: joined[name]["ended"] | {"node": joined[name]["node"]} for name in cohort}
    paid = sorted(name for name in cohort if joined[name].get("paid"))
    if paid:
        raise Refused(
            f"its noise of phase {phase} was drawn and paid for, and not every party has ended "
            "the phase: no noise is drawn twice for one run",
            hint="start a new run, without --resume; it pays anew",
            party=paid[0],
        )
    return None


def _keys(coordinator: Coordinator) -> dict[str, str]:
    federation = coordinator.federation
    return {name: member.fingerprint for name, member in federation.parties.items()}


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
        body: dict[str, Any] = value["body"]
        sound = value["check"] == _check(body)
    except FileNotFoundError as error:
        raise nothing_left(path) from error
    except OSError as error:
        raise EnvironmentFault(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise damaged(path) from error
    if not sound:
        raise damaged(path)
    return body


def _check(body: Any) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
