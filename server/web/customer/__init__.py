"""A customer's pages: the limit, why it is what it is, what would change it, and every right.

No probability of default is on any of them.
"""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter

from server.api.tokens import Role
from server.web.customer import cost, data, history, limit, linkage, rights, trying
from server.web.render import Item, Section, Site

SECTION: Final = Section(
    Role.CUSTOMER,
    (
        Item("/me", "nav.me"),
        Item("/me/what-if", "nav.what_if"),
        Item("/me/cost", "nav.cost"),
        Item("/me/data", "nav.data"),
        Item("/me/decisions", "nav.decisions"),
        Item("/me/rights", "nav.rights"),
        Item("/me/loan", "nav.loan"),
    ),
)


def routes(site: Site) -> APIRouter:
    """Return the routes of the customer's pages."""
    found = APIRouter(include_in_schema=False)
    for part in (limit, trying, cost, data, history, rights, linkage):
        part.add(found, site)
    return found
