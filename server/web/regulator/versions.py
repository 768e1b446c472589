"""`/audit/rules`: the rules in force, those to come, and every version with who let it come."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from sqlalchemy import Connection

from server.accounts import policies, publishing
from server.store import rulebook
from server.web import language
from server.web.files import as_file
from server.web.regulator.log import Auditor
from server.web.render import Site

TextId = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")]


def add(found: APIRouter, site: Site) -> None:
    """Add the routes."""

    @found.get("/audit/rules")
    def versions(request: Request, who: Auditor) -> Response:
        """List the rule texts in force, and every activation, newest first."""

        def work(db: Connection, now: datetime) -> dict[str, Any]:
            return {
                "rules": publishing.in_force(site.desk, db, now),
                "history": rulebook.history(db)[::-1],
            }

        return site.page(request, "regulator/versions.html", who, **site.read(work))

    @found.get("/audit/rules/{digest}")
    def text(request: Request, who: Auditor, digest: TextId) -> Response:
        """Show a rule text with its page."""
        wanted = language.wanted(request)
        told = site.read(lambda db, _: publishing.published(site.desk, db, digest, wanted))
        return site.page(request, "regulator/rule.html", who, rule=told)

    @found.get("/audit/rules/{digest}/text.toml")
    def raw(who: Auditor, digest: TextId) -> Response:  # noqa: ARG001 - for whoever audits
        """Give a rule text, word for word: its SHA-256 is its address."""
        told = site.read(lambda db, _: policies.text_of(db, digest))
        return as_file(told.text.encode(), f"{digest}.toml", "application/toml")
