"""Watching the service from what it kept: scores by month, swaps, complaints, overrides, and more.

Every figure comes from decisions, cases and rows of the store; none is kept beside them. Figures
about people are withheld where fewer of them stand behind one than the floor of the monitoring
rules. Groups for the inclusion report come from a file of its own that no decision reads.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import asdict
from datetime import date, datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import Connection

from server.accounts.challenging import challenger
from server.accounts.desk import Desk
from server.accounts.dossier import Case
from server.accounts.kept import Kept, Span, bads_of, counted, kept
from server.accounts.operating import _cases, operations
from server.accounts.outcomes import inclusion, restorations
from server.accounts.recording import read_record
from server.limits.caps.decide import decide
from server.limits.line.delinquency import local_day
from server.limits.line.target import target_of
from server.monitor import swap as swaps
from server.monitor.complaints import Complaint, complaint_summary
from server.monitor.drift import Stability
from server.monitor.months import Scored, months
from server.monitor.overrides import Override, override_summary
from server.store.tables import RECORDS
from shared.errors import ConfideError

_OBJECTIONS: Final = frozenset({"complaint", "appeal"})
_UPHELD: Final = frozenset({"upheld", "partly"})
_SCORED: Final = ("open", "review")
_CODE: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z._:-]{0,63}")


def drift(desk: Desk, db: Connection, span: Span) -> dict[str, Any]:
    """Compare scores and each holder's points by month, one decision a customer and month.

    Parameters
    ----------
    desk : Desk
    db : Connection
    span : Span
    """
    last: dict[tuple[str, str], Scored] = {}
    models: Counter[str] = Counter()
    for one in kept(db, span, *_SCORED):
        snapshot = one.snapshot
        if snapshot is None:
            continue
        rating, month = snapshot["rating"], f"{one.on:%Y-%m}"
        missing = snapshot["missing"]
        points = {who: n for who, n in snapshot["points"].items() if who not in missing}
        models[one.body["about"]["model"]] += 1
        last[(one.customer, month)] = Scored(month, rating["score"], rating["grade"], points)
    floor = desk.rules.monitoring.floor
    return {
        **span.to_mapping(),
        "floor": floor,
        "models": dict(sorted(models.items())),
        "months": [
            {
                "month": one.month,
                "people": one.people,
                "score_counts": list(one.counts),
                "grades": dict(one.grades),
                "score": None if one.score is None else _stability(one.score),
                "holders": [_stability(holder) for holder in one.holders],
            }
            for one in months(last.values(), floor)
        ],
    }


def swap(desk: Desk, db: Connection, span: Span, now: datetime) -> dict[str, Any]:
    """Decide again, under the rules in force now, what each line was last decided on.

    The grounds are those of the record, so that what differs is the rules alone.

    Parameters
    ----------
    desk : Desk
    db : Connection
    span : Span
    now : datetime
    """
    cases = {
        one.chain: case
        for one in kept(db, span, *_SCORED)
        if (case := _again(desk, one)) is not None
    }
    bads = bads_of(db, cases, now)
    rows = [swaps.Case(old, new, bads.get(chain)) for chain, (old, new) in sorted(cases.items())]
    table, floor = swaps.swap_table(rows), desk.rules.monitoring.floor
    return {
        **span.to_mapping(),
        "floor": floor,
        "policy": desk.rules.policy.name,
        "lines": len(rows),
        "higher": sum(new > old for old, new in cases.values()),
        "lower": sum(new < old for old, new in cases.values()),
        "cells": swaps.told_swap(table, floor),
    }


def complaints(desk: Desk, db: Connection, span: Span, now: datetime) -> dict[str, Any]:
    """Count complaints and appeals by the reasons of the decisions that they are about.

    Parameters
    ----------
    desk : Desk
    db : Connection
    span : Span
    now : datetime
    """
    by_code: Counter[str] = Counter()
    for one in kept(db, span):
        by_code.update(set(one.codes))
    filed = [
        one
        for one in _cases(db)
        if one.kind in _OBJECTIONS and span.since <= _opened(desk, one) <= span.until
    ]
    codes = _codes_of(db, {one.decision_id for one in filed if one.decision_id})
    rows = [
        Complaint(
            reasons=codes.get(one.decision_id or "", ()),
            opened=_opened(desk, one),
            closed=None if one.resolved_at is None else local_day(one.resolved_at, desk.zone),
            upheld=one.outcome in _UPHELD,
        )
        for one in filed
    ]
    today = desk.today(now)
    found = complaint_summary(rows, by_code, today, desk.rules.monitoring.complaint_days)
    return {
        **span.to_mapping(),
        "due_days": desk.rules.monitoring.complaint_days,
        "kinds": dict(sorted(Counter(one.kind for one in filed).items())),
        **{name: getattr(found, name) for name in ("total", "open", "late", "upheld")},
        "median_days": found.median_days,
        "by_code": [asdict(one) for one in found.by_code],
    }


def overrides(desk: Desk, db: Connection, span: Span, now: datetime) -> dict[str, Any]:
    """Return the override log in figures: how often, which way, by whom, and what came of it.

    Parameters
    ----------
    desk : Desk
    db : Connection
    span : Span
    now : datetime
    """
    del desk
    made = list(kept(db, span, "override"))
    bads = bads_of(db, {one.chain for one in made}, now)
    rows = [
        Override(
            reason=_reason_of(one.body["about"].get("note", "")),
            officer=one.body["about"].get("by", ""),
            system_minor=one.before["effective_limit_minor"],
            given_minor=one.after["effective_limit_minor"],
            bad=bads.get(one.chain),
        )
        for one in made
    ]
    found = override_summary(rows, sum(counted(db, span).values()))
    return {
        **span.to_mapping(),
        "decisions": found.decisions,
        "rate": found.rate,
        "raised": {**asdict(found.raised), "bad_rate": found.raised.bad_rate},
        "lowered": {**asdict(found.lowered), "bad_rate": found.lowered.bad_rate},
        "unchanged": found.unchanged,
        "by_reason": dict(found.by_reason),
        "by_officer": dict(found.by_officer),
    }


def _stability(one: Stability) -> dict[str, Any]:
    """Return an index without its terms: with the first month's counts, they would give cells."""
    return {
        "name": one.name,
        "index": one.index,
        "band": one.band,
        "noise": one.noise,
        "before": one.before,
        "now": one.now,
    }


