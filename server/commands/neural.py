"""`confide train --model neural`: federated averaging over secure sums, on any engine."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

from server.commands.common import Format, emit


def train_neural(
    federation_path: Path,
    flags: dict[str, Any],
    form: Format,
    train: Callable[..., dict[str, Any]],
    *,
    resume: str = "",
) -> None:
    """Train the neural model; progress goes to stderr, the result to stdout.

    Parameters
    ----------
    federation_path : Path
    flags : dict
        Settings from the command line, by path.
    form : Format
    train : callable
        The engine's: `server.launcher.train_local`, or what takes the same arguments.
    resume : str
        A run to go on with from its last round; empty for a new one.

    Raises
    ------
    ConfideError
        Under the name of the party at which it happened.
    """
    # Flower's own generated code may be older than the protobuf that it runs on.
    warnings.filterwarnings("ignore", "Protobuf gencode", UserWarning)
    # Flower takes a second to import; only here.
    from server.app import NEURAL  # noqa: PLC0415
    from server.launcher import new_run  # noqa: PLC0415

    started = time.perf_counter()
    run = resume or new_run()
    typer.echo(f"run {run}", err=True)
    outcome = train(federation_path, run, flags, _tell, model=NEURAL, resume=bool(resume))
    outcome["seconds"] = time.perf_counter() - started
    if form is Format.JSON:
        emit(outcome)
        return
    _show(outcome)


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
            f"{privacy['unit']}; verdicts and metrics are of other customers, without noise"
        )
        return
    typer.echo(
        f"with what each party keeps: AUC {outcome['test_kept']['auc']:.4f}, "
        f"log loss {outcome['test_kept']['log_loss']:.4f}; why, each finds in its own "
        f"runs/{outcome['run']}/neural.json"
    )


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
