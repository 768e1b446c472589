"""Several banks train one card: it is the pooled card, whoever drops out, and refusals by name."""

from __future__ import annotations

import json

import numpy as np
import pytest

from clients.banks import builder as bank_builder
from clients.card.builder import evaluation, settings_of
from clients.card.parts import encode, plans_from_value, plans_to_value
from clients.holdings import load_contract
from clients.party import Party
from clients.phases import column_settings
from clients.releases.feeds import feed_rows
from clients.releases.kept import load_key, own_release
from clients.store import Store
from server.coordinator import load_federation
from server.limits.caps.snapshot import Share
from server.limits.caps.whole import scorer_of
from server.releases.registry import Registry
from shared.contract import Contract
from shared.edge.clock import utc_now
from shared.errors import ConfigError, DataError, PartyLost, Refused, RunFailed
from shared.release import unpack_release
from shared.scorecard.buckets import count_all, tallies
from shared.scorecard.build import draft_card
from shared.scorecard.calibration import fit_calibration
from shared.scorecard.card import Card, card_of
from shared.scorecard.common import choose_pairs, count_cells, plan_singles, propose_pairs
from shared.scorecard.moments import pooled
from shared.shape import Shape
from tests.banks import BANKS, build
from tests.whole_runs import assert_nothing_half_written, change, edit, train

THREE = BANKS[:3]


def party(path, name):
    return Party.load(path, name)


def ledger(path, name):
    return [line.entry for line in Store(path.parent / name).ledger()]


def kept(path, name, file, run="first"):
    return json.loads((path.parent / name / "runs" / run / f"{file}.json").read_text())


def saved_plans(path, name, attempt=1, run="first"):
    return plans_from_value(kept(path, name, f"plans_{attempt}", run), "plans.json")


def table_of_everybody(path, banks):
    """Return all banks' training rows in one place."""
    tables = [party(path, bank).train for bank in banks]
    values = {
        name: np.concatenate([table.values[name] for table in tables]) for name in tables[0].values
    }
    return values, np.concatenate([table.label for table in tables]).astype(np.int64)


def card_from(path, draft):
    one = party(path, "east")
    return card_of(draft, one.contract, settings_of(one).scale)


@pytest.fixture(scope="module")
def four_banks(tmp_path_factory):
    path, everybody = build(tmp_path_factory.mktemp("banks"))
    return path, everybody, train(path)


@pytest.fixture(scope="module")
def with_columns(tmp_path_factory):
    """Three banks, and a platform and a bureau that know their customers."""
    path, everybody = build(
        tmp_path_factory.mktemp("both"),
        banks=THREE,
        columns=("platform", "bureau"),
        sizes=(180, 190, 185),
        builder_rank=0.5,
    )
    return path, everybody, train(path)


# Lossless.


def test_the_bins_of_four_banks_are_those_of_all_rows_counted_in_one_place(four_banks):
    path, _, _ = four_banks
    values, _ = table_of_everybody(path, BANKS)
    one = party(path, "east")
    columns = tallies(one.contract.of("east"), one.contract.summaries)
    counts = count_all(columns, values)
    settings = column_settings(one, len(values["INCOME"]), len(values["INCOME"]))
    singles = plan_singles(columns, counts, settings)
    proposed = propose_pairs(columns, counts, singles, settings)
    floor = settings.floors.minimum(len(values["INCOME"]))
    plans = (*singles, *choose_pairs(proposed, count_cells(proposed, values), floor))
    assert len(plans) > len(singles)
    for bank in BANKS:
        assert kept(path, bank, "cells_1") == {"plans": plans_to_value(plans), "proposed": []}


def test_the_card_of_four_banks_is_the_pooled_card(four_banks):
    path, _, outcome = four_banks
    values, label = table_of_everybody(path, BANKS)
    plans = saved_plans(path, "east")
    whole = pooled([p.public() for p in plans], [p.encode(values) for p in plans], label)
    run = path.parent / "east" / "runs" / "first"
    assert (np.load(run / "moments.npy") == whole.counts).all()
    assert (np.load(run / "moments_bads.npy") == whole.bads).all()
    theirs = card_from(path, draft_card(whole, settings_of(party(path, "east"))))
    ours = Card.from_mapping(kept(path, "east", "draft"), "draft.json")
    assert ours == theirs
    assert ours.points_kept > 3
    assert outcome["moments"]["east"]["card"]


