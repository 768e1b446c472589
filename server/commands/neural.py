"""`confide train --model neural`: federated averaging over secure sums, on any engine."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

from server import screen
from server.commands.common import Format, emit
from server.coordinator import load_federation
from server.releases.registry import FOLDER, Registry
from shared.challenger.verdict import Verdict
from shared.edge.clock import utc_now
from shared.release import unpack_release


def train_neural(
    federation_path: Path,
    flags: dict[str, Any],
    form: Format,
    train: Callable[..., dict[str, Any]],
    run: str,
    *,
    resume: bool = False,
) -> None:
    """Train and release the neural model; progress goes to stderr, the result to stdout.

    Parameters
    ----------
    federation_path : Path
    flags : dict
        Settings from the command line, by path.
    form : Format
    train : callable
        The engine's: `server.engines.launcher.train_local`, or what takes the same arguments.
    run : str
    resume : bool
        Whether to go on with it from its last round.

    Raises
    ------
    ConfideError
        Under the name of the party at which it happened.
    """
    # Flower's own generated code may be older than the protobuf that it runs on.
    warnings.filterwarnings("ignore", "Protobuf gencode", UserWarning)
    # Flower takes a second to import; only here.
    from server.app import NEURAL  # noqa: PLC0415

    started = time.perf_counter()
    typer.echo(f"run {run}", err=True)
    outcome = train(federation_path, run, flags, _tell, model=NEURAL, resume=resume)
    outcome["seconds"] = time.perf_counter() - started
    outcome["release"] = file_release(federation_path, flags, outcome)
    if form is Format.JSON:
        emit(outcome)
        return
    _show(outcome)


def file_release(path: Path, flags: dict[str, Any], outcome: dict[str, Any]) -> dict[str, Any]:
    """Take the release of a training into the registry, as a scorecard's.

    Parameters
    ----------
    path : Path
        The federation file.
    flags : dict
        Settings from the command line, by path.
    outcome : dict
        Of the training.

    Returns
    -------
    dict
        Name, digest, counter and signatures of the release; what it was compared with, or why
        with nothing. Without a release, only ``why``.

    Raises
    ------
    ReleaseRefused
        By the name of the check that failed.
    """
    reply = outcome["release"]
    if "release" not in reply:
        return {"why": reply["why"]}
    agreed, _ = load_federation(path, flags)
    release = unpack_release(reply["release"])
    contract = outcome["contract"]
    Registry(path.parent / FOLDER).take(release, agreed, utc_now(), contract=contract)
    against = release.manifest.evaluation.get("against")
    return screen.release_of(reply) | {
        "against": against,
        "not_compared": "" if against else reply["not_compared"],
    }


def _show(outcome: dict[str, Any]) -> None:
    model, test, customers = outcome["model"], outcome["test"], outcome["customers"]
    undone = sum(one["verdict"] == "harm" for one in outcome["rounds"])
    typer.echo(
        f"neural model {model['digest'][:12]}: {model['parameters']} weights, "
        f"{len(outcome['rounds'])} rounds, {undone} undone, best round {outcome['best_round']}, "
        f"{outcome['seconds']:.1f} s"
    )
    typer.echo(
        f"{customers['train']:,} customers to learn from, {customers['test']:,} to evaluate on: "
        f"AUC {test['auc']:.4f}, KS {test['ks']:.4f}, log loss {test['log_loss']:.4f}"
    )
    if privacy := outcome["privacy"]:
        typer.echo(
            f"with noise: epsilon {privacy['epsilon']:g} at delta {privacy['delta']:g} for "
            f"{privacy['unit']}: that is of the weights; verdicts, metrics and what the release "
            "says beside them (mean input, calibration) are without noise"
        )
    if kept := outcome["test_kept"]:
        typer.echo(
            f"with what each party keeps: AUC {kept['auc']:.4f}, log loss {kept['log_loss']:.4f}; "
            f"why, each finds in its own runs/{outcome['run']}/neural.json"
        )
    _show_release(outcome["release"])


def _show_release(told: dict[str, Any]) -> None:
    if "why" in told:
        typer.echo(f"not released: {told['why']}")
        return
    typer.echo(f"release {told['name']}, signed by {', '.join(told['signatures'])}")
    if told["against"] is None:
        typer.echo(f"not compared with a scorecard: {told['not_compared']}")
        return
    verdict = Verdict.from_mapping(told["against"], "evaluation.against")
    typer.echo(f"compared on the same customers: {verdict.told()}")


def _tell(event: str, details: dict[str, Any]) -> None:
    if event == "lost":
        typer.echo(f"  {details['party']} is lost; {', '.join(details['left'])} go on", err=True)
    if event == "done":
        replies = details["replies"]
        sent = sum(reply["bytes_sent"] for reply in replies.values())
        typer.echo(
            f"  {details['name']:<16} {len(replies)}/{len(replies)} parties  "
            f"{sent / 1e6:.1f} MB up  {details['seconds']:.1f} s",
            err=True,
        )
