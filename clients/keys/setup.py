"""`confide init`: a federation file, a folder and a key for every party."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from clients.holdings import load_contract
from clients.keys.commands import HostOption, LimitsHostOption
from clients.keys.keyfiles import make_keys
from clients.keys.requests import party_file
from shared.contract import EVERY
from shared.edge.files import write_atomic
from shared.errors import EnvironmentFault, UsageError
from shared.jobs import COORDINATOR
from shared.protocols.sum_job import MIN_COHORT
from shared.sections import Card, Limits, Member, Neural, Privacy, Protocol, Publishing
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
# SHA-256 of the certificate that signs everybody's TLS certificate.
ca = {ca}

"""


def init(
    folder: Annotated[Path, typer.Argument(help="Where; made if need be.")] = Path(),
    contract: Annotated[
        Path | None, typer.Option(help="The data contract.  [default: contract.toml in the folder]")
    ] = None,
    name: Annotated[str, typer.Option(help="Name of the federation.")] = "confide",
    builder: Annotated[str, typer.Option(help="Who fits; by default who has the label.")] = "",
    party: Annotated[
        list[str] | None,
        typer.Option(help="A bank: a party with the features that the contract gives to '*'."),
    ] = None,
    host: HostOption = None,
    limits_host: LimitsHostOption = None,
    apart: Annotated[
        bool,
        typer.Option(
            "--apart", help="No party's keys: each makes its own, see `confide keys request`."
        ),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace it and all keys.")] = False,
) -> None:
    """Write a commented federation.toml, and a home with a key for every party."""
    path = init_federation(
        folder,
        contract or folder / "contract.toml",
        name=name,
        builder=builder,
        parties=party or (),
        hosts=host or (),
        limits_hosts=limits_host or (),
        apart=apart,
        force=force,
    )
    then = "confide keys sign every party's request" if apart else "confide train"
    typer.echo(f"{path}: check it, then {then} --federation {path}")


def init_federation(
    folder: Path,
    contract_path: Path,
    *,
    name: str,
    builder: str = "",
    parties: Iterable[str] = (),
    hosts: Iterable[str] = (),
    limits_hosts: Iterable[str] = (),
    apart: bool = False,
    force: bool = False,
) -> Path:
    """Write `federation.toml`, and a home with fresh keys for every party and the coordinator.

    Parameters
    ----------
    folder : Path
        Where; its parties' homes are folders below it.
    contract_path : Path
        The data contract; its owners are the parties.
    name : str
        Name of the federation.
    builder : str
        The party that fits; by default the one with the label, or the first bank.
    parties : iterable of str
        The banks, where several parties hold the features that the contract gives to `EVERY`.
    hosts, limits_hosts : iterable of str
        Further names or addresses of the coordinator, and of the limit service.
    apart : bool
        Whether each party makes its own keys, on a machine of its own: then only the CA's, the
        coordinator's and the limit service's are made, and the file counts once all are pinned.
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
    banks = tuple(dict.fromkeys(name for name in parties if name not in contract.parties))
    everybody = (*contract.parties, *banks)
    if not builder:
        builder = next(iter(banks), "") if contract.label_owner == EVERY else contract.label_owner
    if path.exists() and not force:
        raise EnvironmentFault(f"{path} is already there", hint="--force replaces it and its keys")
    if len(everybody) < 2 or builder not in everybody:
        raise UsageError(
            f"{contract_path}: needs two parties or more, the builder {builder!r} among them",
            hint="" if contract.parties else "name them with --party",
        )
    here = () if apart else everybody
    homes = {name: name for name in (*here, COORDINATOR)}
    pins = make_keys(folder, name, homes, hosts=hosts, limits_hosts=limits_hosts, force=True)
    for party in here:
        _party_file(folder / party, party)
    write_atomic(folder / "contract.toml", contract_path.read_bytes())
    text = _HEADER.format(
        name=json.dumps(name),
        builder=json.dumps(builder),
        contract=json.dumps("contract.toml"),
        ca=json.dumps(pins.ca),
    )
    sections = {
        "protocol": Protocol(),
        "floors": Limits(),
        "scorecard": Card(),
        "neural": Neural(),
        "privacy": Privacy(),
        "release": _publishing(len(everybody), len(banks)),
    }
    text += "\n".join(commented(section, values) for section, values in sections.items())
    members = {"coordinator": COORDINATOR}
    members |= {f"parties.{party}": party for party in everybody}
    for section, member in members.items():
        value = Member(pins.identities.get(member, ""), pins.nodes.get(member, ""), member)
        text += "\n" + commented(section, value)
    write_atomic(path, text.encode())
    return path


def _publishing(n_parties: int, n_banks: int) -> Publishing:
    """Return when a release counts: of more banks than a sum needs, one may drop out."""
    return Publishing(quorum=n_parties - 1) if n_banks > MIN_COHORT else Publishing()


def _party_file(home: Path, party: str) -> None:
    write_atomic(home / "party.toml", party_file(party).encode())
