"""A world that is lived a month at a time: what people are lent is decided elsewhere, in between.

A folder has a folder a holder, with a Parquet file a month of what that holder writes down, and
`people/`, which no party may look into: how everybody stands, and what they do on their lines.
"""

from __future__ import annotations

import io
import tomllib
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final, TypeVar
from zipfile import BadZipFile

import numpy as np
import pyarrow as pa

from clients.holdings import arrays, read_table, write_table
from clients.world.making import World, ids, known_from, noise, table_of, toml_of
from clients.world.records import HOLDERS, Seen
from shared.edge.files import atomic_folder, exclusive, read_text, write_atomic
from shared.edge.stored_arrays import read_arrays
from shared.errors import ConfigError, DataError, UsageError
from shared.world.chance import Span, spans
from shared.world.economy import ECONOMIES, season
from shared.world.life import MINOR, Life, Past, live, warm
from shared.world.month import Happened, Standing
from shared.world.people import born
from shared.world.traits import FITTED

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

PEOPLE: Final = "people"
WORLD_FILE: Final = "world.toml"
_STANDING: Final = "standing.npz"
_LINE_COLUMNS: Final = ("ID", "LIMIT", "OWED")
_PARTS: Final = {
    **dict.fromkeys(("card", "line"), tuple(one.name for one in fields(Standing))),
    **dict.fromkeys(("happened", "drawn"), tuple(one.name for one in fields(Happened))),
}
_NAMES: Final = ("number", *(f"{kind}_{name}" for kind in _PARTS for name in _PARTS[kind]))
_T = TypeVar("_T", Standing, Happened)


@dataclass(frozen=True, slots=True)
class Lines:
    """What people may owe on their lines, and do; minor units, 0 for who has none.

    Parameters
    ----------
    limit, owed : (n,) float64
        By their numbers in the world.
    """

    limit: Floats
    owed: Floats


def begin(folder: Path, world: World) -> int:
    """Let a new world live its first months, in which nobody has a line.

    Parameters
    ----------
    folder : Path
        New.
    world : World
        Its `months` are those first months; who has a thin file came into them by and by.

    Returns
    -------
    int
        The month that it has come to.

    Raises
    ------
    UsageError
        If the folder is there already.
    EnvironmentFault
        If the disk does not take it; nothing is left behind.
    """
    with atomic_folder(folder) as into:
        write_atomic(into / WORLD_FILE, toml_of(asdict(world)).encode())
        lives = [warm(span, world.seed) for span in spans(world.customers)]
        nobody = np.zeros(world.customers)
        for _ in range(world.months):
            lives = _month(into, world, lives, Lines(nobody, nobody))
        _keep(into, lives)
    return world.months


def live_on(folder: Path, lines_file: Path | None, number: int = 0) -> int:
    """Let one more month pass; return its number.

    The standing is written last: a month that was interrupted is lived again, and comes out the
    same.

    Parameters
    ----------
    folder : Path
    lines_file : Path, optional
        Who has a line: ``ID``, ``LIMIT``, ``OWED``, in minor units. Without it, nobody.
    number : int
        Of the month that is to pass: where it has, nothing is done. By default the next.

    Raises
    ------
    UsageError
        If that is not the next month.
    DataError
        If the file of lines is wrong, or the standing is damaged.
    ConfigError
        If `world.toml` is none of ours.
    EnvironmentFault
        If the folder is none, another process holds it, or the disk does not take the month.
    """
    world = read_world(folder)
    with exclusive(folder / PEOPLE, what="month"):
        lives = _kept(folder, world)
        now = lives[0].number
        if number and number <= now:
            return number
        if number > now + 1:
            raise UsageError(f"month {number} does not come yet: month {now} is over")
        lives = _month(folder, world, lives, _lines(lines_file, world))
        _keep(folder, lives)
    return lives[0].number


def read_world(folder: Path) -> World:
    """Read which world lives in a folder.

    Raises
    ------
    ConfigError
        If its file is none of ours.
    EnvironmentFault
        If there is none.
    """
    path = folder / WORLD_FILE
    try:
        found = tomllib.loads(read_text(path))
        wrong = [one.name for one in fields(World) if one.name not in found]
        if not wrong and found["economy"] in ECONOMIES:
            return World(**found)
    except (tomllib.TOMLDecodeError, TypeError):
        pass
    raise ConfigError(str(path), ["is no world's: make it with `confide world begin`"])


def last_month(folder: Path) -> int:
    """Return the number of the month that a world has come to."""
    return _kept(folder, read_world(folder))[0].number


def _month(folder: Path, world: World, lives: Sequence[Life], lines: Lines) -> list[Life]:
    """Live a month; write what holders saw, and what people did on their lines."""
    economy, after, acts = ECONOMIES[world.economy], [], []
    tables: dict[str, list[pa.Table]] = {holder: [] for holder in HOLDERS}
    for span, life in zip(spans(world.customers), lives, strict=True):
        here = slice(span.start, span.stop)
        limit = lines.limit[here]
        # What interest and fees have added is owed as well: the lender's books say how much.
        stands = replace(life, line=replace(life.line, bill=lines.owed[here]))
        lived = live(stands, span, world.seed, limit, economy)
        names = ids(span, world.seed)
        for holder, table in _written(span, world, lived, names):
            tables[holder].append(table)
        acts.append(_acts(lived, names))
        after.append(lived)
    number = after[0].number
    for holder, parts in tables.items():
        write_table(month_file(folder, holder, number), _columns(parts))
    write_table(acts_file(folder, number), _columns(acts))
    return after


