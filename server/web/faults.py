"""Errors for people: a page where the browser asks for one, in place of the API's problem."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode

from fastapi import Request, Response

from server.web import language
from server.web.acts import went
from server.web.entrance import SIGN_IN, place_of
from server.web.forms import FIELD
from server.web.render import Site
from server.web.session import Visit, visit_of
from shared.errors import ConfideError

API: Final = "/v1/"
_HTMX: Final = "hx-request"
_SAID: Final = frozenset({400, 401, 403, 404, 405, 408, 409, 413, 415, 422, 429, 503})


async def shown(
    site: Site, request: Request, told: Mapping[str, Any], headers: Mapping[str, str]
) -> Response | None:
    """Return a problem as a page; None where it is no browser that asks, or the API that answers.

    Parameters
    ----------
    site : Site
    request : Request
    told : mapping
        The problem's members; see `server.api.problems`.
    headers : mapping of str to str
    """
    asks = "text/html" in request.headers.get("accept", "")
    if request.url.path.startswith(API) or not (asks or _HTMX in request.headers):
        return None
    status = int(told["status"])
    if status == 401:
        return _to_sign_in(request)
    kept = {name: headers[name] for name in ("Retry-After", "Allow") if name in headers}
    texts, check = language.texts_in(language.wanted(request)), str(told.get("check", ""))
    hint = f"problem_hint.{check}"
    return site.page(
        request,
        "problem.html",
        await _known(request),
        status=status,
        headers=kept,
        code=status if status in _SAID else 500,
        hint=texts.say(hint) if hint in texts.sentences else "",
        detail=told.get("detail", "") if status < 500 else "",
        findings=list(told.get("findings", ())),
        instance=told.get("instance", ""),
        again=request.method == "POST",
    )


async def _known(request: Request) -> Visit | None:
    """Return who is signed in, for the navigation; what is wrong with that is told elsewhere."""
    try:
        return await visit_of(request)
    except ConfideError:
        return None


def _to_sign_in(request: Request) -> Response:
    """Lead to the form, and from there to where somebody wanted to go."""
    address = request.url.path if request.method == "GET" else ""
    kept = [(k, v) for k, v in request.query_params.multi_items() if k != FIELD]
    address += f"?{urlencode(kept)}" if address and kept else ""
    place = place_of(address)
    url = f"{SIGN_IN}?{urlencode({'next': place})}" if place else SIGN_IN
    if _HTMX in request.headers:  # a redirect would be followed out of sight
        return Response(status_code=401, headers={"HX-Redirect": SIGN_IN})
    return went(url)
