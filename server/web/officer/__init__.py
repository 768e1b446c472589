"""The risk officer's pages of the model: what it is worth, its points, its months, its challenger.

Everything on them was signed with a release, or is what `/v1/monitoring` answers. A figure that the
parties never opened is not there, and the page says so.
"""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter

from server.api.tokens import Role
from server.web.officer import compare, model, model_card, points, watched
from server.web.officer.shelf import Shelf
from server.web.render import Item, Section, Site
from server.web.slow import Slow

SECTION: Final = Section(
    Role.OFFICER, (Item("/model", "nav.model"), Item("/compare", "nav.compare"))
)


def routes(site: Site) -> APIRouter:
    """Return the routes of the officer's pages of the model."""
    found = APIRouter(include_in_schema=False)
    shelf, slow = Shelf(site.desk), Slow(site)
    model.add(found, site, shelf)
    points.add(found, site, shelf)
    watched.add(found, site, slow)
    compare.add(found, site, shelf, slow)
    model_card.add(found, site, shelf)
    return found
