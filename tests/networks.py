"""A small network in numpy, its weights as a file, and what its parties sign."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from clients.neural.challenger import draft_network
from shared.challenger.points import calibrate, points_of
from shared.challenger.shapley import Block
from shared.challenger.tensors import Weights
from shared.release import Release, Signatory, expiry_of, release_name, sign_manifest
from shared.scorecard.scale import PRODUCT_SCALE

WIDTH, HIDDEN = 5, 4
BLOCKS = (
    Block("bank", "UTILISATION", (0, 1)),
    Block("bank", "REPAYMENT", (2,)),
    Block("bureau", "ENQUIRIES", (3, 4)),
)


def weights(seed=1):
    rng = np.random.default_rng(seed)
    return Weights(rng.normal(size=WIDTH * HIDDEN + HIDDEN), rng.normal(size=WIDTH) / 4)


def model(held=None):
    """Return a callable from inputs to log-odds of default."""
    flat = (held or weights()).weights
    first, second = flat[: WIDTH * HIDDEN].reshape(WIDTH, HIDDEN), flat[WIDTH * HIDDEN :]
    return lambda rows: np.tanh(rows @ first) @ second - 2.0


def inputs(n, seed=2):
    return np.random.default_rng(seed).normal(size=(n, WIDTH))


def labels(rows, seed=3):
    prob = 1 / (1 + np.exp(-model()(rows)))
    return (np.random.default_rng(seed).random(len(rows)) < prob).astype(np.int64)


def network(contract, held=None, *, calibrated=True):
    held = held or weights()
    drafted = draft_network(
        contract=contract,
        rows=10_000,
        bad_rate=0.2,
        layout={"width": WIDTH, "hidden": HIDDEN},
        encoding={"kind": "none"},
        weights=held,
        blocks=BLOCKS,
        model=model(held),
        scale=PRODUCT_SCALE,
    )
    if not calibrated:
        return drafted
    rows = inputs(4000)
    points = points_of(model(held)(rows), PRODUCT_SCALE)
    at, where = np.unique(points, return_inverse=True)
    label = labels(rows)
    bads = np.bincount(where, weights=label).astype(np.int64)
    goods = np.bincount(where).astype(np.int64) - bads
    return replace(drafted, calibration=calibrate(at, goods, bads))


def manifest(kit, counter=2, *, held=None, evaluation=None, **changes):
    """Return the manifest of a network over a kit of `tests.service.kit`."""
    card = kit.manifest(counter)
    whole = network(card.contract, held)
    made = changes.pop("created", "2026-03-01T13:00:00Z")
    draft = replace(
        card,
        name=release_name(counter, "neural"),
        kind="neural",
        model=whole,
        created=made,
        expires=expiry_of(made, kit.federation),
        parties={
            name: Signatory(one.fingerprint, one.ledger_head, 9, 0.0, whole.mean_points)
            for name, one in card.parties.items()
        },
        evaluation=evaluation or {"auc": 0.79},
    )
    return replace(draft, **changes)


def signed(kit, draft, held=None, by=None):
    raw = draft.to_bytes()
    names = kit.federation.parties if by is None else by
    signatures = {name: sign_manifest(kit.people[name], raw) for name in names}
    return Release(draft, signatures, (held or weights()).to_bytes())


__all__ = ["inputs", "labels", "manifest", "model", "network", "signed", "weights"]
