"""The other side: the world and the holders, each by its own command in a process of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from server.accounts.desk import text_of
from server.coordinator import load_federation
from server.cycle.setting import HISTORY, Setting
from server.engines.own import own
from server.releases.registry import FOLDER, Registry
from shared.edge.files import read_text, write_atomic
from shared.edge.workers import cores

Train = Callable[[Path, str], str]

#: Who owns the app: it alone says under which pseudonym a customer is known.
PLATFORM: Final = "payments"
# Who knows what became of people, and learns from lines, too.
_LABELS: Final = "bank"
#: Longer than the default, since a simulated quarter may bring no better model.
_LONGER: Final = "valid_days = 400"
# A quarter later all columns and outcomes are of other months, and hardly a row is as it was: what
# two trainings tell does not differ by the data of a few.
_OWN_SETTINGS: Final = 'customers = "customers.parquet"\nfurther_moments = "accept"\n'


@dataclass(frozen=True, slots=True)
class Act:
    """What somebody does with a line in a month, and can prove.

    Parameters
    ----------
    name : str
        As the platform spells the customer.
    paid_minor, spent_minor : int
        What they would repay, and draw.
    late : int
        Payments behind at the end of the month.
    draws : int
        Into so many amounts they divide it.
    income_minor : int
        A month.
    enquiries : int
        Lenders asked in the month.
    others_minor : int
        Owed to other lenders.
    """

    name: str
    paid_minor: int
    spent_minor: int
    late: int
    draws: int
    income_minor: int
    enquiries: int
    others_minor: int


class Parties:
    """The folder of a cycle: a world, and a federation of its holders.

    Parameters
    ----------
    folder : Path
    train : callable
        Trains a release of a federation file, with all clocks at an instant, and takes it into the
        registry; returns its name.
    """

    def __init__(self, folder: Path, train: Train) -> None:
        self._train = train
        self.world = folder / "world"
        self.home = folder / "federation"
        self.file = self.home / "federation.toml"

    def found(self, setting: Setting) -> None:
        """Begin the world, and let its holders agree on a federation; what is there stays."""
        if not self.world.exists():
            given = {"customers": setting.people, "months": HISTORY, "seed": setting.seed}
            options = [word for name, value in given.items() for word in (f"--{name}", str(value))]
            own("world", "begin", str(self.world), *options, "--economy", setting.economy)
        if self._is_founded():
            return
        self.learn_from_now()
        own("init", str(self.home), "--name", "cycle", "--force")
        text = read_text(self.file)
        for party in load_federation(self.file)[0].holders:
            path = self.home / party / "party.toml"
            write_atomic(path, f"{_OWN_SETTINGS}{read_text(path)}".encode())
        write_atomic(self.file, text.replace("# valid_days = 180", _LONGER, 1).encode())

    def _is_founded(self) -> bool:
        """Return whether the last step of the founding is done."""
        return self.file.exists() and f"\n{_LONGER}\n" in read_text(self.file)

    @property
    def holders(self) -> tuple[str, ...]:
        """The parties of the federation."""
        return load_federation(self.file)[0].holders

    @property
    def registry(self) -> Registry:
        """The releases of the federation."""
        return Registry(self.home / FOLDER)

    def lives(self, month: int, lines: Mapping[str, tuple[int, int]]) -> None:
        """Let the world live a month, with who has a limit and owes what; once.

        Parameters
        ----------
        month : int
            1 is the first with lines.
        lines : mapping of str to (int, int)
            Limit and what is owed, in minor units, by the platform's names.
        """
        path = self.world / "people" / "lines.csv"
        rows = "".join(f"{name},{limit},{owed}\n" for name, (limit, owed) in sorted(lines.items()))
        write_atomic(path, f"ID,LIMIT,OWED\n{rows}".encode())
        number = str(HISTORY + month)
        own("world", "month", str(self.world), "--lines", str(path), "--number", number)

    def acts(self, month: int) -> Iterator[Act]:
        """Yield what people do in a month."""
        import pyarrow.parquet  # noqa: PLC0415 - the service's image has none

        for row in pyarrow.parquet.read_table(self._acts(month)).to_pylist():
            yield Act(*row.values())

    def _acts(self, month: int) -> Path:
        return self.world / "people" / f"acts-{HISTORY + month:04d}.parquet"

    def compute(self) -> None:
        """Let every holder compute its columns of today."""
        own("world", "tables", str(self.world), "--into", str(self.home))

    def learn_from_now(self) -> None:
        """Let every holder make its table to learn from: of a year ago, with what came of it."""
        own("world", "tables", str(self.world), "--into", str(self.home), "--learn")

    def take_outcomes(self, raw: bytes, pin: str) -> dict[str, int]:
        """Let the party with the label take in what became of lines; return what that added."""
        path = self.home / _LABELS / "outcomes.json"
        write_atomic(path, raw)
        options = ("--party", _LABELS, "--federation", str(self.file), "--pin", pin)
        told = own("feed", "outcomes", str(path), *options, "--format", "json")
        added: dict[str, int] = json.loads(told)["data"]
        return added

    def train(self, now: datetime) -> str:
        """Train a release; it comes into the registry as a challenger. Return its name."""
        return self._train(self.file, text_of(now))

    def publish(self, release: str, now: datetime) -> list[tuple[str, bytes]]:
        """Let every holder publish its feed of a release; return them."""
        parties = self.holders
        with ThreadPoolExecutor(max_workers=cores()) as pool:
            list(pool.map(partial(self._publish, release, now), parties))
        return list(self.feeds(release, parties))

    def _publish(self, release: str, now: datetime, party: str) -> None:
        given = {
            "party": party,
            "federation": str(self.file),
            "release": release,
            "as-of": f"{now:%Y-%m-%d}",
            "at": text_of(now),
        }
        own("feed", "publish", *[word for name in given for word in (f"--{name}", given[name])])

    def feeds(self, release: str, parties: Iterable[str] = ()) -> Iterator[tuple[str, bytes]]:
        """Yield the feed of a release that each holder made last."""
        for party in parties or self.holders:
            yield party, (self.home / party / "feeds" / f"{release}.feed").read_bytes()

    def pseudonyms(self) -> dict[str, str]:
        """Return the pseudonyms of the platform's customers, by its own names."""
        options = ("--federation", str(self.file), "--party", PLATFORM, "--format", "json")
        rows: list[dict[str, Any]] = json.loads(own("feed", "customers", *options))["data"]
        return {row["customer"]: row["pseudonym"] for row in rows}
