"""Rules tried on simulated people, before they meet real ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from server.accounts import playing
from server.accounts.desk import Desk
from server.accounts.known_rules import KnownText
from server.accounts.playing import Chosen, Crowd, Wanted
from server.api.document import READS
from server.api.routes.base import Officer, looks, router
from server.api.shapes import simulations as shapes

_NOTICE: Final = "Nobody here is real: people, money and economy are simulated."


def routes(desk: Desk) -> APIRouter:
    """Return the route of simulations, over a desk."""
    found = router("simulations")

    # A plain function: it is called off the loop, and a replay takes seconds.
    @found.post("/v1/simulations", **looks(shapes.Simulation), openapi_extra={READS: True})
    def simulate(asked: shapes.SimulationAsked, who: Officer) -> Response:  # noqa: ARG001
        """Let simulated people live with rules, or with two sets of them; nothing is kept.

        No customer is read. One is played at a time: 429 while another is under way.
        """
        now = desk.clock()
        with desk.store.read() as db:
            desk.follow(db, now)
            chosen = playing.choose(desk, db, now, *_wanted(asked))
        # No connection is held while people live.
        crowd = Crowd(asked.people, asked.months, asked.seed, asked.economy)
        with playing.turn():
            told = playing.play(chosen, crowd, frontiers=asked.frontier)
        return JSONResponse(shapes.Simulation(**_told(chosen, crowd, told)).body())

    return found


def _wanted(asked: shapes.SimulationAsked) -> tuple[Wanted, Wanted | None]:
    first = Wanted(asked.policy_a or "", asked.line_policy_a or "")
    second = Wanted(asked.policy_b or "", asked.line_policy_b or "")
    return first, second if asked.policy_b or asked.line_policy_b else None


def _told(chosen: Sequence[Chosen], crowd: Crowd, told: Mapping[str, Any]) -> dict[str, Any]:
    rules = [
        {
            **arm,
            "policy": _rule(one.policy),
            "line_policy": _rule(one.line_policy),
            "frontier": arm["frontier"] and [asdict(point) for point in arm["frontier"]],
        }
        for one, arm in zip(chosen, told["arms"], strict=True)
    ]
    return {"notice": _NOTICE, **asdict(crowd), "rules": rules, "swap": told["swap"]}


def _rule(one: KnownText) -> dict[str, str]:
    return {"digest": one.digest, "title": one.title, "standing": one.standing}
