"""What the command line shows: one line a phase, a final table, and errors."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from shared.config import Federation
from shared.errors import ConfideError, ConfigError, DataError
from shared.phases import PHASES, TOGETHER

_OUT = Console(highlight=False, soft_wrap=True)
_ERR = Console(stderr=True, highlight=False, soft_wrap=True)
_WORDS = {
    "align": "aligning customers",
    "bins": "adding counts, agreeing on bins",
    "cells": "adding counts, agreeing on pairs",
    "moments": "exchanging moments once, fitting",
    "score": "scoring, calibrating, evaluating",
    "release": "checking and signing the release",
}


class Progress:
    """Tells of a run, one line a phase, on stderr.

    Parameters
    ----------
    federation : Federation
    run : str
    """

    def __init__(self, federation: Federation, run: str) -> None:
        self._federation = federation
        self._run = run
        self._started = time.perf_counter()
        self._there = False

    def __call__(self, event: str, details: dict[str, Any]) -> None:
        """Tell of one event."""
        if event in {"phase", "resumed"} and not self._there:
            self._there = True
            parties = ", ".join(self._federation.holders)
            startup = time.perf_counter() - self._started
            _ERR.print(f"run {self._run}: {parties} are there after {startup:.1f} s")
        if event == "phase":
            if _ERR.is_terminal:
                _ERR.print(f"  {_WORDS[details['name']]} ...", end="\r")
        elif event == "resumed":
            done = ", ".join(details["done"]) or "nothing"
            goes = f"it goes on with {details['name']}" if details["name"] else "nothing is left"
            _ERR.print(f"  {done} had ended; {goes}")
        elif event == "lost":
            left = ", ".join(details["left"])
            _ERR.print(f"  {details['party']} was lost in phase {details['name']}; left: {left}")
        elif event == "done":
            _ERR.print(f"  {_line(details)}")


def watch(url: str) -> None:
    """Say, on stderr, where a run can be watched; nothing if nowhere."""
    if url:
        _ERR.print(f"watch it: {url}", markup=False)


def _line(details: dict[str, Any]) -> str:
    replies = details["replies"]
    sent = sum(reply["bytes_sent"] for reply in replies.values())
    first = next(iter(replies.values()))
    told = ""
    if "n_train" in first:
        told = f"{first['n_train']:,} + {first['n_test']:,} customers in common"
    for reply in replies.values():
        if "points_kept" in reply:
            told = f"{reply['columns']} columns, {reply['points_kept']} with points"
        if "auc" in reply:
            told = f"AUC {reply['auc']:.4f}  KS {reply['ks']:.4f}"
        if "release" in reply:
            told = f"{reply['name']}, signed by {len(reply['release']['signatures'])}"
    parties = f"{len(replies)}/{len(replies)} parties"
    cost = f"{sent / 1e6:.1f} MB up  {details['seconds']:.1f} s"
    return f"{details['name']:<8} {parties}  {told:<38} {cost}"


def summary(outcome: dict[str, Any], federation: Federation, folder: Path) -> dict[str, Any]:
    """Return the result of a run as `--format json` prints it.

    Parameters
    ----------
    outcome : dict
        From `server.phases.run_phases`.
    federation : Federation
    folder : Path
        Of the federation file. The card's path is that of the builder's file below it, and empty
        where the builder works on another machine: no party says where it keeps its files.

    Returns
    -------
    dict
    """
    builder = federation.builder
    home = folder.absolute() / federation.home(builder)
    card = home / "runs" / outcome["run"] / "card.json"
    fitted, scored = outcome["moments"][builder], outcome["score"][builder]
    costs = {phase: outcome[phase] for phase in TOGETHER if phase in outcome}
    holders = federation.holders
    apart = _COST | {"alone", "customers"}
    metrics = {key: value for key, value in scored.items() if key not in apart}
    return {
        "run": outcome["run"],
        "builder": builder,
        "contract": outcome["contract"],
        "customers": scored.get("customers")
        or {
            "train": outcome["align"][builder]["n_train"],
            "test": outcome["align"][builder]["n_test"],
        },
        "lost": outcome.get("lost", {}),
        "card": {
            "digest": fitted["card"],
            "path": str(card) if card.is_file() else "",
            "columns": fitted["columns"],
            "points_kept": fitted["points_kept"],
            "explained": fitted["explained"],
        },
        "test": metrics,
        "alone": scored["alone"],
        "worth": fitted["worth"],
        "release": release_of(outcome["release"][builder]),
        "privacy": _privacy(outcome["release"][builder]),
        "seconds": {**outcome["seconds"], "fit": fitted["fit_seconds"]},
        "bytes": {
            phase: {
                holder: replies[holder]["bytes_sent"] if holder in replies else 0
                for holder in holders
            }
            for phase, replies in costs.items()
        },
        "peak_rss_mb": {
            holder: max(
                (one[holder]["peak_rss_mb"] for one in costs.values() if holder in one), default=0
            )
            for holder in holders
        },
    }


def release_of(reply: dict[str, Any]) -> dict[str, Any]:
    """Return what is told of a release: its name, digest, counter and who signed it.

    Parameters
    ----------
    reply : dict
        The builder's, to phase `release` or `neural_release`.
    """
    return {
        "name": reply["name"],
        "digest": reply["digest"],
        "counter": reply["release"]["manifest"]["counter"],
        "signatures": sorted(reply["release"]["signatures"]),
    }


def _privacy(reply: dict[str, Any]) -> dict[str, Any]:
    """Return what the ledgers of parties with noise come to, by their own signed word."""
    parties = reply["release"]["manifest"]["parties"]
    return {name: one["privacy"] for name, one in sorted(parties.items()) if "privacy" in one}


_COST = {"seconds", "bytes_sent", "bytes_received", "peak_rss_mb", "node"}


def table(result: dict[str, Any]) -> None:
    """Print the final table on stdout."""
    worth = {row["holder"]: row for row in result["worth"]}
    title = f"scorecard {result['card']['digest'][:12]}"
    grid = Table(
        title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0)
    )
    for name in ("alone", "AUC", "95 %", "KS", "95 %", "worth", "MB up", "MB RAM"):
        grid.add_column(name, justify="left" if name == "alone" else "right", no_wrap=True)
    for holder, alone in result["alone"].items():
        sent = sum(phase[holder] for phase in result["bytes"].values()) / 1e6
        share = worth[holder]["shapley"] / result["card"]["explained"] if holder in worth else 0.0
        peak = result["peak_rss_mb"][holder]
        grid.add_row(holder, *_scores(alone), f"{share:.0%}", f"{sent:.1f}", f"{peak:.0f}")
    from shared.contract import EVERY  # noqa: PLC0415 - it loads numpy, which --version does not need

    for unit in sorted(set(worth) - set(result["alone"])):
        share = worth[unit]["shapley"] / result["card"]["explained"]
        name = "all banks" if unit == EVERY else unit
        grid.add_row(name, "", "", "", "", f"{share:.0%}", "", "")
    grid.add_section()
    sent = sum(sum(phase.values()) for phase in result["bytes"].values()) / 1e6
    grid.add_row("all together", *_scores(result["test"]), "100%", f"{sent:.1f}", "", style="bold")
    # Of a pipe or a file nobody knows the width; cut numbers would be wrong numbers.
    _OUT.print(grid, width=None if _OUT.is_terminal else 120)
    customers, seconds = result["customers"], result["seconds"]
    _OUT.print(
        f"{customers['train']:,} customers to learn from, {customers['test']:,} to evaluate on; "
        f"{result['card']['points_kept']} points kept of {result['card']['columns']}; "
        f"calibration error {result['test']['calibration_error']:.3f}"
    )
    phases = ("align", "bins", "cells", "moments", "fit", "score", "release")
    spent = "  ".join(f"{phase} {seconds[phase]:.1f} s" for phase in phases if phase in seconds)
    _OUT.print(f"{spent} (fit is part of moments)")
    _OUT.print(f"card: {result['card']['path'] or 'kept by ' + result['builder']}")
    release = result["release"]
    signed = ", ".join(release["signatures"])
    _OUT.print(f"release: {release['name']} ({release['digest'][:12]}), signed by {signed}")
    if result["privacy"]:
        from shared.manifest import noised_from  # noqa: PLC0415 - it loads numpy as well

        for name, value in result["privacy"].items():
            _OUT.print(f"noise: {name} {noised_from(value).told()}")


def _scores(row: dict[str, Any]) -> tuple[str, str, str, str]:
    auc, ks = row["auc_interval"], row["ks_interval"]
    return (
        f"{row['auc']:.4f}",
        f"{auc[0]:.3f}-{auc[1]:.3f}",
        f"{row['ks']:.4f}",
        f"{ks[0]:.3f}-{ks[1]:.3f}",
    )


def dry_run(federation: Federation, path: Path, *, as_json: bool) -> None:
    """Say what a run would do."""
    plan = {
        "federation": str(path),
        "name": federation.name,
        "builder": federation.builder,
        "parties": list(federation.holders),
        "homes": {name: member.home for name, member in federation.parties.items()},
        "phases": ["join", *PHASES],
    }
    if as_json:
        envelope = {"schema_version": 1, "status": "ok", "data": plan}
        _OUT.print_json(json.dumps(envelope))
        return
    _OUT.print(f"{path}: federation {federation.name} is in order")
    _OUT.print(f"  parties {', '.join(federation.holders)}; {federation.builder} fits the card")
    _OUT.print(f"  would run join, {', '.join(PHASES)}; nothing was started")


def error(failure: ConfideError) -> None:
    """Print an error for people: where, what, and what to do."""
    where = f"{failure.party}: " if failure.party else ""
    if isinstance(failure, ConfigError | DataError):
        _ERR.print(f"[red]error[/red] {where}{failure.source}")
        for finding in failure.findings:
            _ERR.print(f"  {finding}", markup=False)
    else:
        _ERR.print("[red]error[/red] ", end="")
        _ERR.print(f"{where}{failure.message}", markup=False)
    if failure.hint:
        _ERR.print(f"  {failure.hint}", markup=False)
