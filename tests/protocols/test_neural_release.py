"""The network's release at the end of a run: what it says, who signs it, and who refuses it."""

from __future__ import annotations

import importlib.util
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from clients.card.parts import encode
from clients.neural import again as neural_again
from clients.neural import release as neural_release
from clients.neural.champion import champions, settle
from clients.neural.judging import check_best, judged
from clients.party import Party
from clients.releases.kept import load_release, release_names
from clients.store import Store
from server.coordinator import Coordinator
from server.neural import release as coordinating
from server.neural.verdict import read_verdict
from server.releases.registry import Registry, signed_verdict
from shared import metrics, trueness
from shared.arrays import pack_array, unpack_array
from shared.challenger.compare import Pairs, delong
from shared.challenger.points import calibrate, points_of
from shared.challenger.tensors import read_weights
from shared.errors import BadPeer, Refused, ReleaseRefused, RunFailed
from shared.jobs import Run
from shared.release import unpack_release, verify_release
from tests import whole_runs
from tests.neural_kit import BANKS, build, folder_of, kept, train
from tests.whole_runs import assert_nothing_half_written, change, edit

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None,
    reason="torch is not installed: pip install 'confide[neural]'",
)
FOUR = ("east", *BANKS)


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """Three banks with a scorecard and a network: the file, and the network's outcome."""
    path = build(tmp_path_factory.mktemp("both"))
    whole_runs.train(path, "card")
    outcome, frames = train(path, "net")
    return SimpleNamespace(path=path, outcome=outcome, frames=frames)


@pytest.fixture
def copied(both, tmp_path):
    shutil.copytree(both.path.parent, tmp_path, dirs_exist_ok=True)
    return tmp_path / both.path.name


def parties(path, banks=BANKS):
    return {bank: Party.load(path, bank) for bank in banks}


def points_by_both(path, table, run="net"):
    """Return label, the card's points and the network's of all banks' customers of one table."""
    net = importlib.import_module("shared.neural.net")
    rows = []
    for bank, party in parties(path).items():
        columns = getattr(party, table)
        card = champions(party)[0]
        at = np.arange(len(columns.ids))
        model = neural_release.kept(
            party, Run(run, 1, None, ""), kept(path, bank, run)[1]["digest"]
        )
        odds = net.log_odds(model.layout, model.weights)(model.encoding.apply(columns.values))
        scale = load_release(party.releases, kind="neural").manifest.model.scale
        own = card.part.total(encode(card.part.plans, columns, at))
        rows.append(np.column_stack([columns.label, own, points_of(odds, scale)]).astype(int))
    return np.concatenate(rows).T


def test_every_bank_keeps_the_same_signed_network_and_the_registry_takes_it(both):
    told = both.outcome["release"]
    assert told["name"] == "neural-0002"  # the card is the first: counters are one sequence
    whole = unpack_release(told["release"])
    party = Party.load(both.path, BANKS[0])
    verify_release(whole, party.federation, now=party.store.now(), newest=1)
    assert set(whole.signatures) == set(BANKS)
    assert whole.manifest.parent == load_release(party.releases, "scorecard-0001").manifest.digest()
    for bank in BANKS:
        own = load_release(both.path.parent / bank / "releases", "neural-0002")
        assert own == whole
        assert (both.path.parent / bank / "feeds/neural-0002.feed").exists()
    assert_nothing_half_written(both.path.parent)


def test_calibration_and_metrics_are_those_of_all_customers_in_one_place(both):
    manifest = unpack_release(both.outcome["release"]["release"]).manifest
    label, _, points = points_by_both(both.path, "train")
    at = np.unique(points)
    goods, bads = (np.array([np.sum((points == p) & (label == k)) for p in at]) for k in (0, 1))
    assert manifest.model.calibration == calibrate(at, goods, bads)
    assert (manifest.model.rows, manifest.model.bad_rate) == (len(label), label.mean())
    label, _, points = points_by_both(both.path, "test")
    assert manifest.evaluation["n"] == len(label)
    assert manifest.evaluation["auc"] == pytest.approx(metrics.roc_auc(label, -points), abs=1e-12)
    prob = manifest.model.calibration.default_prob(points)
    assert manifest.evaluation["brier"] == pytest.approx(trueness.brier(label, prob), abs=1e-12)


