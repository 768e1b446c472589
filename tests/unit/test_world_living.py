"""A world lived month by month: the same as one made at once, and changed by lines alone."""

from __future__ import annotations

import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest

from clients.world.living import acts_file, begin, last_month, live_on, month_file
from clients.world.making import World, make
from clients.world.records import HOLDERS
from shared.errors import ConfigError, DataError, UsageError

PEOPLE, HISTORY, MONTHS = 1200, 3, 2
WORLD = World(PEOPLE, HISTORY, seed=7)


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    folder = tmp_path_factory.mktemp("living") / "world"
    assert begin(folder, WORLD) == HISTORY
    return folder


@pytest.fixture
def world(begun, tmp_path):
    """Return a world of one's own, at the end of its third month."""
    return shutil.copytree(begun, tmp_path / "world")


def columns(path, *without):
    table = pq.read_table(path)
    return {
        name: table.column(name).to_pylist() for name in table.column_names if name not in without
    }


def acts_of(folder, month):
    return columns(acts_file(folder, month))


def lines_of(folder, limit, owed=0, who=slice(0, 200)):
    """Write that some people have a line; return the file and who they are."""
    names = acts_of(folder, HISTORY)["ID"][who]
    path = folder / "lines.csv"
    rows = "".join(f"{name},{limit},{owed}\n" for name in names)
    path.write_text(f"ID,LIMIT,OWED\n{rows}")
    return path, names


def test_nobody_with_a_line_lives_as_in_a_world_that_is_made_at_once(world, tmp_path):
    for _ in range(MONTHS):
        live_on(world, None)
    whole = tmp_path / "whole"
    make(whole, World(PEOPLE, HISTORY, seed=7))
    for holder in HOLDERS:
        # What they owe elsewhere: who may be told of a wish for a line lives with the line.
        known = columns(whole / holder / "part-00000.parquet", "OTHER_DEBT")
        lived = [columns(month_file(world, holder, n), "OTHER_DEBT") for n in range(1, HISTORY + 1)]
        together = {name: [value for one in lived for value in one[name]] for name in known}
        assert together == known, holder
    assert last_month(world) == HISTORY + MONTHS


def test_a_month_that_is_lived_again_comes_out_the_same(world):
    path, _ = lines_of(world, 500_000)
    kept = (world / "people" / "standing.npz").read_bytes()
    live_on(world, path)
    first = [month_file(world, holder, HISTORY + 1).read_bytes() for holder in HOLDERS]
    acts = acts_of(world, HISTORY + 1)
    (world / "people" / "standing.npz").write_bytes(kept)  # as after a kill before the last step
    live_on(world, path)
    assert [month_file(world, holder, HISTORY + 1).read_bytes() for holder in HOLDERS] == first
    assert acts_of(world, HISTORY + 1) == acts


def test_a_month_that_is_over_is_not_lived_again_and_none_is_left_out(world):
    path, _ = lines_of(world, 500_000)
    assert live_on(world, path, HISTORY + 1) == HISTORY + 1
    kept = (world / "people" / "standing.npz").read_bytes()
    assert live_on(world, None, HISTORY + 1) == HISTORY + 1
    assert (world / "people" / "standing.npz").read_bytes() == kept
    with pytest.raises(UsageError, match="month 9 does not come yet"):
        live_on(world, None, 9)


def test_people_draw_on_what_they_have_and_repay_what_the_books_say(world):
    path, names = lines_of(world, 500_000)
    live_on(world, path)
    acts = acts_of(world, HISTORY + 1)
    by_name = dict(zip(acts["ID"], zip(acts["SPENT"], acts["PAID"], strict=True), strict=True))
    spent = np.array([by_name[name][0] for name in names])
    assert spent.max() <= 500_000
    assert (spent > 0).mean() > 0.3
    assert not any(by_name[name][1] for name in names)  # nothing was owed yet
    assert not any(sum(by_name[name]) for name in by_name.keys() - set(names))
    path, _ = lines_of(world, 0, owed=400_000)  # no more draws; the books say what is owed
    live_on(world, path)
    acts = acts_of(world, HISTORY + 2)
    later = dict(zip(acts["ID"], zip(acts["SPENT"], acts["PAID"], strict=True), strict=True))
    assert not any(later[name][0] for name in names)
    assert sum(later[name][1] for name in names) > 0.05 * 400_000 * len(names)


def test_a_file_without_a_line_is_a_month_in_which_nobody_has_one(world):
    path = world / "lines.csv"
    path.write_text("ID,LIMIT,OWED\n")
    assert live_on(world, path) == HISTORY + 1
    acts = acts_of(world, HISTORY + 1)
    assert not any(acts["SPENT"] + acts["PAID"])


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("ID,LIMIT\nC1,5\n", "OWED: is missing"),
        ("ID,LIMIT,OWED\nnobody,5,0\n", "ID: 1 of them are nobody's in this world"),
        ("ID,LIMIT,OWED\n{0},5,0\n{0},5,0\n", "ID: somebody has two lines"),
        ("ID,LIMIT,OWED\n{0},-5,0\n", "LIMIT: must be minor units, 0 or more"),
        ("ID,LIMIT,OWED\n{0},5,much\n", "OWED: must be minor units, 0 or more"),
        ("ID,LIMIT,OWED\n{0},,0\n", "LIMIT: must be minor units, 0 or more"),
    ],
)
def test_lines_that_cannot_be_are_refused_and_nothing_is_lived(world, text, finding):
    path = world / "lines.csv"
    path.write_text(text.format(acts_of(world, HISTORY)["ID"][0]))
    with pytest.raises(DataError) as caught:
        live_on(world, path)
    assert finding in caught.value.findings
    assert last_month(world) == HISTORY
    assert not month_file(world, "bank", HISTORY + 1).exists()


def test_a_world_is_begun_once_and_a_damaged_one_is_told_by_its_file(world):
    with pytest.raises(UsageError):
        begin(world, WORLD)
    standing = world / "people" / "standing.npz"
    standing.write_bytes(standing.read_bytes()[:100])
    with pytest.raises(DataError, match=r"standing\.npz"):
        live_on(world, None)
    (world / "world.toml").write_text("customers = 5\n")
    with pytest.raises(ConfigError, match=r"world\.toml"):
        live_on(world, None)
