"""`confide data`: check, make, fetch and split tables at a party.

The root command finds this group through the entry points ``confide.commands``; it turns a
`ConfideError` into text or JSON and the exit status. The result goes to stdout, progress to stderr.
"""

from __future__ import annotations

import difflib
import enum
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from clients.data.datasets import (
    TEST_SHARE,
    embedded_contract,
    fetch_uci_default,
    split_holdings,
    split_table,
    write_parties,
)
from clients.data.split import same_features, split_customers
from clients.data.world import DEFAULT_CUSTOMERS, DEFAULT_SEED, make_world
from clients.holdings import arrays, load_contract, load_holding, read_table, write_table
from shared.edge.files import atomic_folder, write_atomic
from shared.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from shared.contract import Columns, Contract

SCHEMA_VERSION = 1

data = typer.Typer(
    name="data",
    help="Check, make, fetch and split tables.",
    no_args_is_help=True,
    add_completion=False,
)


class Format(enum.StrEnum):
    """How the result is written to stdout."""

    TEXT = "text"
    JSON = "json"


class PurposeOption(enum.StrEnum):
    """What a table is for."""

    TRAIN = "train"
    SCORE = "score"


class Dataset(enum.StrEnum):
    """Real data that can be fetched."""

    UCI_DEFAULT = "uci-default"


FormatOption = Annotated[Format, typer.Option("--format", help="Form of the result.")]
ContractOption = Annotated[
    str, typer.Option(help="Contract file, or one that comes along: world, uci_default.")
]
TestShareOption = Annotated[
    float, typer.Option(min=0.01, max=0.9, help="Share of customers held out, by hash of the id.")
]


@data.command()
def check(
    file: Annotated[Path, typer.Argument(help="CSV, CSV.gz or Parquet.")],
    contract: ContractOption,
    party: Annotated[str, typer.Option(help="Whose table it is.")],
    purpose: Annotated[
        PurposeOption, typer.Option(help="score: no label, and constant columns are allowed.")
    ] = PurposeOption.TRAIN,
    form: FormatOption = Format.TEXT,
) -> None:
    """Hold a table against the contract; all findings come at once, and exit status 1."""
    agreed, _ = _contract(contract)
    if not agreed.of(party):  # a bank may have any name where banks share columns
        near = difflib.get_close_matches(party, agreed.parties, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(agreed.parties)}"
        raise UsageError(f"contract {agreed.name} knows no party {party!r}", hint=hint)
    columns = load_holding(file, agreed, party, purpose.value)
    _emit(form, _summary(file, agreed, party, columns), _check_text)


@data.command()
def make(
    out: Annotated[Path, typer.Argument(help="New folder.")],
    customers: Annotated[
        int, typer.Option(min=1_000, max=10_000_000, help="People in the world.")
    ] = DEFAULT_CUSTOMERS,
    seed: Annotated[int, typer.Option(min=0, help="The same seed, the same world.")] = DEFAULT_SEED,
    test_share: TestShareOption = TEST_SHARE,
    form: FormatOption = Format.TEXT,
) -> None:
    """Make a simulated world: four holders, one customer base, no download."""
    agreed, content = embedded_contract("world")
    _say(f"making {customers:,} customers")
    parts = split_holdings(make_world(customers, seed), agreed, test_share=test_share)
    with atomic_folder(out) as folder:
        write_parties(folder, parts, content)
    _emit(form, {"folder": str(out), **_sizes(agreed, parts)}, _parties_text)


@data.command()
def fetch(
    dataset: Annotated[Dataset, typer.Argument(help="Which data.")],
    out: Annotated[Path, typer.Argument(help="New folder.")],
    source: Annotated[
        Path | None, typer.Option("--from", help="A .csv, .csv.gz, .xls or .zip at hand.")
    ] = None,
    form: FormatOption = Format.TEXT,
) -> None:
    """Fetch real data from its publisher, checked against the digest of its content."""
    _, content = embedded_contract("uci_default")
    _say("downloading from archive.ics.uci.edu" if source is None else f"reading {source}")
    columns = fetch_uci_default(source, progress=_Progress())
    with atomic_folder(out) as folder:
        write_table(folder / "uci_default.parquet", columns)
        write_atomic(folder / "contract.toml", content)
    result = {
        "dataset": dataset.value,
        "table": str(out / "uci_default.parquet"),
        "contract": str(out / "contract.toml"),
        "rows": len(columns["ID"]),
        "default_rate": round(float(columns["DEFAULT"].mean()), 4),
    }
    _emit(form, result, _fetch_text)


