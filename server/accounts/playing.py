"""Rules that the store knows, played on simulated people before they meet real ones.

No line, customer or score is read: rule texts alone. The same people have the same luck under
both sets of rules, so what differs, the rules did. Downturns that were published are left out,
since they stand on days of the calendar: what falls to everybody is the economy that is asked for.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import Connection

from server.accounts import known_rules, policies
from server.accounts.desk import Desk
from server.accounts.known_rules import KnownText
from server.accounts.rule_packs import embedded_pack, jurisdiction_of
from server.accounts.rules import deciding_rules
from server.replay import told
from server.replay.beside import beside
from server.replay.book import Rules
from server.replay.card import ReplayCard, check_grades
from server.replay.figures import prices_of
from server.replay.play import Arm, Setting, learn
from shared.errors import NotFound, TooMany, UsageError
from shared.world.economy import ECONOMIES

MOST_PEOPLE: Final = 20_000
PEOPLE: Final = 4_096
MOST_MONTHS: Final = 36
MONTHS: Final = 24
MOST_SEED: Final = 2**53 - 1
"""Up to here every reader of JSON keeps a whole number whole."""
SEED: Final = 1
ECONOMY: Final = "cycle"
AGAIN_S: Final = 10
"""Seconds after which a replay that was under way is likely over."""

_TURN: Final = threading.Lock()
# It belongs to the process, whose processor a replay takes from those who ask for a limit.


@dataclass(frozen=True, slots=True)
class Wanted:
    """Rules by the SHA-256 of their texts.

    Parameters
    ----------
    policy, line_policy : str
        Empty: what is in force; of the second rules, what the first have.
    """

    policy: str = ""
    line_policy: str = ""


@dataclass(frozen=True, slots=True)
class Crowd:
    """Who lives with the rules, how long, and with what luck.

    Parameters
    ----------
    people : int
        1 to `MOST_PEOPLE`.
    months : int
        1 to `MOST_MONTHS`.
    seed : int
        0 to `MOST_SEED`.
    economy : str
        A name of `shared.world.economy.ECONOMIES`.
    """

    people: int = PEOPLE
    months: int = MONTHS
    seed: int = SEED
    economy: str = ECONOMY


@dataclass(frozen=True, slots=True)
class Chosen:
    """Rules that fit each other, with the texts that they were read from.

    Parameters
    ----------
    policy, line_policy : KnownText
    rules : Rules
    """

    policy: KnownText
    line_policy: KnownText
    rules: Rules


def choose(
    desk: Desk, db: Connection, now: datetime, first: Wanted, second: Wanted | None = None
) -> tuple[Chosen, ...]:
    """Return the rules that are to be played: the first, and the second where there are any.

    Parameters
    ----------
    desk : Desk
    db : Connection
    now : datetime
    first, second : Wanted

    Raises
    ------
    NotFound
        If there is no such text.
    UsageError
        If it is of another kind.
    ConfigError
        If the texts do not fit each other: all findings.
    DataError
        If the policy has other grades than a replay.
    """
    known = known_rules.known_texts(desk, db, now)
    own = desk.rules.sources
    policy = first.policy or own["policy"].digest
    line = first.line_policy or own["line"].digest
    pairs = [(policy, line, "first")]
    if second is not None:
        pairs.append((second.policy or policy, second.line_policy or line, "second"))
    return tuple(_chosen(desk, db, known, *one) for one in pairs)


def play(chosen: Sequence[Chosen], crowd: Crowd, *, frontiers: bool = False) -> dict[str, Any]:
    """Play rules on simulated people, and tell what came of it; it takes seconds.

    Parameters
    ----------
    chosen : sequence of Chosen
        One or two, from `choose`.
    crowd : Crowd
    frontiers : bool
        See `server.replay.beside.beside`.

    Returns
    -------
    dict
        ``arms``, one for each of the rules: ``summary`` and ``months`` as `server.replay.told` has
        them, ``frontier`` its points or None; ``swap`` the four cells of two, else None.
    """
    card = _card(crowd.seed)
    arms = tuple(Arm(one.rules, card, prices_of(one.rules.policy)) for one in chosen)
    economy = ECONOMIES[crowd.economy]
    setting = Setting(crowd.people, crowd.months, crowd.seed, economy, arms)
    played = beside(setting, frontiers=frontiers)
    points = played.frontiers or (None,) * len(arms)
    return {
        "arms": [
            {"summary": told.summary(one), "months": told.months_of(one), "frontier": those}
            for one, those in zip(played.outcome.figures, points, strict=True)
        ],
        "swap": played.outcome.swap.cells or None,
    }


@contextmanager
def turn(wait_s: float = 0.0) -> Iterator[None]:
    """Have this process to oneself as far as replays go: one is played at a time.

    Parameters
    ----------
    wait_s : float
        Seconds to wait for one that is under way.

    Raises
    ------
    TooMany
        If another is under way still.
    """
    if not _TURN.acquire(timeout=wait_s):
        raise TooMany(
            "another policy is being tried here, and one is tried at a time",
            after=AGAIN_S,
            hint=f"send it again in {AGAIN_S} s",
        )
    try:
        yield
    finally:
        _TURN.release()


# A card takes as long as the people of a page do, and the next question is often of the same world.
@lru_cache(maxsize=8)
def _card(seed: int) -> ReplayCard:
    return learn(seed)


def _chosen(
    desk: Desk,
    db: Connection,
    known: Sequence[KnownText],
    policy_id: str,
    line_id: str,
    which: str,
) -> Chosen:
    policy = _text(known, "policy", policy_id, f"{which} policy")
    line = _text(known, "line", line_id, f"{which} line policy")
    sources = dict(desk.rules.sources)
    sources.pop("overlays", None)
    law = jurisdiction_of(sources["policy"])
    sources["policy"] = policies.text_of(db, policy.digest)
    sources["line"] = policies.text_of(db, line.digest)
    wanted = jurisdiction_of(sources["policy"])
    if wanted != law:
        sources["pack"] = embedded_pack(wanted)
    read = deciding_rules(sources)
    check_grades(tuple(read.policy.grades))
    return Chosen(policy, line, Rules(policy.title, read.policy, read.pack, read.line))


def _text(known: Sequence[KnownText], kind: str, digest: str, field: str) -> KnownText:
    found = next((one for one in known if one.digest == digest), None)
    if found is None:
        hint = "leave it out for the one in force; GET /v1/policies lists more"
        raise NotFound(f"{field}: there is no rule text of that SHA-256", hint=hint)
    if found.kind != kind:
        raise UsageError(f"{field}: {found.title} is of kind {found.kind}, not {kind}")
    return found
