"""`/queue/proposals/...`: what one person proposed, for another to approve or reject."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request, Response
from sqlalchemy import Connection

from server.accounts import four_eyes
from server.api.tokens import Role
from server.store import approvals
from server.store.approvals import Approval
from server.store.lines import StoredLine, get_line
from server.web.acts import act
from server.web.decisions.common import LONGEST, AnId, OfficerForm, Reader
from server.web.render import Site
from shared.errors import NotFound


def add(found: APIRouter, site: Site) -> None:
    """Add the routes."""

    @found.get("/queue/proposals/{approval_id}")
    def shown(request: Request, who: Reader, approval_id: AnId) -> Response:
        """Show exactly what is proposed."""

        def work(db: Connection, now: datetime) -> dict[str, Any]:
            asked = approvals.get_approval(db, approval_id)
            return {
                "asked": asked,
                "over": asked.state == "proposed" and asked.expires_at <= now,
                "mine": approvals.person(asked.proposer) == approvals.person(who.caller.name),
                "line": _line(db, asked),
                "rows": rows_of(asked),
            }

        view = site.read(work) | {"officer": who.role is Role.OFFICER}
        return site.page(request, "decisions/proposal.html", who, **view)

    @found.post("/queue/proposals/{approval_id}/approve")
    def approve(request: Request, form: OfficerForm, approval_id: AnId) -> Response:
        """Approve what another proposed: it is done at once, or nothing is."""
        note = form.one("note", most=LONGEST)

        def work(db: Connection, now: datetime) -> str:
            by = form.visit.caller.name
            made = four_eyes.approve(site.desk, db, approval_id, by, note, now)
            if made is None:
                return f"/queue/proposals/{approval_id}?done=approved"
            return f"/decisions/{made.decision.id}?done=overridden"

        return act(request, form, site.desk, work)

    @found.post("/queue/proposals/{approval_id}/reject")
    def reject(request: Request, form: OfficerForm, approval_id: AnId) -> Response:
        """Reject what another proposed."""
        note = form.one("note", most=LONGEST)

        def work(db: Connection, now: datetime) -> str:
            four_eyes.reject(db, approval_id, form.visit.caller.name, note, now)
            return f"/queue/proposals/{approval_id}?done=rejected"

        return act(request, form, site.desk, work)


def rows_of(asked: Approval) -> tuple[tuple[str, str], ...]:
    """Return what is proposed as names and values, a line each, for kinds without a form."""
    if asked.kind == four_eyes.OVERRIDE:
        return ()
    found: list[tuple[str, str]] = []
    for name, value in sorted(asked.payload.items()):
        for place, one in enumerate(value if isinstance(value, list) else [value], start=1):
            if isinstance(one, dict):
                found += [(f"{name} {place}: {key}", str(part)) for key, part in one.items()]
            else:
                found.append((name, str(one)))
    return tuple(found)


def _line(db: Connection, asked: Approval) -> StoredLine | None:
    """Return the line that an override is about."""
    if asked.kind != four_eyes.OVERRIDE:
        return None
    try:
        return get_line(db, asked.subject)
    except NotFound:
        return None
