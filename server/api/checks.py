"""What watches over the service asks: is the process up, can it answer, how much did it do."""

from __future__ import annotations

import ipaddress
from importlib.metadata import version
from typing import Any, Final

import sqlalchemy as sa
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from server.accounts.desk import Desk
from server.api import schemas, views
from server.api.access import Door
from server.api.metrics import MEDIA_TYPE, Metrics
from server.api.problems import Problem
from server.api.tokens import Role
from shared.errors import ConfideError, Refused

# What a proxy on this machine adds: who asks through it is not on this machine.
_FORWARDED: Final = ("forwarded", "x-forwarded-for", "x-real-ip", "via")

_PROBLEM: Final[dict[str, Any]] = {"model": schemas.ProblemShape}


def routes(desk: Desk, metrics: Metrics) -> APIRouter:
    """Return ``/healthz``, ``/readyz`` and ``/metrics``."""
    found = APIRouter(tags=["checks"])

    @found.get("/healthz", response_model=schemas.Alive, operation_id="healthz")
    async def healthz() -> Response:
        """Say that the process is up; nothing else is looked at."""
        return JSONResponse({"status": "ok", "version": version("confide")})

    @found.get(
        "/readyz", response_model=schemas.Ready, responses={503: _PROBLEM}, operation_id="readyz"
    )
    def readyz() -> Response:
        """Say whether the store answers and a release serves; 503 names what does not."""
        if desk.scores.changed():
            desk.scores.refresh()
        elif desk.scores.fed():
            desk.scores.follow()
        findings = [*_store_findings(desk), *_release_findings(desk)]
        if findings:
            return Problem(
                503,
                "environment",
                "the service cannot answer yet",
                headers={"Retry-After": "5"},
                findings=findings,
            )
        scores = desk.scores
        shelf = scores.feeds.shelf
        rows = views.feeds_view(shelf, scores.federation, scores.clock())
        return JSONResponse(
            {
                "status": "ready",
                "release": shelf.release.name if shelf.release else "",
                "missing": [row["party"] for row in rows if row["stale"]],
            }
        )

    @found.get(
        "/metrics",
        operation_id="metrics",
        response_class=Response,
        responses={
            200: {"content": {"text/plain": {"schema": {"type": "string"}}}},
            **dict.fromkeys((401, 403), _PROBLEM),
        },
    )
    async def all_metrics(request: Request) -> Response:
        """Tell what was counted: to an operator, or on this machine without a token."""
        await _check_reader(request)
        return Response(metrics.text(), headers={"Content-Type": MEDIA_TYPE})

    return found


async def _check_reader(request: Request) -> None:
    """Let operators read the metrics, and who stands at this machine.

    Raises
    ------
    Unauthorised, Refused
    """
    token = request.headers.get("authorization")
    forwarded = any(name in request.headers for name in _FORWARDED)
    if token is None and not forwarded and _is_here(request):
        return
    door: Door = request.app.state.door
    who = await door.admit(token)
    if who.role is not Role.OPERATOR:
        raise Refused(f"the role {who.role} may not do this")


def _is_here(request: Request) -> bool:
    try:
        return ipaddress.ip_address(request.client.host if request.client else "").is_loopback
    except ValueError:
        return False


def _store_findings(desk: Desk) -> list[str]:
    try:
        with desk.store.read() as db:
            db.execute(sa.text("SELECT 1"))
    except ConfideError as error:
        # Anybody may ask: where the store is, and as whom it is asked, is not told.
        return [f"store: {str(error).removeprefix(f'{desk.store.name}: ')}"]
    return []


def _release_findings(desk: Desk) -> list[str]:
    scores = desk.scores
    try:
        scores.serving(scores.clock())
    except ConfideError as error:
        return [f"release: {error}"]
    return []
