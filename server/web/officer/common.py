"""What the officer's pages of the model share: who may look, releases refused, files of figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import Query, Request, Response

from server.api.tokens import Role
from server.limits.words.sentences import Texts
from server.web.charts import Chart
from server.web.files import as_csv
from server.web.render import Site
from server.web.session import Visit, visitor
from shared.contract import EVERY
from shared.errors import NotFound, ReleaseRefused

Officer = Annotated[Visit, visitor(Role.OFFICER)]
OfRelease = Annotated[str, Query(alias="release", pattern=r"^([a-z]{1,16}-[0-9]{4,12})?$")]


def refusal(site: Site, request: Request, who: Visit | None, error: ReleaseRefused) -> Response:
    """Return the page of a release that does not verify; only an officer is told by which check."""
    told = error.message if who is not None and who.role is Role.OFFICER else ""
    return site.page(request, "officer/refused.html", who, status=503, told=told)


def holder_name(texts: Texts, name: str) -> str:
    """Return a holder as people know it; lines that all banks hold are every bank's."""
    return texts.say("model.every_bank") if name == EVERY else texts.holders([name])


def chart_csv(charts: Sequence[Chart], key: str, name: str) -> Response:
    """Return the figures of one of these charts as a file.

    Raises
    ------
    NotFound
        If none has that key, or it has no figures.
    """
    for one in charts:
        if one.key == key and one.table.rows:
            return as_csv(one.table, f"{name}-{key}")
    raise NotFound("there are no such figures")
