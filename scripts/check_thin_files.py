"""What other holders add to a bank's card, for people whom nobody has known for long.

People of a simulated world, known to all four holders of `contracts/world_months.toml`: a card of
all columns and one of the bank's alone are learned from half of them and tried on the other half,
apart for those with a thin file, whom the holders have known for less than the six months that
their columns look back on.

    python scripts/check_thin_files.py --people 300000
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
from _bench import write_json
from numpy.typing import NDArray

from clients.data.datasets import embedded_contract
from clients.world.living import begin
from clients.world.making import World
from clients.world.tables import OUTCOME_MONTHS, TABLES, learning_table, read_months
from server.replay.card import ReplayCard, fit_on
from shared.metrics import roc_auc
from shared.world.life import SEEN_MONTHS

#: Months that are lived: a year of outcomes behind a year and a half.
_MONTHS = 30
#: Who is expected to default less often than that may have a line.
_BOUND = 0.08
_BANK = "bank"


def people_of(folder: Path) -> tuple[dict[str, NDArray[Any]], NDArray[np.bool_]]:
    """Return the columns of people whom every holder knows, and who of them has a thin file."""
    tables = {holder: learning_table(folder, holder, _MONTHS) for holder in TABLES}
    ids = reduce(np.intersect1d, (table["ID"] for table in tables.values()))
    columns: dict[str, NDArray[Any]] = {}
    for table in tables.values():
        rows = _rows(table["ID"], ids)
        columns |= {name: values[rows] for name, values in table.items() if name != "ID"}
    months = read_months(folder, _BANK, _MONTHS - OUTCOME_MONTHS)
    thin = months.known.sum(axis=1) < SEEN_MONTHS
    return columns, thin[_rows(months.ids, ids)]


def _rows(all_ids: NDArray[Any], wanted: NDArray[Any]) -> NDArray[np.int64]:
    place = {name: at for at, name in enumerate(all_ids.tolist())}
    return np.array([place[name] for name in wanted.tolist()], np.int64)


def told(
    card: ReplayCard, values: Mapping[str, NDArray[Any]], default: NDArray[np.bool_]
) -> dict[str, float]:
    """Return how well a card tells people apart, whom it lets have a line, and how they fare."""
    prob = card.default_prob_micro(values) / 1e6
    allowed = prob < _BOUND
    return {
        "people": int(default.size),
        "default": float(default.mean()),
        "auc": roc_auc(default.astype(np.int64), prob),
        "allowed": float(allowed.mean()),
        "default_of_allowed": float(default[allowed].mean()) if allowed.any() else 0.0,
    }


def compare(people: int, seed: int) -> dict[str, dict[str, dict[str, float]]]:
    """Return, for thin files and others, what each card tells."""
    features = embedded_contract("world_months")[0].features
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "world"
        begin(folder, World(people, _MONTHS, seed, "calm"))
        columns, thin = people_of(folder)
    default = columns.pop("DEFAULT") == 1
    learns = np.random.default_rng(seed).random(default.size) < 0.5
    known = {name: values[learns] for name, values in columns.items()}
    cards = {
        "all holders": fit_on(known, default[learns], features),
        "the bank alone": fit_on(
            known, default[learns], [one for one in features if one.owner == _BANK]
        ),
    }
    found = {}
    for group, those in (("thin file", thin), ("others", ~thin)):
        mine = those & ~learns
        values = {name: column[mine] for name, column in columns.items()}
        found[group] = {name: told(card, values, default[mine]) for name, card in cards.items()}
    return found


def main() -> None:
    """Compare, print, and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    found = compare(arguments.people, arguments.seed)
    print(f"{'':<12}{'card':<16}{'people':>8}{'default':>9}{'AUC':>8}{'allowed':>9}{'default':>9}")
    for group, cards in found.items():
        for name, one in cards.items():
            print(
                f"{group:<12}{name:<16}{one['people']:>8,}{one['default']:>9.1%}{one['auc']:>8.4f}"
                f"{one['allowed']:>9.1%}{one['default_of_allowed']:>9.1%}"
            )
    print(f"allowed: expected to default less often than {_BOUND:.0%}. Nobody here is real.")
    write_json(arguments.json, found)


if __name__ == "__main__":
    main()
