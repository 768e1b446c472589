"""`confide keys`: who is who and how members meet.

`init` makes everybody's keys in one go, where all are on one machine. Apart, each member makes its
own: `request` at the member, `sign` at who holds the CA's key, `install` at the member; see
`clients.keys.requests` and `clients.keys.joining`.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from clients.keys import joining
from clients.keys import requests as key_requests
from clients.keys.keyfiles import make_keys, pin
from shared.config import Federation, parse_federation
from shared.edge.files import load_identity, read_text, write_atomic
from shared.edge.tls import read_certificate
from shared.errors import DataError, Refused
from shared.identity import node_fingerprint
from shared.jobs import COORDINATOR

keys = typer.Typer(no_args_is_help=True, help="Keys and certificates of everybody.")

FederationFile = Annotated[Path, typer.Option("--federation", "-f", help="The federation file.")]
HostOption = Annotated[
    list[str] | None,
    typer.Option(help="A further name or address under which the coordinator is reached."),
]
LimitsHostOption = Annotated[
    list[str] | None,
    typer.Option(help="A further name or address under which the limit service is reached."),
]


@keys.command("init")
def init_keys(
    federation: FederationFile = Path("federation.toml"),
    host: HostOption = None,
    limits_host: LimitsHostOption = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the keys that are there.")
    ] = False,
) -> None:
    """Make the CA and every key that is missing; pin all in the federation file."""
    text = read_text(federation)
    agreed, _ = parse_federation(text, str(federation), os.environ)
    homes = {name: agreed.home(name) for name in (*agreed.parties, COORDINATOR)}
    apart = [name for name in agreed.holders if _is_apart(federation.parent / homes[name])]
    if apart:
        raise Refused(
            f"{', '.join(apart)}: on machines of their own, with keys of their own",
            hint="renew theirs by `confide keys request` there and `confide keys sign` here",
        )
    pins = make_keys(
        federation.parent,
        agreed.name,
        homes,
        hosts=host or (),
        limits_hosts=limits_host or (),
        force=force,
    )
    write_atomic(federation, pin(text, pins).encode())
    typer.echo(
        f"{federation}: pins {len(pins.identities)} identities, {len(pins.nodes)} nodes, a CA"
    )


@keys.command("show")
def show_keys(
    federation: FederationFile = Path("federation.toml"),
    form: Annotated[str, typer.Option("--format", help="text or json.")] = "text",
) -> None:
    """Print every fingerprint, and whether the files on this machine are the pinned ones."""
    agreed, _ = parse_federation(read_text(federation), str(federation), os.environ)
    rows = [_described(federation.parent, agreed, name) for name in (*agreed.holders, COORDINATOR)]
    if form == "json":
        envelope = {"schema_version": 1, "status": "ok", "data": {"ca": agreed.ca, "members": rows}}
        typer.echo(json.dumps(envelope, indent=2))
    else:
        typer.echo(f"ca           {agreed.ca or 'not pinned'}")
        for row in rows:
            typer.echo(f"{row['name']:<12} identity {row['identity']}  {row['identity_file']}")
            if row["node"]:
                typer.echo(f"{'':<12} node     {row['node']}  {row['node_file']}")
            typer.echo(f"{'':<12} TLS certificate {row['certificate']}")
    wrong = [f"{row['name']}: {row['identity_file']}" for row in rows if row["wrong"]]
    if wrong:
        raise Refused("; ".join(wrong), hint="`confide keys init` makes and pins what is missing")


@keys.command("request")
def request_certificate(
    member: Annotated[str, typer.Argument(help="Your party's name in the federation, or limits.")],
    home: Annotated[Path | None, typer.Option(help="Your folder.  [default: the name]")] = None,
    out: Annotated[Path | None, typer.Option(help="File.  [default: NAME.request]")] = None,
) -> None:
    """Make your own keys, and a request without a secret, for who holds the CA's key."""
    raw = key_requests.ask(member, home or Path(member))
    path = out or Path(f"{member}.request")
    write_atomic(path, raw)
    typer.echo(f"{path}: send it to who holds the CA's key, and read out to them by phone")
    typer.echo(_grouped(key_requests.digest(raw)))


@keys.command("sign")
def sign_request(
    request: Annotated[Path, typer.Argument(help="A member's request.")],
    digest: Annotated[
        str, typer.Option(help="Its digest, or 24 digits or more of it, as the member read it out.")
    ],
    federation: FederationFile = Path("federation.toml"),
    host: Annotated[
        list[str] | None,
        typer.Option(help="A further name or address under which the limit service is reached."),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Take new keys of a party that was pinned before.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="File.  [default: NAME.crt]")] = None,
) -> None:
    """Certify a member's key, and pin its identity and node in the federation file."""
    raw = read_text(request).encode()
    name, answer = joining.sign(
        federation, raw, digest, str(request), hosts=host or (), replace=replace
    )
    path = out or request.with_name(f"{name}.crt")
    write_atomic(path, answer)
    typer.echo(f"{path}: send it back to {name}, with {federation} once all are in it")
    if left := joining.waiting(federation):
        typer.echo(f"still to come: {', '.join(left)}")


@keys.command("install")
def install_certificate(
    answer: Annotated[Path, typer.Argument(help="What came back from who holds the CA's key.")],
    federation: FederationFile = Path("federation.toml"),
) -> None:
    """Take in your certificate, once it is by the pinned CA and for your own key."""
    name = joining.install(federation, read_text(answer).encode(), str(answer))
    typer.echo(f"{name} can dial out; `confide keys show` prints what the federation file pins")


def _is_apart(home: Path) -> bool:
    """Return whether a party's public key is here, and its identity is not: `sign` took it in."""
    return (home / "node.pub").exists() and not (home / "identity.key").exists()


def _grouped(digits: str) -> str:
    return " ".join(digits[at : at + 4] for at in range(0, len(digits), 4))


def _described(base: Path, agreed: Federation, name: str) -> dict[str, Any]:
    member = agreed.coordinator if name == COORDINATOR else agreed.parties[name]
    home = base / agreed.home(name)
    said = _state(home / "identity.key", name, member.fingerprint)
    node = _node_state(home / "node.pub", member.node) if member.node else ""
    return {
        "name": name,
        "identity": member.fingerprint,
        "identity_file": said,
        "node": member.node,
        "node_file": node,
        "certificate": _until(home / "tls.crt"),
        "wrong": any(text.startswith(_WRONG) for text in (said, node)),
    }


_WRONG = "WRONG"


def _state(path: Path, name: str, pinned: str) -> str:
    if not path.exists():
        return "its file is not on this machine"
    try:
        load_identity(path, name, pinned)
    except Refused as error:
        return f"{_WRONG}: {error}"
    return "as pinned"


def _node_state(path: Path, pinned: str) -> str:
    if not path.exists():
        return "its file is not on this machine"
    try:
        same = node_fingerprint(path.read_bytes()) == pinned
    except DataError as error:
        return f"{_WRONG}: {error}"
    return "as pinned" if same else f"{_WRONG}: {path} is not the pinned key"


def _until(path: Path) -> str:
    if not path.exists():
        return "is not on this machine"
    return f"valid until {read_certificate(path).not_valid_after_utc:%Y-%m-%d}"
