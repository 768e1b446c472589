"""`/decisions/...`: a decision, what it was made from, its proof, and how it is made again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from sqlalchemy import Connection

from server.accounts import answering, four_eyes, proving, reviewing
from server.accounts.desk import Desk
from server.accounts.four_eyes import OverrideAsked
from server.accounts.rechecking import check_proof
from server.accounts.recording import LineDecision
from server.api.tokens import Role
from server.limits.words.sentences import Texts
from server.prooflog.export import to_bytes
from server.store import decisions
from server.store.decisions import StoredDecision
from server.store.lines import get_line
from server.web import language
from server.web.acts import act
from server.web.charts import Bar, Chart, Unit, bars
from server.web.customer.common import major_of, minor_of
from server.web.customer.cost import digits_of
from server.web.decisions.common import (
    LONGEST,
    AnId,
    OfficerForm,
    Reader,
    money_unit,
)
from server.web.drawing import words_of
from server.web.files import as_csv, as_file
from server.web.language import Language
from server.web.render import Site
from shared.errors import NotFound

CODES: Final = (
    "income-proven",
    "data-corrected",
    "circumstances",
    "too-high",
    "too-low",
    "other",
)
"""Why a person sets another limit: codes of the override log."""


@dataclass(frozen=True, slots=True)
class Told:
    """A decision as its record tells it.

    Parameters
    ----------
    explained : mapping
        As `answering.explain` returns it.
    record : LineDecision
    caps, points : Chart
        What bounded the limit, and what each holder's points were.
    """

    explained: Mapping[str, Any]
    record: LineDecision
    caps: Chart
    points: Chart


def add(found: APIRouter, site: Site) -> None:
    """Add the routes."""
    _page(found, site)
    _files(found, site)

    @found.post("/decisions/{decision_id}/override")
    def override(request: Request, form: OfficerForm, decision_id: AnId) -> Response:
        """Propose another limit; another person must approve it."""

        def work(db: Connection, now: datetime) -> str:
            line = get_line(db, decisions.get_decision(db, decision_id).chain)
            asked = OverrideAsked(
                decision_id,
                minor_of(form.one("limit", most=24), digits_of(site.desk, line), "limit"),
                form.one("reason", most=64),
                form.one("note", most=LONGEST),
            )
            made = four_eyes.propose_override(db, asked, form.visit.caller.name, now)
            return f"/queue/proposals/{made.id}?done=proposed"

        return act(request, form, site.desk, work)


def _page(found: APIRouter, site: Site) -> None:
    @found.get("/decisions/{decision_id}")
    def shown(request: Request, who: Reader, decision_id: AnId, check: str = "") -> Response:
        """Explain a decision as it was made; check its proof and make it again where asked to."""
        wanted, desk = language.wanted(request), site.desk

        def work(db: Connection, _: datetime) -> dict[str, Any]:
            kept = decisions.get_decision(db, decision_id)
            limit = limit_of(desk, db, kept)
            return {
                "kept": kept,
                "day": desk.today(kept.decided_at).isoformat(),
                "told": told_of(desk, db, decision_id, wanted),
                "proof": check_proof(desk, db, decision_id) if check else None,
                "has_line": limit is not None,
                "limit": limit or "",
                "newest": not decisions.chain_of(db, kept.chain, after=kept.number, count=1),
            }

        view = site.read(work) | {"codes": CODES, "officer": who.role is Role.OFFICER}
        return site.page(request, "decisions/decision.html", who, **view)


def _files(found: APIRouter, site: Site) -> None:
    @found.get("/decisions/{decision_id}/proof.json")
    def proof(who: Reader, decision_id: AnId) -> Response:  # noqa: ARG001 - who may read may check
        """Give the proof as a file that is verified without this service."""
        work = site.read(lambda db, _: dict(proving.proof(site.desk, db, decision_id)))
        return as_file(to_bytes(work), f"{decision_id}.json")

    @found.get("/decisions/{decision_id}/record.json")
    def record(who: Reader, decision_id: AnId) -> Response:  # noqa: ARG001 - as above
        """Give the record: everything that the decision was made from."""
        raw, _salt = site.read(lambda db, _: decisions.record_of(db, decision_id))
        return as_file(json.dumps(json.loads(raw), indent=1).encode(), f"{decision_id}.record.json")

    @found.get("/decisions/{decision_id}/{name}.csv")
    def figures(request: Request, who: Reader, decision_id: AnId, name: str) -> Response:  # noqa: ARG001 - as above
        """Give the figures of a chart."""
        wanted = language.wanted(request)
        told = site.read(lambda db, _: told_of(site.desk, db, decision_id, wanted))
        chart = {"caps": told.caps, "points": told.points}.get(name) if told else None
        if chart is None:
            raise NotFound("there is no such chart")
        return as_csv(chart.table, name)


def told_of(desk: Desk, db: Connection, decision_id: str, wanted: Language) -> Told | None:
    """Return a decision as its record tells it; None where the record was deleted.

    Raises
    ------
    NotFound
        If there is no such decision.
    """
    decisions.get_decision(db, decision_id)
    try:
        found = reviewing.read_decision(desk, db, decision_id)
    except NotFound:
        return None
    texts = language.texts_in(wanted)
    explained = answering.explain(desk, db, decision_id, wanted, advice=False)
    currency = desk.rules.policy.currency if found.line is None else found.line.currency
    return Told(
        explained,
        found.record,
        caps_chart(explained, money_unit(desk, currency), texts),
        points_chart(found.record, texts),
    )


def caps_chart(explained: Mapping[str, Any], unit: Unit, texts: Texts) -> Chart:
    """Draw every cap of a decision; the smallest ones bind."""
    words = words_of(texts, "caps", "caps_chart")
    rows = [
        Bar(texts.say(f"cap_name.{one['name']}"), float(one["amount_minor"]), marked=one["binds"])
        for one in explained["caps"]
    ]
    return bars(words, rows, unit)


def points_chart(record: LineDecision, texts: Texts) -> Chart:
    """Draw the points of each holder; one that was silent is not among them."""
    snapshot = record.grounds.snapshot
    words = words_of(texts, "points", "points_chart")
    points = {} if snapshot is None else dict(snapshot.points)
    missing = frozenset() if snapshot is None else frozenset(snapshot.missing)
    rows = [
        Bar(texts.holders([party]), float(count))
        for party, count in sorted(points.items())
        if party not in missing
    ]
    return bars(words, rows, Unit(texts.say("points_chart.unit")))


def limit_of(desk: Desk, db: Connection, kept: StoredDecision) -> str | None:
    """Return a line's limit as a form has it; None where a decision opened no line."""
    try:
        line = get_line(db, kept.chain)
    except NotFound:
        return None
    return major_of(line.totals.limit_minor, digits_of(desk, line))
