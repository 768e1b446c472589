"""`/federation`: the training runs, newest first, and the processes that stay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from server.federation.state import Running
from server.runs.story import Story
from server.web import language
from server.web.federation.common import PILLS, Operators, Tells
from server.web.render import Site
from shared.errors import ConfideError

Before = Annotated[str, Query(pattern=r"^[A-Za-z0-9_-]{0,64}$")]


@dataclass(frozen=True, slots=True)
class Listing:
    """What the page shows.

    Parameters
    ----------
    told : bool
        The service knows a coordinator's folder.
    name, builder : str
        Of the federation.
    parties, quorum : int
    runs : tuple of Story
    states : mapping of str to str
        Of each release in the registry.
    more : str
        Run to go on before; empty at the end.
    first : bool
        It is the newest page.
    services : tuple of Running or None
    """

    told: bool
    name: str
    builder: str
    parties: int
    quorum: int
    runs: tuple[Story, ...]
    states: dict[str, str]
    more: str
    first: bool
    services: tuple[Running, ...] | None


def add(found: APIRouter, site: Site) -> None:
    """Add the route."""

    @found.get("/federation")
    def runs(request: Request, who: Operators, before: Before = "") -> Response:
        """List the runs of the coordinator."""
        tells = Tells(language.texts_in(language.wanted(request)), site.desk.zone)
        view = listing_of(site, before)
        return site.page(request, "federation/runs.html", who, view=view, tells=tells, pills=PILLS)


def listing_of(site: Site, before: str = "") -> Listing:
    """Return what the page shows.

    Raises
    ------
    EnvironmentFault
        If the coordinator's folder cannot be read.
    """
    federation = site.desk.scores.federation
    found = site.runs.listed(site.desk.clock().timestamp(), before) if site.runs else None
    return Listing(
        told=site.runs is not None,
        name=federation.name,
        builder=federation.builder,
        parties=len(federation.parties),
        quorum=federation.quorum,
        runs=found.runs if found else (),
        states=states_of(site),
        more=found.more if found else "",
        first=not before,
        services=site.runs.services() if site.runs and not before else None,
    )


def states_of(site: Site) -> dict[str, str]:
    """Return the state of each release in the registry; none where it cannot be read."""
    try:
        return {name: one.state for name, one in site.desk.scores.registry.book().entries.items()}
    except ConfideError:
        return {}  # its own page and the checks say what is wrong with it
