"""`/me/what-if`: the coming reviews with some facts changed; a look, and nothing is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from sqlalchemy import Connection

from server.accounts import answering
from server.accounts.answering import money_of
from server.accounts.desk import Desk
from server.accounts.standing import look_at
from server.accounts.telling import as_it_is
from server.limits.answers.whatif import FACTS
from server.store.lines import StoredLine
from server.web import language
from server.web.charts import Chart, Series, Table, Unit, lines
from server.web.customer.common import Asker, Mine, OfLine, major_of, mine_of, minor_of
from server.web.drawing import words_of
from server.web.files import as_csv
from server.web.language import Language
from server.web.render import Site
from shared.errors import NotFound, UsageError

HORIZON: Final = 360
"""Days that the page looks ahead."""
_SLIDERS: Final = {"draws": 12, "utilisation": 100, "enquiries": 12}
# What a customer can change; what others decide is for the API's callers to try.
_OFFERED: Final = (
    "draws",
    "utilisation",
    "enquiries",
    "income_proven_minor",
    "income_minor",
    "obligations_minor",
    "others_minor",
)


@dataclass(frozen=True, slots=True)
class Field:
    """A fact that can be tried.

    Parameters
    ----------
    name : str
    now, value : str
        Today's, and what is tried; as the form has them.
    most : int
        Of a slider; 0 where an amount is typed.
    """

    name: str
    now: str
    value: str
    most: int


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of a try.

    Parameters
    ----------
    low_minor, high_minor : int
        Between what comes anyway and what the changes bring.
    change : {'more', 'less', 'same'}
        What the changes bring, against what comes anyway.
    by : str
    seen_from : tuple of (str, str)
        Fact, and the day from which it could be seen.
    holders : tuple of str
        Who alone could say what would change the score.
    chart : Chart
        Limit by review day, with the changes and without.
    """

    low_minor: int
    high_minor: int
    change: str
    by: str
    seen_from: tuple[tuple[str, str], ...]
    holders: tuple[str, ...]
    chart: Chart


def add(found: APIRouter, site: Site) -> None:
    """Add the route."""

    @found.get("/me/what-if")
    def what_if(request: Request, who: Asker, line: OfLine = "") -> Response:
        """Show the form, and beneath it what came of it."""
        asked, wanted = dict(request.query_params), language.wanted(request)

        def work(db: Connection, now: datetime) -> dict[str, Any]:
            mine = mine_of(db, who, line)
            inputs, tried = tried_on(site.desk, db, mine, asked, wanted, now)
            return {"every": mine.every, "line": mine.line, "inputs": inputs, "tried": tried}

        view = site.read(work) | {"asked": bool(asked.get("try"))}
        return site.page(request, "customer/what_if.html", who, **view)

    @found.get("/me/what-if.csv")
    def figures(request: Request, who: Asker, line: OfLine = "") -> Response:
        """Give the figures of the chart."""
        asked, wanted = dict(request.query_params), language.wanted(request)

        def work(db: Connection, now: datetime) -> Table:
            tried = tried_on(site.desk, db, mine_of(db, who, line), asked, wanted, now)[1]
            if tried is None:
                raise NotFound("nothing was tried")
            return tried.chart.table

        return as_csv(site.read(work), "what-if")


def tried_on(
    desk: Desk,
    db: Connection,
    mine: Mine,
    asked: Mapping[str, str],
    wanted: Language,
    now: datetime,
) -> tuple[tuple[Field, ...], Tried | None]:
    """Return what can be tried on a line, and what came of what was; None where nothing was.

    Raises
    ------
    UsageError
        Names every field that is malformed.
    """
    if mine.line is None:
        return (), None
    fields = fields_of(desk, db, mine.line, asked, now)
    changes = changes_of(fields, desk, mine.line)
    if not changes:
        return fields, None
    told, plain = (
        answering.what_if(desk, db, mine.line.id, one, HORIZON, now) for one in (changes, {})
    )
    return fields, tried_of(told, plain, mine.line, _digits(desk, mine.line), wanted)


