"""Decisions and what waits for a person: for risk officers to work on, for regulators to read.

Both see what the API shows them; answers, overrides and decisions on lines are an officer's alone.
"""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter

from server.api.tokens import Role
from server.web.decisions import cases, line, listing, proposals, queue, shown
from server.web.render import Item, Section, Site

_ITEMS: Final = (Item("/queue", "nav.queue"), Item("/decisions", "nav.decisions"))
SECTION: Final = Section(Role.OFFICER, _ITEMS)
FOR_REGULATORS: Final = Section(Role.REGULATOR, _ITEMS)


def routes(site: Site) -> APIRouter:
    """Return the routes of decisions and of the queue."""
    found = APIRouter(include_in_schema=False)
    # The list of lines before the decision of an id, which would match its address, too.
    for part in (listing, line, shown, queue, cases, proposals):
        part.add(found, site)
    return found
