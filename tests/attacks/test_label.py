"""Who holds no labels learns nothing of them from what it is sent (privacy.md 5.3, A6)."""

from __future__ import annotations

import struct
import sys
from collections import defaultdict
from contextlib import suppress

import numpy as np
import pytest

from clients.card.builder import settings_of
from shared.arrays import unpack_array
from shared.errors import BadPeer
from shared.masks import Keystream
from shared.metrics import roc_auc
from shared.scorecard.build import draft_card
from shared.scorecard.moments import pooled
from tests.attacks.federations import (
    found,
    play_moments,
    strangers,
    uci_common,
    world_common,
)
from tests.attacks.membership import one_hot
from tests.support import data_path

pytestmark = pytest.mark.slow

ALLOWED = 0.02
N_ROWS = 6_000
# Of 1,000 columns of noise one is beyond so many standard errors once in 26,000 runs.
NOISE = 5.5
_RIDGE = 30.0
_TYPES = (np.uint8, np.uint16, np.uint32, np.uint64, np.int16, np.int32, np.int64, np.float64)


def arrays_of(items):
    """Return every array among payloads, the chunks of one sender and tag one below the other."""
    chunks = defaultdict(list)
    for item in items:
        rank = item.payload[1] if len(item.payload) > 1 else 9
        if rank > 3:
            continue
        for dtype in _TYPES:
            with suppress(BadPeer, struct.error):
                array = unpack_array(item.payload, dtype, (None,) * rank, cap=1 << 28)
                chunks[item.phase, item.sender, item.tag].append(array)
    return {
        key: np.concatenate(parts)
        for key, parts in chunks.items()
        if all(part.ndim and part.shape[1:] == parts[0].shape[1:] for part in parts)
    }


def by_customer(transcript, name, n_rows):
    """Return all numbers a party was sent that have one entry a customer: shape (n_rows, any)."""
    columns = []
    for array in arrays_of(transcript.seen_by(name)).values():
        if len(array) == n_rows:
            signed = array.view(f"i{array.dtype.itemsize}") if array.dtype.kind == "u" else array
            columns.append(signed.reshape(n_rows, -1).astype(np.float64))
    return np.hstack(columns) if columns else np.zeros((n_rows, 0))


def own_features(federation, name, n_rows):
    sizes = tuple(plan.n_atoms for plan in federation.plans(name))
    return one_hot(federation.codes(name, rows=np.arange(n_rows)), sizes)


def either_way(label, score):
    area = roc_auc(label, score)
    return max(area, 1 - area)


def standard_error(label):
    """Return that of the AUC of noise (Hanley & McNeil 1982)."""
    bad = int(label.sum())
    return np.sqrt((len(label) + 1) / (12.0 * bad * (len(label) - bad)))


def learned(features, label):
    """Return the AUC of ridge regression, learned on the even rows, over the odd ones."""
    features = (features - features.mean(axis=0)) / np.maximum(features.std(axis=0), 1e-9)
    train, test = features[::2], features[1::2]
    gram = train.T @ train + _RIDGE * np.eye(features.shape[1])
    weights = np.linalg.solve(gram, train.T @ (label[::2] - label[::2].mean()))
    return roc_auc(label[1::2], test @ weights)


def most_telling(received, label):
    """Return the 20 received columns that rank the even rows best: a model drowns in noise."""
    area = [either_way(label[::2], column) for column in received[::2].T]
    return received[:, np.argsort(area)[-20:]]


def label_of(federation):
    return federation.parties[federation.builder].train.label.astype(int)


def show(*lines):
    sys.stdout.write("\n" + "\n".join(lines) + "\n")


@pytest.fixture(
    scope="module",
    params=[pytest.param("uci_default", marks=pytest.mark.data), pytest.param("world")],
)
def exchanged(request, tmp_path_factory):
    """Run the moments phase of whole federations: parties, transcript, labels."""
    if request.param == "world":
        tables = world_common(12_000, seed=1)
    else:
        tables = uci_common(data_path("uci_default/UCI_Credit_Card.csv.gz"))
    federation = found(tmp_path_factory.mktemp("label"), request.param, strangers(tables, seed=2))
    return request.param, federation, play_moments(federation, N_ROWS)


def test_no_value_of_the_exchange_ranks_customers_by_label(exchanged):
    contract, federation, transcript = exchanged
    label = label_of(federation)[:N_ROWS]
    for name in federation.others:
        received = by_customer(transcript, name, N_ROWS)
        assert received.shape[1] >= 100  # the masked bins of the bank and of the others
        own = learned(own_features(federation, name, N_ROWS), label)
        best = max(either_way(label, column) for column in received.T)
        show(f"{contract}, {name}: own features {own:.4f}, best received value {best:.4f}")
        assert best <= own + ALLOWED
        assert best <= 0.5 + NOISE * standard_error(label)


