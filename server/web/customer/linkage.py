"""`/me/loan`: what a line means for a mortgage or a car loan later; computed, and not kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final, cast

from fastapi import APIRouter, Request, Response
from sqlalchemy import Connection

from server.accounts import answering
from server.limits.answers.linkage import Loan, LoanKind
from server.web import language
from server.web.customer.common import Asker, OfLine, mine_of, minor_of
from server.web.customer.cost import digits_of, months_of
from server.web.render import Site
from shared.errors import Conflict, UsageError

_TYPES: Final = ("mortgage", "car", "other")
_FIELDS: Final = ("type", "amount", "rate", "months", "share")
_USUAL: Final = {"type": "mortgage", "amount": "", "rate": "3.5", "months": "360", "share": "50"}


@dataclass(frozen=True, slots=True)
class Share:
    """A share of the income as a bar.

    Parameters
    ----------
    name : str
    share, most : Decimal
        And that of the longest bar.
    kind : {'', 'good', 'bad'}
        Whether the later lender would allow it.
    """

    name: str
    share: Decimal
    most: Decimal
    kind: str


def add(found: APIRouter, site: Site) -> None:
    """Add the route."""

    @found.get("/me/loan")
    def loan(request: Request, who: Asker, line: OfLine = "") -> Response:
        """Show the form, and beneath it what came of it."""
        told, wanted = request.query_params, language.wanted(request)
        asked = {one: told.get(one, "").strip() or _USUAL[one] for one in _FIELDS}

        def work(db: Connection, now: datetime) -> dict[str, Any]:
            mine = mine_of(db, who, line)
            view: dict[str, Any] = {"every": mine.every, "line": mine.line, "answer": None}
            view |= {"unknown": False, "shares": ()}
            if mine.line is not None and asked["amount"]:
                planned = loan_of(asked, digits_of(site.desk, mine.line))
                try:
                    view["answer"] = answering.linkage(
                        site.desk, db, mine.line.id, planned, wanted, now
                    )
                    view["shares"] = shares_of(view["answer"], planned.most_share)
                except Conflict as error:
                    if error.check != "income":
                        raise
                    view["unknown"] = True
            return view

        return site.page(
            request, "customer/loan.html", who, asked=asked, types=_TYPES, **site.read(work)
        )


def shares_of(answer: Mapping[str, Any], allowed: Decimal) -> tuple[Share, ...]:
    """Return what all repayments take of the income, beside what the later lender allows."""
    told = {"share_drawn": Decimal(answer["dti_drawn"])}
    told["share_full"] = Decimal(answer["dti_full_limit"])
    most = max(*told.values(), allowed)
    kinds = {name: "bad" if one > allowed else "good" for name, one in told.items()}
    found = (Share(name, one, most, kinds[name]) for name, one in told.items())
    return (*found, Share("share_most", allowed, most, ""))


def loan_of(asked: dict[str, str], digits: int) -> Loan:
    """Return the loan that a form describes.

    Raises
    ------
    UsageError
        Names the field.
    """
    if asked["type"] not in _TYPES:
        raise UsageError(f"type must be one of {', '.join(_TYPES)}")
    months = months_of(asked["months"])
    if not 1 <= months <= 600:
        raise UsageError("months must be from 1 to 600")
    amount = minor_of(asked["amount"], digits, "amount")
    kind = cast("LoanKind", asked["type"])
    return Loan(kind, amount, _percent(asked, "rate", 0), months, _percent(asked, "share", 1))


def _percent(asked: dict[str, str], name: str, least: int) -> Decimal:
    try:
        value = Decimal(asked[name]) if len(asked[name]) <= 8 else None
    except InvalidOperation:
        value = None
    if value is None or not value.is_finite() or not least <= value <= 100:
        raise UsageError(f"{name}: a number from {least} to 100, in percent")
    return (value / 100).quantize(Decimal("0.000001"))
