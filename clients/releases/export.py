"""`confide model export`: a party's part of the card as JSON or SQL, or the whole card as JSON.

A part holds the party's private edges and belongs to the party. The whole card has points over
public bins and no edge; only where all homes lie on this machine can the parts be joined into a
card that scores a customer by itself.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from clients.card.parts import Part
from clients.party import Party
from clients.releases.kept import load_release, own_release
from clients.releases.sql import part_sql
from shared.config import parse_federation
from shared.contract import Contract
from shared.edge.files import read_text, write_atomic
from shared.errors import DataError, UsageError
from shared.release import SCORECARD, Manifest, verify_release
from shared.scorecard.bins import Axis, Cells, Levels
from shared.scorecard.columns import BlockPlan

SCHEMA = 1


class As(StrEnum):
    """Form of an export."""

    JSON = "json"
    SQL = "sql"


def export(
    federation: Annotated[
        Path, typer.Option("--federation", "-f", help="The federation file.")
    ] = Path("federation.toml"),
    party: Annotated[
        str, typer.Option("--party", "-p", help="Its own part, with its private edges.")
    ] = "",
    release: Annotated[str, typer.Option(help="Name of the release.  [default: the newest]")] = "",
    form: Annotated[As, typer.Option("--as", help="sql: a part only.")] = As.JSON,
    join: Annotated[
        bool, typer.Option("--join", help="Join all parts: every party's home must be here.")
    ] = False,
    table: Annotated[str, typer.Option(help="Name of the table in the SQL.")] = "customers",
    out: Annotated[Path | None, typer.Option(help="File.  [default: stdout]")] = None,
) -> None:
    """Write a released card, or one party's part of it, for use in another system."""
    if form is As.SQL and not party:
        raise UsageError("SQL needs edges, and only a party has its own", hint="name a --party")
    if join and party:
        raise UsageError("--join takes the parts of all parties", hint="leave out --party")
    if party:
        own = Party.load(federation, party)
        signed, part = own_release(own, release, expired=True)
        if form is As.SQL:
            text = part_sql(signed.manifest, party, part, own.contract, table)
        else:
            text = _json(part_json(signed.manifest, own.contract, {party: part}))
    elif join:
        text = _json(_joined(federation, release))
    else:
        text = _json(card_json(_registered(federation, release)))
    if out is None:
        typer.echo(text, nl=False)
    else:
        write_atomic(out, text.encode())


def card_json(manifest: Manifest) -> dict[str, Any]:
    """Return the whole card over features: public labels and points, no edge.

    Parameters
    ----------
    manifest : Manifest
    """
    card = manifest.card
    return _head(manifest, "scorecard", [asdict(line) for line in card.lines]) | {
        "scale": asdict(card.scale),
        "baseline": card.baseline.to_mapping(),
        "calibration": card.calibration.to_mapping() if card.calibration else None,
    }


def part_json(manifest: Manifest, contract: Contract, parts: Mapping[str, Part]) -> dict[str, Any]:
    """Return the lines of some parties with their edges, for `clients.releases.reader.score_row`.

    Parameters
    ----------
    manifest : Manifest
    contract : Contract
        Says which codes mean missing.
    parts : mapping of str to Part
        By party.
    """
    lines: list[dict[str, Any]] = []
    for party, part in sorted(parts.items()):
        own = manifest.card.of(party)
        lines += [
            asdict(line) | _edges(plan, contract)
            for line, plan in zip(own, part.plans, strict=True)
        ]
    names = {name for part in parts.values() for plan in part.plans for name in _sources(plan)}
    columns = {
        name: {"dtype": feature.dtype, "missing": list(feature.missing)}
        for name in sorted(names)
        for feature in [contract.feature(name)]
    }
    kind = "scorecard-part" if len(parts) == 1 else "scorecard-joined"
    return _head(manifest, kind, lines) | {"columns": columns}


def _head(manifest: Manifest, kind: str, lines: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "kind": kind,
        "release": manifest.name,
        "manifest": manifest.digest(),
        "contract": manifest.contract,
        "parties": sorted({line["owner"] for line in lines}),
        "lines": lines,
    }


def _sources(plan: BlockPlan) -> tuple[str, ...]:
    return plan.summary.sources if plan.summary else plan.features


def _edges(plan: BlockPlan, contract: Contract) -> dict[str, Any]:
    """Return how a line's values become bins, spelled out."""
    bins = plan.bins
    if isinstance(bins, Levels):
        texts = contract.feature(bins.name).levels
        return {
            "levels": {
                "bins": dict(zip(texts, bins.groups, strict=True)),
                "missing": bins.missing,
            }
        }
    if isinstance(bins, Cells):
        axes = [_axis(bins.first), _axis(bins.second)]
        return {"cells": {"axes": axes, "bins": bins.grid().tolist()}}
    value: dict[str, Any] = {"axis": _axis(bins)}
    if plan.summary:
        special = dict(plan.source_special)
        value["summary"] = {
            "kind": plan.summary.kind,
            "features": list(plan.summary.features),
            "relation": plan.summary.relation,
            "other": plan.summary.other,
            "special": {name: list(special.get(name, ())) for name in plan.summary.sources},
        }
    return value


def _axis(axis: Axis) -> dict[str, Any]:
    return {
        "edges": list(axis.edges),
        "special": list(axis.special),
        "apart": [list(codes) for codes in axis.apart],
        "home": axis.home_bin,
    }


def _registered(federation_path: Path, name: str) -> Manifest:
    """Return the manifest of a release in the folder beside the federation file, verified."""
    text = read_text(federation_path)
    federation, _ = parse_federation(text, str(federation_path), os.environ)
    signed = load_release(federation_path.parent / "releases", name, kind=SCORECARD)
    manifest = signed.manifest
    verify_release(signed, federation, now=manifest.created, newest=manifest.counter - 1)
    return manifest


def _joined(federation_path: Path, name: str) -> dict[str, Any]:
    """Join the parts of all parties, whose homes are on this machine."""
    text = read_text(federation_path)
    federation, _ = parse_federation(text, str(federation_path), os.environ)
    parts, manifests, contract = {}, {}, None
    for holder in federation.holders:
        own = Party.load(federation_path, holder)
        signed, parts[holder] = own_release(own, name, expired=True)
        manifests[signed.manifest.digest()] = signed.manifest
        contract = own.contract
    if len(manifests) != 1 or contract is None:
        raise DataError("releases", ["the parties do not keep the same release"], hint="--release")
    (manifest,) = manifests.values()
    return part_json(manifest, contract, parts) | {
        key: value
        for key, value in card_json(manifest).items()
        if key in {"scale", "baseline", "calibration"}
    }


def _json(value: Any) -> str:
    return json.dumps(value, indent=1) + "\n"
