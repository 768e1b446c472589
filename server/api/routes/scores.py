"""A customer's score and limit as they would be now, and the release that says so."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query, Response
from fastapi.responses import JSONResponse

from server.accounts.customers import consents_of
from server.accounts.desk import Desk
from server.accounts.dossier import CREDIT
from server.api import schemas, views
from server.api.access import Caller, Role, caller, own
from server.limits.basis.tables import LARGEST_MINOR
from shared.errors import Refused

Pseudonym = Annotated[
    str,
    Path(
        pattern=r"^[0-9a-f]{64}$",
        description="HMAC-SHA256 of the customer's id, in hex; only the parties can make it",
        examples=["0f" * 32],
    ),
]
Amount = Annotated[int | None, Query(ge=0, le=LARGEST_MINOR, description="In minor units")]

_MAY: Final = (Role.CUSTOMER, Role.OFFICER, Role.REGULATOR, Role.OPERATOR)
ScoreReader = Annotated[Caller, caller(*_MAY, often="score")]
LimitReader = Annotated[Caller, caller(*_MAY, often="limit")]
_PROBLEM: Final[dict[str, Any]] = {"model": schemas.ProblemShape}


def routes(desk: Desk) -> APIRouter:
    """Return the routes of scores, limits and the model."""
    found = APIRouter()
    _customers(found, desk)
    _model(found, desk)
    return found


def _customers(found: APIRouter, desk: Desk) -> None:
    service = desk.scores

    @found.get(
        "/v1/customers/{pseudonym}/score",
        response_model=schemas.Score,
        responses={404: _PROBLEM, 503: _PROBLEM},
        tags=["customers"],
        operation_id="score",
    )
    def score(pseudonym: Pseudonym, who: ScoreReader) -> Response:
        """Give a customer's score, and what costs it points."""
        own(who, pseudonym)
        allowed = _allowed(desk, who, pseudonym)
        return JSONResponse(views.score_view(service.score(pseudonym, allowed=allowed)))

    @found.get(
        "/v1/customers/{pseudonym}/limit",
        response_model=schemas.Limit,
        responses={404: _PROBLEM, 503: _PROBLEM},
        tags=["customers"],
        operation_id="limit",
    )
    def limit(
        pseudonym: Pseudonym,
        who: LimitReader,
        current_minor: Amount = None,
        drawn_minor: Amount = None,
        own_minor: Amount = None,
    ) -> Response:
        """Give a customer's limit: the smallest of the named caps, and the reasons for it.

        Who keeps the customer's line elsewhere may name its limit of today, what is drawn, and the
        customer's own cap; nothing is stored here.
        """
        own(who, pseudonym)
        scored, decision = service.limit(
            pseudonym,
            current_minor=current_minor,
            drawn_minor=drawn_minor or 0,
            own_minor=own_minor,
            allowed=_allowed(desk, who, pseudonym),
        )
        return JSONResponse(views.limit_view(service, scored, decision, current_minor))


def _allowed(desk: Desk, who: Caller, pseudonym: str) -> frozenset[str] | None:
    """Return the holders that may tell others of a customer; None: all of them.

    Who was never asked for a consent here is scored as the federation agreed; whoever was has said
    who may tell.

    Raises
    ------
    Refused
        If no consent to credit stands any more.
    """
    if who.role is Role.CUSTOMER:
        return None
    now = desk.clock()
    with desk.store.read() as db:
        desk.follow(db, now)
        given = [one for one in consents_of(db, pseudonym) if one.purpose == CREDIT]
    day = desk.today(now)
    if given and not any(one.holds_on(day) for one in given):
        raise Refused("the customer's consent to credit does not stand")
    return frozenset(name for one in given if one.holds_on(day) for name in one.holders) or None


def _model(found: APIRouter, desk: Desk) -> None:
    service = desk.scores

    @found.get(
        "/v1/model",
        response_model=schemas.Model,
        responses={503: _PROBLEM},
        tags=["model"],
        operation_id="model",
    )
    async def model() -> Response:
        """Describe the release that serves."""
        release, _, shelf = service.serving(service.clock())
        return JSONResponse(views.model_view(release, shelf.digest))
