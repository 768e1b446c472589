"""A small federation in memory with its keys, and releases of a small card."""

from __future__ import annotations

from dataclasses import replace

from shared.config import Federation
from shared.identity import Identity
from shared.release import Manifest, Release, Signatory, expiry_of, release_name, sign_manifest
from shared.scorecard.calibration import Calibration
from shared.scorecard.card import Card, Line
from shared.scorecard.reasons import Baseline
from shared.scorecard.scale import PRODUCT_SCALE
from shared.sections import Member, Publishing

PARTIES = ("bank", "bureau", "payments")
NOW = "2026-03-01T12:00:00Z"
CONTRACT = "c" * 64
PEOPLE = {
    name: Identity(name, bytes([number]) * 32)
    for number, name in enumerate((*PARTIES, "coordinator", "stranger"), start=1)
}


def federation(**rules):
    """Return a federation of three; `rules` are settings of its section [release]."""
    return Federation(
        name="tested",
        builder="bank",
        contract="contract.toml",
        coordinator=Member(PEOPLE["coordinator"].fingerprint),
        parties={name: Member(PEOPLE[name].fingerprint) for name in PARTIES},
        release=Publishing(**rules),
    )


def card():
    """Return a card with two lines at the bank and one at each other party."""
    return Card(
        contract=CONTRACT,
        rows=1000,
        bad_rate=0.1,
        points_kept=4,
        penalty=0.5,
        cp=-10.0,
        explained=0.2,
        lines=(
            Line("bank", ("LIMIT",), "LIMIT", ("base", "LIMIT>#1"), (0, 30), (1.5,), 12.5),
            Line("bank", ("USED",), "USED", ("base", "USED>#1"), (0, -40), (2.5,), -8.25),
            Line("bureau", ("ASKED",), "ASKED", ("base", "ASKED>#1"), (0, -25), (2.0,), -5.5),
            Line("payments", ("LATE",), "LATE", ("base", "LATE>#1"), (0, -60), (3.0,), -6.0),
        ),
        scale=PRODUCT_SCALE,
        baseline=Baseline("mean", {"LIMIT": 12.5, "USED": -8.25, "ASKED": -5.5, "LATE": -6.0}),
        calibration=Calibration((-100, 0, 30), (0.5, -2.0, -3.0), -0.02),
    )


def manifest(agreed=None, **changes):
    """Return a manifest that every check passes, but for `changes`."""
    agreed = agreed or federation()
    counter = changes.get("counter", 1)
    made = changes.get("created", NOW)
    points = card()
    return replace(
        Manifest(
            name=release_name(counter),
            counter=counter,
            created=made,
            expires=expiry_of(made, agreed),
            parent="",
            federation=agreed.name,
            agreement=agreed.agreement(CONTRACT),
            contract=CONTRACT,
            run="20260301T120000-abcdef",
            parties={
                name: Signatory(PEOPLE[name].fingerprint, "a" * 64, 6, 0.05, baseline)
                for name in PARTIES
                for baseline in [points.baseline_points(name)]
            },
            model=points,
            evaluation={"auc": 0.78, "auc_interval": [0.76, 0.8]},
        ),
        **changes,
    )


def signed(draft, by=PARTIES, keys=None):
    """Return a release with a signature of each name in `by`; `keys` replaces whose key signs."""
    keys = keys or {}
    raw = draft.to_bytes()
    return Release(draft, {name: sign_manifest(PEOPLE[keys.get(name, name)], raw) for name in by})
