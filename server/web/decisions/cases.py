"""`/queue/cases/...`: a dispute, an appeal, a complaint or a call for help, and its answer."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request, Response
from sqlalchemy import Connection

from server.accounts import answering, customers
from server.accounts.casework import HELP, OUTCOMES
from server.accounts.desk import Desk
from server.accounts.dossier import Case
from server.api.tokens import Role
from server.store.lines import lines_of
from server.web import language
from server.web.acts import act
from server.web.decisions.common import LONGEST, AnId, OfficerForm, Reader
from server.web.language import Language
from server.web.render import Site
from shared.errors import NotFound

_OTHERS = 20


def add(found: APIRouter, site: Site) -> None:
    """Add the routes."""

    @found.get("/queue/cases/{case_id}")
    def shown(request: Request, who: Reader, case_id: AnId) -> Response:
        """Show a case with the decision that it is about."""
        wanted = language.wanted(request)

        def work(db: Connection, now: datetime) -> dict[str, Any]:
            case = _case(db, case_id)
            others = customers.cases(db, None, case.customer_id, count=_OTHERS)
            return {
                "case": case,
                "today": site.desk.today(now),
                "opened_on": site.desk.today(case.opened_at),
                "told": _told(site.desk, db, case, wanted),
                "every": lines_of(db, case.customer_id),
                "others": [one for one in others if one.id != case.id],
                "outcomes": HELP if case.kind == "hardship" else OUTCOMES,
            }

        view = site.read(work) | {"officer": who.role is Role.OFFICER}
        return site.page(request, "decisions/case.html", who, **view)

    @found.post("/queue/cases/{case_id}/resolve")
    def resolve(request: Request, form: OfficerForm, case_id: AnId) -> Response:
        """Answer a case: a person does, and says why."""
        outcome, note = form.one("outcome", most=16), form.one("note", most=LONGEST)

        def work(db: Connection, now: datetime) -> str:
            _case(db, case_id)
            by = form.visit.caller.name
            customers.resolve_case(site.desk, db, case_id, outcome, by, note, now)
            return f"/queue/cases/{case_id}?done=resolved"

        return act(request, form, site.desk, work)


def _case(db: Connection, case_id: str) -> Case:
    try:
        return customers.get_case(db, case_id)
    except NotFound:
        raise NotFound("there is no case of that id") from None


def _told(desk: Desk, db: Connection, case: Case, wanted: Language) -> dict[str, Any] | None:
    """Return the decision that a case is about, explained; None where there is none any more."""
    if case.decision_id is None:
        return None
    try:
        return answering.explain(desk, db, case.decision_id, wanted, advice=False)
    except NotFound:
        return None
