"""Whole trainings in threads: what they leave behind, what they refuse, and who is named."""

from __future__ import annotations

import json

import numpy as np
import pytest

from clients.card.builder import evaluation
from clients.card.parts import Part, plans_from_value
from clients.store import Store
from shared.errors import BadPeer, ConfigError, PartyLost, RunFailed
from shared.scorecard.card import Card
from tests import whole_runs
from tests.whole_runs import HOLDERS, assert_nothing_half_written, build, cards, change, train


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A federation after one training: its folder and the outcome."""
    path = build(tmp_path_factory.mktemp("trained"))
    return path, train(path)


@pytest.fixture
def federation(tmp_path):
    return build(tmp_path)


def ledger(folder, party):
    return [line.entry for line in Store(folder / party).ledger()]


def opened(folder, party):
    return {entry.what for entry in ledger(folder, party)}


def test_a_run_ends_with_a_calibrated_card_at_the_builder_and_a_part_at_every_holder(trained):
    path, outcome = trained
    (where,) = cards(path.parent)
    assert where.parent.parent.parent.name == "bank"
    card = Card.from_mapping(json.loads(where.read_text()), "card.json")
    assert card.calibration is not None
    assert card.contract == outcome["contract"]
    assert card.rows == outcome["align"]["bank"]["n_train"]
    assert {line.owner for line in card.lines} == set(HOLDERS)
    for party in HOLDERS:
        part = json.loads((path.parent / party / "runs/first/part.json").read_text())
        mine = [list(line.points) for line in card.lines if line.owner == party]
        assert [block["points"] for block in part["blocks"]] == mine
    assert outcome["score"]["bank"]["auc"] > 0.6
    assert set(outcome["score"]["bank"]["alone"]) == set(HOLDERS)
    assert_nothing_half_written(path.parent)


def test_everything_that_was_opened_stands_in_the_ledger_of_who_opened_it(trained):
    path, outcome = trained
    n_train, n_test = (outcome["align"]["bank"][key] for key in ("n_train", "n_test"))
    for party in HOLDERS:
        lines = {entry.what: entry for entry in ledger(path.parent, party)}
        assert set(lines) == {
            "size of own set",
            "who is common",
            "moments",
            "sum of all parties' points",
            "good and bad by bin of own points",
            "own lines of the card",
            "score feed",
        }
        assert lines["who is common"].rows == n_train + n_test
        assert lines["moments"].rows == n_train
        assert lines["moments"].values == outcome["moments"][party]["width"] ** 2
        assert lines["sum of all parties' points"].rows == n_train + n_test
        assert lines["moments"].recipient == "bank"


def test_edges_stay_with_their_holder(trained):
    path, _ = trained
    held = (path.parent / "payments/runs/first/plans.json").read_text()
    assert '"edges"' in held
    builders = [file.read_text() for file in (path.parent / "bank/runs/first").glob("*.json")]
    assert not any('"WALLET_LOWEST"' in text and '"edges"' in text for text in builders)


def test_a_reply_tells_the_coordinator_no_row_and_no_point(trained):
    _, outcome = trained
    for phase in ("join", "align", "moments"):
        for reply in outcome[phase].values():
            assert not any(isinstance(value, list) and len(value) > 10 for value in reply.values())


def test_the_same_data_give_the_same_card(trained):
    path, outcome = trained
    again = train(path, "again")
    assert again["moments"]["bank"]["card"] == outcome["moments"]["bank"]["card"]
    for key in ("auc", "ks", "alone", "calibration_slope", "auc_interval", "ks_interval"):
        assert again["score"]["bank"][key] == outcome["score"]["bank"][key]


@pytest.mark.slow
def test_other_data_give_another_card(trained, tmp_path):
    _, outcome = trained
    other = train(build(tmp_path, seed=2))
    assert other["moments"]["bank"]["card"] != outcome["moments"]["bank"]["card"]


@pytest.mark.slow
def test_a_sample_over_the_cap_is_counted_and_every_customer_is_scored(tmp_path):
    path = build(tmp_path, customers=3200, parties=("bank", "bureau", "payments"), sample_cap=1000)
    outcome = train(path)
    n_train, n_test = (outcome["align"]["bank"][key] for key in ("n_train", "n_test"))
    assert n_train > 1000
    lines = {entry.what: entry for entry in ledger(tmp_path, "payments")}
    assert lines["moments"].rows == 1000
    assert lines["sum of all parties' points"].rows == n_train + n_test
    counts = np.load(tmp_path / "bank/runs/first/moments.npy")
    assert np.diag(counts).max() <= 1000


@pytest.mark.slow
def test_other_bins_after_a_first_run_need_the_consent_of_every_party(federation):
    folder = federation.parent
    train(federation)
    change(federation, thresholds=3)
    with pytest.raises(RunFailed, match="differences of the two") as caught:
        train(federation, "second")
    assert (caught.value.reported, caught.value.exit_status) == ("refused", 4)
    assert len(cards(folder)) == 1
    for party in HOLDERS:
        runs = [entry.run for entry in ledger(folder, party) if entry.what == "moments"]
        assert runs == ["first"]
    for party in HOLDERS[1:]:
        change(folder / party / "party.toml", further_moments="accept")
    with pytest.raises(RunFailed) as caught:
        train(federation, "third")
    assert caught.value.party == "bank"
    change(folder / "bank" / "party.toml", further_moments="accept")
    train(federation, "fourth")
    assert len(cards(folder)) == 2


def test_two_parties_are_refused_before_anything_is_exchanged(tmp_path):
    path = build(tmp_path, parties=("bank", "bureau"))
    with pytest.raises(RunFailed, match="with two holders the builder bank would see") as caught:
        train(path)
    assert caught.value.exit_status == 4
    assert not list(tmp_path.rglob("ledger.jsonl"))
    assert not list(tmp_path.rglob("journal.jsonl"))


def test_two_parties_that_accept_it_train_and_the_ledger_says_what_was_opened(tmp_path):
    path = build(tmp_path, parties=("bank", "bureau"), two_party_scores="accept")
    train(path)
    line = {entry.what: entry for entry in ledger(tmp_path, "bureau")}["own points, openly"]
    assert (line.unit, line.recipient) == ("customer", "bank")
    assert "sum of all parties' points" not in opened(tmp_path, "bureau")
    assert len(cards(tmp_path)) == 1


def test_a_floor_that_the_test_customers_cannot_keep_costs_only_the_holders_alone(tmp_path):
    path = build(tmp_path, customers=300)
    outcome = train(path)
    assert outcome["align"]["bank"]["n_test"] < 4 * whole_runs.LIGHT["rows"]
    assert list(outcome["score"]["bank"]["alone"]) == ["bank"]


def test_too_few_bad_customers_to_evaluate_on_cost_only_the_holders_alone(federation):
    keep = 14  # one under the floor

    def pardon(columns):
        bad = np.flatnonzero(columns["DEFAULT"] == 1)
        kept = np.ones(len(columns["ID"]), dtype=bool)
        kept[bad[keep:]] = False
        return {name: values[kept] for name, values in columns.items()}

    whole_runs.edit(federation.parent / "bank" / "test.parquet", pardon)
    outcome = train(federation)
    assert outcome["align"]["bank"]["n_test"] >= 4 * whole_runs.LIGHT["rows"]
    assert outcome["align"]["bank"]["both_classes"] is False
    assert list(outcome["score"]["bank"]["alone"]) == ["bank"]


@pytest.mark.parametrize("table", ["train", "test"])
def test_common_customers_of_one_class_end_the_run_before_a_table_is_opened(federation, table):
    folder = federation.parent
    common = set.intersection(
        *(set(whole_runs.column(folder / party / f"{table}.parquet", "ID")) for party in HOLDERS)
    )

    def pardon(columns):
        columns["DEFAULT"] = np.where(np.isin(columns["ID"], list(common)), 0, columns["DEFAULT"])
        columns["DEFAULT"][~np.isin(columns["ID"], list(common))] = 1
        return columns

    whole_runs.edit(folder / "bank" / f"{table}.parquet", pardon)
    with pytest.raises(RunFailed, match=f"{table}.parquet: the common .* one class") as caught:
        train(federation)
    assert (caught.value.party, caught.value.exit_status) == ("bank", 1)
    assert not any("moments" in opened(folder, party) for party in HOLDERS)


# A party that dies, errs, or falls silent.

PHASES = {"join": "query.join", "align": "query.align"}
PHASES |= {"moments": "train.moments", "score": "evaluate.score", "release": "query.release"}


@pytest.mark.parametrize(
    ("victim", "phase"),
    [
        ("bank", "moments"),
        *(
            pytest.param(victim, phase, marks=pytest.mark.slow)
            for victim in ("bank", "payments")
            for phase in PHASES
            if (victim, phase) != ("bank", "moments")
        ),
    ],
)
def test_a_party_that_dies_in_a_phase_is_named_and_a_new_run_works(federation, phase, victim):
    def dies(party, kind):
        return party == victim and kind == PHASES[phase]

    with pytest.raises(PartyLost, match="its process died") as caught:
        train(federation, dies=dies)
    assert (caught.value.party, caught.value.exit_status) == (victim, 3)
    assert len(cards(federation.parent)) == (phase == "release")
    assert not list(federation.parent.glob("*/releases/*"))
    assert_nothing_half_written(federation.parent)
    train(federation, "second")
    assert len(cards(federation.parent)) == 1 + (phase == "release")
    assert len(list(federation.parent.glob("*/releases/*"))) == len(HOLDERS)


@pytest.mark.parametrize(
    ("tag", "phase"),
    [
        pytest.param("align/list/bank", "align", marks=pytest.mark.slow),
        pytest.param("toss/reveal", "moments", marks=pytest.mark.slow),
        pytest.param("products/", "moments", marks=pytest.mark.slow),
        pytest.param("score/part", "score", marks=pytest.mark.slow),
        pytest.param("sum/", "score", marks=pytest.mark.slow),
    ],
)
def test_a_party_that_falls_silent_inside_a_phase_is_lost_within_its_deadline(
    federation, monkeypatch, tag, phase
):
    monkeypatch.setattr("server.exchange._GRACE_S", 10.0)
    change(federation, deadline_s=5)  # the phases before must not miss it on a busy machine
    victim, heard = "bank", []

    def tamper(frame):
        if frame.sender == victim and f"/{phase}/" in frame.tag and tag in frame.tag:
            heard.append(frame.tag)
        return None if heard and frame.sender == victim else frame

    with pytest.raises(PartyLost) as caught:
        train(federation, tamper=tamper)
    assert heard
    assert "no answer within 5 s" in str(caught.value)
    assert not cards(federation.parent)
    assert_nothing_half_written(federation.parent)


@pytest.mark.slow
def test_who_does_not_even_answer_the_coordinator_is_named_and_not_who_waited_for_it(
    federation, monkeypatch
):
    monkeypatch.setattr("server.exchange._GRACE_S", 3.0)
    change(federation, deadline_s=2)
    stuck = whole_runs.threading.Event()

    def dies(party, kind):
        if party == "payments" and kind == "query.align":
            stuck.wait(20)
        return False

    try:
        with pytest.raises(PartyLost, match="does not answer") as caught:
            train(federation, dies=dies)
    finally:
        stuck.set()
    assert caught.value.party == "payments"


def test_an_unexpected_error_travels_by_the_name_of_its_class_only(federation, capfd):
    def tamper(frame):
        if frame.sender == "payments" and "toss/commit" in frame.tag:
            raise ZeroDivisionError("SECRET ROW")
        return frame

    with pytest.raises(RunFailed, match="unexpected ZeroDivisionError") as caught:
        train(federation, tamper=tamper)
    assert (caught.value.party, caught.value.exit_status) == ("payments", 5)
    assert "SECRET" not in str(caught.value)
    assert "SECRET" in capfd.readouterr().err  # in the party's own log
    assert not cards(federation.parent)


def test_a_changed_envelope_is_laid_at_its_senders_door(federation):
    def tamper(frame):
        if frame.sender == "bureau" and frame.recipient == "bank" and "toss/reveal" in frame.tag:
            payload = bytearray(frame.payload)
            payload[-1] ^= 1
            return type(frame)(frame.sender, frame.recipient, frame.tag, bytes(payload))
        return frame

    with pytest.raises(RunFailed, match="bureau") as caught:
        train(federation, tamper=tamper)
    assert (caught.value.reported, caught.value.exit_status) == ("bad-peer", 4)


# A party's part of the card.


@pytest.mark.parametrize(
    "value",
    [None, 7, {}, [], [[1, 2]], "points", "shorter", "too many points", "text", "ragged", "huge"],
)
def test_points_that_do_not_fit_the_own_bins_are_refused_by_the_senders_name(trained, value):
    path, _ = trained
    kept = json.loads((path.parent / "payments/runs/first/plans.json").read_text())
    plans = plans_from_value(kept, "plans.json")
    good = [[0] * plan.n_atoms for plan in plans]
    broken = {
        "shorter": good[:-1],
        "too many points": [[5000] * len(good[0]), *good[1:]],
        "text": [["a"] * len(good[0]), *good[1:]],
        "ragged": [[[0], [0, 1]], *good[1:]],
        "huge": [[2**80] * len(good[0]), *good[1:]],
    }
    Part.received(plans, good, "bank")  # the control
    with pytest.raises(BadPeer) as caught:
        Part.received(plans, broken.get(value, value) if isinstance(value, str) else value, "bank")
    assert caught.value.party == "bank"


def test_plans_that_are_no_plans_are_refused_by_the_files_name():
    for value in ({}, None, [7], [{"owner": "bank"}]):
        with pytest.raises(ConfigError, match=r"plans\.json"):
            plans_from_value(value, "plans.json")


def test_the_evaluation_is_repeatable():
    rng = np.random.default_rng(3)
    label, points = rng.integers(0, 2, 300), rng.integers(-50, 50, 300)
    prob = rng.uniform(0.01, 0.99, 300)
    assert evaluation(label, points, prob) == evaluation(label, points, prob)
