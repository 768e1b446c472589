"""A network released by three banks: each signs the weights that it holds, and scores its own."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from clients.neural import challenger
from clients.neural.challenger import Trained, check_network, scored
from clients.party import Party
from clients.releases.kept import load_release, release_names
from server.releases.registry import Registry
from shared.challenger.shapley import shapley
from shared.config import parse_federation
from shared.errors import ReleaseRefused
from shared.feed import open_feed, pseudonyms
from shared.jobs import Run
from shared.release import unpack_release, verify_release
from tests import networks
from tests.support import COORDINATOR, run_parties
from tests.whole_runs import HOLDERS, build


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return build(tmp_path_factory.mktemp("network"), customers=300)


@pytest.fixture
def path(files, tmp_path):
    shutil.copytree(files.parent, tmp_path, dirs_exist_ok=True)
    return tmp_path / files.name


def trained(party, held=None, *, calibrated=None):
    """Return the network as a party holds it; only the builder has the calibration."""
    held = held or networks.weights()
    calibrated = party.is_builder if calibrated is None else calibrated
    whole = networks.network(party.contract.digest(), held, calibrated=calibrated)
    evaluation = {"auc": 0.8} if party.is_builder else {}
    return Trained(whole, held, networks.model(held), evaluation)


def own(party):
    """Return ids and inputs of a party's own customers."""
    ids = [f"{party.name}-{number}" for number in range(40)]
    return ids, networks.inputs(40, seed=len(party.name))


def play(path, run="net", **held):
    """Run the phase at all parties; `held` replaces what a party brings."""
    text = path.read_text()
    federation, _ = parse_federation(text, str(path), {})

    def role(name):
        party = Party.load(path, name)
        session_run = Run(run, 1, federation, party.contract.digest())

        def at_party(channel):
            party.store.record(
                run,
                phase="neural",
                what="update",
                unit="all own customers",
                recipient="all",
                rows=300,
                values=24,
                binding="0" * 64,
            )
            mine = held.get(name) or trained(party)
            return challenger.release(party, channel, session_run, mine, *own(party))

        return at_party

    return run_parties(
        {**{name: role(name) for name in HOLDERS}, COORDINATOR: lambda channel: None},
        deadline=20.0,
    )


def test_every_party_keeps_the_same_signed_network_with_its_weights(path):
    found = play(path)
    assert not found.errors
    files = {
        name: (path.parent / party / "releases/neural-0001" / name).read_bytes()
        for party in HOLDERS
        for name in ("manifest.json", "signatures.json", "weights.safetensors")
    }
    for party in HOLDERS:
        for name, content in files.items():
            kept = path.parent / party / "releases/neural-0001" / name
            assert kept.read_bytes() == content
    party = Party.load(path, "bank")
    whole = unpack_release(json.loads(json.dumps(found.value("bank")["release"])))
    verify_release(whole, party.federation, now=party.store.now(), newest=0)
    assert whole.weights == networks.weights().to_bytes()
    assert set(whole.signatures) == set(HOLDERS)
    entry = Registry(path.parent / "releases").take(whole, party.federation, party.store.now())
    assert entry.name == "neural-0001"
    ledger = party.store.ledger()
    assert ledger[-2].entry.what == "weights of the network and its mean input"
    assert whole.manifest.parties["bank"].ledger_lines == len(ledger) - 2


def test_no_weight_leaves_a_party_in_this_phase(path):
    found = play(path)
    assert not found.errors
    raw = networks.weights().weights.tobytes()
    assert all(raw[:64] not in frame.payload for frame in found.frames)
    assert max(len(frame.payload) for frame in found.frames) < 40_000


def test_the_feed_has_each_own_customers_points_and_exact_reasons(path):
    assert not play(path).errors
    party = Party.load(path, "payments")
    release = load_release(party.releases).manifest
    raw = (path.parent / "payments/feeds/neural-0001.feed").read_bytes()
    feed = open_feed(raw, party.federation, now=party.store.now(), release=release)
    ids, rows = own(party)
    key = bytes.fromhex((path.parent / "payments/pseudonym.key").read_text())
    held = networks.weights()
    values = -release.model.scale.factor * shapley(
        networks.model(held), rows, held.baseline, release.model.blocks
    )
    log_odds = networks.model(held)(rows)
    for name, line, row in zip(pseudonyms(key, ids), values, log_odds, strict=True):
        found = feed.find(name)
        assert found.points == round(-release.model.scale.factor * row)
        assert found.points - release.model.mean_points == pytest.approx(line.sum(), abs=1.0)
        costs = dict(found.reasons)
        for block, value in zip(release.model.blocks, line, strict=True):
            assert costs.get(block.code, 0) == max(0, int(np.floor(0.5 - value)))


def test_a_party_signs_no_other_weights_than_its_own(path):
    party = Party.load(path, "bureau")
    other = trained(party, networks.weights(7))
    found = play(path, bureau=other)
    assert isinstance(found.results["bureau"], ReleaseRefused)
    assert found.results["bureau"].check == "weights"
    assert set(found.errors) == set(HOLDERS)
    assert not any(release_names(path.parent / name / "releases") for name in HOLDERS)


@pytest.mark.parametrize(
    "change",
    [
        {"layout": {"width": 5, "hidden": 40}},
        {"encoding": {"kind": "other"}},
        {"blocks": (*networks.BLOCKS[:1], replace(networks.BLOCKS[1], code="OTHER"))},
        {"mean_points": 500},
    ],
)
def test_a_network_that_differs_in_anything_a_party_knows_is_refused(path, change):
    party = Party.load(path, "bureau")
    mine = trained(party).network
    builder = trained(Party.load(path, "bank"))

    class Draft:
        model = builder.network

    check_network(Draft, mine)  # what only the builder counted may differ
    Draft.model = replace(builder.network, **change)
    with pytest.raises(ReleaseRefused) as caught:
        check_network(Draft, mine)
    assert caught.value.check == "network"


def test_a_network_that_is_not_calibrated_is_not_released(path):
    bank = trained(Party.load(path, "bank"), calibrated=False)
    found = play(path, bank=bank)
    assert "not calibrated" in str(found.results["bank"])


def test_counters_of_cards_and_networks_are_one_sequence(path):
    assert not play(path).errors
    assert not play(path, "again").errors
    folder = path.parent / "bank" / "releases"
    assert release_names(folder) == ["neural-0001", "neural-0002"]
    first, second = (load_release(folder, name).manifest for name in release_names(folder))
    assert second.parent == first.digest()
    assert release_names(folder, "scorecard") == []


def test_rows_are_refused_where_a_customer_stands_twice(path):
    party = Party.load(path, "bank")
    ids, rows = own(party)
    with pytest.raises(Exception, match="twice"):
        list(scored(trained(party), [ids[0], *ids[:-1]], rows, b"k" * 32))
