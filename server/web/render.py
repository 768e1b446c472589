"""Pages out of templates and frozen views: what every page has, in the language that is wanted."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from sqlalchemy import Connection

from server.accounts.desk import Desk
from server.api.tokens import Role
from server.limits.words.sentences import Texts
from server.runs.folder import RunsFolder
from server.web import assets, forms, language, session
from server.web.language import Language
from server.web.session import Visit

HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    # Without it browsers send forms with no origin, which could not be looked at.
    "Referrer-Policy": "same-origin",
}
"""Of every page; the others are those of every answer (`server.api.headers`)."""
_YEAR: Final = 365 * 24 * 3600
_T = TypeVar("_T")


def environment() -> Environment:
    """Return what templates are read with: everything is escaped, and nothing may be missing."""
    made = Environment(
        loader=PackageLoader("server.web", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    # Of `server.web.charts`, which escapes every word that it is given.
    made.filters["drawing"] = Markup
    return made


@dataclass(frozen=True, slots=True)
class Item:
    """A line of the navigation.

    Parameters
    ----------
    path : str
    text : str
        Key of what it is called.
    """

    path: str
    text: str


@dataclass(frozen=True, slots=True)
class Section:
    """The pages of a role.

    Parameters
    ----------
    role : Role
    items : tuple of Item
        In the order of the navigation; the first is where a sign-in leads to.
    """

    role: Role
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Site:
    """What the routes of pages work with.

    Parameters
    ----------
    desk : Desk
    sections : tuple of Section
        Of the roles that have pages.
    runs : RunsFolder, optional
        Of the coordinator, where the service was told of it.
    """

    desk: Desk
    sections: tuple[Section, ...]
    runs: RunsFolder | None = None
    _templates: Environment = field(init=False, repr=False, default_factory=environment)

    def read(self, work: Callable[[Connection, datetime], _T]) -> _T:
        """Return what a page shows, read in one state of the store under the rules in force."""
        now = self.desk.clock()
        with self.desk.store.read() as db:
            self.desk.follow(db, now)
            return work(db, now)

    def page(
        self,
        request: Request,
        template: str,
        visit: Visit | None = None,
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        **view: Any,
    ) -> HTMLResponse:
        """Return a page.

        Parameters
        ----------
        request : Request
        template : str
            Below `templates/`.
        visit : Visit, optional
            Who looks; None for whoever it is.
        status : int
        headers : mapping of str to str, optional
            Beside `HEADERS`.
        **view : values
            What the template shows.
        """
        wanted = language.wanted(request)
        base = self._base(request, wanted, visit)
        text = self._templates.get_template(template).render(base | view)
        answer = HTMLResponse(text, status, {**HEADERS, **(headers or {})})
        answer.headers["Content-Language"] = {"en": "en", "zh": "zh-Hans"}[wanted]
        if language.chosen(request) is not None:
            answer.set_cookie(
                language.COOKIE,
                wanted,
                max_age=_YEAR,
                httponly=True,
                samesite="lax",
                secure=session.is_secure(request),
            )
        if visit is not None:
            session.renew(request, answer, visit)
        return answer

    def start_of(self, role: Role) -> str:
        """Return where a sign-in leads to."""
        return next((one.items[0].path for one in self.sections if one.role is role), "/")

    def _base(self, request: Request, wanted: Language, visit: Visit | None) -> dict[str, Any]:
        """Return what every page knows; `page` may add, and names nothing twice."""
        texts, policy = language.texts_in(wanted), self.desk.rules.policy
        mine = [one for one in self.sections if visit is not None and one.role is visit.role]
        return {
            "t": texts.say,
            "texts": texts,
            "says": Says(texts, policy.currency, policy.minor_digits),
            "lang": wanted,
            "languages": [
                (one, language.texts_in(one).say("site.language"), _address(request, one))
                for one in language.LANGUAGES
            ],
            "visit": visit,
            "nav": [item for section in mine for item in section.items],
            "path": request.url.path,
            "query": _query(request),
            "asset": assets.url_of,
            "fields": lambda: _hidden(visit),
            "done": request.query_params.get("done", ""),
        }


@dataclass(frozen=True, slots=True)
class Says:
    """Values as a language writes them, for templates.

    Parameters
    ----------
    texts : Texts
    currency : str
        Of the policy, where none is named.
    digits : int
        Decimals of its amounts.
    """

    texts: Texts
    currency: str
    digits: int

    def money(self, minor: int, currency: str = "") -> str:
        """Return an amount; one below nothing has a minus sign."""
        told = self.texts.money(abs(minor), currency or self.currency, self.digits)
        return f"\N{MINUS SIGN}{told}" if minor < 0 else told

    def day(self, day: date | str) -> str:
        """Return a day, also one that is spelt 2026-03-02."""
        return self.texts.day(date.fromisoformat(day) if isinstance(day, str) else day)

    def listed(self, words: Sequence[str]) -> str:
        """Return words as a list."""
        return self.texts.listed(list(words))


def _hidden(visit: Visit | None) -> Markup:
    """Return the hidden fields of a form: its session's MAC, and a name that it has but once."""
    once = os.urandom(16).hex()
    csrf = "" if visit is None else visit.csrf
    row = '<input type="hidden" name="{}" value="{}">'
    return Markup(row * 2).format(  # noqa: S704 - format escapes what it puts in
        forms.FIELD, csrf, forms.ONCE, once
    )


def _query(request: Request) -> str:
    """Return what a page was asked, without language and what a form has left there."""
    apart = {language.QUERY, "done"}
    return urlencode([(k, v) for k, v in request.query_params.multi_items() if k not in apart])


def _address(request: Request, wanted: str) -> str:
    """Return the address of this page in another language, without what a form has left there."""
    kept = _query(request)
    return f"{request.url.path}?{kept}{'&' if kept else ''}{language.QUERY}={wanted}"
