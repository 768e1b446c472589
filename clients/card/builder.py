"""What only the builder does: open the tables, fit, hand out the parts, calibrate and evaluate."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clients.party import Party
from shared import metrics, trueness
from shared.arrays import pack_value, unpack_value
from shared.contract import Columns
from shared.errors import DataError
from shared.jobs import Run
from shared.protocols.products import Opened
from shared.scorecard.blocks import Block
from shared.scorecard.build import BuildSettings, draft_card, part_of
from shared.scorecard.calibration import fit_calibration
from shared.scorecard.card import Card, card_of
from shared.scorecard.moments import Moments, assemble
from shared.scorecard.scale import PRODUCT_SCALE, Scale
from shared.scorecard.spread import Spread
from shared.scorecard.worth import Worth
from shared.shape import Shape

Ints = NDArray[np.int64]
Tables = Mapping[str, tuple[Ints, Ints]]

_LEVEL = 0.95
_REPLICATES = 500


def label_of(columns: Columns) -> Ints:
    """Return the label: 1 is bad.

    Raises
    ------
    DataError
        If the table has none.
    """
    if columns.label is None:
        raise DataError("label", ["the builder's table has no label"])
    return columns.label.astype(np.int64)


def check_classes(party: Party, train: Ints, test: Ints) -> None:
    """Refuse common customers of one class, before anything about them is opened.

    Raises
    ------
    DataError
        Names the table.
    """
    tables = (
        (party.settings.train, label_of(party.train)[train], "learn from"),
        (party.settings.test, label_of(party.test)[test], "evaluate on"),
    )
    findings = [
        f"{name}: the common customers to {use} are of one class only"
        for name, label, use in tables
        if not 0 < label.sum() < len(label)
    ]
    if findings:
        raise DataError("label", findings, hint="more customers, or another split")


def both_classes(party: Party, test: Ints) -> bool:
    """Return whether enough good and bad customers are there to evaluate each holder alone."""
    label = label_of(party.test)[test]
    bad = int(label.sum())
    return min(bad, len(label) - bad) >= party.federation.floors.rows


def settings_of(party: Party) -> BuildSettings:
    """Return how the federation agreed to fit."""
    agreed = party.federation.scorecard
    scale = Scale(
        agreed.pdo,
        agreed.base_score,
        agreed.base_odds,
        PRODUCT_SCALE.low,
        PRODUCT_SCALE.high,
        PRODUCT_SCALE.grades,
    )
    return BuildSettings(scale=scale, sparser=agreed.sparser)


def moments_of(opened: Opened, builder: str, n_rows: int) -> Moments:
    """Put the opened tables together; the builder's last two bins are its label.

    Parameters
    ----------
    opened : Opened
        By party, or by unit (`shared.shape.Shape.unit`).
    builder : str
        Whose last two bins are the label.
    n_rows : int

    Raises
    ------
    BadPeer
        If a description is malformed, or tables do not add up; names the parties.
    """
    label = -1  # the bin of bad customers, at the builder
    blocks, own, bads = {}, {}, {}
    for holder, description in opened.descriptions.items():
        described = unpack_value(description)
        described = described if isinstance(described, list) else [None]
        blocks[holder] = [Block.from_mapping(item, owner=holder) for item in described]
        own[holder] = opened.own[holder]
        if holder == builder:
            bads[holder] = own[holder][:-2, label]
            own[holder] = own[holder][:-2, :-2]
    cross = {}
    for (a, b), table in opened.cross.items():
        if builder not in {a, b}:
            cross[a, b] = table
            continue
        other, mine = (b, table) if a == builder else (a, table.T)
        bads[other] = mine[label]
        cross[builder, other] = mine[:-2]
    blocks = {holder: blocks[holder] for holder in sorted(blocks)}
    n_bad = int(opened.own[builder][label, label])
    return assemble(blocks, own, cross, bads, n=n_rows, n_bad=n_bad)


def fit(party: Party, run: Run, opened: Opened) -> dict[str, Any]:
    """Fit the card, keep it and everybody's part, and return what may be told.

    Returns
    -------
    dict
        Digest of the card, its size, worth of each holder, seconds; no count, no point.

    Raises
    ------
    DataError
        If all customers behind the moments are of one class.
    """
    mine = party.shape.unit(party.name)
    n_rows = int(opened.own[mine][-2:, -2:].sum())
    started = time.perf_counter()
    return fit_moments(party, run, moments_of(opened, mine, n_rows), started)


def fit_moments(
    party: Party, run: Run, moments: Moments, started: float, *, ridge: float | None = None
) -> dict[str, Any]:
    """Fit the card to moments; see `fit`.

    Parameters
    ----------
    party : Party
    run : Run
    moments : Moments
    started : float
        When work on it began, of `time.perf_counter`.
    ridge : float, optional
        What noise in the moments asks for.
    """
    shape = party.shape
    if not 0 < moments.n_bad < moments.n:
        raise DataError("label", ["the customers to learn from are of one class only"])
    settings = settings_of(party)
    if ridge is not None:
        settings = replace(settings, ridge=ridge)
    draft = draft_card(moments, settings)
    card = card_of(draft, party.contract, settings.scale)
    seconds = time.perf_counter() - started
    digest = hashlib.sha256(pack_value(card.to_mapping())).hexdigest()
    parts = {
        holder: {
            "digest": digest,
            "card": part_of(draft, shape.unit(holder), draft.points),
            "alone": part_of(draft, shape.unit(holder), draft.alone[shape.unit(holder)]),
        }
        for holder in run.parties
    }
    store = party.store
    # A phase that was interrupted after this, and is played again, comes to the very same.
    store.keep_value(run.name, "draft", card.to_mapping())
    store.keep_value(run.name, "parts", parts)
    store.keep_value(run.name, "worth", worth_by_party(run, shape, draft.worth))
    store.keep_array(run.name, "moments", moments.counts)
    store.keep_array(run.name, "moments_bads", moments.bads)
    return {
        "card": digest,
        "fit_seconds": seconds,
        "columns": len(draft.columns.names),
        "points_kept": draft.fit.df,
        "explained": draft.explained,
        "kkt": draft.fit.kkt,
        "worth": [asdict(worth) for worth in draft.worth],
    }


def worth_by_party(run: Run, shape: Shape, found: Iterable[Worth]) -> dict[str, float]:
    """Return each party's fair share of what the card explains.

    Banks bring the same columns: they share what these are worth alike.
    """
    by_unit = {worth.holder: worth.shapley for worth in found}
    units = [shape.unit(name) for name in run.parties]
    return {
        name: by_unit.get(unit, 0.0) / units.count(unit)
        for name, unit in zip(run.parties, units, strict=True)
    }


def parts(party: Party, run: Run) -> Mapping[str, Any]:
    """Return every holder's part of the card, as `fit` kept them."""
    value: Mapping[str, Any] = party.store.load_value(run.name, "parts")
    return value


