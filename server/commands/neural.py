"""`confide train --model neural`: federated averaging over secure sums, on engine `local`."""

from __future__ import annotations

import time
import warnings
from pathlib import Path
from typing import Any

import typer

from server.commands.common import Format, emit


def train_neural(federation_path: Path, flags: dict[str, Any], form: Format) -> None:
    """Train the neural model; progress goes to stderr, the result to stdout.

    Raises
    ------
    ConfideError
        Under the name of the party at which it happened.
    """
    # Flower's own generated code may be older than the protobuf that it runs on.
    warnings.filterwarnings("ignore", "Protobuf gencode", UserWarning)
    # Flower takes a second to import; only here.
    from server.app import NEURAL  # noqa: PLC0415
    from server.launcher import new_run, train_local  # noqa: PLC0415

    started = time.perf_counter()
    outcome = train_local(federation_path, new_run(), flags, _tell, model=NEURAL)
    outcome["seconds"] = time.perf_counter() - started
    if form is Format.JSON:
        emit(outcome)
        return
    model, test, customers = outcome["model"], outcome["test"], outcome["customers"]
    typer.echo(
        f"neural model {model['digest'][:12]}: {model['parameters']} weights, "
        f"{len(outcome['rounds'])} rounds, {outcome['seconds']:.1f} s"
    )
    typer.echo(
        f"{customers['train']:,} customers to learn from, {customers['test']:,} to evaluate on; "
        f"mean of the parties' AUC {test['auc']:.4f}, log loss {test['log_loss']:.4f}"
    )


def _tell(event: str, details: dict[str, Any]) -> None:
    if event == "done":
        replies = details["replies"]
        sent = sum(reply["bytes_sent"] for reply in replies.values())
        typer.echo(
            f"  {details['name']:<16} {len(replies)}/{len(replies)} parties  "
            f"{sent / 1e6:.1f} MB up  {details['seconds']:.1f} s",
            err=True,
        )
