"""`confide model`: the releases of a federation, and which of them serves."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from server.api.views import model_view
from server.commands.common import (
    DEFAULT_FEDERATION,
    FederationOption,
    Format,
    FormatOption,
    emit,
)
from server.coordinator import load_federation
from server.releases.book import Entry, Trial
from server.releases.registry import FOLDER, Registry
from shared.challenger.verdict import Verdict
from shared.config import Federation
from shared.edge.clock import utc_now
from shared.edge.files import read_text
from shared.errors import DataError, NotFound
from shared.manifest import Manifest

CHECKS = (
    "form",
    "federation",
    "contract",
    "signature",
    "quorum",
    "weights",
    "counter",
    "clock",
    "expiry",
)

model = typer.Typer(no_args_is_help=True, help="The releases, and which of them serves.")

NameArgument = Annotated[str, typer.Argument(help="Name of a release, such as scorecard-0001.")]
ChosenArgument = Annotated[
    str, typer.Argument(help="Name of a release; without one, the one that serves.")
]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; it is kept in the log.")]
_BY_HAND = "by hand"


@model.command("list")
def list_releases(
    federation: FederationOption = DEFAULT_FEDERATION, form: FormatOption = Format.TEXT
) -> None:
    """List every release with its state."""
    registry, _ = open_registry(federation)
    entries = list(registry.book().entries.values())
    if form is Format.JSON:
        emit([asdict(entry) for entry in entries])
        return
    for entry in entries:
        typer.echo(f"{entry.name}  {entry.state:<10}  expires {entry.expires}  {entry.digest[:12]}")
    if not entries:
        typer.echo("no release yet")


@model.command()
def show(
    name: ChosenArgument = "",
    federation: FederationOption = DEFAULT_FEDERATION,
    form: FormatOption = Format.TEXT,
) -> None:
    """Show a release: who signed it, what it is worth, and its history."""
    registry, agreed = open_registry(federation)
    book = registry.book()
    entry = _chosen(registry, name)
    release = registry.verified(entry.name, agreed, utc_now())
    view: dict[str, Any] = {
        **model_view(release.manifest, entry.digest),
        "state": entry.state,
        "signed_by": sorted(release.signatures),
        "privacy": privacy_of(release.manifest),
        "log": [asdict(change) for change in book.log if change.release == entry.name],
    }
    if form is Format.JSON:
        emit(view)
        return
    typer.echo(f"{entry.name}  {entry.state}  {entry.digest}")
    typer.echo(f"  made {view['created']}, expires {view['expires']}, run {view['run']}")
    typer.echo(f"  signed by {', '.join(view['signed_by'])} (quorum {agreed.quorum})")
    for key in ("auc", "ks", "calibration_error"):
        if isinstance(value := view["evaluation"].get(key), float):
            typer.echo(f"  {key} {value:.4f}")
    for party in view["parties"]:
        typer.echo(f"  {party['party']:<12} worth {party['worth']:.4f}")
    _tell_privacy(release.manifest)
    for change in view["log"]:
        was = f"{change['was']} -> " if change["was"] else ""
        typer.echo(
            f"  {change['time']}  {change['action']}: {was}{change['now']}, {change['reason']}"
        )


@model.command()
def verify(
    name: ChosenArgument = "",
    federation: FederationOption = DEFAULT_FEDERATION,
    form: FormatOption = Format.TEXT,
) -> None:
    """Check a release again, from the first byte to its expiry."""
    registry, agreed = open_registry(federation)
    entry = _chosen(registry, name)
    release = registry.verified(entry.name, agreed, utc_now())
    signers = sorted(release.signatures)
    if form is Format.JSON:
        told = {"release": entry.name, "digest": entry.digest, "checks": CHECKS, "by": signers}
        emit(told | {"privacy": privacy_of(release.manifest)})
        return
    typer.echo(f"{entry.name} is in order: {', '.join(CHECKS)}; signed by {', '.join(signers)}")
    _tell_privacy(release.manifest)


def privacy_of(manifest: Manifest) -> dict[str, Any]:
    """Return what each party's ledger comes to, by its own signed word; None without noise."""
    return {
        name: None if party.privacy is None else asdict(party.privacy)
        for name, party in sorted(manifest.parties.items())
    }


