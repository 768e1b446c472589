"""A regulator's pages: the log and its heads, a sample decided again, rules, objections, consents.

What is shown can be taken along and verified without this service.
"""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter

from server.api.tokens import Role
from server.web.regulator import log, sampling, versions, voices
from server.web.render import Item, Section, Site

SECTION: Final = Section(
    Role.REGULATOR,
    (
        Item("/audit", "nav.heads"),
        Item("/audit/sample", "nav.sample"),
        Item("/audit/rules", "nav.versions"),
        Item(voices.PATH, "nav.voices"),
    ),
)


def routes(site: Site) -> APIRouter:
    """Return the routes of a regulator's pages."""
    found = APIRouter(include_in_schema=False)
    for part in (log, sampling, versions, voices):
        part.add(found, site)
    return found
