"""What is held of a customer, and where it went: what the customer has a right to see."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection

from server.accounts.desk import Desk, text_of
from server.accounts.dossier import Consent, Dossier, StoredBureauView, dossiers
from server.limits.caps.evidence import counts
from server.limits.words.explain import LANGUAGES
from server.store.lines import lines_of
from shared.errors import ConfideError, UsageError


def data_used(
    desk: Desk, db: Connection, customer_id: str, language: str, now: datetime
) -> dict[str, Any]:
    """Return what of a customer is used, holder by holder, and everything that is kept here.

    Parameters
    ----------
    desk : Desk
    db : Connection
    customer_id : str
    language : str
    now : datetime

    Raises
    ------
    UsageError
        If there are no texts in that language.
    """
    if language not in LANGUAGES:
        raise UsageError(f"lang must be one of {', '.join(LANGUAGES)}")
    day, dossier = desk.today(now), dossiers(db, [customer_id])[customer_id]
    consent = dossier.consent("credit_line", day)
    report = dossier.report(day)
    texts = desk.rules.texts[language]
    return {
        "customer_id": customer_id,
        "as_of": day.isoformat(),
        "language": language,
        "holders": list(_holders(desk, customer_id, consent, language, now)),
        "evidence": _evidence(desk, dossier, day),
        "bureau": None if report is None else _bureau(desk, report, day),
        "consents": [_consent(one, day) for one in dossier.consents],
        "lines": [
            {"line_id": one.id, "product": one.product, "state": one.state}
            for one in lines_of(db, customer_id)
        ],
        "never_used": [texts.say("page.never_1"), texts.say("page.never_2")],
    }


def _holders(
    desk: Desk, customer_id: str, consent: Consent | None, language: str, now: datetime
) -> Iterator[dict[str, Any]]:
    """Yield what each holder tells: topics and points, never a value of its own data."""
    texts, allowed = desk.rules.texts[language], consent.holders if consent else ()
    scored = None
    if allowed:
        try:
            scored = desk.scores.score(customer_id, now=text_of(now), allowed=allowed)
        except ConfideError:
            scored = None
    shelf = desk.scores.feeds.shelf if scored is None else scored.shelf
    release = shelf.release if scored is None else scored.release
    model = None if release is None else release.model
    for party in desk.scores.federation.holders:
        feed = shelf.in_use.get(party)
        topics = [] if model is None else sorted(model.codes(party))
        told = scored is not None and scored.snapshot.hears(party)
        yield {
            "party": party,
            "name": texts.holders([party]),
            "consented": party in allowed,
            "told": told,
            "missing": None if scored is None else scored.snapshot.missing.get(party),
            "as_of": feed.header.as_of if feed is not None and told else None,
            "points": scored.snapshot.points[party] if scored is not None and told else None,
            "topics": [
                {"code": one, "text": texts.sentences.get(f"topic.{one}", one.lower())}
                for one in topics
            ],
        }


def _evidence(desk: Desk, dossier: Dossier, day: date) -> list[dict[str, Any]]:
    return [
        {
            "id": one.id,
            "kind": one.proof.kind,
            "source": one.proof.source,
            "value_minor": one.proof.value_minor,
            "issued": one.proof.issued.isoformat(),
            "expires": one.proof.expires.isoformat(),
            "counts": counts(one.proof, desk.rules.evidence, day),
        }
        for one in dossier.evidence
    ]


def _bureau(desk: Desk, report: StoredBureauView, day: date) -> dict[str, Any]:
    """Return what may be looked at of a bureau's report: what was repaired is not told again."""
    view = report.view(desk.rules.pack, day)
    return {
        "as_of": view.as_of.isoformat(),
        "obligations_minor": view.obligations_minor,
        "other_limits_minor": view.other_limits_minor,
        "other_balances_minor": report.report.other_balances_minor,
        "enquiries": len(report.report.enquiries),
        "overdue": len(view.overdue),
    }


def _consent(one: Consent, day: date) -> dict[str, Any]:
    return {
        "id": one.id,
        "purpose": one.purpose,
        "holders": list(one.holders),
        "categories": list(one.categories),
        "until": None if one.until is None else one.until.isoformat(),
        "stands": one.holds_on(day),
    }