def test_its_evaluation_is_that_of_all_customers_in_one_place(four_banks):
    path, _, outcome = four_banks
    card = kept(path, "east", "card")
    learned, seen = [], []
    for bank in BANKS:
        one = party(path, bank)
        _, part = own_release(one)
        for table, into in ((one.train, learned), (one.test, seen)):
            rows = np.arange(len(table.ids))
            into.append((part.total(encode(part.plans, table, rows)), table.label))
    points, label = (np.concatenate(both).astype(np.int64) for both in zip(*learned, strict=True))
    calibration = fit_calibration(points, label)
    assert Card.from_mapping(card, "card.json").calibration == calibration
    points, label = (np.concatenate(both).astype(np.int64) for both in zip(*seen, strict=True))
    alike = evaluation(label, points, calibration.default_prob(points))
    told = outcome["score"]["east"]
    for name in ("n", "auc", "ks", "gini"):
        assert told[name] == alike[name]
    for name in ("brier", "log_loss", "calibration_slope", "calibration_error"):
        assert told[name] == pytest.approx(alike[name], abs=1e-9)


def test_the_card_of_banks_and_holders_of_columns_is_the_pooled_card(with_columns):
    path, _, _ = with_columns
    holders = {name: party(path, name) for name in (*THREE, "platform", "bureau")}
    place = {name: {key: row for row, key in enumerate(p.train.ids)} for name, p in holders.items()}
    common = [
        (bank, key)
        for bank in THREE
        for key in holders[bank].train.ids
        if key in place["platform"] and key in place["bureau"]
    ]
    units = {"*": [bank for bank, _ in common]}
    units |= {name: [name] * len(common) for name in ("bureau", "platform")}
    blocks, codes = [], []
    for unit, whose in units.items():
        plans = saved_plans(path, THREE[0] if unit == "*" else unit)
        rows = [(name, place[name][key]) for name, (_, key) in zip(whose, common, strict=True)]
        table = {
            feature: np.array([holders[name].train.values[feature][row] for name, row in rows])
            for feature in holders[whose[0]].train.values
        }
        blocks += [plan.public() for plan in plans]
        codes += [plan.encode(table) for plan in plans]
    label = np.array([holders[bank].train.label[place[bank][key]] for bank, key in common])
    whole = pooled(blocks, codes, label.astype(np.int64))
    run = path.parent / THREE[0] / "runs" / "first"
    assert (np.load(run / "moments.npy") == whole.counts).all()
    assert (np.load(run / "moments_bads.npy") == whole.bads).all()
    theirs = card_from(path, draft_card(whole, settings_of(holders[THREE[0]])))
    ours = Card.from_mapping(kept(path, THREE[0], "draft"), "draft.json")
    assert ours == theirs
    assert {line.owner for line in ours.lines} == {"*", "bureau", "platform"}


# The release, and scoring.


@pytest.mark.parametrize("federation", ["four_banks", "with_columns"])
def test_the_release_is_signed_by_all_and_taken_by_the_registry(federation, request, tmp_path):
    path, _, outcome = request.getfixturevalue(federation)
    agreed, _ = load_federation(path)
    release = unpack_release(outcome["release"]["east"]["release"])
    assert set(release.signatures) == set(agreed.holders)
    Registry(tmp_path).take(release, agreed, utc_now(), contract=outcome["contract"])
    parties = release.manifest.parties
    assert sum(one.worth for one in parties.values()) == pytest.approx(
        release.manifest.card.explained
    )


def test_every_bank_scores_its_own_customers_by_the_same_lines(four_banks):
    path, _, outcome = four_banks
    names = set()
    for bank in BANKS:
        one = party(path, bank)
        release, part = own_release(one)
        rows = list(feed_rows([one.test], release.manifest, bank, part, load_key(one)))
        assert [row.points for row in rows] == part.total(
            encode(part.plans, one.test, np.arange(len(one.test.ids)))
        ).tolist()
        names |= {row.pseudonym for row in rows}
        assert kept(path, bank, "part") == kept(path, "east", "part")
    assert len(names) == outcome["score"]["east"]["n"]


