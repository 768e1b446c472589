"""`/policy`: the rules in force, for everybody: every figure is read from the policy files."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path, Request, Response
from sqlalchemy import Connection

from server.accounts import known_rules, policies, publishing
from server.web import language
from server.web.files import as_file
from server.web.render import Site
from server.web.session import Visit, visit_of
from shared.errors import NotFound

Anybody = Annotated[Visit | None, Depends(visit_of)]
TextId = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")]
_FIRST: Final = ("policy", "line")
"""Kinds whose pages come first: how a limit comes about, and how it falls and rises."""


def add(found: APIRouter, site: Site) -> None:
    """Add the routes."""

    @found.get("/policy")
    def in_force(request: Request, who: Anybody) -> Response:
        """Show the rules in force."""
        wanted = language.wanted(request)

        def work(db: Connection, now: datetime) -> dict[str, Any]:
            told = publishing.in_force(site.desk, db, now)
            own = {one["kind"]: one["digest"] for one in told["in_force"]}
            pages = [publishing.published(site.desk, db, own[kind], wanted) for kind in _FIRST]
            return {"told": told, "pages": pages}

        return site.page(request, "policy/public.html", who, **site.read(work))

    # Before the page, whose address would take the file's in.
    @found.get("/policy/{digest}.toml")
    def text(who: Anybody, digest: TextId) -> Response:
        """Give a rule text as a file: its SHA-256 is in its address."""

        def work(db: Connection, _: datetime) -> str:
            _check(site, db, who, digest)
            return policies.text_of(db, digest).text

        return as_file(site.read(work).encode(), f"{digest[:12]}.toml", "application/toml")

    @found.get("/policy/{digest}")
    def one(request: Request, who: Anybody, digest: TextId) -> Response:
        """Show a rule text, word for word, and its page."""
        wanted = language.wanted(request)

        def work(db: Connection, _: datetime) -> dict[str, Any]:
            _check(site, db, who, digest)
            return publishing.published(site.desk, db, digest, wanted)

        return site.page(request, "policy/text.html", who, one=site.read(work))


def _check(site: Site, db: Connection, who: Visit | None, digest: str) -> None:
    """Check that somebody may read a text: what is only proposed is for those who are signed in.

    Raises
    ------
    NotFound
    """
    if who is None and not known_rules.is_public(site.desk, db, digest):
        raise NotFound("there is no rule text of that SHA-256")
