"""`/partner/log`: the signed heads of the decision log, and that they are of one log."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy import Connection

from server.accounts import proving
from server.prooflog.export import to_bytes
from server.web import heads, language
from server.web.files import as_csv, as_file
from server.web.partner.common import Partner
from server.web.render import Site

_MOST = 2**53 - 1
Size = Annotated[int, Query(ge=0, le=_MOST)]


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

    @found.get("/partner/log/head.json")
    def head(who: Partner) -> Response:  # noqa: ARG001 - any role that has pages may keep a head
        """Give the newest head, to be kept."""
        told = site.read(lambda db, _: proving.newest(db).to_mapping())
        return as_file(to_bytes(told), "head.json")

    @found.get("/partner/log/consistency.json")
    def consistency(who: Partner, old: Size, new: Size = 0) -> Response:  # noqa: ARG001 - as above
        """Give the proof that one head extends another."""
        told = site.read(lambda db, _: heads.consistency(site.desk, db, old, new))
        return as_file(to_bytes(told), "consistency.json")

    @found.get("/partner/log/growth.csv")
    def growth(request: Request, who: Partner) -> Response:  # noqa: ARG001 - as above
        """Give the figures of the chart."""
        texts = language.texts_in(language.wanted(request))
        view = site.read(lambda db, _: heads.heads_view(site.desk, db))
        return as_csv(heads.growth(view, texts).table, "log")
