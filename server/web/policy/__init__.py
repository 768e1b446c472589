"""The rules: for everybody to read; for officers to compare, to try, and to change by four eyes."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter

from server.api.tokens import Role
from server.web.policy import compare, cutoff, proposing, public, rules, trying
from server.web.render import Item, Section, Site

SECTION: Final = Section(Role.OFFICER, (Item("/rules", "nav.rules"),))


def routes(site: Site) -> APIRouter:
    """Return the routes of the rules."""
    found = APIRouter(include_in_schema=False)
    for part in (public, rules, cutoff, trying, compare, proposing):
        part.add(found, site)
    return found
