"""The operator's pages: training runs, one of them live, and the parties.

They read what the coordinator wrote down (`server.runs`) and start nothing.
"""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter

from server.api.tokens import Role
from server.web.federation import listing, parties, run, stream
from server.web.render import Item, Section, Site

SECTION: Final = Section(
    Role.OPERATOR,
    (Item("/federation", "nav.federation"), Item("/federation/parties", "nav.parties")),
)


def routes(site: Site) -> APIRouter:
    """Return the routes of the operator's pages."""
    found = APIRouter(include_in_schema=False)
    for part in (listing, parties, run, stream):
        part.add(found, site)
    return found