@pytest.mark.parametrize(
    "federation", ["four_banks", pytest.param("with_columns", marks=pytest.mark.slow)]
)
def test_the_limit_service_takes_one_bank_s_answer_and_adds_those_of_others(federation, request):
    path, _, outcome = request.getfixturevalue(federation)
    manifest = unpack_release(outcome["release"]["east"]["release"]).manifest
    baselines = {name: one.baseline_points for name, one in manifest.parties.items()}
    scorer = scorer_of(manifest.card, baselines)
    others = sorted(set(baselines) - set(BANKS))
    rows = {}
    for name in baselines:
        one = party(path, name)
        _, part = own_release(one)
        (rows[name],) = list(feed_rows([one.test], manifest, name, part, load_key(one)))[:1]
    shares = {name: Share(rows[name].points, rows[name].reasons) for name in ("north", *others)}
    missing = dict.fromkeys(set(baselines) - set(shares), "unknown customer")
    told = scorer.snapshot(shares, missing)
    total = sum(share.points for share in shares.values())
    assert told.rating == scorer.rating(total)
    assert set(told.points) == {"north", *others}
    assert told.missing == {}
    worse = Share(rows["north"].points - 1, ())
    two = scorer.snapshot(
        {**shares, "east": worse}, {k: v for k, v in missing.items() if k != "east"}
    )
    assert two.rating == scorer.rating(total - 1)
    silent = {name: shares[name] for name in others}
    why = dict.fromkeys(set(baselines) - set(silent), "unknown customer") | {"south": "stale"}
    if not others:
        with pytest.raises(DataError, match="south: stale"):
            scorer.snapshot(silent, why)
        return
    told = scorer.snapshot(silent, why)
    assert told.missing == {"south": "stale"}
    assert told.points["south"] == baselines["south"]


# What is opened, and to whom.


def test_what_banks_hand_in_stands_in_their_ledgers_and_only_the_builder_opens(four_banks):
    path, _, outcome = four_banks
    for bank in BANKS:
        lines = {entry.what: entry for entry in ledger(path, bank)}
        assert set(lines) == {
            "sum of the banks' counts: bins",
            "sum of the banks' counts: cells",
            "moments, added over all banks",
            "sum of the banks' counts: good and bad by points",
            "own lines of the card",
            "score feed",
        }
        assert {entry.recipient for entry in lines.values()} == {
            "east",
            "whoever has the release",
            "the limit service",
        }
        assert lines["moments, added over all banks"].rows == len(party(path, bank).train.ids)
    for bank in BANKS[1:]:
        folder = path.parent / bank / "runs" / "first"
        assert not list(folder.glob("moments*"))
        assert not list(folder.glob("card.json"))
    for phase in ("bins", "moments"):
        for reply in outcome[phase].values():
            assert not any(isinstance(value, list) and len(value) > 10 for value in reply.values())


def test_points_of_a_customer_are_opened_at_its_own_bank_only(with_columns):
    path, _, _ = with_columns
    for holder in ("platform", "bureau"):
        opened = [e for e in ledger(path, holder) if e.what == "sum of all parties' points"]
        assert sorted(entry.recipient for entry in opened) == sorted(THREE)
    for bank in THREE:
        opened = [e for e in ledger(path, bank) if e.what == "sum of all parties' points"]
        assert [entry.recipient for entry in opened] == [bank]


# Somebody drops out.

KINDS = {
    "bins": "train.bins",
    "cells": "train.cells",
    "moments": "train.moments",
    "score": "evaluate.score",
    "release": "query.release",
}