def test_the_comparison_is_paired_over_the_same_held_out_customers(both):
    manifest = unpack_release(both.outcome["release"]["release"]).manifest
    verdict = signed_verdict(manifest)
    assert verdict.champion == manifest.parent
    label, old, new = points_by_both(both.path, "test")
    wanted, _ = delong(Pairs.of_rows(label, -old, -new))
    found = verdict.comparison
    assert (found.customers, found.bads) == (len(label), label.sum())
    for mine, theirs in (
        (found.auc.champion, wanted.champion),
        (found.auc.challenger, wanted.challenger),
        (found.auc.difference.low, wanted.difference.low),
        (found.auc.difference.high, wanted.difference.high),
    ):
        assert mine == pytest.approx(theirs, abs=0.01)  # ties within a band, of 250 customers
    # The control: side by side the interval would be wider.
    apart = [metrics.auc_interval(label, -one, 0.95) for one in (old, new)]
    width = np.hypot(*(one.high - one.low for one in apart))
    assert found.auc.difference.high - found.auc.difference.low < width


def test_reasons_are_measured_against_the_mean_input_of_all_customers(both):
    whole = unpack_release(both.outcome["release"]["release"])
    inputs = []
    for party in parties(both.path).values():
        digest = kept(both.path, party.name, "net")[1]["digest"]
        model = neural_release.kept(party, Run("net", 1, None, ""), digest)
        inputs.append(model.encoding.apply(party.train.values))
    held = read_weights(whole.weights, whole.manifest.model)
    assert np.abs(held.baseline - np.concatenate(inputs).mean(axis=0)).max() < 1e-9
    assert np.array_equal(held.weights, kept(both.path, BANKS[0], "net")[0])


def test_what_leaves_is_in_the_ledger_and_what_a_party_keeps_for_itself_is_not(both):
    for bank, party in parties(both.path).items():
        lines = [line.entry for line in party.store.ledger() if line.entry.run == "net"]
        after = [line.phase for line in lines][-6 if party.is_builder else -5 :]
        figures = ["neural_release"] if party.is_builder else []
        assert after == [
            "neural_mean",
            "neural_points",
            "neural_pairs",
            *figures,
            "release",
            "release",
        ]
        builder = party.federation.builder
        opened = {line.phase: line.recipient for line in lines}
        assert opened["neural_points"] == opened["neural_pairs"] == builder
        assert len({line.binding for line in lines}) == len(lines)
        manifest = load_release(party.releases).manifest
        assert manifest.parties[bank].ledger_lines == len(party.store.ledger()) - 2
    sent = b"".join(frame.payload for frame in both.frames)
    assert kept(both.path, BANKS[0], "net")[0].tobytes()[:64] not in sent
    told = json.dumps(both.outcome["release"])
    assert "own_test" not in told
    assert "held_out_loss" not in told


@pytest.mark.slow
def test_without_a_card_that_all_parties_signed_nothing_is_compared_and_the_run_says_so(
    copied, tmp_path
):
    shutil.rmtree(copied.parent / "south" / "releases" / "scorecard-0001")
    outcome, _ = train(copied, "later")
    told = outcome["release"]
    assert told["name"] == "neural-0003"
    assert "against" not in told["release"]["manifest"]["evaluation"]
    assert "no scorecard of this contract" in told["not_compared"]
    champion = "ab" * 32
    outcome, _ = train(copied, "last", champion=champion)
    assert "the release that serves" in outcome["release"]["not_compared"]


@pytest.mark.parametrize(
    ("wanted", "found", "why"),
    [
        ("", "b", ""),
        ("c", "c", ""),
        ("a", "", "south cannot score by a, the release that serves"),
        ("z", "", "north, south cannot score by z, the release that serves"),
    ],
)
def test_the_one_that_serves_is_compared_with_else_the_newest_that_all_hold(wanted, found, why):
    held = {"north": ["a", "b", "c"], "south": ["c", "b"]}
    assert settle(held, wanted, "north") == (found, why)


