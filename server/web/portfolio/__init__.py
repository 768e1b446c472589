"""The risk officer's portfolio: what is committed and owed, and how limits that fell come back.

What needs all lines is counted once a night or when the officer asks, never for a page.
"""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter

from server.api.tokens import Role
from server.web.portfolio import book, coming_back
from server.web.portfolio.counting import Counting
from server.web.render import Item, Section, Site

SECTION: Final = Section(
    Role.OFFICER,
    (
        Item("/portfolio", "nav.portfolio"),
        Item("/restorations", "nav.restorations"),
    ),
)


def routes(site: Site) -> APIRouter:
    """Return the routes of the portfolio's pages."""
    found, counting = APIRouter(include_in_schema=False), Counting()
    book.add(found, site, counting)
    coming_back.add(found, site, counting)
    return found
