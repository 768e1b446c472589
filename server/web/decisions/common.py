"""What the pages about decisions have in common: who comes in, which words a chart gets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final

from fastapi import Path, Query
from fastapi.responses import Response

from server.accounts.answering import money_of
from server.accounts.desk import Desk
from server.api.tokens import Role
from server.limits.words.sentences import Texts
from server.web.charts import Chart, Told, Unit, Words, csv_of
from server.web.forms import Posted, posted
from server.web.session import Visit, visitor

Reader = Annotated[Visit, visitor(Role.OFFICER, Role.REGULATOR)]
OfficerForm = Annotated[Posted, posted(Role.OFFICER)]
# Each is kept for ever, with a record that says all about the score.
DecidingForm = Annotated[Posted, posted(Role.OFFICER, often="limit")]

_ID: Final = r"^[0-9A-Za-z][0-9A-Za-z._:-]{0,63}$"
AnId = Annotated[str, Path(pattern=_ID)]
MaybeId = Annotated[str, Query(pattern=r"^([0-9A-Za-z][0-9A-Za-z._:-]{0,63})?$")]
PAGE: Final = 50
"""Rows of a list."""
LONGEST: Final = 4000
"""Characters of what somebody writes."""
_STATES: Final = ("empty", "loading", "error", "too_few", "withheld")


def words_of(key: str, table: str, texts: Texts, names: Mapping[str, str] | None = None) -> Words:
    """Return a chart's words out of a table of the texts: `title`, `told`, `x` and `y`."""
    return Words(
        key=key,
        title=texts.say(f"{table}.title"),
        description=texts.say(f"{table}.told"),
        x=texts.say(f"{table}.x"),
        y=texts.say(f"{table}.y"),
        names=names or {},
        told=Told(*(texts.say(f"chart.{one}") for one in _STATES)),
    )


def money_unit(desk: Desk, currency: str) -> Unit:
    """Return the unit of amounts in minor units, told to the last of them."""
    digits = money_of(desk.rules.policy).digits
    return Unit(currency, digits, 10**digits)


def as_csv(chart: Chart, name: str) -> Response:
    """Return a chart's figures as a file."""
    headers = {"Content-Disposition": f'attachment; filename="{name}.csv"'}
    return Response(csv_of(chart.table), media_type="text/csv; charset=utf-8", headers=headers)


def as_file(raw: bytes, name: str, media_type: str = "application/json") -> Response:
    """Return bytes as a file that is saved."""
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(raw, media_type=media_type, headers=headers)