def finish(
    party: Party,
    run: Run,
    totals: Ints,
    train: Ints,
    test: Ints,
    own_alone: Ints,
    tables: Tables | None,
) -> dict[str, Any]:
    """Calibrate on the customers to learn from, evaluate on the others, keep the card.

    Parameters
    ----------
    party : Party
    run : Run
    totals : ndarray of int64, shape (n_train + n_test,)
        Opened points.
    train, test : ndarray of int64
        Rows in the own tables.
    own_alone : ndarray of int64, shape (n_test,)
        Points of the builder's own card.
    tables : mapping or None
        From `evaluate_alone`.

    Returns
    -------
    dict
        Metrics with intervals, and how each holder does alone.
    """
    learned, seen = label_of(party.train)[train], label_of(party.test)[test]
    alone = {party.name: _alone(seen, own_alone)} | {
        holder: _alone_from(goods, bads) for holder, (goods, bads) in (tables or {}).items()
    }
    return conclude(
        party, run, (totals[: len(train)], learned), (totals[len(train) :], seen), alone
    )


def conclude(
    party: Party,
    run: Run,
    learned: tuple[Ints, Ints],
    seen: tuple[Ints, Ints],
    alone: Mapping[str, Any],
) -> dict[str, Any]:
    """Calibrate, evaluate, and keep the card.

    Parameters
    ----------
    party : Party
    run : Run
    learned, seen : tuple of ndarray of int64
        Points and label of the customers to learn from, and of those to evaluate on.
    alone : mapping
        Metrics of holders alone.

    Returns
    -------
    dict
        Metrics with intervals.
    """
    calibration = fit_calibration(*learned)
    points, label = seen
    results = evaluation(label, points, calibration.default_prob(points)) | {"alone": dict(alone)}
    draft = Card.from_mapping(party.store.load_value(run.name, "draft"), "draft.json")
    card = replace(draft, calibration=calibration)
    value = card.to_mapping() | {"run": run.name, "evaluation": results}
    party.store.keep_value(run.name, "card", value)
    return results


def evaluation(label: Ints, points: Ints, default_prob: NDArray[np.float64]) -> dict[str, Any]:
    """Return the metrics of a card on customers it has not seen.

    Parameters
    ----------
    label : ndarray of int64, shape (n,)
        1 is bad.
    points : ndarray of int64, shape (n,)
        More points, less risk.
    default_prob : ndarray of float64, shape (n,)

    Returns
    -------
    dict
        Under ``by_points`` the counts behind its curves (`shared.scorecard.spread`), where there
        are customers enough for them.
    """
    # Only the bootstrap of the KS interval draws numbers; a fixed seed makes it repeatable.
    rng = np.random.default_rng(0)
    auc = metrics.auc_interval(label, -points, _LEVEL)
    ks = metrics.ks_interval(label, -points, _LEVEL, _REPLICATES, rng)
    spread = Spread.of_rows(label, points, default_prob)
    return {
        "n": len(label),
        "bad_rate": float(label.mean()),
        "auc": auc.value,
        "auc_interval": [auc.low, auc.high],
        "ks": ks.value,
        "ks_interval": [ks.low, ks.high],
        "gini": metrics.gini(label, -points),
        "brier": trueness.brier(label, default_prob),
        "log_loss": trueness.log_loss(label, default_prob),
        "calibration_error": trueness.expected_calibration_error(label, default_prob),
        "calibration_slope": trueness.calibration_slope(label, default_prob),
    } | ({} if spread is None else {"by_points": spread.to_mapping()})


def _alone(label: Ints, points: Ints) -> dict[str, Any]:
    auc = metrics.auc_interval(label, -points, _LEVEL)
    ks = metrics.ks_interval(label, -points, _LEVEL, _REPLICATES, np.random.default_rng(0))
    return {
        "auc": auc.value,
        "auc_interval": [auc.low, auc.high],
        "ks": ks.value,
        "ks_interval": [ks.low, ks.high],
        "bins": 0,
    }


def _alone_from(goods: Ints, bads: Ints) -> dict[str, Any]:
    """Return the metrics of a holder's own card from counts by bin, safest first."""
    bins = np.arange(len(goods))
    label = np.repeat([0, 1], [goods.sum(), bads.sum()])
    rank = np.concatenate([np.repeat(bins, goods), np.repeat(bins, bads)])
    return _alone(label, -rank) | {"bins": len(goods)}