def test_whoever_resumes_gets_the_very_release_that_was_signed(copied):
    before = {bank: len(Store(copied.parent / bank).journal.releases) for bank in BANKS}
    lost = copied.parent / "west"
    shutil.rmtree(lost / "releases" / "neural-0002")
    (lost / "feeds" / "neural-0002.feed").unlink()
    outcome, _ = train(copied, "net", resume=True)
    assert outcome["release"]["name"] == "neural-0002"
    whole = unpack_release(outcome["release"]["release"])
    for bank in BANKS:
        home = copied.parent / bank
        assert release_names(home / "releases") == ["scorecard-0001", "neural-0002"]
        assert load_release(home / "releases", "neural-0002") == whole
        assert len(Store(home).journal.releases) == before[bank]
    assert (lost / "feeds" / "neural-0002.feed").exists()


@pytest.mark.slow
def test_a_release_that_was_not_completed_is_signed_again_for_the_same_network_only(copied):
    for bank in BANKS:
        shutil.rmtree(copied.parent / bank / "releases" / "neural-0002")
    outcome, _ = train(copied, "net", resume=True)
    assert outcome["release"]["name"] == "neural-0003"
    whole = unpack_release(outcome["release"]["release"])
    assert whole.manifest.model.weights == both_weights(copied)
    for bank in BANKS:
        shutil.rmtree(copied.parent / bank / "releases" / "neural-0003")
    edit(
        copied.parent / "south" / "test.parquet",
        lambda table: {name: values[1:] for name, values in table.items()},
    )
    edit(
        copied.parent / "south" / "train.parquet",
        lambda table: {name: values[1:] for name, values in table.items()},
    )
    with pytest.raises((RunFailed, ReleaseRefused), match="was about to sign another network"):
        train(copied, "net", resume=True)


def both_weights(path):
    value = json.loads((path.parent / "west/runs/net/neural_release.json").read_text())
    return value["network"]["weights"]


def test_forged_weights_at_a_party_are_refused_by_name(copied):
    file = copied.parent / "south" / "runs" / "net" / "neural_weights.npy"
    forged = np.load(file) + 1e-9
    np.save(file, forged)
    with pytest.raises(RunFailed, match="south keeps other weights") as caught:
        train(copied, "net", resume=True)
    assert caught.value.party == "south"


@pytest.mark.slow
def test_a_party_that_is_told_another_mean_input_does_not_sign(both, tmp_path, monkeypatch):
    path = copy_of(both, tmp_path)

    class Lying:
        def __init__(self, channel):
            self._channel = channel

        def __getattr__(self, name):
            return getattr(self._channel, name)

        def send_all(self, to, tag, payload):
            if tag != "release/mean":
                self._channel.send_all(to, tag, payload)
                return
            told = unpack_array(payload, np.float64, (None,), cap=1 << 20).copy()
            told[0] += 0.001
            for name in to:
                self._channel.send(name, tag, payload if name != "west" else pack_array(told))

    add = coordinating._add
    monkeypatch.setattr(coordinating, "_add", lambda channel, *rest: add(Lying(channel), *rest))
    with pytest.raises(RunFailed, match="its weights are not those") as caught:
        train(path, "lied")
    assert caught.value.party == "west"
    assert not any("neural-0003" in names for names in releases(path).values())


def copy_of(both, tmp_path):
    shutil.copytree(both.path.parent, tmp_path, dirs_exist_ok=True)
    return tmp_path / both.path.name


def releases(path):
    return {bank: release_names(path.parent / bank / "releases") for bank in BANKS}


@pytest.mark.parametrize(
    ("mean", "customers"),
    [
        ([0.5, np.nan], 100),
        ([0.5, 1.5], 100),
        ([0.5, 0.0], 100),  # the own customers alone make it more
        ([0.99, 0.5], 100),
        ([0.5, 0.5], 10),
        ([0.5, 0.5], 5),
        ([0.5, 0.5], 100.5),
    ],
)
def test_a_mean_input_that_cannot_be_the_federations_is_refused(mean, customers):
    own, n_own = np.array([0.5, 0.5]), 10
    neural_release.check_mean_input(np.array([0.5, 0.06]), 100, own, n_own)  # the control
    with pytest.raises(BadPeer, match="mean input"):
        neural_release.check_mean_input(np.array(mean), customers, own, n_own)


