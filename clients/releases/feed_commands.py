"""`confide feed`: a party publishes its score feed, the platform maps its customers.

`publish` makes the feed of the newest release again from today's table and puts it to the limit
service. `pseudonym` is for the platform that owns the app: it maps its customer to the name under
which feeds know it.
"""

from __future__ import annotations

import json
import ssl
import urllib.parse
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clients.neural import feeds as network_feeds
from clients.party import Party
from clients.releases.feeds import publish, tables
from clients.releases.kept import need_key, own_release
from clients.releases.outcomes import join
from shared.channel import printable
from shared.errors import EnvironmentFault, FeedRefused, UsageError
from shared.feed import pseudonym, pseudonyms
from shared.instants import later
from shared.release import NEURAL

if TYPE_CHECKING:
    import httpx

_TIMEOUT_S = 120.0
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}

feed = typer.Typer(no_args_is_help=True, help="A party's score feed, and its pseudonyms.")

FederationFile = Annotated[Path, typer.Option("--federation", "-f", help="The federation file.")]
PartyName = Annotated[str, typer.Option("--party", "-p", help="Whose feed.")]


@feed.command("publish")
def publish_command(
    party: PartyName,
    federation: FederationFile = Path("federation.toml"),
    table: Annotated[
        Path | None, typer.Option(help="CSV or Parquet.  [default: as party.toml says]")
    ] = None,
    as_of: Annotated[
        str, typer.Option(help="Day on which the table stood so.  [default: today, UTC]")
    ] = "",
    release: Annotated[
        str, typer.Option(help="Which, such as neural-0002.  [default: the newest scorecard]")
    ] = "",
    to: Annotated[str, typer.Option(help="URL of the limit service.")] = "",
    out: Annotated[
        Path | None, typer.Option(help="File.  [default: feeds/RELEASE.feed at the party]")
    ] = None,
    at: Annotated[
        str, typer.Option(help="Instant of the party's clock, in a simulation.  [default: now]")
    ] = "",
) -> None:
    """Make the feed of a release again, and send it to the limit service."""
    own = Party.load(federation, party, _instant(at))
    address = _address(to, party) if to else ""
    if table is not None:
        own = replace(own, settings=replace(own.settings, customers=str(table.absolute())))
    with own.store.exclusive():
        if release.startswith(NEURAL):
            done = network_feeds.publish(own, release, as_of=as_of, out=out)
        else:
            signed, part = own_release(own, release)
            key = need_key(own)
            done = publish(own, signed.manifest, part, key, tables(own), as_of=as_of, out=out)
    typer.echo(
        f"{done.path}: {done.customers:,} customers of {done.release} as of {done.as_of}, "
        f"{len(done.raw) / 1e6:.1f} MB"
    )
    if address:
        put_feed(address, done.raw, own.store.home / "ca.crt")
        typer.echo(f"{address}: accepted")


@feed.command("pseudonym")
def pseudonym_command(
    customer_id: Annotated[str, typer.Argument(help="As the platform spells it.")],
    party: PartyName,
    federation: FederationFile = Path("federation.toml"),
) -> None:
    """Print the name under which every feed knows a customer."""
    typer.echo(pseudonym(need_key(Party.load(federation, party)), customer_id))


@feed.command("outcomes")
def outcomes_command(
    file: Annotated[Path, typer.Argument(help="Of `confide line outcomes`.")],
    party: PartyName,
    pin: Annotated[
        str, typer.Option(help="Fingerprint of the limit service's log key: `confide log pin`.")
    ],
    federation: FederationFile = Path("federation.toml"),
    form: Annotated[str, typer.Option("--format", help="Form on stdout: text or json.")] = "text",
) -> None:
    """Count as bad who defaulted on a line, too, in the tables to learn from.

    At the party that has the label.
    """
    own = Party.load(federation, party)
    with own.store.exclusive():
        done = join(own, file, pin, need_key(own))
    if form == "json":
        typer.echo(json.dumps({"schema_version": 1, "status": "ok", "data": asdict(done)}))
        return
    typer.echo(
        f"{file}: {done.told:,} customers, {done.known:,} of them known here, "
        f"{done.added:,} of those bad by it alone"
    )


@feed.command("customers")
def customers_command(
    party: PartyName,
    federation: FederationFile = Path("federation.toml"),
    first: Annotated[int, typer.Option(help="At most so many; 0 for all.", min=0)] = 0,
    form: Annotated[str, typer.Option("--format", help="Form on stdout: text or json.")] = "text",
) -> None:
    """Print the own customers that the feed has, each with its pseudonym."""
    own = Party.load(federation, party)
    key = need_key(own)
    ids = sorted(name for columns in tables(own) for name in columns.ids)
    ids = ids[:first] if first else ids
    rows = list(zip(ids, pseudonyms(key, ids), strict=True))
    if form == "json":
        data = [{"customer": name, "pseudonym": other} for name, other in rows]
        typer.echo(json.dumps({"schema_version": 1, "status": "ok", "data": data}))
        return
    for name, other in rows:
        typer.echo(f"{name}  {other}")


def put_feed(address: str, raw: bytes, ca: Path) -> None:
    """Send a feed to the limit service; its signature is all the proof there needs to be.

    Parameters
    ----------
    address : str
        URL.
    raw : bytes
        The feed.
    ca : Path
        Certificate that signs the service's, for HTTPS.

    Raises
    ------
    FeedRefused
        By the check that the service names.
    EnvironmentFault
        If the service cannot be reached, or answers otherwise than it should.
    """
    import httpx  # noqa: PLC0415 - other commands need no client

    secure = address.startswith("https:")
    try:
        verify: ssl.SSLContext | bool = ssl.create_default_context(cafile=ca) if secure else False
        reply = httpx.put(
            address,
            content=raw,
            headers={"Content-Type": "application/octet-stream"},
            timeout=_TIMEOUT_S,
            verify=verify,
            trust_env=False,
        )
    except (httpx.HTTPError, OSError) as error:
        hint = "the feed is kept; `confide feed publish --to` sends it again"
        raise EnvironmentFault(f"cannot send to {address}: {error}", hint=hint) from error
    if not reply.is_success:
        raise _refusal(address, reply)


def _refusal(address: str, reply: httpx.Response) -> FeedRefused | EnvironmentFault:
    try:
        problem: Any = reply.json()
    except ValueError:
        problem = {}
    problem = problem if isinstance(problem, dict) else {}
    why = printable(str(problem.get("detail") or problem.get("title") or reply.reason_phrase))
    hint, check = (printable(str(problem.get(name, ""))) for name in ("hint", "check"))
    if reply.status_code == FeedRefused.http_status:
        return FeedRefused(f"{address}: {why}", check=check, hint=hint)
    return EnvironmentFault(f"{address} answered {reply.status_code}: {why}", hint=hint)


def _instant(text: str) -> str:
    """Return an instant that was given, or nothing.

    Raises
    ------
    UsageError
        If it is none.
    """
    if not text:
        return ""
    try:
        return later(text, seconds=0)
    except ValueError as error:
        raise UsageError(
            f"--at {text}: {error}", hint="write it as 2026-03-01T12:00:00Z"
        ) from error


def _address(url: str, party: str) -> str:
    parts = urllib.parse.urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise UsageError(f"will not send a feed to {url}", hint="the address must be HTTPS")
    return f"{url.rstrip('/')}/v1/feeds/{party}"
