"""A partner bank's pages: its own book, where it decided otherwise, and the log's signed heads.

Nothing of another partner is on them, and nobody's pseudonym: the book tells of draws.
"""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter

from server.api.tokens import Role
from server.web.partner import book, proofs, refusals
from server.web.render import Item, Section, Site

SECTION: Final = Section(
    Role.PARTNER,
    (
        Item("/partner", "nav.book"),
        Item("/partner/refusals", "nav.refusals"),
        Item("/partner/log", "nav.heads"),
    ),
)


def routes(site: Site) -> APIRouter:
    """Return the routes of a partner's pages."""
    found = APIRouter(include_in_schema=False)
    for part in (book, refusals, proofs):
        part.add(found, site)
    return found
