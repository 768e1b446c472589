"""`/audit`: the signed heads of the log, their history checked, and everything to take along."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy import Connection

from server.accounts import proving
from server.api.tokens import Role
from server.prooflog.export import to_bytes
from server.web import heads, language
from server.web.files import as_file
from server.web.render import Site
from server.web.session import Visit, visitor

Auditor = Annotated[Visit, visitor(Role.REGULATOR)]
First = Annotated[int, Query(ge=1, le=heads.MOST)]
Count = Annotated[int, Query(ge=1, le=proving.MOST_EXPORTED)]


def add(found: APIRouter, site: Site) -> None:
    """Add the routes."""
    _shown(found, site)
    _range(found, site)
    heads.add_files(found, site, "/audit", Role.REGULATOR)


def _shown(found: APIRouter, site: Site) -> None:
    @found.get("/audit")
    def audit(request: Request, who: Auditor, check: str = "") -> Response:
        """Show the newest heads, and whether each extends the one before it."""
        texts = language.texts_in(language.wanted(request))

        def work(db: Connection, _: datetime) -> dict[str, Any]:
            view = heads.heads_view(site.desk, db, check=bool(check))
            return {"log": view, "chart": heads.growth(view, texts)}

        view = site.read(work) | {"base": "/audit", "most": proving.MOST_EXPORTED}
        return site.page(request, "regulator/log.html", who, **view)


def _range(found: APIRouter, site: Site) -> None:
    @found.get("/audit/range.json")
    def whole_range(
        who: Auditor,  # noqa: ARG001 - whoever audits may keep all
        first: First = 1,
        count: Count = 100,
        sealed: str = "",
    ) -> Response:
        """Give all decisions of a range of leaves, of which none can be left out; from leaf 1."""

        def work(db: Connection, _: datetime) -> dict[str, Any]:
            return proving.export(site.desk, db, first - 1, count, opened=not sealed)

        name = f"range-{first}-{count}{'-sealed' if sealed else ''}.json"
        return as_file(to_bytes(site.read(work)), name)
