"""`/me/decisions`: what was decided, why, and that the log proves it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Request, Response
from sqlalchemy import Connection

from server.accounts import answering, proving
from server.accounts.rechecking import check_proof
from server.api.access import own
from server.prooflog.export import to_bytes
from server.store import decisions, lines
from server.web import language
from server.web.customer.common import Looker, OfLine, mine_of
from server.web.customer.limit import MOST_REASONS, reasons_of
from server.web.files import as_file
from server.web.render import Site
from server.web.session import Visit
from shared.errors import NotFound

_PAGE: Final = 200
DecisionId = Annotated[str, Path(pattern=r"^[0-9A-Za-z][0-9A-Za-z._:-]{0,63}$")]


@dataclass(frozen=True, slots=True)
class Entry:
    """A decision in the list.

    Parameters
    ----------
    id : str
    day : str
        Local.
    purpose : str
    """

    id: str
    day: str
    purpose: str


def add(found: APIRouter, site: Site) -> None:
    """Add the routes."""

    @found.get("/me/decisions")
    def listed(request: Request, who: Looker, line: OfLine = "") -> Response:
        """List the decisions on a line, newest first."""

        def work(db: Connection, _: datetime) -> dict[str, Any]:
            mine = mine_of(db, who, line)
            rows = [] if mine.line is None else decisions.chain_of(db, mine.line.id, count=_PAGE)
            entries = [
                Entry(one.id, site.desk.today(one.decided_at).isoformat(), one.purpose)
                for one in reversed(rows)
            ]
            return {"every": mine.every, "line": mine.line, "entries": entries}

        return site.page(request, "customer/decisions.html", who, **site.read(work))

    @found.get("/me/decisions/{decision_id}")
    def shown(request: Request, who: Looker, decision_id: DecisionId, check: str = "") -> Response:
        """Explain a decision as it was made, and check its proof where that is asked for."""
        wanted = language.wanted(request)

        def work(db: Connection, _: datetime) -> dict[str, Any]:
            check_own(db, who, decision_id)
            told = answering.explain(site.desk, db, decision_id, wanted)
            return {
                "told": told,
                "reasons": reasons_of(told["reasons"][:MOST_REASONS]),
                "outside": reasons_of(told["not_about_you"]),
                "proof": check_proof(site.desk, db, decision_id) if check else None,
            }

        return site.page(request, "customer/decision.html", who, **site.read(work))

    @found.get("/me/decisions/{decision_id}/proof.json")
    def proof(who: Looker, decision_id: DecisionId) -> Response:
        """Give the proof as a file that is verified without this service."""

        def work(db: Connection, _: datetime) -> bytes:
            check_own(db, who, decision_id)
            return to_bytes(dict(proving.proof(site.desk, db, decision_id)))

        return as_file(site.read(work), "proof.json")


def check_own(db: Connection, who: Visit, decision_id: str) -> None:
    """Check that a decision is about the customer; others' are not there.

    Raises
    ------
    NotFound
    """
    try:
        kept = decisions.get_decision(db, decision_id)
        own(who.caller, _about(db, kept.chain, decision_id))
    except NotFound:
        raise NotFound("there is no decision of that id") from None


def _about(db: Connection, chain: str, decision_id: str) -> str:
    """Return whom a decision is about; one that opened no line says so in its record alone."""
    try:
        return lines.get_line(db, chain).customer_id
    except NotFound:
        raw, _salt = decisions.record_of(db, decision_id)
        return str(json.loads(raw)["about"]["customer"])
