"""`/me/data`: who contributed what, consents on and off, and all that is held, to take away."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from sqlalchemy import Connection

from server.accounts import answering, customers
from server.accounts.customers import RECORD, ConsentRequest
from server.accounts.desk import Desk, text_of
from server.accounts.dossier import Consent, dossiers
from server.store import decisions
from server.store.lines import lines_of
from server.web import language
from server.web.acts import act
from server.web.customer.common import CustomerForm, Looker
from server.web.files import as_file
from server.web.render import Site
from shared.errors import ConfideError, NotFound, UsageError

CATEGORIES: Final = ("income", "repayment", "spending")
"""Of a first consent that is given on the page."""
_MOST: Final = 1000  # decisions of a line in a download


@dataclass(frozen=True, slots=True)
class Given:
    """A consent as the page shows it.

    Parameters
    ----------
    id, purpose, since : str
    holders : tuple of str
    until, withdrawn : str, optional
    stands : bool
    receipt : str
    """

    id: str
    purpose: str
    since: str
    holders: tuple[str, ...]
    until: str | None
    withdrawn: str | None
    stands: bool
    receipt: str


@dataclass(frozen=True, slots=True)
class Known:
    """The score as it is today (15 U.S.C. 1681g(f)): no probability, and no rank.

    Parameters
    ----------
    value : int
    low, high : int
        Ends of the scale.
    grade, model : str
    whole : bool
        Every holder has told; else it is what is known without the silent ones.
    """

    value: int
    low: int
    high: int
    grade: str
    model: str
    whole: bool


def add(found: APIRouter, site: Site) -> None:
    """Add the routes."""
    _shown(found, site)
    _consents(found, site)
    _taken(found, site)


def _shown(found: APIRouter, site: Site) -> None:
    @found.get("/me/data")
    def data(request: Request, who: Looker) -> Response:
        """Show who contributed what, and which consents stand."""
        wanted = language.wanted(request)

        def work(db: Connection, now: datetime) -> dict[str, Any]:
            told = answering.data_used(site.desk, db, who.subject, wanted, now)
            every = customers.consents_of(db, who.subject)
            day = site.desk.today(now)
            given = tuple(given_of(site.desk, one, one.holds_on(day)) for one in reversed(every))
            return {
                "told": told,
                "given": given,
                "record": _stands(given, RECORD),
                "score": known_of(site.desk, who.subject, told["holders"], now),
            }

        return site.page(request, "customer/data.html", who, **site.read(work))


def _consents(found: APIRouter, site: Site) -> None:
    @found.post("/me/consents")
    def choose(request: Request, form: CustomerForm) -> Response:
        """Let exactly the ticked holders tell; without any, the consent is withdrawn."""
        desk, who = site.desk, form.visit.subject
        purpose, holders = form.one("purpose", most=32), form.many("holders")

        def work(db: Connection, now: datetime) -> str:
            replace_consent(desk, db, who, purpose, holders, now)
            return f"/me/data?done={'consent_given' if holders else 'consent_withdrawn'}"

        return act(request, form, desk, work)


def _taken(found: APIRouter, site: Site) -> None:
    @found.get("/me/data.json")
    def mine(request: Request, who: Looker) -> Response:
        """Give everything that is held, as a file."""
        wanted = language.wanted(request)

        def work(db: Connection, now: datetime) -> dict[str, Any]:
            told = answering.data_used(site.desk, db, who.subject, wanted, now)
            return told | {"decisions": list(_decisions(db, who.subject))}

        body = json.dumps(site.read(work), ensure_ascii=False, indent=1)
        return as_file(body.encode(), "confide-my-data.json")

    @found.get("/me/record.json")
    def record(who: Looker, subject: str = "") -> Response:
        """Give the signed record of how the line was repaid, if a consent to it stands."""
        if not subject.strip():
            raise UsageError("subject is missing", hint="name what the reader knows you by")

        def work(db: Connection, now: datetime) -> bytes:
            signed = answering.credit_record(
                site.desk, db, who.subject, now, subject=subject.strip()
            )
            return signed.to_bytes()

        return as_file(site.read(work), "confide-credit-record.json")


def known_of(
    desk: Desk, customer_id: str, holders: Sequence[Mapping[str, Any]], now: datetime
) -> Known | None:
    """Return the score out of what the consented holders tell; None where there is none.

    Parameters
    ----------
    desk : Desk
    customer_id : str
    holders : sequence of mapping
        See `server.accounts.holding.data_used`.
    now : datetime
    """
    allowed = [one["party"] for one in holders if one["consented"]]
    if not allowed:
        return None
    try:
        scored = desk.scores.score(customer_id, now=text_of(now), allowed=allowed)
    except ConfideError:
        return None
    release, rating = scored.release, scored.snapshot.rating
    scale = release.model.scale
    return Known(
        rating.score,
        round(scale.low),
        round(scale.high),
        rating.grade,
        release.name,
        not scored.snapshot.missing,
    )


def replace_consent(
    desk: Desk,
    db: Connection,
    customer_id: str,
    purpose: str,
    holders: tuple[str, ...],
    now: datetime,
) -> None:
    """Let some holders tell for a purpose, and nobody else.

    The new consent comes first, so that a change of holders closes no line in between.

    Raises
    ------
    Conflict
        With check `holders`.
    NotFound
        If there was nothing to withdraw.
    """
    day = desk.today(now)
    dossier = dossiers(db, [customer_id])[customer_id]
    standing = [one for one in dossier.consents if one.purpose == purpose and one.holds_on(day)]
    if not holders and not standing:
        raise NotFound("there is no consent to withdraw")
    if holders:
        newest = dossier.consent(purpose, day)
        categories = CATEGORIES if newest is None else newest.categories
        wanted = ConsentRequest(customer_id, purpose, holders, categories)
        customers.give_consent(desk, db, wanted, now)
    for one in standing:
        customers.withdraw_consent(desk, db, one.id, now)


def given_of(desk: Desk, one: Consent, stands: bool) -> Given:
    """Return a consent as the page shows it."""
    withdrawn = None if one.withdrawn_at is None else desk.today(one.withdrawn_at).isoformat()
    return Given(
        one.id,
        one.purpose,
        one.since.isoformat(),
        one.holders,
        None if one.until is None else one.until.isoformat(),
        withdrawn,
        stands,
        one.receipt_hash,
    )


def _stands(given: tuple[Given, ...], purpose: str) -> bool:
    return any(one.stands and one.purpose == purpose for one in given)


def _decisions(db: Connection, customer_id: str) -> Any:
    for line in lines_of(db, customer_id):
        for one in decisions.chain_of(db, line.id, count=_MOST):
            yield {
                "decision_id": one.id,
                "line_id": line.id,
                "number": one.number,
                "purpose": one.purpose,
                "decided_at": one.decided_at.isoformat(),
                "policy": one.policy_ref,
                "commitment": one.commitment,
            }
