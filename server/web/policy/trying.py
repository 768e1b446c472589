"""`/rules/try`: rules on simulated people, alone or beside others; nothing is changed by it.

A thread plays (`server.web.slow`), and what is shown is what `POST /v1/simulations` answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Request, Response
from sqlalchemy import Connection

from server.accounts import known_rules, playing
from server.accounts.known_rules import KnownText
from server.accounts.playing import Chosen, Crowd, Wanted
from server.accounts.rule_lint import told as findings_of
from server.web import language
from server.web.officer.common import chart_csv
from server.web.policy import tried
from server.web.policy.common import PATH, Officer
from server.web.portfolio.book import money_unit
from server.web.render import Site
from server.web.slow import Made, Slow
from shared.errors import ConfideError, ConfigError, DataError, NotFound, UsageError
from shared.world.economy import ECONOMIES

Key = Annotated[str, Path(pattern=r"^[a-z][a-z0-9-]{0,31}$")]
ADDRESS: Final = f"{PATH}/try"
_WAIT_S: Final = 120.0
"""For a replay that the API plays."""
_BOUNDS: Final = {
    "people": (1, playing.MOST_PEOPLE),
    "months": (1, playing.MOST_MONTHS),
    # More are of no use to a person, and one remembers fewer digits.
    "seed": (0, 999_999),
}
_MOST: Final = 64
"""Characters of a field: a SHA-256 is the longest."""


@dataclass(frozen=True, slots=True)
class Form:
    """What is asked, as it was typed.

    Parameters
    ----------
    first, first_line, second, second_line : str
        SHA-256 of rule texts; see `server.accounts.playing.Wanted`.
    people, months, seed, economy : str
        See `server.accounts.playing.Crowd`.
    frontier : str
        Empty: no frontier.
    go : str
        Empty: nothing is asked yet.
    """

    first: str = ""
    first_line: str = ""
    second: str = ""
    second_line: str = ""
    people: str = str(playing.PEOPLE)
    months: str = str(playing.MONTHS)
    seed: str = str(playing.SEED)
    economy: str = playing.ECONOMY
    frontier: str = ""
    go: str = ""

    @classmethod
    def of(cls, asked: Mapping[str, str]) -> Form:
        """Return the fields of an address; what is missing is as it is at first."""
        names = [one.name for one in fields(cls)]
        return cls(**{name: asked[name].strip()[: _MOST + 1] for name in names if name in asked})

    def wrong(self) -> tuple[str, ...]:
        """Return the names of the fields that are out of their bounds."""
        found = [name for name, ends in _BOUNDS.items() if not _within(getattr(self, name), ends)]
        return (*found, *(["economy"] if self.economy not in ECONOMIES else []))

    def crowd(self) -> Crowd:
        """Return who lives with the rules; only of a form with nothing `wrong`."""
        return Crowd(int(self.people), int(self.months), int(self.seed), self.economy)

    def wanted(self) -> tuple[Wanted, Wanted | None]:
        """Return the first rules, and the second where there are any."""
        second = Wanted(self.second, self.second_line)
        return Wanted(self.first, self.first_line), second if second != Wanted() else None


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be played, or why it cannot be.

    Parameters
    ----------
    form : Form
    known : tuple of KnownText
        Rule texts to choose from.
    chosen : tuple of Chosen
        Empty where nothing is asked, or where something is wrong.
    wrong, findings : tuple of str
        Fields out of their bounds, and what is wrong with the rules.
    """

    form: Form
    known: tuple[KnownText, ...]
    chosen: tuple[Chosen, ...] = ()
    wrong: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()


def add(found: APIRouter, site: Site) -> None:
    """Add the routes."""
    slow = Slow(site)

    @found.get(ADDRESS)
    def trying(request: Request, who: Officer) -> Response:
        """Show the form, and beneath it what came of it."""
        asked = asked_of(site, request.query_params)
        made = play(slow, asked)
        value = None if made is None else made.value
        texts = language.texts_in(language.wanted(request))
        money = money_unit(site, texts)
        return site.page(
            request,
            "policy/try.html",
            who,
            status=422 if asked.wrong or asked.findings else 200,
            asked=asked,
            economies=tuple(ECONOMIES),
            bounds=_BOUNDS,
            made=made,
            levels=tried.levels_of(value, money),
            frontiers=tried.frontiers_of(value, money),
            frontier=tried.FRONTIER,
            charts=tried.charts_of(made, money, texts),
        )

    @found.get(f"{ADDRESS}/{{key}}.csv")
    def figures(request: Request, who: Officer, key: Key) -> Response:  # noqa: ARG001
        """Give the figures of a picture; there are none until they are worked out."""
        made = play(slow, asked_of(site, request.query_params))
        texts = language.texts_in(language.wanted(request))
        return chart_csv(tried.charts_of(made, money_unit(site, texts), texts), key, "rules")


def asked_of(site: Site, query: Mapping[str, str]) -> Asked:
    """Return what an address asks, with the rules read and held against each other.

    Parameters
    ----------
    site : Site
    query : mapping of str to str
        Of the address.
    """
    form = Form.of(query)

    def work(db: Connection, now: datetime) -> Asked:
        known = tuple(
            one
            for one in known_rules.known_texts(site.desk, db, now)
            if one.kind in {"policy", "line"}
        )
        if not form.go:
            return Asked(form, known)
        if wrong := form.wrong():
            return Asked(form, known, wrong=wrong)
        try:
            chosen = playing.choose(site.desk, db, now, *form.wanted())
        except (UsageError, DataError) as error:
            return Asked(form, known, findings=_findings(error))
        return Asked(form, known, chosen)

    return site.read(work)


def play(slow: Slow, asked: Asked) -> Made[dict[str, Any]] | None:
    """Return what came of what is asked, or how far it is; None where nothing is."""
    if not asked.chosen:
        return None
    crowd, frontiers = asked.form.crowd(), bool(asked.form.frontier)

    def work() -> dict[str, Any]:
        with playing.turn(_WAIT_S):
            return playing.play(asked.chosen, crowd, frontiers=frontiers)

    texts = tuple((one.policy.digest, one.line_policy.digest) for one in asked.chosen)
    return slow.ask_apart((texts, crowd, frontiers), work)


def _within(text: str, ends: tuple[int, int]) -> bool:
    return text.isascii() and text.isdigit() and ends[0] <= int(text) <= ends[1]


def _findings(error: ConfideError) -> tuple[str, ...]:
    if isinstance(error, ConfigError):
        return tuple(findings_of(error))
    if isinstance(error, DataError):
        return error.findings
    hint = "" if isinstance(error, NotFound) else error.hint
    return (f"{error.message}{f' ({hint})' if hint else ''}",)
