"""`/federation/parties`: who takes part, by which keys, under which contract, heard when."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import APIRouter, Request, Response

from server.api.views import feeds_view
from server.runs.members import Seen, contract_of, seen
from server.web import language
from server.web.federation.common import Operators, Tells
from server.web.render import Site

_LOOKED_AT = 20  # runs, for the last word of each party


@dataclass(frozen=True, slots=True)
class Members:
    """What the page shows.

    Parameters
    ----------
    told : bool
        The service knows a coordinator's folder.
    coordinator : str
        Its fingerprint.
    authority : str
        Digest of the certificate authority that is pinned; may be empty.
    contract : str
        Digest of the contract; empty if it is not known here.
    release : str
        That serves; may be empty.
    parties : tuple of Seen
    """

    told: bool
    coordinator: str
    authority: str
    contract: str
    release: str
    parties: tuple[Seen, ...]


def add(found: APIRouter, site: Site) -> None:
    """Add the route."""

    @found.get("/federation/parties")
    def parties(request: Request, who: Operators) -> Response:
        """Show the parties."""
        tells = Tells(language.texts_in(language.wanted(request)), site.desk.zone)
        return site.page(
            request, "federation/parties.html", who, view=members_of(site), tells=tells
        )


def members_of(site: Site) -> Members:
    """Return what the page shows.

    Raises
    ------
    EnvironmentFault
        If the coordinator's folder cannot be read.
    """
    scores = site.desk.scores
    federation, shelf = scores.federation, scores.feeds.shelf
    now = site.desk.clock().timestamp()
    stories = site.runs.listed(now, most=_LOOKED_AT).runs if site.runs else ()
    contract = contract_of(scores.registry.folder.parent, federation, shelf.release)
    feeds = feeds_view(shelf, federation, scores.clock())
    return Members(
        told=site.runs is not None,
        coordinator=federation.coordinator.fingerprint,
        authority=federation.ca,
        contract=contract,
        release=shelf.release.name if shelf.release else "",
        parties=seen(federation, stories, feeds, shelf.release, contract),
    )
