"""`confide model compare`: a challenger beside the champion, on the same customers."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import typer

from server.accounts.challenging import challenger as shadow_of
from server.accounts.kept import Span
from server.commands.common import (
    DEFAULT_FEDERATION,
    FederationOption,
    Format,
    FormatOption,
    StoreOption,
    emit,
    store_url,
)
from server.commands.desks import opened_desk
from server.coordinator import load_federation
from server.releases.registry import FOLDER, Registry, signed_verdict
from shared.challenger import compare as paired
from shared.challenger.compare import LEVEL, REPLICATES, Comparison, Pairs
from shared.challenger.verdict import Verdict
from shared.edge.clock import utc_now
from shared.edge.files import read_text, write_atomic
from shared.errors import DataError, NotFound

HEADER: Final = ["label", "champion", "challenger"]
_SQLITE: Final = "sqlite:///"


def compare(
    name: Annotated[str, typer.Argument(help="The challenger, such as neural-0002.")],
    federation: FederationOption = DEFAULT_FEDERATION,
    scores: Annotated[
        Path | None,
        typer.Option(
            help="CSV of customers that neither model has seen: label, and default_prob of both."
        ),
    ] = None,
    against: Annotated[str, typer.Option(help="The other release.  [default: the champion]")] = "",
    seed: Annotated[int, typer.Option(help="Of the redrawn samples behind KS and Brier.")] = 0,
    level: Annotated[float, typer.Option(help="Of the intervals.")] = LEVEL,
    out: Annotated[
        Path | None, typer.Option(help="File of the comparison, for `confide model promote`.")
    ] = None,
    store: StoreOption = "",
    form: FormatOption = Format.TEXT,
) -> None:
    """Compare a challenger with the champion, paired on the same customers.

    With --scores it is compared anew; without, by what its parties signed. Beside that stands what
    the limit service noted of it in shadow, where there is a store.
    """
    agreed, _ = load_federation(federation)
    registry, now = Registry(federation.parent / FOLDER), utc_now()
    other = against or _champion(registry)
    digests = [registry.book().entry(one).digest for one in (other, name)]
    release = registry.verified(name, agreed, now)
    if scores is None:
        verdict = signed_verdict(release.manifest)
    else:
        found = paired.compare(
            read_scores(scores), np.random.default_rng(seed), level=level, replicates=REPLICATES
        )
        verdict = Verdict(digests[0], digests[1], found)
    if out is not None:
        if verdict is None:
            raise NotFound(f"{name} has no comparison to write", hint="give --scores")
        write_atomic(out, f"{json.dumps(verdict.to_mapping(), indent=2)}\n".encode())
    problem = "it was not compared" if verdict is None else verdict.problem(*digests)
    view = {
        "challenger": name,
        "against": other,
        "comparison": None if verdict is None else verdict.comparison.to_mapping(),
        "signed": scores is None and verdict is not None,
        "promotable": not problem,
        "problem": problem,
        "shadow": _shadow(federation, store),
    }
    if form is Format.JSON:
        emit(view)
    else:
        _print(view, None if verdict is None else verdict.comparison)


def read_scores(path: Path) -> Pairs:
    """Read a CSV of held-out customers: ``label,champion,challenger``, a line each.

    Raises
    ------
    DataError
        If it has another header, or a line that is not a label and two probabilities.
    EnvironmentFault
        If it cannot be read.
    """
    rows = csv.reader(io.StringIO(read_text(path)))
    if [text.strip() for text in next(rows, [])] != HEADER:
        raise DataError(str(path), [f"its first line must be {','.join(HEADER)}"])
    try:
        table = np.array([[float(text) for text in row] for row in rows if row], dtype=np.float64)
    except ValueError as error:
        raise DataError(str(path), ["a line holds something else than numbers"]) from error
    if table.ndim != 2 or table.shape[1] != len(HEADER):
        raise DataError(str(path), ["every line must hold a label and two probabilities"])
    return Pairs.of_rows(table[:, 0], table[:, 1], table[:, 2])


def _champion(registry: Registry) -> str:
    champion = registry.book().champion
    if champion is None:
        raise NotFound("no release serves", hint="name the other release with --against")
    return champion.name


def _shadow(federation: Path, store: str) -> dict[str, Any] | None:
    """Return what the limit service noted; None where it has no store."""
    url = store_url(store, federation)
    if url.startswith(_SQLITE) and not Path(url.removeprefix(_SQLITE)).exists():
        return None
    with opened_desk(federation, store) as desk, desk.store.read() as db:
        now = datetime.now(UTC)
        desk.follow(db, now)
        return shadow_of(desk, db, Span.of(None, None, desk.today(now)), now)


def _print(view: Mapping[str, Any], found: Comparison | None) -> None:
    typer.echo(f"{view['challenger']} against {view['against']}")
    if found is not None:
        typer.echo(f"  {found.customers} customers, {found.bads} bad; p {found.p_value:.4f}")
        for key in ("auc", "ks", "brier"):
            one = getattr(found, key)
            gap = one.difference
            typer.echo(
                f"  {key:<6} {one.champion:.4f} -> {one.challenger:.4f}  "
                f"{gap.value:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}]"
            )
    typer.echo(
        "  can be promoted" if view["promotable"] else f"  not promotable: {view['problem']}"
    )
    shadow = view["shadow"]
    if shadow is None or shadow["challenger"] is None:
        typer.echo("  in shadow: nothing noted yet")
        return
    people = shadow["people"] if shadow["people"] is not None else f"under {shadow['floor']}"
    typer.echo(f"  in shadow: {people} people, {shadow['challenger']} beside {shadow['champion']}")
    if shadow["limits"] is not None:
        limits = shadow["limits"]
        typer.echo(f"    limits {limits['champion_minor']} -> {limits['challenger_minor']} in all")
