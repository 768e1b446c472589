"""T33 through everything: months of a world, holders' columns, signed feeds, service and database.

Two of the world's people are made the golden replay's: they draw and repay as it does. What the
service knows of them comes from the world as of everybody: events, columns, points, feeds.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from server.accounts.desk import rule_texts, rulebook_of, text_of
from server.accounts.scores import HOME, LimitService
from server.commands.cycle import train_at
from server.coordinator import load_federation
from server.cycle.parties import Parties
from server.cycle.setting import DAYS, START, Setting, instant
from server.limits.line import golden
from server.releases.shelf import Index
from server.store.engine import open_store
from tests.accounts.kit import Office
from tests.accounts.year import Year, golden_texts
from tests.line_kit import POLICY

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(1800)]
CYCLES = 12
_MORNING, _NOON = 1.0, 4.0


class Town:
    """A federation, its first release, and a year of its feeds."""

    def __init__(self, folder):
        self.parties = Parties(folder, train_at)
        self.parties.found(Setting(people=4000))
        self.parties.compute()
        now = instant(1, 0, _MORNING)
        self.name = self.parties.train(now)
        self.federation, _ = load_federation(self.parties.file)
        self.parties.registry.promote(self.name, self.federation, text_of(now), "the first")
        self.model = self.parties.registry.verified(
            self.name, self.federation, text_of(now)
        ).manifest.model
        self.feeds = [dict(self.parties.feeds(self.name))]
        for month in range(1, CYCLES + 1):
            self.parties.lives(month, {})
            self.parties.compute()
            at = instant(month, DAYS, _MORNING)
            self.feeds.append(dict(self.parties.publish(self.name, at)))

    def steady(self):
        """Return two pseudonyms: of customers whose score is good, and hardly moves, all year."""
        points = {}
        for month in self.feeds:
            sums = {}
            for raw in month.values():
                index = Index(raw.partition(b"\n")[2])
                for name in index.names():
                    sums.setdefault(name, []).append(index.find(bytes.fromhex(name)).points)
            for name, parts in sums.items():
                if len(parts) == len(month):
                    points.setdefault(name, []).append(sum(parts))
        whole = {name: row for name, row in points.items() if len(row) == len(self.feeds)}
        best = sorted(whole, key=lambda name: -min(whole[name]))[:100]
        return sorted(best, key=lambda name: np.ptp(whole[name]))[:2]


class Scene:
    """What an office of the tests looks at: this town's service and its clock."""

    def __init__(self, town, since):
        self.town, self.now = town, instant(1, 0, _NOON)
        self.kit = SimpleNamespace(folder=town.parties.home / HOME)
        self.rules = rulebook_of({**rule_texts(), **golden_texts(since)})
        self.release, self.told = None, 0
        self.scores = LimitService(
            town.parties.home,
            town.federation,
            self.rules.policy,
            self.rules.pack,
            lambda: text_of(self.now),
        )
        self.scores.start()

    def reset(self):
        self.publish()

    def publish(self):
        """Take every feed whose morning has come."""
        while self.told < len(self.town.feeds) and instant(self.told + 1, 0, _MORNING) <= self.now:
            for party, raw in self.town.feeds[self.told].items():
                self.scores.feeds.accept(raw, text_of(self.now), party=party, keep=False)
            self.told += 1


class Months(Year):
    """The golden year, on the feeds of each month."""

    def at(self, day):
        super().at(day)
        self.office.scene.publish()


def test_t33_every_limit_and_state_is_the_studys_from_events_to_the_database(tmp_path):
    town, rules = Town(tmp_path / "it"), golden.with_downturn(POLICY)
    for who, story in zip(town.steady(), (golden.stable(), golden.frequent()), strict=True):
        store = open_store(f"sqlite:///{tmp_path}/{story.name}.db", create=True)
        try:
            office = Office(Scene(town, START), store)
            year = Months(office, story, customer=who).live(CYCLES)
            lived = [one.record.outcome.after for one in year.decisions]
            told = [(line.state, line.effective_limit_minor) for line in lived]
            assert told == [(row.state, row.limit_minor) for row in golden.run(story, rules).rows]
            assert {one.record.about["model"] for one in year.decisions} == {town.name}
            assert office.scene.told == CYCLES + 1  # each review had that month's feeds
        finally:
            store.close()
