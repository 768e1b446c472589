"""`/audit/sample`: decisions drawn by the regulator's own word, checked here and elsewhere."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy import Connection

from server.accounts.sampling import Sample, draw_sample, pack_sample
from server.prooflog.sample import MOST
from server.web.files import as_file
from server.web.regulator.log import Auditor
from server.web.render import Site
from shared.errors import NotFound

USUAL: Final = 4
"""Each is decided again while the page waits."""
Word = Annotated[str, Query(max_length=64)]
Count = Annotated[int, Query(ge=1, le=MOST)]


def add(found: APIRouter, site: Site) -> None:
    """Add the routes."""

    @found.get("/audit/sample")
    def sampled(
        request: Request, who: Auditor, word: Word = "", count: Count = USUAL, check: str = ""
    ) -> Response:
        """Draw a sample, and check it where that is asked for."""
        word = word.strip()

        def work(db: Connection, _: datetime) -> Sample | None:
            try:
                return draw_sample(site.desk, db, word, count, check=bool(check))
            except NotFound:
                return None

        view: dict[str, Any] = {"word": word, "count": count, "check": bool(check), "most": MOST}
        view["sample"] = site.read(work) if word else None
        return site.page(request, "regulator/sample.html", who, **view)

    @found.get("/audit/sample.zip")
    def packed(who: Auditor, word: Word, count: Count = USUAL) -> Response:  # noqa: ARG001 - for whoever audits
        """Give a sample's proofs and the rules of its decisions."""
        raw = site.read(lambda db, _: pack_sample(site.desk, db, word.strip(), count))
        return as_file(raw, "sample.zip", "application/zip")
