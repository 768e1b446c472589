"""What everybody may open: the page that says what this is, and the way in and out."""

from __future__ import annotations

import re
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request, Response

from server.api.access import Door
from server.api.guesses import Guesses
from server.api.tokens import Caller, Role, check_subject
from server.store.access import Client
from server.web import session
from server.web.acts import went
from server.web.forms import Posted, check_origin, fields_of, posted
from server.web.render import Site
from server.web.session import Visit, visit_of
from shared.errors import TooMany, UsageError

SIGN_IN: Final = "/sign-in"
_MOST: Final = 128
# A place of ours: nothing that a browser could read as another host.
_PLACE: Final = re.compile(r"/(?![/\\])[0-9A-Za-z/._~?=&%+-]{0,300}")
Anybody = Annotated[Visit | None, Depends(visit_of)]
Leaver = Annotated[Posted, posted(*Role)]


def routes(site: Site) -> APIRouter:
    """Return the routes of the entrance."""
    found = APIRouter(include_in_schema=False)
    _open(found, site)
    _in_and_out(found, site)
    return found


def _open(found: APIRouter, site: Site) -> None:
    @found.get("/")
    async def home(request: Request, who: Anybody) -> Response:
        """Say what this is; who is signed in is led to the own pages."""
        start = "/" if who is None else site.start_of(who.role)
        if start != "/" and "stay" not in request.query_params:
            return went(start)
        return site.page(request, "home.html", who, start=start)

    @found.get(SIGN_IN)
    async def sign_in_form(request: Request, who: Anybody) -> Response:
        """Ask for id and secret."""
        place = place_of(request.query_params.get("next", ""))
        if who is not None:
            return went(place or site.start_of(who.role))
        return site.page(request, "sign_in.html", place=place, wrong="", client="")


def _in_and_out(found: APIRouter, site: Site) -> None:
    @found.post(SIGN_IN)
    async def sign_in(request: Request) -> Response:
        """Begin a session for who knows a client's secret."""
        check_origin(request)
        fields = fields_of(await request.body())
        name, secret = (fields.get(one, ("",))[0].strip() for one in ("client", "secret"))
        place = place_of(fields.get("next", ("",))[0])
        door: Door = request.app.state.door
        guesses: Guesses = request.app.state.guesses
        wrong, client = "", None
        if max(len(name), len(secret)) > _MOST:
            name = ""
        try:
            address = request.client.host if request.client else ""
            door.throttle.check("token", address, name)
            client = await guesses.client(name, secret)
        except TooMany:
            wrong = "often"
        caller = None if client is None else _person(client)
        if caller is None:
            wrong = wrong or ("secret" if client is None else "person")
            status = 429 if wrong == "often" else 401
            return site.page(
                request, "sign_in.html", status=status, place=place, wrong=wrong, client=name
            )
        answer = went(place or site.start_of(caller.role))
        session.sign_in(request, answer, caller)
        return answer

    @found.post("/sign-out")
    async def sign_out(request: Request, _form: Leaver) -> Response:
        """End the session in this browser."""
        answer = went("/?done=signed_out")
        session.sign_out(request, answer)
        return answer


def place_of(text: str) -> str:
    """Return an address on this site that somebody wanted, or nothing."""
    return text if _PLACE.fullmatch(text) else ""


def _person(client: Client) -> Caller | None:
    """Return who a client stands for; None for a program that speaks for whomever it likes."""
    role = Role(client.role)
    try:
        check_subject(role, client.subject)
    except UsageError:
        return None
    return Caller(client.id, role, client.subject)
