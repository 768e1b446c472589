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
from server.web.files import as_csv, as_file
from server.web.render import Site
from server.web.session import Visit, visitor

Auditor = Annotated[Visit, visitor(Role.REGULATOR)]
_MOST = 2**53 - 1
Leaf = Annotated[int, Query(ge=0, le=_MOST)]
First = Annotated[int, Query(ge=1, le=_MOST)]
Count = Annotated[int, Query(ge=1, le=proving.MOST_EXPORTED)]


def add(found: APIRouter, site: Site) -> None:
    """Add the routes."""
    _shown(found, site)
    _files(found, site)


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


def _files(found: APIRouter, site: Site) -> None:
    @found.get("/audit/head.json")
    def head(who: Auditor) -> Response:  # noqa: ARG001 - whoever audits may keep a head
        """Give the newest head, to be kept."""
        told = site.read(lambda db, _: proving.newest(db).to_mapping())
        return as_file(to_bytes(told), "head.json")

    @found.get("/audit/consistency.json")
    def consistency(who: Auditor, old: Leaf, new: Leaf = 0) -> Response:  # noqa: ARG001 - as above
        """Give the proof that one head extends another."""
        told = site.read(lambda db, _: heads.consistency(site.desk, db, old, new))
        return as_file(to_bytes(told), "consistency.json")

    @found.get("/audit/range.json")
    def whole_range(
        who: Auditor,  # noqa: ARG001 - as above
        first: First = 1,
        count: Count = 100,
        sealed: str = "",
    ) -> Response:
        """Give all decisions of a range of leaves, of which none can be left out; from leaf 1."""

        def work(db: Connection, _: datetime) -> dict[str, Any]:
            return proving.export(site.desk, db, first - 1, count, opened=not sealed)

        name = f"range-{first}-{count}{'-sealed' if sealed else ''}.json"
        return as_file(to_bytes(site.read(work)), name)

    @found.get("/audit/growth.csv")
    def growth(request: Request, who: Auditor) -> Response:  # noqa: ARG001 - as above
        """Give the figures of the chart."""
        texts = language.texts_in(language.wanted(request))
        view = site.read(lambda db, _: heads.heads_view(site.desk, db))
        return as_csv(heads.growth(view, texts).table, "log")
