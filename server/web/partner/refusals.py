"""`/partner/refusals`: draws that the partner refused, and that were made without it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request, Response
from sqlalchemy import Connection

from server.accounts.partner_books import newest_refusals
from server.web.partner.common import PAGE, Before, Partner
from server.web.render import Site


def add(found: APIRouter, site: Site) -> None:
    """Add the route."""

    @found.get("/partner/refusals")
    def refusals(request: Request, who: Partner, before: Before = "") -> Response:
        """List where the partner's policy and the platform's differ, newest first."""

        def work(db: Connection, _: datetime) -> dict[str, Any]:
            page = newest_refusals(db, who.subject, before=before, count=PAGE)
            days = {one.draw_id: site.desk.today(one.decided_at) for one in page.rows}
            return {"page": page, "days": days, "before": before}

        return site.page(request, "partner/refusals.html", who, **site.read(work))