def fields_of(
    desk: Desk, db: Connection, line: StoredLine, asked: Mapping[str, str], now: datetime
) -> tuple[Field, ...]:
    """Return what can be tried on a line, with today's values; () where it has no reviews."""
    seen = look_at(desk, db, line, now)
    told = as_it_is(seen)
    if told.reviews is None:
        return ()
    digits = money_of(seen.policy).digits
    known, found = told.reviews.facts(), []
    for name in _OFFERED:
        if name in known:
            today = _spelt(name, known[name], digits)
            most = _SLIDERS.get(name, 0)
            found.append(Field(name, today, asked.get(name, "").strip() or today, most))
    return tuple(found)


def changes_of(fields: tuple[Field, ...], desk: Desk, line: StoredLine) -> dict[str, Any]:
    """Return the facts whose value is another one than today's.

    Raises
    ------
    UsageError
        Names every field that is malformed.
    """
    digits, found, findings = _digits(desk, line), {}, []
    for one in fields:
        if one.value == one.now:
            continue
        try:
            found[one.name] = _read(one, digits)
        except UsageError as error:
            findings.append(error.message)
    if findings:
        raise UsageError("; ".join(findings))
    return found


def tried_of(
    told: Mapping[str, Any],
    plain: Mapping[str, Any],
    line: StoredLine,
    digits: int,
    wanted: Language,
) -> Tried:
    """Return what came of a try as the page shows it.

    Parameters
    ----------
    told, plain : mapping
        Answers with the changes and without; see `server.accounts.answering.what_if`.
    line : StoredLine
    digits : int
        Decimals of the currency.
    wanted : {'en', 'zh'}
    """
    ends = (told["path"][-1]["limit_minor"], plain["path"][-1]["limit_minor"])
    return Tried(
        low_minor=min(ends),
        high_minor=max(ends),
        change="same" if ends[0] == ends[1] else "more" if ends[0] > ends[1] else "less",
        by=told["path"][-1]["day"],
        seen_from=tuple(sorted(told["seen_from"].items())),
        holders=tuple(told["score_held_by"]),
        chart=path_chart(told, plain, Unit(line.currency, 0, 10**digits), wanted),
    )


def path_chart(
    told: Mapping[str, Any], plain: Mapping[str, Any], unit: Unit, wanted: Language
) -> Chart:
    """Draw the limit of each coming review, in days from today."""
    texts = language.texts_in(wanted)
    start = date.fromisoformat(told["as_of"])

    def series(name: str, path: Sequence[Mapping[str, Any]]) -> Series:
        days = ((date.fromisoformat(one["day"]) - start).days for one in path)
        limits = (float(one["limit_minor"]) for one in path)
        return Series(texts.say(name), tuple(zip(map(float, days), limits, strict=True)))

    words = words_of(texts, "path", "trying_path")
    both = [series("trying.with", told["path"]), series("trying.without", plain["path"])]
    return lines(words, both, Unit(texts.say("trying_path.unit")), unit, low=0.0)


def _digits(desk: Desk, line: StoredLine) -> int:
    return money_of(desk.rules.of(line.product).policy).digits


def _spelt(name: str, value: object, digits: int) -> str:
    """Return today's value of a fact as the form has it."""
    kind = FACTS[name]
    if kind == "share" and isinstance(value, Decimal):
        return str(round(value * 100))
    return major_of(int(str(value)), digits) if kind == "amount" else str(value)


def _read(field: Field, digits: int) -> int | Decimal:
    kind = FACTS[field.name]
    if kind == "amount":
        return minor_of(field.value, digits, field.name)
    if not field.value.isascii() or not field.value.isdigit() or len(field.value) > 4:
        raise UsageError(f"{field.name}: a whole number")
    return Decimal(field.value) / 100 if kind == "share" else int(field.value)
