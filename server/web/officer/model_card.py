"""`/model-card`: what a release is, for anybody: written from its manifest, and signed with it.

It tells what `/v1/model` tells, which needs no sign-in: parties, worth, evaluation and dates. The
card's lines are for those who work with them (`server.web.officer.points`).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from server.api.tokens import Role
from server.web.officer.common import OfRelease, refusal
from server.web.officer.model import ModelView, model_view
from server.web.officer.shelf import Shelf
from server.web.render import Site
from server.web.session import Visit, visit_of
from shared.errors import ReleaseRefused

Anybody = Annotated[Visit | None, Depends(visit_of)]


@dataclass(frozen=True, slots=True)
class Owned:
    """What a holder has in the card.

    Parameters
    ----------
    holder : str
    lines : int
    topics : tuple of str
        Reason codes.
    worth : float
        Share of the label's variance; see `shared.scorecard.worth`.
    """

    holder: str
    lines: int
    topics: tuple[str, ...]
    worth: float


def add(found: APIRouter, site: Site, shelf: Shelf) -> None:
    """Add the route."""

    @found.get("/model-card")
    def card(request: Request, who: Anybody, release: OfRelease = "") -> Response:
        """Say what a release is, what it is for, and what is not known of it.

        Who is no officer sees the one that serves, as at the API.
        """
        officer = who is not None and who.role is Role.OFFICER
        try:
            shown = shelf.shown(release if officer else "")
        except ReleaseRefused as error:
            return refusal(site, request, who, error)
        view = None if shown is None else model_view(shelf, shown)
        return site.page(
            request,
            "officer/model_card.html",
            who,
            view=view,
            owned=() if view is None else owned_of(view, lines=officer),
            officer=officer,
            quorum=site.desk.scores.federation.quorum,
        )


def owned_of(view: ModelView, *, lines: bool) -> tuple[Owned, ...]:
    """Return what each holder has in the card.

    Parameters
    ----------
    view : ModelView
    lines : bool
        Whether the card's lines may be told; a network has none.
    """
    every = view.card.lines if lines and view.card is not None else ()
    counts = Counter(line.owner for line in every)
    worths = {name: one.worth for name, one in view.manifest.parties.items()}
    return tuple(
        Owned(
            name,
            counts[name],
            tuple(sorted({line.reason for line in every if line.owner == name})),
            worths.get(name, 0.0),
        )
        for name in sorted({*worths, *counts})
    )
