"""A small federation with keys of our own: its card, releases and score feeds."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime

from server.releases.registry import Registry
from shared.config import parse_federation
from shared.feed import FeedRow, pack_feed
from shared.release import Manifest, Release, Signatory, expiry_of, release_name, sign_manifest
from shared.scorecard.calibration import Calibration
from shared.scorecard.card import Card, Line
from shared.scorecard.reasons import Baseline
from shared.scorecard.scale import PRODUCT_SCALE
from tests.support import federation as identities

PARTIES = ("bank", "bureau", "ecommerce", "payments")
NOW = "2026-03-02T08:00:00Z"
TODAY = "2026-03-01"
CONTRACT = hashlib.sha256(b"contract").hexdigest()
#: owner, reason, points by bin, mean
LINES = (
    ("bank", "UTILISATION", (0, 20, 41), 24.0),
    ("bank", "REPAYMENT", (0, 15, 30), 20.0),
    ("bureau", "ENQUIRIES", (-10, 0, 12), 4.0),
    ("ecommerce", "RETURNS", (0, 5, 11), 6.0),
    ("payments", "REGULARITY", (0, 9, 25), 12.0),
)


def card():
    """Return a card whose points run from -10 to 119, through all grades."""
    lines = tuple(
        Line(owner, (f"{owner}_{reason}",), reason, ("base", "a", "b"), points, (0.1, 0.1), mean)
        for owner, reason, points, mean in LINES
    )
    return Card(
        contract=CONTRACT,
        rows=10_000,
        bad_rate=0.1,
        points_kept=10,
        penalty=0.01,
        cp=1.0,
        explained=0.1,
        lines=lines,
        scale=PRODUCT_SCALE,
        baseline=Baseline("mean", {reason: mean for _, reason, _, mean in LINES}),
        calibration=Calibration((0, 100), (0.0, -4.5), -0.045),
    )


def baselines():
    """Return the mean points of each party."""
    return {party: card().baseline_points(party) for party in PARTIES}


class Kit:
    """A federation on disk, and what its parties sign.

    Parameters
    ----------
    folder : Path
    settings : values
        Of the section `[release]`.
    """

    def __init__(self, folder, parties=PARTIES, **settings):
        self.folder = folder
        self.people, self.roster = identities(parties)
        self.path = folder / "federation.toml"
        text = 'name = "tested"\nbuilder = "bank"\ncontract = "contract.toml"\n[release]\n'
        text += "".join(f"{name} = {value}\n" for name, value in settings.items())
        for name, identity in self.people.items():
            table = name if name == "coordinator" else f"parties.{name}"
            text += f'[{table}]\nfingerprint = "{identity.fingerprint}"\n'
        folder.mkdir(parents=True, exist_ok=True)
        self.path.write_text(text)
        self.federation, _ = parse_federation(text, "federation.toml", {})
        self.registry = Registry(folder / "releases")

    def manifest(self, counter=1, created="2026-03-01T12:00:00Z", **changes):
        whole = card()
        manifest = Manifest(
            name=release_name(counter),
            counter=counter,
            created=created,
            expires=expiry_of(created, self.federation),
            parent="",
            federation=self.federation.name,
            agreement=self.federation.agreement(CONTRACT),
            contract=CONTRACT,
            run=f"run-{counter}",
            parties={
                name: Signatory(
                    self.people[name].fingerprint, "1" * 64, 7, 0.02, whole.baseline_points(name)
                )
                for name in self.federation.parties
            },
            model=whole,
            evaluation={"auc": 0.78, "ks": 0.43},
        )
        return replace(manifest, **changes)

    def sign(self, manifest, parties=None):
        raw = manifest.to_bytes()
        names = self.federation.parties if parties is None else parties
        return Release(manifest, {name: sign_manifest(self.people[name], raw) for name in names})

    def release(self, counter=1, **changes):
        return self.sign(self.manifest(counter, **changes))

    def serve(self, counter=1, now=NOW, **changes):
        """Take a release and let it serve."""
        release = self.release(counter, **changes)
        self.registry.take(release, self.federation, now)
        self.registry.promote(release.manifest.name, self.federation, now, "test")
        return release

    def feed(self, party, rows, manifest=None, as_of=TODAY, created="2026-03-02T07:00:00Z"):
        return pack_feed(
            self.people[party],
            rows,
            federation=self.federation,
            release=manifest or self.manifest(),
            as_of=as_of,
            created=created,
        )

    def feeds(self, customers=3, manifest=None, parties=None, **when):
        """Return a feed of each party; customer number k has `k` of three bins on every line."""
        return {
            party: self.feed(
                party, [row(party, number) for number in range(customers)], manifest, **when
            )
            for party in (parties or self.federation.holders)
        }


def name_of(number):
    """Return a customer's pseudonym."""
    return hashlib.sha256(str(number).encode()).hexdigest()


def row(party, number):
    """Return a feed's row: the worst bin for customer 0, the best for customer 2."""
    points, reasons = 0, []
    for owner, reason, bins, mean in LINES:
        if owner == party:
            points += bins[number % 3]
            if (lost := round(mean - bins[number % 3])) > 0:
                reasons.append((reason, lost))
    reasons.sort(key=lambda one: (-one[1], one[0]))
    return FeedRow(name_of(number), points, tuple(reasons))


def real_now():
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
