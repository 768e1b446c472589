"""What the officer's pages of the rules have in common."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from server.accounts.activating import Terms
from server.accounts.desk import Desk
from server.api.tokens import Role
from server.web.forms import Posted, posted
from server.web.session import Visit, visitor

Officer = Annotated[Visit, visitor(Role.OFFICER)]
OfficerForm = Annotated[Posted, posted(Role.OFFICER)]
PATH = "/rules"


def terms_of(desk: Desk, now: datetime) -> Terms:
    """Return what a change of the rules is checked against."""
    return Terms(desk.today(now), desk.book.opening.sources, desk.scores.grades())
