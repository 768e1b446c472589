"""`/partner/log`: the signed heads of the decision log, and that they are of one log."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request, Response
from sqlalchemy import Connection

from server.api.tokens import Role
from server.web import heads, language
from server.web.partner.common import Partner
from server.web.render import Site


def add(found: APIRouter, site: Site) -> None:
    """Add the routes."""

    @found.get("/partner/log")
    def shown(request: Request, who: Partner, check: str = "") -> Response:
        """Show the newest heads."""
        texts = language.texts_in(language.wanted(request))

        def work(db: Connection, _: datetime) -> dict[str, Any]:
            view = heads.heads_view(site.desk, db, check=bool(check))
            return {"log": view, "chart": heads.growth(view, texts)}

        return site.page(request, "partner/log.html", who, base="/partner/log", **site.read(work))

    heads.add_files(found, site, "/partner/log", Role.PARTNER)
