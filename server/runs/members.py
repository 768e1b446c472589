"""What is known of each party: its keys, the contract it came with, when it was last heard of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from server.runs.story import Story
from shared.config import Federation, parse_toml
from shared.contract import Contract
from shared.edge.files import read_text
from shared.errors import ConfideError
from shared.release import Manifest

Fits = Literal["same", "other", "unknown"]


@dataclass(frozen=True, slots=True)
class Heard:
    """The last word of a party in a run.

    Parameters
    ----------
    at : float
        Seconds since 1970.
    run, phase : str
    """

    at: float
    run: str
    phase: str


@dataclass(frozen=True, slots=True)
class Seen:
    """A party as the operator sees it.

    Parameters
    ----------
    name : str
    builds : bool
        It opens statistics and fits.
    fingerprint, node : str
        Pinned digests of its identity and of its node's key; the second may be empty.
    contract : str
        Digest that it came with to the newest run that tells; empty if none does.
    fits : {'same', 'other', 'unknown'}
        Whether that is the digest of the federation's contract.
    heard : Heard or None
    feed : mapping
        See `server.api.views.feeds_view`.
    signed : bool
        The release that serves has its signature line, under the pinned key.
    ledger_lines : int or None
        In its privacy ledger when it signed the release that serves.
    ledger_head : str
    """

    name: str
    builds: bool
    fingerprint: str
    node: str
    contract: str
    fits: Fits
    heard: Heard | None
    feed: Mapping[str, Any]
    signed: bool
    ledger_lines: int | None
    ledger_head: str


def contract_of(base: Path, federation: Federation, release: Manifest | None) -> str:
    """Return the digest of the contract that the parties agreed on; empty if it is not known here.

    The file beside the federation file counts; where it is not at hand, the release that serves.
    """
    path = base / federation.contract
    try:
        told = path.stat()
        return _digest(path, told.st_mtime_ns, told.st_size)
    except (OSError, ConfideError):
        return release.contract if release is not None else ""


@lru_cache(maxsize=8)
def _digest(path: Path, _at: int, _size: int) -> str:
    """Return a contract's digest; when and how long it is tell whether it was read before."""
    return Contract.from_mapping(parse_toml(read_text(path), str(path)), str(path)).digest()


def seen(
    federation: Federation,
    stories: Sequence[Story],
    feeds: Iterable[Mapping[str, Any]],
    release: Manifest | None,
    contract: str,
) -> tuple[Seen, ...]:
    """Return the parties.

    Parameters
    ----------
    federation : Federation
    stories : sequence of Story
        Newest first.
    feeds : iterable of mapping
        One a party.
    release : Manifest or None
        That serves.
    contract : str
        Digest; empty if it is not known.
    """
    by_party = {one["party"]: one for one in feeds}
    found = []
    for name in federation.holders:
        member = federation.parties[name]
        came = next((one.contracts[name] for one in stories if name in one.contracts), "")
        line = release.parties.get(name) if release is not None else None
        found.append(
            Seen(
                name=name,
                builds=name == federation.builder,
                fingerprint=member.fingerprint,
                node=member.node,
                contract=came,
                fits=_fits(came, contract),
                heard=_latest(heard(one, name) for one in stories),
                feed=by_party.get(name, {}),
                signed=line is not None and line.fingerprint == member.fingerprint,
                ledger_lines=line.ledger_lines if line is not None else None,
                ledger_head=line.ledger_head if line is not None else "",
            )
        )
    return tuple(found)


def heard(story: Story, party: str) -> Heard | None:
    """Return the last phase of a run that a party answered; None if it answered none."""
    for phase in reversed(story.phases):
        if phase.seconds is not None and any(part.party == party for part in phase.parts):
            return Heard(story.began + phase.start + phase.seconds, story.run, phase.name)
    return None


def _latest(found: Iterable[Heard | None]) -> Heard | None:
    return max(filter(None, found), key=lambda one: one.at, default=None)


def _fits(came: str, contract: str) -> Fits:
    if not came or not contract:
        return "unknown"
    return "same" if came == contract else "other"