def test_no_model_on_the_exchange_ranks_customers_better_than_own_features(exchanged):
    contract, federation, transcript = exchanged
    label = label_of(federation)[:N_ROWS]
    for name in federation.others:
        own = own_features(federation, name, N_ROWS)
        received = by_customer(transcript, name, N_ROWS)
        some = most_telling(received, label)
        alone, more, best = (
            learned(np.hstack(sides), label) for sides in ((own,), (own, received), (own, some))
        )
        show(
            f"{contract}, {name}: own features {alone:.4f}, with all received {more:.4f}, with the "
            f"20 most telling {best:.4f}"
        )
        assert max(more, best) <= alone + ALLOWED


def test_the_own_part_of_the_card_ranks_new_customers_no_better_than_own_features(whole):
    federation, _ = whole
    bank = federation.parties[federation.builder]
    rows = bank.store.load_array(federation.run.name, "test_rows")
    label = bank.test.label[rows].astype(int)
    for name in federation.others:
        own, points = card_points(federation, name)
        alone, part = roc_auc(label, -own), roc_auc(label, -points)
        show(f"{name}: own features {alone:.4f}, own part of the card {part:.4f}")
        assert part <= alone + ALLOWED


def card_points(federation, name):
    """Score the customers to evaluate on by the best card of own features, and by the own part.

    The former is what the party could fit with all labels in hand: by the same solver.
    """
    party, plans = federation.parties[name], federation.plans(name)
    bank = federation.parties[federation.builder]
    rows = bank.store.load_array(federation.run.name, "train_rows")
    moments = pooled(
        [plan.public() for plan in plans],
        list(federation.codes(name).T),
        bank.train.label[rows].astype(np.int64),
    )
    best = draft_card(moments, settings_of(bank)).points
    part = party.store.load_value(federation.run.name, "part")["blocks"]
    rows = party.store.load_array(federation.run.name, "test_rows")
    values = {column: array[rows] for column, array in party.test.values.items()}
    codes = [plan.encode(values) for plan in plans]
    return (
        sum(line[code] for line, code in zip(best, codes, strict=True)),
        sum(np.array(b["points"])[code] for b, code in zip(part, codes, strict=True)),
    )


def test_nothing_else_of_a_whole_run_comes_one_a_customer(whole):
    federation, transcript = whole
    told = transcript.results["align"][federation.builder]
    sizes = {told["n_train"], told["n_test"], told["n_train"] + told["n_test"]}
    for name in federation.others:
        kinds = {
            (phase, tag)
            for (phase, _, tag), array in arrays_of(transcript.seen_by(name)).items()
            if len(array) in sizes
        }
        assert kinds == {
            ("align", "align/positions"),
            ("moments", "products/masked"),
            ("score", "products/masked"),
        }


def test_the_common_order_and_the_last_exchange_say_nothing_of_labels(whole):
    federation, transcript = whole
    bank = federation.parties[federation.builder]
    rows = {
        part: bank.store.load_array(federation.run.name, f"{part}_rows")
        for part in ("train", "test")
    }
    labels = {
        "train": bank.train.label[rows["train"]].astype(int),
        "test": bank.test.label[rows["test"]].astype(int),
    }
    for name in federation.others:
        place = federation.parties[name].store.load_array(federation.run.name, "train_rows")
        values = {"train": [place, np.arange(len(place))], "test": []}
        for (_, _, tag), array in arrays_of(transcript.seen_by(name)).items():
            for part, label in labels.items():
                if tag == "products/masked" and len(array) == len(label):
                    values[part] += list(array.view("<i2").T.astype(float))
        for part, columns in values.items():
            limit = 0.5 + NOISE * standard_error(labels[part])
            assert columns
            assert max(either_way(labels[part], one) for one in columns) <= limit


def test_an_unmasked_label_is_found_at_once(tmp_path, monkeypatch):
    def nothing(self, shape, dtype):
        return np.zeros(shape, dtype)

    tables = world_common(5_000, seed=3)
    federation = found(tmp_path, "world", strangers(tables, seed=3), rows=25, builder_rank=0.05)
    monkeypatch.setattr(Keystream, "elements", nothing)
    transcript = play_moments(federation, 2_400)
    label = label_of(federation)[:2_400]
    for name in federation.others:
        received = by_customer(transcript, name, 2_400)
        own = own_features(federation, name, 2_400)
        assert max(either_way(label, column) for column in received.T) == 1.0
        assert learned(np.hstack([own, received]), label) > 0.99
        assert learned(own, label) < 0.9
