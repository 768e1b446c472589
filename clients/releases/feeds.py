"""A party's score feed: made of its own table and its own part of the card, and kept."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clients.card.parts import Part, encode
from clients.holdings import load_holding
from clients.party import Party
from shared.contract import Columns, normalise_id
from shared.edge.files import read_text, write_atomic
from shared.errors import DataError, UsageError
from shared.feed import FeedRow, pack_feed, pseudonyms
from shared.instants import date_of, days_of, later, start_of
from shared.release import Manifest
from shared.scorecard.card import Line
from shared.scorecard.reasons import MOST_REASONS
from shared.scorecard.scale import round_half_away


@dataclass(frozen=True, slots=True)
class Published:
    """A feed that was made: where it is kept, what it is of, and its bytes."""

    path: Path
    release: str
    as_of: str
    customers: int
    raw: bytes


def tables(party: Party) -> tuple[Columns, ...]:
    """Return the tables whose customers get a feed, only those who consent.

    Raises
    ------
    DataError
        If a table breaks the contract.
    EnvironmentFault
        If a table or the file of consents cannot be read.
    """
    found: tuple[Columns, ...]
    if party.settings.customers:
        path = party.store.home / party.settings.customers
        found = (load_holding(path, party.contract, party.name, "score", with_label=False),)
    else:
        found = (party.train, party.test)
    if not party.settings.consents:
        return found
    text = read_text(party.store.home / party.settings.consents)
    consenting = {normalise_id(line) for line in text.splitlines()} - {""}
    return tuple(_only(columns, consenting) for columns in found)


def publish(
    party: Party,
    manifest: Manifest,
    part: Part,
    key: bytes,
    found: Sequence[Columns],
    *,
    as_of: str = "",
    out: Path | None = None,
) -> Published:
    """Make the party's feed of a release and keep it.

    Parameters
    ----------
    party : Party
    manifest : Manifest
        Of a release that was verified.
    part : Part
        The party's part of its card.
    key : bytes
        The pseudonym key.
    found : sequence of Columns
        From `tables`.
    as_of : str
        Day on which the tables stood so; by default today.
    out : Path, optional
        Where to; by default `feeds/<release>.feed` in the party's folder.

    Raises
    ------
    UsageError
        If the as-of date is no date, lies ahead, is stale already, or before an earlier feed's.
    DataError
        If a customer stands in two tables.
    """
    ids = [name for columns in found for name in columns.ids]
    if len(set(ids)) != len(ids):
        raise DataError("score feed", ["a customer stands in two of its tables"])
    rows = feed_rows(found, manifest, party.name, part, key)
    return publish_rows(party, manifest, rows, len(ids), as_of=as_of, out=out)


def publish_rows(
    party: Party,
    manifest: Manifest,
    rows: Iterable[FeedRow],
    customers: int,
    *,
    as_of: str = "",
    out: Path | None = None,
) -> Published:
    """Sign and keep a feed of rows that were scored.

    Parameters
    ----------
    party : Party
    manifest : Manifest
    rows : iterable of FeedRow
    customers : int
        How many rows there are.
    as_of, out
        See `publish`.

    Raises
    ------
    UsageError
        See `publish`.
    """
    now = party.store.now()
    as_of = as_of or date_of(now)
    _check_as_of(as_of, now, party.federation.release.feed_days)
    raw = pack_feed(
        party.identity,
        rows,
        federation=party.federation,
        release=manifest,
        as_of=as_of,
        created=now,
    )
    party.store.journal.publish_feed(as_of, manifest.name)
    party.store.record(
        manifest.run,
        phase="release",
        what="score feed",
        unit="customer",
        recipient="the limit service",
        rows=customers,
        values=(1 + MOST_REASONS) * customers,
        binding=hashlib.sha256(raw).hexdigest(),
    )
    path = out or path_of(party, manifest)
    write_atomic(path, raw)
    return Published(path, manifest.name, as_of, customers, raw)


def path_of(party: Party, manifest: Manifest) -> Path:
    """Return where the party keeps its feed of a release."""
    return party.store.home / "feeds" / f"{manifest.name}.feed"


def feed_rows(
    found: Sequence[Columns], manifest: Manifest, party: str, part: Part, key: bytes
) -> Iterator[FeedRow]:
    """Yield points and reasons of every customer.

    A reason is a public code with the whole points that the customer has less under it than the
    mean of the party's own lines of that code.
    """
    lines = manifest.card.of(party)
    for columns in found:
        codes = encode(part.plans, columns, np.arange(len(columns.ids)))
        points = part.total(codes).tolist()
        reasons = _reasons(part, codes, lines)
        names = pseudonyms(key, columns.ids)
        yield from map(FeedRow, names, points, reasons)


def _reasons(
    part: Part, codes: NDArray[np.int16], lines: Sequence[Line]
) -> Iterator[tuple[tuple[str, int], ...]]:
    """Yield each row's reasons, the costliest first, equal ones in the order of their codes.

    Rows with the same shortfalls share one tuple: there are far fewer of these than rows.
    """
    names = sorted({line.reason for line in lines})
    below = np.zeros((len(codes), len(names)))
    for block, line in enumerate(lines):
        below[:, names.index(line.reason)] += line.mean - part.points[block][codes[:, block]]
    lost = np.maximum(round_half_away(below), 0).astype(np.int32)
    most = np.argsort(-lost, axis=1, kind="stable")[:, :MOST_REASONS]
    costs = np.ascontiguousarray(
        np.concatenate([most, np.take_along_axis(lost, most, axis=1)], axis=1), dtype=np.int32
    )
    seen: dict[bytes, tuple[tuple[str, int], ...]] = {}
    raw, width, half = costs.tobytes(), costs.shape[1] * costs.itemsize, most.shape[1]
    for row in range(len(costs)):
        own = raw[row * width : (row + 1) * width]
        if own not in seen:
            pairs = zip(costs[row, :half].tolist(), costs[row, half:].tolist(), strict=True)
            seen[own] = tuple((names[index], cost) for index, cost in pairs if cost > 0)
        yield seen[own]


def _check_as_of(as_of: str, now: str, feed_days: int) -> None:
    try:
        days_of(as_of)
    except ValueError as error:
        raise UsageError(f"--as-of {as_of}: {error}") from error
    if as_of > date_of(now):
        raise UsageError(f"--as-of {as_of} lies ahead", hint=f"today is {date_of(now)} (UTC)")
    if now >= later(start_of(as_of), days=feed_days):
        raise UsageError(
            f"--as-of {as_of} is stale: a feed counts for {feed_days} days",
            hint="publish a fresh table",
        )


def _only(columns: Columns, consenting: set[str]) -> Columns:
    rows = np.array([name in consenting for name in columns.ids], dtype=bool)
    return Columns(
        tuple(name for name, kept in zip(columns.ids, rows.tolist(), strict=True) if kept),
        {name: values[rows] for name, values in columns.values.items()},
    )
