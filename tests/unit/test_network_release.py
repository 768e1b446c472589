"""A network's release: the weights are the signed ones, and each refusal has its check's name."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from server.releases.registry import Registry, signed_verdict
from shared.challenger.compare import Pairs, compare
from shared.challenger.network import MAX_WEIGHTS, Network, digest_of
from shared.challenger.points import calibrate, points_of, span
from shared.challenger.shapley import Block
from shared.challenger.tensors import Weights, read_weights
from shared.challenger.verdict import Verdict
from shared.errors import DataError, ReleaseRefused, UsageError
from shared.manifest import Manifest
from shared.release import pack_release, read_release, unpack_release, verify_release
from shared.scorecard.calibration import fit_calibration
from shared.scorecard.scale import PRODUCT_SCALE
from tests import networks
from tests.networks import manifest, signed, weights
from tests.service.kit import NOW, Kit


@pytest.fixture
def kit(tmp_path):
    return Kit(tmp_path)


def refused(kit, release, now=NOW, newest=0, **options):
    with pytest.raises(ReleaseRefused) as caught:
        verify_release(release, kit.federation, now=now, newest=newest, **options)
    return caught.value.check


def test_a_network_is_read_as_it_was_written_by_either_way(kit):
    release = signed(kit, manifest(kit))
    verify_release(release, kit.federation, now=NOW, newest=0)
    packed = json.loads(json.dumps(pack_release(release)))
    assert unpack_release(packed) == release
    files = release.files()
    assert sorted(files) == ["manifest.json", "signatures.json", "weights.safetensors"]
    assert read_release(*files.values()) == release
    assert "card" not in packed["manifest"]
    assert release.manifest.name == "neural-0002"


def test_a_network_has_no_card_and_says_so(kit):
    with pytest.raises(UsageError, match="is a network"):
        _ = manifest(kit).card


def test_weights_that_were_not_signed_are_refused(kit):
    release = signed(kit, manifest(kit))
    raw = bytearray(release.weights)
    raw[-1] ^= 1
    for other in (b"", bytes(raw), weights(9).to_bytes(), b"\0" * (MAX_WEIGHTS + 1)):
        assert refused(kit, replace(release, weights=other)) == "weights"
    card = kit.release(1)
    assert refused(kit, replace(card, weights=release.weights)) == "weights"


def test_each_refusal_has_the_name_of_its_check(kit):
    good = manifest(kit)
    assert refused(kit, signed(kit, good), newest=2) == "counter"
    assert refused(kit, signed(kit, good, by=["bank", "bureau"])) == "quorum"
    assert refused(kit, signed(kit, good), now="2027-03-02T08:00:00Z") == "expiry"
    assert refused(kit, signed(kit, good), contract="0" * 64) == "contract"
    assert refused(kit, signed(kit, replace(good, federation="other"))) == "federation"
    forged = signed(kit, good)
    other = replace(good, evaluation={"auc": 0.99})
    assert refused(kit, replace(forged, manifest=other)) == "signature"


def break_network(kit, **changes):
    told = manifest(kit).to_mapping()
    told["network"] = {**told["network"], **changes}
    with pytest.raises(ReleaseRefused) as caught:
        Manifest.from_mapping(told)
    return caught.value


@pytest.mark.parametrize(
    "changes",
    [
        {"weights": "A" * 64},
        {"schema": 2},
        {"more": 1},
        {"rows": 0},
        {"rows": 1.5},
        {"parameters": 0},
        {"parameters": 10**9},
        {"width": 6},
        {"bad_rate": 1.5},
        {"layout": None},
        {"mean_points": 10_000},
        {"blocks": []},
        {"blocks": [{"holder": "a", "code": "A", "columns": [0, 1, 2, 3, 3]}]},
        {"calibration": None},
        {"contract": "0" * 64},
    ],
)
def test_a_malformed_network_is_refused_by_its_form(kit, changes):
    assert break_network(kit, **changes).check == "form"


@pytest.mark.parametrize(
    "changes", [{"kind": "scorecard"}, {"name": "scorecard-0002"}, {"kind": "other"}]
)
def test_kind_name_and_model_must_agree(kit, changes):
    told = {**manifest(kit).to_mapping(), **changes}
    with pytest.raises(ReleaseRefused) as caught:
        Manifest.from_mapping(told)
    assert caught.value.check == "form"


def test_weights_are_the_same_bytes_for_the_same_numbers_and_come_back(kit):
    held, network = weights(), networks.network(kit.manifest().contract)
    assert held.to_bytes() == weights().to_bytes()
    found = read_weights(held.to_bytes(), network)
    assert np.array_equal(found.weights, held.weights)
    assert np.array_equal(found.baseline, held.baseline)
    with pytest.raises(DataError, match="other weights"):
        read_weights(weights(4).to_bytes(), network)


def test_a_file_with_other_arrays_is_refused_although_it_was_signed(kit):
    network = networks.network(kit.manifest().contract)
    short = Weights(weights().weights[:-1], weights().baseline)
    claimed = replace(network, weights=digest_of(short.to_bytes()))
    with pytest.raises(DataError, match="not those of the network"):
        read_weights(short.to_bytes(), claimed)
    junk = b"\x08\0\0\0\0\0\0\0notjson!"
    with pytest.raises(DataError, match="safetensors format"):
        read_weights(junk, replace(network, weights=digest_of(junk)))
    with pytest.raises(DataError, match="finite"):
        Weights(np.array([np.inf]), np.zeros(1)).to_bytes()


def test_the_registry_keeps_the_weights_and_finds_a_changed_byte(kit):
    registry = Registry(kit.folder / "releases")
    kit.serve(1)
    entry = registry.take(signed(kit, manifest(kit)), kit.federation, NOW)
    assert (entry.name, entry.state) == ("neural-0002", "challenger")
    path = kit.folder / "releases/neural-0002/weights.safetensors"
    assert registry.verified(entry.name, kit.federation, NOW).weights == path.read_bytes()
    raw = bytearray(path.read_bytes())
    raw[-3] ^= 1
    path.write_bytes(raw)
    with pytest.raises(ReleaseRefused) as caught:
        registry.verified(entry.name, kit.federation, NOW)
    assert caught.value.check == "weights"
    path.unlink()
    with pytest.raises(ReleaseRefused) as caught:
        registry.verified(entry.name, kit.federation, NOW)
    assert caught.value.check == "form"


# What a promotion needs.


def compared(gain, seed=5, n=3000):
    """Return a comparison in which the challenger sees so much more than the champion."""
    rng = np.random.default_rng(seed)
    label = (rng.random(n) < 0.25).astype(np.int64)
    truth = label + rng.normal(size=n)
    old, new = truth + rng.normal(size=n), gain * truth + rng.normal(size=n)
    prob = [1 / (1 + np.exp(-score)) for score in (old, new)]
    return compare(Pairs.of_rows(label, *prob), np.random.default_rng(1), replicates=20)


def take_both(kit, evaluation=None):
    kit.serve(1)
    champion = kit.registry.book().champion.digest
    told = {} if evaluation is None else {"against": evaluation(champion)}
    draft = manifest(kit, evaluation={"auc": 0.79, **told})
    return champion, kit.registry.take(signed(kit, draft), kit.federation, NOW)


def promote(kit, name="neural-0002", verdict=None):
    return kit.registry.promote(name, kit.federation, NOW, "better", verdict)


def not_promoted(kit, match, **more):
    with pytest.raises(ReleaseRefused, match=match) as caught:
        promote(kit, **more)
    assert caught.value.check == "comparison"
    assert kit.registry.book().champion.name == "scorecard-0001"


def test_a_network_without_a_comparison_does_not_replace_a_card(kit):
    take_both(kit)
    not_promoted(kit, "was not compared with scorecard-0001")


def test_the_comparison_that_the_parties_signed_promotes_it_and_is_logged(kit):
    better = compared(1.5)
    take_both(kit, lambda digest: Verdict(digest, "", better).to_mapping())
    assert signed_verdict(kit.registry.verified("neural-0002", kit.federation, NOW).manifest)
    assert promote(kit).state == "champion"
    change = kit.registry.book().log[-1]
    assert change.reason.startswith("better; AUC +0.0")
    assert "on 3000 customers" in change.reason
    # The way back needs no comparison: it is what one takes when something is wrong.
    assert kit.registry.rollback(kit.federation, NOW, "wrong").name == "scorecard-0001"


def test_a_comparison_with_another_champion_or_of_another_release_does_not_count(kit):
    champion, entry = take_both(kit, lambda _: Verdict("e" * 64, "", compared(1.5)).to_mapping())
    not_promoted(kit, "another release than the one that serves")
    stranger = Verdict(champion, "f" * 64, compared(1.5))
    not_promoted(kit, "is of another release", verdict=stranger)
    fitting = Verdict(champion, entry.digest, compared(1.5))
    assert promote(kit, verdict=fitting).state == "champion"


def test_a_challenger_that_ranks_worse_beyond_chance_is_not_promoted(kit):
    worse = compared(0.5)
    assert worse.worse
    take_both(kit, lambda digest: Verdict(digest, "", worse).to_mapping())
    not_promoted(kit, "ranks worse")
    close = compared(0.97)
    assert not close.worse
    assert close.auc.difference.low < 0 < close.auc.difference.high
    champion, entry = (one.digest for one in kit.registry.book().entries.values())
    assert promote(kit, verdict=Verdict(champion, entry, close)).state == "champion"


def test_a_malformed_comparison_is_refused_by_name(kit):
    take_both(kit, lambda _: {"kind": "confide/comparison/1"})
    not_promoted(kit, "is not of kind")


def test_a_card_replaces_a_card_as_ever_and_a_first_network_needs_none(kit):
    kit.registry.take(signed(kit, manifest(kit, 1)), kit.federation, NOW)
    assert promote(kit, "neural-0001").state == "champion"
    kit.registry.take(kit.release(2), kit.federation, NOW)
    with pytest.raises(ReleaseRefused) as caught:
        promote(kit, "scorecard-0002")
    assert caught.value.check == "comparison"


# Points.


def test_points_of_a_network_mean_what_points_of_a_card_mean():
    rows = networks.inputs(6000, seed=8)
    label, log_odds = networks.labels(rows, seed=9), networks.model()(rows)
    points = points_of(log_odds, PRODUCT_SCALE)
    assert (np.diff(points[np.argsort(log_odds)]) <= 0).all()
    network = networks.network("c" * 64)
    prob = network.calibration.default_prob(points)
    assert abs(prob.mean() - label.mean()) < 0.02
    half = prob > np.median(prob)
    for part in (half, ~half):
        assert abs(prob[part].mean() - label[part].mean()) < 0.03
    doubled = points_of(np.array([0.0, -np.log(2.0)]), PRODUCT_SCALE)
    assert doubled.tolist() == [0, 50]


def test_points_stay_within_a_span_that_needs_no_weights():
    low, high = span(PRODUCT_SCALE)
    assert points_of(np.array([-1e9, 1e9]), PRODUCT_SCALE).tolist() == [high, low]
    assert (low, high) == (-721, 721)
    with pytest.raises(DataError, match="finite"):
        points_of(np.array([np.nan]), PRODUCT_SCALE)


def test_calibration_from_counts_is_that_from_rows():
    rows = networks.inputs(3000)
    label, points = networks.labels(rows), points_of(networks.model()(rows), PRODUCT_SCALE)
    at, where = np.unique(points, return_inverse=True)
    bads = np.bincount(where, weights=label).astype(np.int64)
    goods = np.bincount(where).astype(np.int64) - bads
    assert calibrate(at, goods, bads) == fit_calibration(points, label)
    with pytest.raises(DataError):
        calibrate(at, goods, bads[:-1])


def test_every_finding_of_a_network_is_told_at_once():
    whole = networks.network("c" * 64)
    told = {
        **whole.to_mapping(),
        "rows": 0,
        "bad_rate": 2.0,
        "blocks": [{"holder": "a", "code": "A", "columns": [0]}],
    }
    with pytest.raises(DataError) as caught:
        Network.from_mapping(told, "network")
    assert all(word in str(caught.value) for word in ("rows", "bad_rate", "blocks"))
    assert whole.codes("anybody") == {"UTILISATION", "REPAYMENT", "ENQUIRIES"}
    assert Block("bank", "REPAYMENT", (2,)) in whole.blocks
