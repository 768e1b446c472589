"""What a partner's pages have in common: who comes in, and how many rows a page has."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Query

from server.api.tokens import Role
from server.web.forms import Posted, posted
from server.web.session import Visit, visitor

Partner = Annotated[Visit, visitor(Role.PARTNER)]
PartnerForm = Annotated[Posted, posted(Role.PARTNER)]
Before = Annotated[str, Query(pattern=r"^([0-9A-Za-z][0-9A-Za-z._:-]{0,63})?$")]
PAGE: Final = 50
