"""A party's side of phase `join`: check the own data, and whether a run may go on here.

When the first phase begins, after every party has joined, the party writes down what it begins
with: digests of its tables, of its settings and of what was agreed, none of which leave. A run that
goes on finds the very same, or is refused by the name of what was changed. What a phase came to is
written down before it is told, so that a phase which all parties have ended is not played again
when the coordinator did not hear of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from clients.lines import read_lines
from clients.noise.moments import BINS, MOMENTS
from clients.party import Party
from clients.releases import again, feeds
from shared.edge.files import digest_of
from shared.errors import EnvironmentFault, Refused
from shared.jobs import Run, score_job
from shared.protocols.score import ScoreJob, check_two_parties

_BEGAN, _RESUMED = "began", "resumed"
_FIRST = {"align", "bins"}
_WORDS = {
    "agreement": "its federation file",
    "contract": "its contract",
    "key": "its key",
    "settings": "its party.toml",
}


def join(party: Party, run: Run, job: Mapping[str, Any]) -> dict[str, Any]:
    """Check the own data before anything starts, or goes on.

    Parameters
    ----------
    party : Party
    run : Run
    job : mapping
        With ``resumed`` where a scorecard's run goes on: the phase that was under way, and its
        attempt.

    Returns
    -------
    dict
        Digest of the contract and sizes of the own tables; no value of a row. Of a run that goes
        on also what the phase came to if it had ended here, whether noise was paid for it, and the
        release if it was completed.

    Raises
    ------
    DataError
        With all findings, if a table breaks the contract.
    Refused
        If there are two parties and they did not agree to what the builder would see, or the key
        file is not as `shared.identity.identity_from_file` wants it; or something was changed
        since the run began.
    EnvironmentFault
        If the run has not begun here, or a phase of it is still being played.
    """
    for one in score_jobs(party, run):
        check_two_parties(one)
    party.check_split()
    _ = party.identity  # its key file is checked before anything starts
    feeds.tables(party)
    told = {
        "contract": party.contract.digest(),
        "banks": list(party.shape.banks),
        "features": len(party.contract.of(party.name)),
        "customers": len(party.train.ids) + len(party.test.ids),
    }
    if "resumed" in job:
        with party.store.exclusive():
            told |= _go_on(party, run, job["resumed"])
    return told


def score_jobs(party: Party, run: Run) -> list[ScoreJob]:
    """Return the openings of scores that this party would take part in."""
    shape = party.shape
    if not shape.banks:
        return [run.score(1, "")]
    banks = shape.banks if party.name in shape.columns else (party.name,)
    return [score_job(run, shape, bank, 1, "") for bank in banks] if shape.columns else []


def keep_beginning(party: Party, run: Run) -> None:
    """Write down what a run begins with, once: whoever goes on with it is held against that."""
    if not party.store.run_path(run.name, f"{_BEGAN}.json").exists():
        party.store.keep_value(run.name, _BEGAN, _beginning(party, run))


def keep_ended(party: Party, run: Run, phase: str, result: Mapping[str, Any]) -> None:
    """Write down what a phase came to, before the coordinator is told."""
    value = {"attempt": run.attempt, "result": dict(result)}
    party.store.replace_value(run.name, f"ended_{phase}", value)


def refuse_older(party: Party, run: Run) -> None:
    """Refuse a phase of an attempt before the one that the run went on with.

    A message may lie in a queue while the run is interrupted.

    Raises
    ------
    Refused
    """
    path = party.store.run_path(run.name, f"{_RESUMED}.json")
    if path.exists() and run.attempt < party.store.load_value(run.name, _RESUMED)["attempt"]:
        raise Refused(f"run {run.name} has gone on since with another attempt")


def _go_on(party: Party, run: Run, under_way: Mapping[str, Any]) -> dict[str, Any]:
    refuse_older(party, run)
    if under_way["phase"] in _FIRST:
        keep_beginning(
            party, run
        )  # the run may have ended before its first phase reached this party
    before = party.store.load_value(run.name, _BEGAN)
    now = _beginning(party, run)
    words = _WORDS | {name: f"its {getattr(party.settings, name)}" for name in ("train", "test")}
    changed = [words[name] for name in words if before.get(name) != now[name]]
    if changed:
        raise Refused(
            f"{' and '.join(changed)} changed since run {run.name} began",
            hint="put back what was there, or train anew, without --resume",
        )
    party.store.replace_value(run.name, _RESUMED, {"attempt": run.attempt})
    phase, attempt = str(under_way["phase"]), int(under_way["attempt"])
    told = {"ended": _ended(party, run, phase, attempt), "paid": _has_paid(party, run, phase)}
    return told | {"kept": again.known(party, run) if phase == "release" else None}


def _beginning(party: Party, run: Run) -> dict[str, str]:
    """Return digests of all that a run rests on at this party; they stay here."""
    settings = json.dumps(asdict(party.settings), sort_keys=True).encode()
    home = party.store.home
    return {
        "agreement": run.federation.agreement(run.contract_digest),
        "contract": run.contract_digest,
        "key": party.identity.fingerprint,
        "settings": hashlib.sha256(settings).hexdigest(),
        "train": _digest(home / party.settings.train),
        "test": _digest(home / party.settings.test),
    }


def _digest(path: Path) -> str:
    try:
        return digest_of(path)
    except OSError as error:
        raise EnvironmentFault(f"cannot read {path}: {error.strerror}") from error


def _ended(party: Party, run: Run, phase: str, attempt: int) -> dict[str, Any] | None:
    if not phase or not party.store.run_path(run.name, f"ended_{phase}.json").exists():
        return None
    value = party.store.load_value(run.name, f"ended_{phase}")
    return dict(value["result"]) if value["attempt"] == attempt else None


def _has_paid(party: Party, run: Run, phase: str) -> bool:
    """Return whether noise of this phase was paid for, drawn or not."""
    if phase not in {"bins", "moments"}:
        return False
    # Holders of columns read their bins off a noisy histogram in phase `moments`.
    releases = {"bins": {BINS}, "moments": {MOMENTS}} if party.shape.banks else {}
    whats = releases.get(phase, {BINS, MOMENTS})
    lines = read_lines(party.store.home / "budget.jsonl")
    return any(line.get("run") == run.name and line.get("what") in whats for line in lines)
