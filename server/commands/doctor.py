"""`confide doctor`: what is wrong on this machine, and how to mend it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from server.commands.common import DEFAULT_FEDERATION, FederationOption, Format, FormatOption, emit
from server.doctor import agreed, machine, reach, secrets
from server.doctor.findings import FAIL, OK, WARN, Finding, failed
from server.engines.run_files import coordinator_home
from server.federation.state import read_state
from shared.config import Federation
from shared.errors import UsageError
from shared.jobs import COORDINATOR

_SHOWN = {OK: "ok  ", WARN: "warn", FAIL: "FAIL"}


def doctor(
    federation: FederationOption = DEFAULT_FEDERATION,
    party: Annotated[
        str, typer.Option(help="Ask with this party's certificate; by default the coordinator's.")
    ] = "",
    superlink: Annotated[str, typer.Option(help="HOST:PORT of the SuperLink's gate.")] = "",
    relay: Annotated[str, typer.Option(help="HOST:PORT of the relay.")] = "",
    limits: Annotated[str, typer.Option(help="HOST:PORT of the limit service.")] = "",
    port: Annotated[
        list[int] | None, typer.Option(help="A port that is to be free on this machine.")
    ] = None,
    form: FormatOption = Format.TEXT,
) -> None:
    """Look at versions, disk, clock, keys, certificates and the others; 1 if something is wrong."""
    others = {"SuperLink": superlink, "relay": relay, "limit service": limits}
    found = examine(federation.absolute(), party, others, port or ())
    if form is Format.JSON:
        emit({"well": not _wrong(found), "findings": [asdict(one) for one in found]})
    else:
        for one in found:
            typer.echo(f"{_SHOWN[one.level]}  {one.check}: {one.said}")
            if one.mend:
                typer.echo(f"      {one.mend}")
    if _wrong(found):
        raise typer.Exit(1)


def _wrong(found: list[Finding]) -> bool:
    return any(one.level == FAIL for one in found)


def examine(
    path: Path, party: str, others: dict[str, str], ports: tuple[int, ...] | list[int]
) -> list[Finding]:
    """Return everything that was found.

    Parameters
    ----------
    path : Path
        The federation file.
    party : str
        Whose certificate is shown to the others; empty for the coordinator's.
    others : mapping of str to str
        Addresses by service; empty ones are not asked.
    ports : sequence of int
        That are to be free.
    """
    base = path.parent
    found = machine.versions()
    found += machine.disk(base) if base.is_dir() else []
    found += machine.ports(ports)
    federation, said = agreed.federation_file(path)
    found += said
    if federation is None:
        return found + machine.leftovers()
    found += agreed.contract(path, federation)
    found += agreed.pinned_keys(path, federation)
    found += secrets.permissions(path, federation)
    found += secrets.certificates(path, federation)
    found += machine.half_written(base)
    home = coordinator_home(federation, path)
    found += machine.standing(home)
    found += machine.leftovers()
    return found + _others(path, federation, party, others)


def _others(
    path: Path, federation: Federation, party: str, others: dict[str, str]
) -> list[Finding]:
    if party and party not in federation.parties:
        raise UsageError(f"{party!r} is no party", hint=", ".join(federation.holders))
    home = path.parent / federation.home(party or COORDINATOR)
    state = read_state(coordinator_home(federation, path))
    if state is not None and not any(others.values()):
        door = state.places.gate if party else state.places.operator
        others = {"SuperLink": f"127.0.0.1:{door}", "relay": f"127.0.0.1:{state.places.relay}"}
    found, answers = [], []
    for name, address in others.items():
        if address:
            answer, said = reach.reach(name, address, home, ca=federation.ca)
            found += said
            answers += [answer] if answer is not None else []
    if any(others.values()) and not answers:
        found.append(failed("clock", "nobody answered to compare with", "mend that first"))
        return found
    return found + reach.clocks(answers, float(federation.release.clock_skew_s))
