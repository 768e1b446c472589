"""What the officer's pages of the rules have in common."""

from __future__ import annotations

from typing import Annotated

from server.api.tokens import Role
from server.web.forms import Posted, posted
from server.web.session import Visit, visitor

Officer = Annotated[Visit, visitor(Role.OFFICER)]
OfficerForm = Annotated[Posted, posted(Role.OFFICER)]
PATH = "/rules"
