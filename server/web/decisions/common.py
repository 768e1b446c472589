"""What the pages about decisions have in common: who comes in, what an id is, amounts."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Path, Query

from server.accounts.answering import money_of
from server.accounts.desk import Desk
from server.api.tokens import Role
from server.web.charts import Unit
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


def money_unit(desk: Desk, currency: str) -> Unit:
    """Return the unit of amounts in minor units, told to the last of them."""
    digits = money_of(desk.rules.policy).digits
    return Unit(currency, digits, 10**digits)