@data.command()
def split(
    table: Annotated[Path, typer.Argument(help="CSV, CSV.gz or Parquet with all columns.")],
    out: Annotated[Path, typer.Argument(help="New folder.")],
    contract: ContractOption,
    test_share: TestShareOption = TEST_SHARE,
    bank: Annotated[
        list[str] | None,
        typer.Option(help="Deal the customers out to banks of these names; each has all columns."),
    ] = None,
    owner: Annotated[
        str, typer.Option(help="With --bank: only this owner's columns; the others keep theirs.")
    ] = "",
    form: FormatOption = Format.TEXT,
) -> None:
    """Split a table: columns by holder, overlapping subsets of customers, train and test."""
    agreed, content = _contract(contract)
    texts = [agreed.id_column, *(item.name for item in agreed.features if item.dtype == "category")]
    columns = arrays(read_table(table, texts=texts))
    if owner and not bank:
        raise UsageError("--owner goes with --bank", hint="name three banks or more")
    if bank:
        agreed, content = same_features(content, contract, owner)
    _say(f"splitting {table.name} among {', '.join((*(bank or ()), *agreed.parties))}")
    if bank:
        parts = split_customers(columns, agreed, bank, source=table.name, test_share=test_share)
    else:
        parts = split_table(columns, agreed, source=table.name, test_share=test_share)
    with atomic_folder(out) as folder:
        write_parties(folder, parts, content)
    _emit(form, {"folder": str(out), **_sizes(agreed, parts)}, _parties_text)


def _contract(name: str) -> tuple[Contract, bytes]:
    """Read the contract file `name`, or the embedded contract of that name."""
    path = Path(name)
    if path.suffix or path.exists():
        return load_contract(path), path.read_bytes()
    return embedded_contract(name)


def _summary(file: Path, agreed: Contract, party: str, columns: Columns) -> dict[str, Any]:
    missing = {name: int(np.isnan(values).sum()) for name, values in columns.values.items()}
    summary: dict[str, Any] = {
        "file": str(file),
        "contract": {"name": agreed.name, "version": agreed.version, "digest": agreed.digest()},
        "party": party,
        "rows": len(columns.ids),
        "features": len(columns.values),
        "missing": {name: count for name, count in missing.items() if count},
        "notes": list(columns.notes),
    }
    if columns.label is not None:
        summary["default_rate"] = round(float(columns.label.mean()), 4)
    return summary


def _sizes(
    agreed: Contract, parts: Mapping[str, Mapping[str, Mapping[str, NDArray[Any]]]]
) -> dict[str, Any]:
    key = agreed.id_column
    return {
        "contract": {"name": agreed.name, "version": agreed.version, "digest": agreed.digest()},
        "parties": {
            party: {
                "train": len(part["train"][key]),
                "test": len(part["test"][key]),
                "features": len(agreed.of(party)),
            }
            for party, part in parts.items()
        },
        "common": {
            name: len(set.intersection(*(set(part[name][key]) for part in parts.values())))
            for name in ("train", "test")
        },
    }


def _check_text(result: Mapping[str, Any]) -> str:
    rate = f", {result['default_rate']:.1%} default" if "default_rate" in result else ""
    contract = f"contract {result['contract']['name']} version {result['contract']['version']}"
    lines = [
        f"{result['file']}: fits {contract}, party {result['party']}",
        f"  {result['rows']:,} rows, {result['features']} features{rate}",
    ]
    if result["missing"]:
        counts = ", ".join(f"{name} {count:,}" for name, count in result["missing"].items())
        lines.append(f"  missing: {counts}")
    return "\n".join([*lines, *(f"  note: {note}" for note in result["notes"])])


def _parties_text(result: Mapping[str, Any]) -> str:
    rows = [
        f"  {party:<12}{size['train']:>9,}{size['test']:>9,}{size['features']:>10}"
        for party, size in result["parties"].items()
    ]
    common = result["common"]
    return "\n".join(
        [
            f"{result['folder']}: contract {result['contract']['name']}",
            f"  {'party':<12}{'train':>9}{'test':>9}{'features':>10}",
            *rows,
            f"  {'in common':<12}{common['train']:>9,}{common['test']:>9,}",
        ]
    )


def _fetch_text(result: Mapping[str, Any]) -> str:
    return (
        f"{result['table']}: {result['rows']:,} customers, {result['default_rate']:.1%} default\n"
        f"  next: confide data split {result['table']} PARTIES --contract {result['contract']}"
    )


def _emit(form: Format, result: dict[str, Any], text: Callable[[Mapping[str, Any]], str]) -> None:
    if form is Format.JSON:
        envelope = {"schema_version": SCHEMA_VERSION, "status": "ok", "data": result}
        typer.echo(json.dumps(envelope, indent=2))
    else:
        typer.echo(text(result))


def _say(line: str) -> None:
    typer.echo(line, err=True)


class _Progress:
    """Says every megabyte how far a download is."""

    def __init__(self) -> None:
        self.said = 0

    def __call__(self, done: int, total: int | None) -> None:
        """Report `done` bytes of `total`."""
        if done - self.said >= 2**20 or done == total:
            self.said = done
            of = f" of {total / 2**20:.1f}" if total else ""
            _say(f"  {done / 2**20:.1f}{of} MB")
