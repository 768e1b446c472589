"""The rules for everybody to read: which texts are in force, and each with its page."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Response
from sqlalchemy import Connection

from server.accounts import publishing
from server.accounts.desk import Desk
from server.api.access import Caller, Role, caller
from server.api.acts import read
from server.api.routes.answers import Lang
from server.api.routes.base import looks, router
from server.api.shapes import rules as shapes

Anybody = Annotated[Caller, caller(*Role)]
TextId = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of a rule text")]


def routes(desk: Desk) -> APIRouter:
    """Return the routes of the published rules, over a desk."""
    found = router("policies")

    @found.get("/v1/policies", **looks(shapes.Rules))
    def policies(who: Anybody) -> Response:  # noqa: ARG001 - whoever has a token
        """List the rule texts in force, and those that are to come."""

        def work(db: Connection, now: datetime) -> dict[str, Any]:
            return shapes.Rules(**publishing.in_force(desk, db, now)).body()

        return read(desk, work)

    @found.get("/v1/policies/{digest}", **looks(shapes.RulePage))
    def policy(digest: TextId, who: Anybody, lang: Lang = "zh") -> Response:  # noqa: ARG001
        """Show a rule text, word for word, and its page made from it."""

        def work(db: Connection, _: datetime) -> dict[str, Any]:
            told = publishing.published(desk, db, digest, lang)
            return shapes.RulePage(**told).body()

        return read(desk, work)

    return found
