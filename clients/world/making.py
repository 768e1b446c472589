"""Write the months of a world as Parquet: a part at a time, in as many processes as there are.

A part is a fixed number of blocks, so what a file holds does not depend on who wrote it. Nobody
holds more than one part in memory.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from clients.world.records import HOLDERS, Seen
from shared.edge.files import atomic_file, atomic_folder, write_atomic
from shared.edge.workers import shared_out
from shared.world.chance import BLOCK, Span, luck, spans, stream
from shared.world.economy import ECONOMIES, Economy, season
from shared.world.month import BEGINNING, NORMALS, UNIFORMS, begin, month
from shared.world.people import born
from shared.world.traits import FITTED, Traits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from numpy.random import Generator
    from numpy.typing import NDArray

    from shared.world.people import People

#: Blocks in a file.
PART_BLOCKS: Final = 8
#: Months that pass before the first that is written: how people came to owe what they owe.
WARM_MONTHS: Final = 12
#: Shares of all people whom a holder knows, by its place among the holders.
_KNOWN: Final = (0.93, 0.95, 0.88, 0.60, 0.90)
_PRIME: Final = 10**11 + 3
_STRIDE: Final = 61_803_398_875
_NOISE: Final = 1 << 20
_MOST_HOLDERS: Final = 16
_KNOWS: Final = 1 << 40
#: The first month in which somebody is known who never is.
NEVER: Final = 1 << 30


@dataclass(frozen=True, slots=True)
class World:
    """Which world: the same value, the same rows.

    Parameters
    ----------
    customers, months : int
    seed : int
    economy : str
        A name in `shared.world.economy.ECONOMIES`.
    """

    customers: int
    months: int
    seed: int = 1
    economy: str = "cycle"


@dataclass(frozen=True, slots=True)
class Month:
    """A month of a block.

    Parameters
    ----------
    number : int
        The first that is written is 1; what warms the world up lies before.
    seen : Seen
    """

    number: int
    seen: Seen


def live(
    span: Span, seed: int, months: int, economy: Economy, traits: Traits = FITTED
) -> Iterator[Month]:
    """Yield the months of a block of people, each with the card that their bank gives them.

    Parameters
    ----------
    span : Span
    seed : int
    months : int
    economy : Economy
    traits : Traits
    """
    people = born(span, seed, traits)
    after = begin(people, luck(stream(seed, span.block, 1), len(span), *BEGINNING), traits)
    for number in range(1 - WARM_MONTHS, months + 1):
        rng = stream(seed, span.block, number + WARM_MONTHS + 1)
        got = luck(rng, len(span), UNIFORMS, NORMALS)
        macro = economy.distress(number) if number > 0 else 0.0
        time = season(number)
        after, happened = month(people, after, people.limit, got, traits, macro=macro, season=time)
        if number > 0:
            yield Month(number, Seen(people, after, happened, time))


def make(
    folder: Path,
    world: World,
    *,
    processes: int = 1,
    tell: Callable[[int, int], None] | None = None,
) -> dict[str, int]:
    """Write a world into a new folder, whole or not at all.

    Parameters
    ----------
    folder : Path
        Gets a folder a holder, with Parquet files of one row a customer and month, and `people/`
        with what no model may see.
    world : World
    processes : int
        The files are the same for any number.
    tell : callable, optional
        Told how many parts of how many are written.

    Returns
    -------
    dict of str to int
        Rows of each holder.

    Raises
    ------
    UsageError
        If the folder is there already.
    EnvironmentFault
        If the disk does not take it; nothing is left behind.
    """
    parts = -(-world.customers // (PART_BLOCKS * BLOCK))
    rows = dict.fromkeys(HOLDERS, 0)
    with atomic_folder(folder) as into:
        write = partial(_write_part, into, world)
        for done, written in enumerate(shared_out(write, range(parts), processes), start=1):
            for holder, more in written.items():
                rows[holder] += more
            if tell:
                tell(done, parts)
        write_atomic(into / "world.toml", toml_of(asdict(world)).encode())
    return rows


def _write_part(folder: Path, world: World, part: int) -> dict[str, int]:
    """Write one part of every holder; return its rows."""
    first = part * PART_BLOCKS * BLOCK
    last = min(first + PART_BLOCKS * BLOCK, world.customers)
    blocks = [list(_block(span, world)) for span in spans(last, first)]
    written = {}
    for place, holder in enumerate(HOLDERS):
        tables = [tables[place] for tables in blocks]
        written[holder] = _write(folder / holder / f"part-{part:05d}.parquet", tables)
    people = [_kept_aside(span, world) for span in spans(last, first)]
    _write(folder / "people" / f"part-{part:05d}.parquet", people)
    return written


def _write(path: Path, tables: list[pa.Table]) -> int:
    table = pa.concat_tables(tables)
    with atomic_file(path) as stream:
        pa.parquet.write_table(
            table, stream, compression="zstd", compression_level=1, use_dictionary=["ID"]
        )
    return int(table.num_rows)


def _block(span: Span, world: World) -> Iterator[pa.Table]:
    """Yield the table of each holder."""
    months = list(live(span, world.seed, world.months, ECONOMIES[world.economy]))
    people = months[0].seen.people
    names = pa.array(ids(span, world.seed))
    for place, record in enumerate(HOLDERS.values()):
        from_month = known_from(people, span, world, place)
        rows = [
            (
                one.number,
                from_month <= one.number,
                record(one.seen, noise(span, world.seed, place, one.number)),
            )
            for one in months
        ]
        yield table_of(names, rows)


def noise(span: Span, seed: int, place: int, number: int) -> Generator:
    """Return the stream of what a holder writes down of a month, by its place among the holders."""
    return stream(seed, span.block, _NOISE + _MOST_HOLDERS * number + place)


def table_of(
    names: pa.Array, rows: Iterable[tuple[int, NDArray[np.bool_], Mapping[str, NDArray[Any]]]]
) -> pa.Table:
    """Return the rows of a holder: month after month, of those whom it knows by then.

    Parameters
    ----------
    names : pyarrow.Array
        The ids of a block.
    rows : iterable of (int, (n,) bool, mapping)
        The month, whom the holder knows by then, and what it writes down of everybody.
    """
    columns: dict[str, list[NDArray[Any]]] = {}
    who: list[NDArray[np.int32]] = []
    numbers: list[NDArray[np.int16]] = []
    for number, known, written in rows:
        there = np.flatnonzero(known).astype(np.int32)
        who.append(there)
        numbers.append(np.full(there.size, number, np.int16))
        for name, values in written.items():
            columns.setdefault(name, []).append(values[there])
    place = pa.array(np.concatenate(who))
    together = {name: np.concatenate(parts) for name, parts in columns.items()}
    # Indices into one block's names: a text is written once a block and not once a month.
    named = pa.DictionaryArray.from_arrays(place, names)
    return pa.table({"ID": named, "MONTH": np.concatenate(numbers), **together})


def known_from(people: People, span: Span, world: World, place: int) -> NDArray[np.int64]:
    """Return the first month in which a holder knows each: after the last for whom it never does.

    Parameters
    ----------
    people : People
    span : Span
    world : World
    place : int
        Of the holder, among `HOLDERS`.
    """
    knows = stream(world.seed, span.block, _KNOWS + place).random(BLOCK)[: len(span)]
    return np.where(knows < _KNOWN[place], _known_since(people, span, world), NEVER)


def _known_since(people: People, span: Span, world: World) -> NDArray[np.int64]:
    """Return the first month on the books: the first of all, but for thin files."""
    drawn = stream(world.seed, span.block, _KNOWS - 1).integers(1, world.months + 1, BLOCK)
    return np.where(people.thin, drawn[: len(span)], 1)


def _kept_aside(span: Span, world: World) -> pa.Table:
    """Return what no model may see, for a report on fairness."""
    people = born(span, world.seed, FITTED)
    return pa.table(
        {
            "ID": ids(span, world.seed),
            "AGE": people.age.astype(np.int16),
            "WOMAN": people.woman,
            "BUSINESS": people.business,
        }
    )


def ids(span: Span, seed: int) -> list[str]:
    """Return the customers' ids: all different, in no order."""
    start = (seed * _STRIDE + 1) % _PRIME
    numbers = ((start + at * _STRIDE) % _PRIME for at in range(span.start, span.stop))
    return [f"C{number:012d}" for number in numbers]


def toml_of(values: Mapping[str, int | str]) -> str:
    """Return numbers and plain texts as TOML."""
    return "".join(
        f"{name} = {json.dumps(value) if isinstance(value, str) else value}\n"
        for name, value in values.items()
    )
