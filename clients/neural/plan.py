"""What the parties settle before they release a network: was it already, and against what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clients.card import builder
from clients.neural import again as neural_again
from clients.neural.champion import Champion, settle
from clients.party import Party
from shared.arrays import pack_value, unpack_value
from shared.challenger.bands import Bands, length
from shared.challenger.points import span
from shared.errors import BadPeer
from shared.jobs import COORDINATOR, Run
from shared.release import Release, unpack_release
from shared.sealed import SealedChannel

_HELD, _PLAN = "release/held", "release/plan"


@dataclass(frozen=True, slots=True)
class Plan:
    """What the builder found that the parties hold.

    Parameters
    ----------
    again : Release or None
        The release of this very run, without its weights, where one was completed.
    champion : str
        Digest of the scorecard to compare with, or empty.
    why : str
        Why there is none.
    """

    again: Release | None
    champion: str
    why: str


def agree(
    party: Party, channel: SealedChannel, run: Run, found: Sequence[Champion], wanted: str
) -> Plan:
    """Settle at the builder what is released, and against what; tell everybody.

    Parameters
    ----------
    party : Party
    channel : SealedChannel
        Of phase `neural_release`.
    run : Run
    found : sequence of Champion
        Scorecards that this party can score by, newest first.
    wanted : str
        Digest of the one that serves; empty where none does.

    Raises
    ------
    BadPeer
        If a party's message is malformed; names it.
    ReleaseRefused
        With check `form`, if a release of this run is.
    """
    mine = {"release": neural_again.known(party, run), "cards": [one.digest for one in found]}
    if not party.is_builder:
        channel.send(run.federation.builder, _HELD, pack_value(mine))
        return _read_plan(channel.receive(run.federation.builder, _PLAN), run)
    others = [name for name in run.parties if name != party.name]
    held = {name: _read_held(channel.receive(name, _HELD), name) for name in others}
    everybody = {party.name: mine, **held}
    again = next((one["release"] for one in everybody.values() if one["release"]), None)
    cards = {name: one["cards"] for name, one in everybody.items()}
    digest, why = settle(cards, wanted, party.name)
    plan = {"again": again, "champion": digest, "why": why}
    channel.send_all(others, _PLAN, pack_value(plan))
    old = next((one.bands(party) for one in found if one.digest == digest), None)
    new = Bands(*span(builder.settings_of(party).scale))
    lengths = {
        "again": again is not None,
        "points": 4 * (2 * new.high + 1),
        "pairs": 0 if old is None else length(old, new),
    }
    channel.send(COORDINATOR, _PLAN, pack_value(lengths))
    return _plan(plan)


def _read_held(raw: bytes, name: str) -> dict[str, Any]:
    value = unpack_value(raw)
    good = isinstance(value, dict) and value.keys() == {"release", "cards"}
    if not good or not all(isinstance(one, str) for one in value["cards"]):
        raise BadPeer("what it says of its releases is malformed", party=name)
    return dict(value)


def _read_plan(raw: bytes, run: Run) -> Plan:
    value = unpack_value(raw)
    if not isinstance(value, dict) or value.keys() != {"again", "champion", "why"}:
        raise BadPeer("its plan of the release is malformed", party=run.federation.builder)
    return _plan(value)


def _plan(value: Mapping[str, Any]) -> Plan:
    again = None if value["again"] is None else unpack_release(value["again"])
    return Plan(again, str(value["champion"]), str(value["why"]))