def _tell_privacy(manifest: Manifest) -> None:
    noised = {name: one.privacy for name, one in sorted(manifest.parties.items())}
    if not any(noised.values()):
        typer.echo("  nothing left a party with noise: no epsilon holds for anything")
        return
    for name, one in noised.items():
        typer.echo(f"  {name:<12} {one.told() if one else 'no opening of it had noise'}")


@model.command()
def promote(
    name: NameArgument,
    federation: FederationOption = DEFAULT_FEDERATION,
    reason: ReasonOption = _BY_HAND,
    comparison: Annotated[
        Path | None, typer.Option("--comparison", help="Of `confide model compare --out`.")
    ] = None,
    form: FormatOption = Format.TEXT,
) -> None:
    """Let a release serve; the one before it can come back by `rollback`.

    One of another kind than the champion needs a comparison with it: the one that its parties
    signed, or a file of `confide model compare`.
    """
    registry, agreed = open_registry(federation)
    verdict = None if comparison is None else read_verdict(comparison)
    _told(registry.promote(name, agreed, utc_now(), reason, verdict), form)


@model.command("try")
def try_out(
    name: NameArgument,
    slots: Annotated[int, typer.Option(help="Of 10,000 customers; 0 ends it.")],
    salt: Annotated[str, typer.Option(help="Another salt is another split of them.")] = "",
    federation: FederationOption = DEFAULT_FEDERATION,
    reason: ReasonOption = _BY_HAND,
    form: FormatOption = Format.TEXT,
) -> None:
    """Let a challenger decide for its share of the customers, the same ones as long as it lasts."""
    registry, agreed = open_registry(federation)
    if slots == 0:
        entry = registry.end_trial(name, utc_now(), reason)
    else:
        trial = Trial(name, slots, salt or name)
        entry = registry.try_out(trial, agreed, utc_now(), reason)
    if form is Format.JSON:
        emit({**asdict(entry), "slots": slots})
    else:
        typer.echo(f"{name} decides for {slots} of 10,000 customers")


@model.command()
def rollback(
    federation: FederationOption = DEFAULT_FEDERATION,
    reason: ReasonOption = _BY_HAND,
    form: FormatOption = Format.TEXT,
) -> None:
    """Let the release that served before serve again."""
    registry, agreed = open_registry(federation)
    _told(registry.rollback(agreed, utc_now(), reason), form)


@model.command()
def retire(
    name: NameArgument,
    federation: FederationOption = DEFAULT_FEDERATION,
    reason: ReasonOption = _BY_HAND,
    form: FormatOption = Format.TEXT,
) -> None:
    """Put a release away for good; its files and its history stay."""
    registry, _ = open_registry(federation)
    _told(registry.retire(name, utc_now(), reason), form)


def read_verdict(path: Path) -> Verdict:
    """Read what ``confide model compare --out`` wrote.

    Raises
    ------
    DataError
        If it is malformed.
    EnvironmentFault
        If it cannot be read.
    """
    try:
        value = json.loads(read_text(path))
    except ValueError as error:
        raise DataError(str(path), ["is not JSON"]) from error
    return Verdict.from_mapping(value, str(path))


def open_registry(path: Path) -> tuple[Registry, Federation]:
    """Return the registry beside a federation file, and the file's content."""
    agreed, _ = load_federation(path)
    return Registry(path.parent / FOLDER), agreed


def _chosen(registry: Registry, name: str) -> Entry:
    book = registry.book()
    if name:
        return book.entry(name)
    if book.champion is None:
        hint = "name one, or let one serve by `confide model promote NAME`"
        raise NotFound("no release serves", hint=hint)
    return book.champion


def _told(entry: Entry, form: Format) -> None:
    if form is Format.JSON:
        emit(asdict(entry))
    else:
        typer.echo(f"{entry.name} is {entry.state} now")
