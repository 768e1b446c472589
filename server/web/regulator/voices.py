"""`/audit/voices`: who objected and was answered in time; whose lines have a consent behind them.

The complaints are what `/v1/monitoring/complaints` answers. Both look at about a year, or at every
line, so a thread works them out (`server.web.slow`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from sqlalchemy import Connection

from server.accounts import consents, watching
from server.accounts.consents import Coverage
from server.accounts.kept import Span
from server.web.regulator.log import Auditor
from server.web.render import Site
from server.web.slow import Made, Slow

PATH: Final = "/audit/voices"


@dataclass(frozen=True, slots=True)
class Voices:
    """What the page shows.

    Parameters
    ----------
    complaints : mapping
        Of `server.accounts.watching.complaints`.
    reasons : list of mapping
        Of decisions that somebody objected to; most objections a decision first.
    coverage : Coverage
    """

    complaints: dict[str, Any]
    reasons: list[dict[str, Any]]
    coverage: Coverage


def add(found: APIRouter, site: Site) -> None:
    """Add the route."""
    slow = Slow(site)

    @found.get(PATH)
    def voices(request: Request, who: Auditor) -> Response:
        """Show complaints and consents in figures."""
        made = voices_of(site, slow)
        return site.page(request, "regulator/voices.html", who, made=made, path=PATH)


def voices_of(site: Site, slow: Slow) -> Made[Voices]:
    """Return the figures of the usual span, and of today's lines."""
    desk = site.desk

    def work(db: Connection, now: datetime) -> Voices:
        today = desk.today(now)
        told = watching.complaints(desk, db, Span.of(None, None, today), now)
        reasons = [one for one in told["by_code"] if one["complaints"]]
        return Voices(told, reasons, consents.coverage(db, today))

    return slow.ask("voices", work)
