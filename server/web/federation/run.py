"""`/federation/runs/...`: one run, whether it is over or under way."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

from fastapi import APIRouter, Request, Response

from server.runs.signed import Signed
from server.runs.story import Phase, Story
from server.web import language
from server.web.charts import Chart
from server.web.federation import pictures
from server.web.federation.common import PILLS, Operators, RunName, Tells, runs_of
from server.web.federation.listing import states_of
from server.web.files import as_csv
from server.web.render import Site
from shared.manifest import Noised
from shared.release import Manifest

Which = Literal["lanes", "sent", "rounds"]
_MOST_PHASES: Final = 60


@dataclass(frozen=True, slots=True)
class Worked:
    """What a run took at a party.

    Parameters
    ----------
    party : str
    seconds, peak_mb : float
    bytes_sent, bytes_received : int
    lost : str
        Phase in which the others went on without it; empty if they did not.
    """

    party: str
    seconds: float
    peak_mb: float
    bytes_sent: int
    bytes_received: int
    lost: str


@dataclass(frozen=True, slots=True)
class Ledger:
    """What a party signed of its privacy ledger with the run's release.

    Parameters
    ----------
    party : str
    lines : int
    head : str
        Digest of the last line.
    noised : Noised or None
        What the lines with noise come to; None where none has any.
    """

    party: str
    lines: int
    head: str
    noised: Noised | None


@dataclass(frozen=True, slots=True)
class OneRun:
    """What the page shows.

    Parameters
    ----------
    story : Story
    version : str
        Of the files; see `server.runs.folder.RunsFolder.version`.
    now : float
        Seconds since 1970.
    steps : int
        Phases in all, where that is known; else 0.
    rounds_planned : int
        Of the neural model; 0 for a scorecard.
    phases : tuple of Phase
        At most the last sixty.
    parties : tuple of Worked
    ledgers : tuple of Ledger
        Empty before there is a release.
    unverified : str
        Check that the run's release fails; empty if it verifies, or there is none.
    release_state : str
        In the registry; empty if it is not there.
    lanes, sent : Chart
    rounds : Chart or None
        None where no rounds are played.
    """

    story: Story
    version: str
    now: float
    steps: int
    rounds_planned: int
    phases: tuple[Phase, ...]
    parties: tuple[Worked, ...]
    ledgers: tuple[Ledger, ...]
    unverified: str
    release_state: str
    lanes: Chart
    sent: Chart
    rounds: Chart | None


def add(found: APIRouter, site: Site) -> None:
    """Add the routes."""
    signed = Signed(site.desk.scores.registry, site.desk.scores.federation)

    @found.get("/federation/runs/{run}")
    def one(request: Request, who: Operators, run: RunName) -> Response:
        """Show a run; scripts bring it up to date while it is under way."""
        tells = Tells(language.texts_in(language.wanted(request)), site.desk.zone)
        view = run_of(site, signed, run, tells)
        return site.page(request, "federation/run.html", who, view=view, tells=tells, pills=PILLS)

    @found.get("/federation/runs/{run}/{which}.csv")
    def figures(request: Request, _who: Operators, run: RunName, which: Which) -> Response:
        """Give the figures of a picture."""
        tells = Tells(language.texts_in(language.wanted(request)), site.desk.zone)
        now = site.desk.clock().timestamp()
        story = runs_of(site).story(run, now)
        chart = pictures.BY_NAME[which](story, tells, now)
        return as_csv(chart.table, f"{run}-{which}")


def run_of(site: Site, signed: Signed, run: str, tells: Tells) -> OneRun:
    """Return what the page shows.

    Raises
    ------
    NotFound
        If there is no such run, or the service was told of no coordinator's folder.
    """
    folder, now = runs_of(site), site.desk.clock().timestamp()
    version = folder.version(run)
    story = folder.story(run, now)
    if not (story.parties or story.over):  # nobody has answered yet: those who are waited for
        story = replace(story, parties=site.desk.scores.federation.holders)
    states = states_of(site)
    manifest, unverified = signed.of(story, states)
    neural = story.kind == "neural"
    return OneRun(
        story=story,
        version=version,
        now=now,
        steps=0 if neural else len({one.name for one in story.phases}) + len(story.ahead),
        rounds_planned=site.desk.scores.federation.neural.rounds if neural else 0,
        phases=story.phases[-_MOST_PHASES:],
        parties=worked(story),
        ledgers=ledgers_of(manifest) if manifest else (),
        unverified=unverified,
        release_state=states.get(story.release, ""),
        lanes=pictures.lanes_of(story, tells, now),
        sent=pictures.sent_of(story, tells, now),
        rounds=pictures.rounds_of(story, tells, now) if neural else None,
    )


def worked(story: Story) -> tuple[Worked, ...]:
    """Return what a run took at each party."""
    lost = {one.party: one.phase for one in story.lost}
    found = []
    for name in story.parties:
        parts = [part for phase in story.phases for part in phase.parts if part.party == name]
        found.append(
            Worked(
                name,
                sum(part.seconds for part in parts),
                max((part.peak_mb for part in parts), default=0.0),
                sum(part.bytes_sent for part in parts),
                sum(part.bytes_received for part in parts),
                lost.get(name, ""),
            )
        )
    return tuple(found)


def ledgers_of(manifest: Manifest) -> tuple[Ledger, ...]:
    """Return what the parties signed of their privacy ledgers."""
    return tuple(
        Ledger(name, one.ledger_lines, one.ledger_head, one.privacy)
        for name, one in sorted(manifest.parties.items())
    )