def month_file(folder: Path, holder: str, number: int) -> Path:
    """Return where a holder's month is written down."""
    return folder / holder / f"month-{number:04d}.parquet"


def acts_file(folder: Path, number: int) -> Path:
    """Return where it stands what people do on their lines in a month."""
    return folder / PEOPLE / f"acts-{number:04d}.parquet"


def _columns(parts: list[pa.Table]) -> dict[str, pa.ChunkedArray]:
    """Return the columns of a month; whoever is in it stands there once, so ids are plain texts."""
    whole = pa.concat_tables(parts, promote_options="default").unify_dictionaries()
    columns = {name: whole.column(name) for name in whole.column_names}
    return columns | {"ID": columns["ID"].cast(pa.string())}


def _written(
    span: Span, world: World, lived: Life, names: list[str]
) -> Iterator[tuple[str, pa.Table]]:
    """Yield what each holder writes down of a month."""
    assert lived.happened is not None  # a month was lived
    after = replace(lived.card, others=lived.past.others[-1])
    seen = Seen(lived.people, after, lived.happened, season(lived.number))
    for place, (holder, record) in enumerate(HOLDERS.items()):
        known = known_from(lived.people, span, world, place) <= lived.number
        written = record(seen, noise(span, world.seed, place, lived.number))
        yield holder, table_of(pa.array(names), [(lived.number, known, written)])


def _acts(lived: Life, names: list[str]) -> pa.Table:
    """Return what people do on their lines, and what the lender is told of them; minor units.

    They repay, then they draw; who has no line does neither.
    """
    assert lived.drawn is not None  # a month was lived
    assert lived.happened is not None
    return pa.table(
        {
            "ID": names,
            "PAID": _whole(lived.drawn.paid),
            "SPENT": _whole(lived.drawn.spent),
            "LATE": lived.line.late.astype(np.int16),
            "DRAWS": lived.drawn.draws.astype(np.int16),
            "INCOME": _whole(MINOR * lived.people.income),
            "ENQUIRIES": lived.happened.enquiries.astype(np.int16),
            "OTHER_DEBT": _whole(MINOR * lived.past.others[-1]),
        }
    )


def _whole(amounts: Floats) -> NDArray[np.int64]:
    """Return amounts as whole minor units."""
    found: NDArray[np.int64] = np.rint(amounts).astype(np.int64)
    return found


def _lines(path: Path | None, world: World) -> Lines:
    """Read who has which line."""
    limit, owed = np.zeros(world.customers), np.zeros(world.customers)
    if path is None:
        return Lines(limit, owed)
    found = arrays(read_table(path, texts=("ID",)))
    missing = [f"{name}: is missing" for name in _LINE_COLUMNS if name not in found]
    if missing:
        raise DataError(path.name, missing, hint=f"its columns are {', '.join(_LINE_COLUMNS)}")
    if not found["ID"].size:  # a table without a row says nothing of its columns
        return Lines(limit, owed)
    number = {
        name: span.start + at
        for span in spans(world.customers)
        for at, name in enumerate(ids(span, world.seed))
    }
    rows = [number.get(str(name), -1) for name in found["ID"].tolist()]
    findings = [f"ID: {rows.count(-1)} of them are nobody's in this world"] if -1 in rows else []
    if len(set(rows)) != len(rows):
        findings.append("ID: somebody has two lines")
    for name in _LINE_COLUMNS[1:]:
        column = found[name]
        if column.dtype == object or not (np.isfinite(column) & (column >= 0)).all():
            findings.append(f"{name}: must be minor units, 0 or more")
    if findings:
        raise DataError(path.name, findings)
    limit[rows], owed[rows] = found["LIMIT"], found["OWED"]
    return Lines(limit, owed)


def _keep(folder: Path, lives: Sequence[Life]) -> None:
    """Write how everybody stands."""
    values: dict[str, NDArray[Any]] = {"number": np.array([lives[0].number])}
    for kind, names in _PARTS.items():
        for name in names:
            parts = [getattr(getattr(life, kind), name) for life in lives]
            values[f"{kind}_{name}"] = np.concatenate(parts)
    raw = io.BytesIO()
    np.savez(raw, allow_pickle=False, **values)
    write_atomic(folder / PEOPLE / _STANDING, raw.getvalue())


def _kept(folder: Path, world: World) -> list[Life]:
    """Read how everybody stands."""
    path = folder / PEOPLE / _STANDING
    try:
        values = read_arrays(path, _NAMES)
        number = int(values["number"][0])
        return [_life(span, world, values, number) for span in spans(world.customers)]
    except (OSError, ValueError, KeyError, IndexError, BadZipFile) as error:
        hint = "make the world again: `confide world begin`"
        raise DataError(str(path), ["is missing or damaged"], hint=hint) from error


def _life(span: Span, world: World, values: dict[str, NDArray[Any]], number: int) -> Life:
    def part(kind: type[_T], name: str) -> _T:
        columns = {key: values[f"{name}_{key}"] for key in _PARTS[name]}
        cut = {key: column[span.start : span.stop] for key, column in columns.items()}
        if any(column.size != len(span) for column in cut.values()):
            raise ValueError("of another world")
        return kind(**cut)

    people = born(span, world.seed, FITTED)
    card, line = part(Standing, "card"), part(Standing, "line")
    happened, drawn = part(Happened, "happened"), part(Happened, "drawn")
    return Life(people, card, line, happened, drawn, Past.empty(len(people)), number)