def _again(desk: Desk, one: Kept) -> tuple[int, int] | None:
    """Return what the caps allowed then and allow by the rules of today, on the same grounds."""
    if one.snapshot is None or one.body["grounds"]["inputs"] is None:
        return None
    try:
        record = read_record(one.body)
        rules, grounds = desk.rules.of(record.ask.product), record.grounds
        if record.outcome.target is None or grounds.snapshot is None or grounds.inputs is None:
            return None
        caps = decide(rules.policy, rules.pack, grounds.snapshot, grounds.inputs)
        new = target_of(caps, rules.line, record.ask.day, scale=grounds.scale)
    except ConfideError:  # the rules of today do not know that day, grade or product
        return None
    return record.outcome.target.lowest_minor, new.lowest_minor


def _opened(desk: Desk, one: Case) -> date:
    return local_day(one.opened_at, desk.zone)


def _codes_of(db: Connection, ids: set[str]) -> dict[str, tuple[str, ...]]:
    """Return the reasons of decisions, of those whose record is still there."""
    columns, wanted = RECORDS.c, sorted(ids)
    found = {}
    for at in range(0, len(wanted), 500):
        query = sa.select(columns.decision_id, columns.record)
        for row in db.execute(query.where(columns.decision_id.in_(wanted[at : at + 500]))):
            record = read_record(bytes(row.record))
            found[row.decision_id] = tuple(one.code for one in record.outcome.reasons)
    return found


def _reason_of(note: str) -> str:
    """Return the code that a note is; what a person wrote in words is not told here."""
    return note if _CODE.fullmatch(note) else "other"


__all__ = [
    "challenger",
    "complaints",
    "drift",
    "inclusion",
    "operations",
    "overrides",
    "restorations",
    "swap",
]
