"""What a form changes: once, however often it is sent, and then on to a page that can be reloaded.

The form's own name (`forms.ONCE`) is claimed as an Idempotency-Key is at the API, so that two
clicks are one effect.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from datetime import datetime
from typing import Final

from fastapi import Request
from fastapi.responses import RedirectResponse
from sqlalchemy import Connection

from server.accounts.desk import Desk
from server.api.bodies import body_of
from server.store import idempotency as keys
from server.store.idempotency import Answer
from server.web.forms import ONCE, Posted
from shared.errors import ConfideError

_SEE_OTHER: Final = 303
Work = Callable[[Connection, datetime], str]


def act(request: Request, form: Posted, desk: Desk, work: Work) -> RedirectResponse:
    """Do what a form asks for, and lead on; call it from a plain `def` route.

    Parameters
    ----------
    request : Request
    form : Posted
    desk : Desk
    work : callable
        Does everything in the transaction it is given, at the instant it is given, and returns the
        address of the page that tells of it; raises what refuses it. It is called at most once.

    Raises
    ------
    UsageError
        If the form has no name of its own.
    Conflict
        With check `in-flight`, if the same form is being worked on.
    ConfideError
        Whatever the work raises.
    """
    now, asked = desk.clock(), _asked(request, form)
    with desk.store.guard() as db:
        claimed = keys.claim(db, asked, now)
    if isinstance(claimed, Answer):
        return went(claimed.body.decode())
    try:
        with desk.store.write() as db:
            desk.follow(db, now)
            url = work(db, now)
            # In the body, where an erasure looks for what names a line.
            keys.finish(db, claimed, Answer(_SEE_OTHER, {}, url.encode()))
    except BaseException:
        with contextlib.suppress(ConfideError), desk.store.guard() as db:
            keys.abandon(db, claimed)
        raise
    return went(url)


def went(url: str) -> RedirectResponse:
    """Return an answer that leads on to a page."""
    return RedirectResponse(url, _SEE_OTHER)


def _asked(request: Request, form: Posted) -> keys.Request:
    who = form.visit.caller
    address = f"{request.url.path}\n".encode()
    return keys.Request(
        key=form.one(ONCE, most=64),
        route=f"{request.method} {request.scope['route'].path}",
        caller=hashlib.sha256(f"{who.client}\n{who.role}\n{who.subject}".encode()).hexdigest(),
        digest=hashlib.sha256(address + body_of(request)).hexdigest(),
    )
