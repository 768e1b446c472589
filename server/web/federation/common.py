"""What the operator's pages have in common: who comes in, the folder, instants and sizes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Final
from zoneinfo import ZoneInfo

from fastapi import Path

from server.api.tokens import Role
from server.limits.words.sentences import Texts
from server.runs.folder import RunsFolder
from server.runs.story import ROUND
from server.web.charts import number
from server.web.render import Site
from server.web.session import Visit, visitor
from shared.errors import NotFound

Operators = Annotated[Visit, visitor(Role.OPERATOR)]
RunName = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
PILLS: Final = {"running": "", "silent": "warn", "ended": "good", "failed": "bad"}
"""How each state of a run looks."""


def runs_of(site: Site) -> RunsFolder:
    """Return the coordinator's folder.

    Raises
    ------
    NotFound
        If the service was told of none.
    """
    if site.runs is None:
        raise NotFound("the service was not told of a coordinator's folder")
    return site.runs


@dataclass(frozen=True, slots=True)
class Tells:
    """Instants, spans, sizes and names as a language writes them, for the operator's templates.

    Parameters
    ----------
    texts : Texts
    zone : ZoneInfo
        Of the service.
    """

    texts: Texts
    zone: ZoneInfo

    def moment(self, at: float) -> str:
        """Return an instant, in seconds since 1970, as day and time here."""
        return f"{datetime.fromtimestamp(at, self.zone):%Y-%m-%d %H:%M:%S}"

    def iso(self, at: float) -> str:
        """Return an instant as machines read it."""
        return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"

    def instant(self, text: str) -> str:
        """Return an instant that was written as machines read it as day and time here."""
        return self.moment(datetime.fromisoformat(text).timestamp())

    def span(self, seconds: float) -> str:
        """Return how long something took."""
        if seconds < 60:
            return self.texts.say("fed.seconds", n=number(seconds, 1))
        minutes, rest = divmod(round(seconds), 60)
        if minutes < 60:
            return self.texts.say("fed.minutes", n=minutes, s=f"{rest:02d}")
        return self.texts.say("fed.hours", n=minutes // 60, m=f"{minutes % 60:02d}")

    def size(self, count: int) -> str:
        """Return a number of bytes."""
        for unit, per in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
            if count >= per:
                return f"{number(count / per, 1)} {unit}"
        return f"{count} B"

    def phase(self, name: str) -> str:
        """Return what a phase is called; a name that is not known stays as it is."""
        told = self.texts.sentences.get(f"fed_phase.{name}")
        rest = name.removeprefix(ROUND)
        if told is None and rest != name and rest.isdecimal():
            return self.texts.say("fed_phase.round", n=int(rest))
        return told or name