def test_a_verdict_counts_for_its_model_its_round_and_its_run_alone(copied):
    party = Party.load(copied, Coordinator.load(copied, "x").federation.builder)
    run = Run("other", 1, party.federation, party.contract.digest())
    reply = judged(party, run, 3, "a" * 64, "better", 200)
    assert read_verdict(run, 3, "a" * 64, reply) == "better"
    for number, model, changed in (
        (3, "b" * 64, {}),
        (2, "a" * 64, {}),
        (3, "a" * 64, {"verdict": "fair"}),
        (3, "a" * 64, {"signature": "00"}),
        (3, "a" * 64, {"key": Party.load(copied, "west").identity.public_key.hex()}),
    ):
        with pytest.raises(BadPeer):
            read_verdict(run, number, model, reply | changed)
    with pytest.raises(BadPeer, match="not signed"):
        read_verdict(run, 3, "a" * 64, {"verdict": "harm"})
    with pytest.raises(Refused, match="none of those"):
        read_verdict(run, 3, "a" * 64, {"verdict": "superb"})
    assert read_verdict(run, 3, "a" * 64, {"verdict": "unchecked"}) == "unchecked"


def test_the_builder_releases_only_the_model_that_it_found_best(copied):
    party = Party.load(copied, Coordinator.load(copied, "x").federation.builder)
    run = Run("other", 1, party.federation, party.contract.digest())
    check_best(party, run, "c" * 64)  # no round was judged
    judged(party, run, 1, "a" * 64, "better", 200)
    judged(party, run, 2, "b" * 64, "better", 200)
    check_best(party, run, "b" * 64)
    judged(party, run, 2, "c" * 64, "fair", 200)  # the round was trained again
    check_best(party, run, "a" * 64)
    for model in ("b", "c"):
        with pytest.raises(ReleaseRefused) as caught:
            check_best(party, run, model * 64)
        assert caught.value.check == "network"


@pytest.mark.slow
def test_a_network_that_no_round_made_better_is_not_released(tmp_path, monkeypatch):
    path = build(tmp_path, customers=1600, rounds=4)
    local = importlib.import_module("shared.neural.train")
    monkeypatch.setattr(
        local, "train", lambda layout, weights, inputs, label, recipe: (weights - 3.0, 0.5)
    )
    outcome, _ = train(path)
    assert outcome["best_round"] == 0
    assert outcome["release"] == {"why": "no round made the network better than its first weights"}
    assert not any(releases(path).values())


@pytest.mark.slow
def test_survivors_release_where_the_quorum_lets_them_and_else_say_why_not(tmp_path):
    path = build(tmp_path, banks=FOUR, customers=1600, min_parties=3, rounds=1, quorum=4)
    lost = {"dies": lambda party, kind: (party, kind) == ("south", "train.neural")}
    outcome, _ = train(path, **lost)
    assert "3 parties are left to sign, and the quorum is 4" in outcome["release"]["why"]
    change(path, quorum=3, seed=2)
    outcome, _ = train(path, "second", **lost)
    whole = unpack_release(outcome["release"]["release"])
    assert set(whole.signatures) == {"east", "north", "west"}
    party = Party.load(path, "east")
    Registry(path.parent / "releases").take(whole, party.federation, party.store.now())
    assert not release_names(path.parent / "south" / "releases")
    assert folder_of(path).is_dir()


def test_a_release_that_a_party_never_signed_is_not_taken(copied):
    party = Party.load(copied, "west")
    run = Run("net", 1, party.federation, party.contract.digest())
    whole = load_release(party.releases, "neural-0002")
    (copied.parent / "west" / "journal.jsonl").unlink()
    with pytest.raises(ReleaseRefused) as caught:
        neural_again.take(party, run, whole, None, None, [], np.zeros((0, 1)))
    assert caught.value.check == "signature"


def test_a_feed_is_made_again_from_the_release_alone(copied, confide):
    home = copied.parent / "west"
    before = (home / "feeds" / "neural-0002.feed").read_bytes().split(b"\n")
    shutil.rmtree(home / "runs")
    status, out, err = confide(
        "feed", "publish", "-f", copied, "-p", "west", "--release", "neural-0002"
    )
    assert status == 0, err
    assert "20 customers of neural-0002" in out
    assert (home / "feeds" / "neural-0002.feed").read_bytes().split(b"\n")[1:] == before[1:]
    status, _, err = confide(
        "feed", "publish", "-f", copied, "-p", "west", "--release", "neural-0009"
    )
    assert status == 2
    assert "neural-0002" in err