@pytest.mark.parametrize(
    "phase",
    [pytest.param(phase, marks=[pytest.mark.slow] * (phase != "moments")) for phase in KINDS],
)
def test_a_bank_that_drops_out_leaves_the_card_to_the_survivors(tmp_path, phase):
    path, _ = build(tmp_path, sizes=(160, 170, 180, 175))
    outcome = train(path, dies=lambda name, kind: name == "south" and kind == KINDS[phase])
    assert outcome["lost"] == {"south": phase}
    left = [bank for bank in BANKS if bank != "south"]
    release = unpack_release(outcome["release"]["east"]["release"])
    assert sorted(release.signatures) == sorted(release.manifest.parties) == left
    counted = left if phase in {"bins", "cells", "moments"} else BANKS
    card = Card.from_mapping(kept(path, "east", "draft"), "draft.json")
    assert card.rows == sum(len(party(path, bank).train.ids) for bank in counted)
    agreed, _ = load_federation(path)
    Registry(tmp_path / "registry").take(release, agreed, utc_now(), contract=outcome["contract"])
    assert_nothing_half_written(path.parent)
    # The survivors' card is the pooled card of whom it counts.
    values, label = table_of_everybody(path, counted)
    attempt = 2 if phase in {"bins", "cells", "moments"} else 1
    plans = saved_plans(path, "east", attempt)
    whole = pooled([p.public() for p in plans], [p.encode(values) for p in plans], label)
    assert card == card_from(path, draft_card(whole, settings_of(party(path, "east"))))


@pytest.mark.parametrize(
    ("tag", "phase"),
    [
        pytest.param("sum/bins/1/masked", "bins", marks=pytest.mark.slow),
        pytest.param("sum/cells/1/masked", "cells", marks=pytest.mark.slow),
        ("sum/moments/1/masked", "moments"),
        pytest.param("sum/moments/1/commitment", "moments", marks=pytest.mark.slow),
        pytest.param("sum/points/1/masked", "score", marks=pytest.mark.slow),
    ],
)
def test_a_bank_that_falls_silent_before_anybody_revealed_is_done_without(
    tmp_path, monkeypatch, tag, phase
):
    """Its own process goes on and answers late, or never: nobody listens to it any more."""
    monkeypatch.setattr("server.exchange._GRACE_S", 6.0)
    path, _ = build(tmp_path, sizes=(160, 170, 180, 175), deadline_s=2)
    silent = []

    def tamper(frame):
        if frame.sender == "south" and tag in frame.tag:
            silent.append(frame.tag)
        return None if silent and frame.sender == "south" else frame

    outcome = train(path, tamper=tamper)
    assert outcome["lost"] == {"south": phase}
    release = unpack_release(outcome["release"]["east"]["release"])
    assert "south" not in release.manifest.parties


def test_after_seeds_left_the_same_counts_are_not_summed_in_a_smaller_cohort(tmp_path, monkeypatch):
    monkeypatch.setattr("server.exchange._GRACE_S", 6.0)
    path, _ = build(tmp_path, sizes=(160, 170, 180, 175), deadline_s=2)
    gone = []

    def tamper(frame):
        if frame.sender == "south" and "sum/moments/1/seed" in frame.tag:
            gone.append(frame.tag)
        return None if gone and frame.sender == "south" else frame

    with pytest.raises(RunFailed, match="already revealed in the cohort") as caught:
        train(path, tamper=tamper)
    assert gone
    assert caught.value.exit_status == 4
    assert not list(path.parent.glob("*/releases/*"))


def test_with_three_banks_a_loss_ends_the_run_by_name(tmp_path):
    path, _ = build(tmp_path, banks=THREE, sizes=(160, 170, 180))
    with pytest.raises(Refused, match=r"2 banks .* fewer than 3") as caught:
        train(path, dies=lambda name, kind: name == "south" and kind == "train.moments")
    assert caught.value.party == "south"
    assert not list(path.parent.glob("*/runs/*/card.json"))


def test_without_the_builder_there_is_no_card(tmp_path):
    path, _ = build(tmp_path, sizes=(160, 170, 180, 175))
    with pytest.raises(PartyLost) as caught:
        train(path, dies=lambda name, kind: name == "east" and kind == "train.moments")
    assert caught.value.party == "east"


