"""`confide score`: one customer's score and limit, from the registry and the feeds, no server."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from server.accounts.scores import LimitService, load_policy
from server.api.views import limit_view
from server.commands.common import (
    DEFAULT_FEDERATION,
    FederationOption,
    Format,
    FormatOption,
    PolicyOption,
    emit,
)
from server.coordinator import load_federation
from shared.errors import EnvironmentFault, UsageError

FeedsOption = Annotated[
    list[Path] | None, typer.Option("--feeds", help="A party's score feed; may be repeated.")
]
_PSEUDONYM = re.compile(r"[0-9a-f]{64}")


def score(
    pseudonym: Annotated[str, typer.Argument(help="The customer's pseudonym, 64 hex digits.")],
    federation: FederationOption = DEFAULT_FEDERATION,
    policy: PolicyOption = None,
    feeds: FeedsOption = None,
    form: FormatOption = Format.TEXT,
) -> None:
    """Print one customer's score, limit and the reasons, without a server."""
    if not _PSEUDONYM.fullmatch(pseudonym):
        hint = "only the parties can turn a customer's id into one"
        raise UsageError("a pseudonym has 64 small hex digits", hint=hint)
    service = open_service(federation, policy)
    take_feeds(service, feeds or [], keep=False)
    scored, decision = service.limit(pseudonym)
    view = limit_view(service, scored, decision)
    if form is Format.JSON:
        emit(view)
    else:
        _print(view)


def open_service(federation: Path, policy: Path | None) -> LimitService:
    """Return the limit service of a federation, its champion verified and its feeds loaded.

    Raises
    ------
    ConfideError
        Names the file, or the check that the champion fails.
    """
    agreed, _ = load_federation(federation)
    service = LimitService(federation.parent, agreed, *load_policy(policy))
    service.start()
    return service


def take_feeds(service: LimitService, paths: list[Path], *, keep: bool) -> None:
    """Take feeds from files.

    Parameters
    ----------
    service : LimitService
    paths : list of Path
    keep : bool
        Keep them for the next start, too.

    Raises
    ------
    EnvironmentFault
        If a file cannot be read.
    FeedRefused
        By the name of the check.
    """
    for path in paths:
        try:
            raw = path.read_bytes()
        except OSError as error:
            raise EnvironmentFault(f"cannot read {path}: {error.strerror}") from error
        service.feeds.accept(raw, service.clock(), keep=keep)


def _print(view: dict[str, Any]) -> None:
    scored = view["score"]
    chance = f"default_prob {scored['default_prob']:.4f}"
    typer.echo(f"score {scored['score']} of {scored['high']}, grade {scored['grade']}, {chance}")
    typer.echo(f"limit {view['limit']}, bound by {' and '.join(view['binding'])}")
    for reason in view["reasons"]:
        note = " (not about you)" if reason["not_about_you"] else ""
        typer.echo(f"  {reason['code']:<18} {reason['text']}{note}")
    for one in view["increases_blocked"]:
        typer.echo(f"  missing {one['party']}: {one['text']}")
    typer.echo(f"by {scored['model']['name']} on data of {scored['as_of']}, {view['policy']}")
