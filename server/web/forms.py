"""Forms that pages send: read once, and believed only from a page of ours in the same session.

Every form carries a MAC of its session, and a browser that says that the form was another site's is
not believed. There is no other way to the fields, so no route can forget the check::

    OfficersForm = Annotated[Posted, posted(Role.OFFICER)]
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from fastapi import Depends, Request

from server.api.tokens import Role
from server.web.session import Visit, admit, check_roles, form_macs
from shared.errors import Refused, UsageError

FIELD: Final = "csrf"
ONCE: Final = "once"
HEADER: Final = "X-CSRF-Token"
MOST_FIELDS: Final = 200
_FOREIGN: Final = frozenset({"cross-site", "same-site"})


@dataclass(frozen=True, slots=True)
class Posted:
    """A form that was sent by a page of ours.

    Parameters
    ----------
    visit : Visit
    fields : mapping of str to tuple of str
    """

    visit: Visit
    fields: Mapping[str, tuple[str, ...]]

    def many(self, name: str) -> tuple[str, ...]:
        """Return every value of a field, in the form's order."""
        return self.fields.get(name, ())

    def one(self, name: str, *, most: int = 200, missing: str | None = None) -> str:
        """Return a field's value, without white space around it.

        Parameters
        ----------
        name : str
        most : int
            Characters.
        missing : str, optional
            What to return where it is absent or empty; without it such a form is refused.

        Raises
        ------
        UsageError
            Names the field.
        """
        told = self.many(name)
        text = told[0].strip() if len(told) == 1 else ""
        if len(told) > 1 or len(text) > most:
            raise UsageError(f"{name}: one value of at most {most} characters")
        if not text and missing is None:
            raise UsageError(f"{name} is missing", hint="fill it in")
        return text or (missing or "")


def posted(*roles: Role, often: str = "") -> Any:
    """Return a dependency that gives a form that was sent by a page of ours: a `Posted`.

    Parameters
    ----------
    roles, often
        As of `server.web.session.visitor`.
    """
    check_roles(roles)

    async def sent(request: Request) -> Posted:
        check_origin(request)
        visit = await admit(request, roles, often)
        fields = fields_of(await request.body())
        given = request.headers.get(HEADER) or "".join(fields.get(FIELD, ()))
        if not any(
            hmac.compare_digest(given.encode(), one.encode()) for one in form_macs(request, visit)
        ):
            raise Refused("the form is of another session", hint="open the page again")
        return Posted(visit, fields)

    return Depends(sent)


def check_origin(request: Request) -> None:
    """Refuse a form that the browser says another site has sent.

    Raises
    ------
    Refused
    """
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    foreign = site in _FOREIGN
    if site is None and origin is not None:
        foreign = urlsplit(origin).netloc != request.headers.get("host", "")
    if foreign:
        raise Refused("the form was sent from another site", hint="open the page again")


def fields_of(raw: bytes) -> dict[str, tuple[str, ...]]:
    """Return the fields of a form's body.

    Raises
    ------
    UsageError
        If it is malformed, or has more than `MOST_FIELDS` values.
    """
    try:
        pairs = parse_qsl(
            raw.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(raw),
            errors="strict",
            max_num_fields=MOST_FIELDS,
        )
    except ValueError as error:
        raise UsageError("the form is malformed") from error
    found: dict[str, tuple[str, ...]] = {}
    for name, value in pairs:
        found[name] = (*found.get(name, ()), value)
    return found
