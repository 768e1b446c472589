"""`confide init`: a federation file, a folder and a key for every party."""

from __future__ import annotations

import json
from dataclasses import replace
from os import urandom
from pathlib import Path
from typing import Annotated

import typer

from clients.files import write_atomic
from clients.holdings import load_contract
from shared.config import Card, Limits, Member, PartyFile, Protocol
from shared.errors import EnvironmentFault, UsageError
from shared.identity import Identity
from shared.settings import commented

_HEADER = """\
# A confide federation: what the parties agreed on. Every party keeps its own copy; the digests of
# all copies are compared before anything is exchanged. Settings at their default are commented out.

# Name of the federation.
name = {name}
# The party that opens statistics and fits the card; it holds the label.
builder = {builder}
# The data contract, relative to this file.
contract = {contract}

"""


def init(
    folder: Annotated[Path, typer.Argument(help="Where; made if need be.")] = Path(),
    contract: Annotated[
        Path | None, typer.Option(help="The data contract.  [default: contract.toml in the folder]")
    ] = None,
    name: Annotated[str, typer.Option(help="Name of the federation.")] = "confide",
    builder: Annotated[str, typer.Option(help="Who fits; by default who has the label.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Replace it and all keys.")] = False,
) -> None:
    """Write a commented federation.toml, and a home with a key for every party."""
    path = init_federation(
        folder, contract or folder / "contract.toml", name=name, builder=builder, force=force
    )
    typer.echo(f"{path}: check it, then confide train --federation {path}")


def init_federation(
    folder: Path, contract_path: Path, *, name: str, builder: str = "", force: bool = False
) -> Path:
    """Write `federation.toml`, and a home with a fresh key for every party and the coordinator.

    Parameters
    ----------
    folder : Path
        Where; its parties' homes are folders below it.
    contract_path : Path
        The data contract; its owners are the parties.
    name : str
        Name of the federation.
    builder : str
        The party that fits; by default the one with the label.
    force : bool
        Replace what is there. Fresh keys make earlier releases and pins worthless.

    Returns
    -------
    Path
        The federation file.

    Raises
    ------
    EnvironmentFault
        If there is one already and `force` is false, or a file cannot be written.
    UsageError
        If the contract names fewer than two parties, or the builder is none of them.
    """
    contract = load_contract(contract_path)
    path = folder / "federation.toml"
    builder = builder or contract.label_owner
    if path.exists() and not force:
        raise EnvironmentFault(f"{path} is already there", hint="--force replaces it and its keys")
    if len(contract.parties) < 2 or builder not in contract.parties:
        raise UsageError(
            f"{contract_path}: needs two parties or more, the builder {builder!r} among them"
        )
    pins = {party: _home(folder / party, party) for party in contract.parties}
    pin = _key(folder / "coordinator" / "identity.key", "coordinator")
    write_atomic(folder / "contract.toml", contract_path.read_bytes())
    text = _HEADER.format(
        name=json.dumps(name), builder=json.dumps(builder), contract=json.dumps("contract.toml")
    )
    sections = {"protocol": Protocol(), "floors": Limits(), "scorecard": Card()}
    text += "\n".join(commented(section, values) for section, values in sections.items())
    text += "\n" + commented("coordinator", Member(pin, "coordinator"))
    text += "".join(
        "\n" + commented(f"parties.{party}", Member(fingerprint, party))
        for party, fingerprint in pins.items()
    )
    write_atomic(path, text.encode())
    return path


def _home(home: Path, party: str) -> str:
    """Make a party's folder; return its fingerprint."""
    own = replace(PartyFile(), train="train.parquet", test="test.parquet")
    pin = _key(home / own.key, party)
    text = f"# {party}: its own settings. Nobody else reads this file.\n\n{commented('', own)}"
    write_atomic(home / "party.toml", text.encode())
    return pin


def _key(path: Path, name: str) -> str:
    identity = Identity(name, urandom(32))
    write_atomic(path, identity.secret.hex().encode() + b"\n", mode=0o600)
    return identity.fingerprint