def test_a_bank_whose_signature_was_agreed_on_is_waited_for(tmp_path):
    path, _ = build(tmp_path, sizes=(160, 170, 180, 175))
    text = path.read_text()
    assert text.count("\nquorum = 3\n") == 1
    path.write_text(text.replace("\nquorum = 3\n", "\nquorum = 4\n"))
    with pytest.raises(PartyLost, match="quorum is 4") as caught:
        train(path, dies=lambda name, kind: name == "south" and kind == "train.bins")
    assert caught.value.party == "south"


def test_a_lost_bank_takes_part_in_the_next_run_again(tmp_path):
    path, _ = build(tmp_path, sizes=(160, 170, 180, 175))
    train(path, dies=lambda name, kind: name == "south" and kind == "train.bins")
    for bank in BANKS:
        change(path.parent / bank / "party.toml", further_moments="accept")
    with pytest.raises(RunFailed, match="already revealed in the cohort"):
        train(path, "second")  # the same counts in another cohort would tell south's


# Refusals.


def test_two_banks_are_refused_before_anything_is_exchanged(tmp_path):
    path, _ = build(tmp_path, banks=BANKS[:2])
    with pytest.raises(RunFailed, match="fewer than 3 each would learn another's") as caught:
        train(path)
    assert caught.value.exit_status == 4
    assert not list(tmp_path.rglob("ledger.jsonl"))


def test_one_holder_of_columns_beside_the_banks_needs_their_consent(tmp_path):
    path, _ = build(tmp_path, banks=THREE, columns=("bureau",), sizes=(150,))
    with pytest.raises(RunFailed, match="with two holders the builder east would see"):
        train(path)
    assert not list(tmp_path.rglob("ledger.jsonl"))


def test_a_bank_of_few_customers_is_no_part_of_a_sum(tmp_path):
    path, _ = build(tmp_path, sizes=(160, 170, 180, 40), rows=50)
    with pytest.raises(RunFailed, match="a sum takes at least 50 of a bank") as caught:
        train(path)
    assert caught.value.party == "west"


def test_other_customers_after_a_first_run_need_consent(tmp_path):
    path, _ = build(tmp_path, banks=THREE, sizes=(150,))
    train(path)
    edit(
        path.parent / "north" / "train.parquet", lambda table: {k: v[5:] for k, v in table.items()}
    )
    with pytest.raises(RunFailed, match="differences of the two") as caught:
        train(path, "second")
    assert caught.value.party == "north"


def test_a_plan_with_edges_of_the_builders_own_is_refused(tmp_path, monkeypatch):
    path, _ = build(tmp_path, banks=THREE, sizes=(150,))
    honest = bank_builder.plan_bins

    def lying(*arguments):
        plans, proposed = honest(*arguments)
        value = plans_to_value(plans)
        value[0]["axis"]["edges"][0] += 0.123
        return plans_from_value(value, "lie"), proposed

    monkeypatch.setattr(bank_builder, "plan_bins", lying)
    with pytest.raises(RunFailed, match="not one of public buckets") as caught:
        train(path)
    assert caught.value.party == "east"


def test_a_shape_is_read_off_the_contract_and_what_is_none_is_refused(tmp_path):
    path, _ = build(tmp_path, banks=THREE, columns=("platform", "bureau"), sizes=(150,))
    contract = load_contract(path.parent / "contract.toml")
    everybody = (*THREE, "platform", "bureau")
    shape = Shape.of(contract, everybody, "north")
    assert (shape.banks, shape.columns) == (THREE, ("bureau", "platform"))
    assert shape.around("south") == ("bureau", "platform", "south")
    assert [shape.unit(name) for name in ("south", "bureau")] == ["*", "bureau"]
    assert contract.of("bureau") != contract.of("south") == contract.of("north")
    with pytest.raises(ConfigError, match="builder: must be one of east, north, south"):
        Shape.of(contract, everybody, "bureau")
    with pytest.raises(Refused, match="2 banks"):
        Shape.of(contract, everybody[1:], "north")
    held = Contract.from_mapping(contract.to_mapping() | {"label_owner": "bureau"}, "x")
    with pytest.raises(ConfigError, match="label_owner"):
        Shape.of(held, everybody, "north")
    with pytest.raises(Refused, match="without bureau"):
        shape.without("bureau")
    with pytest.raises(Refused, match="without north"):
        shape.without("north")
