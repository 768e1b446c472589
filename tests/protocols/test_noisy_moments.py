"""Whole trainings with noise in the moments: banks, holders of columns, and both at once."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass

import numpy as np
import pytest

from clients.card.parts import encode, plans_from_value
from clients.noise import builder as noisy_builder
from clients.noise import moments as noise
from clients.noise.budget import Budget, Limit
from clients.party import Party
from clients.store import Store
from shared.errors import BudgetSpent, RunFailed
from shared.ledger import GENESIS
from shared.privacy import accounting
from shared.privacy.accounting import epsilon
from shared.privacy.audit import audit, mechanism_of
from shared.privacy.moments import Table
from shared.privacy.noise import SharedNoise
from shared.privacy.terms import terms_of
from shared.release import unpack_release
from shared.scorecard.moments import pooled
from tests import whole_runs
from tests.banks import BANKS, build
from tests.whole_runs import HOLDERS, change, train

EPSILON, DELTA = 3.0, 1e-5
THREE = BANKS[:3]
SIZES = (400, 420, 380, 410)


@dataclass
class Trained:
    """A training with what the builder tidied: the noisy counts as they were opened."""

    path: object
    outcome: dict
    counts: np.ndarray
    bads: np.ndarray
    blocks: list
    n: int
    variances: object

    def store(self, name):
        return Store(self.path.parent / name)


def run(path, *, silent=False, **more):
    """Train; `silent` noise is drawn as zero, everything else is the same."""
    seen = []
    original, many = noisy_builder.tidy, noisy_builder.tidy_counts

    def one(vector, blocks, n, deviation):
        counts, bads = Table.of(blocks).read(vector)
        seen.append((counts, bads, blocks, n, deviation))
        return original(vector, blocks, n, deviation)

    def several(counts, bads, blocks, n, variances):
        seen.append((counts, bads, blocks, n, variances))
        return many(counts, bads, blocks, n, variances)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(noisy_builder, "tidy", one)
        patch.setattr(noisy_builder, "tidy_counts", several)
        if silent:
            patch.setattr(SharedNoise, "draw", lambda _, size, __=None: np.zeros(size, np.int64))
        outcome = train(path, **more)
    return Trained(path, outcome, *seen[-1])


def banks(folder, **settings):
    settings = {"sizes": SIZES, "moments_epsilon": EPSILON} | settings
    return build(folder, **settings)[0]


def both(folder, **settings):
    columns = ("platform", "bureau")
    return banks(folder, banks=THREE, columns=columns, builder_rank=0.5, **settings)


def columns(folder, **settings):
    settings = {"customers": 700, "moments_epsilon": EPSILON} | settings
    return whole_runs.build(folder, parties=("bank", "bureau", "payments"), **settings)


MAKE = {"banks": banks, "both": both, "columns": columns}


@pytest.fixture(scope="module", autouse=True)
def one_at_a_time():
    """Parties are threads here: let the first one's numbers be there for the others."""
    lock, original = threading.Lock(), accounting._epsilon

    def locked(*arguments):
        with lock:
            return original(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(accounting, "_epsilon", locked)
        yield


@pytest.fixture(scope="module")
def noisy(tmp_path_factory):
    """Trainings by kind, each made when it is first asked for."""
    made = {}

    def get(kind, *, silent=False):
        if (kind, silent) not in made:
            made[kind, silent] = run(MAKE[kind](tmp_path_factory.mktemp(kind)), silent=silent)
        return made[kind, silent]

    return get


def everybody(kind):
    return {"banks": BANKS, "both": (*THREE, "bureau", "platform"), "columns": HOLDERS[:1]}[kind]


def spenders(kind):
    return ("bureau", "payments") if kind == "columns" else everybody(kind)


def exact(trained, kind):
    """Return the counts of everybody's rows over the bins that the run planned."""
    builder = "bank" if kind == "columns" else "east"
    file = "plans" if kind == "columns" else "plans_1"
    units = {"columns": ("bank", "bureau", "payments"), "banks": ("*",)}
    units = units.get(kind, ("*", "bureau", "platform"))

    def plans(name):
        path = trained.path.parent / name / "runs" / "first" / f"{file}.json"
        return plans_from_value(json.loads(path.read_text()), "plans.json")

    def rows_of(name, bank):
        if kind == "banks":
            return np.arange(len(Party.load(trained.path, name).train.ids))
        part = "train_rows" if kind == "columns" else f"train_rows_{bank}_1"
        return np.load(trained.path.parent / name / "runs" / "first" / f"{part}.npy")

    groups = (builder,) if kind == "columns" else (BANKS if kind == "banks" else THREE)
    codes, blocks = [], []
    for unit in units:
        own = plans(builder if unit == "*" else unit)
        parts = []
        for bank in groups:
            name = bank if unit == "*" else unit
            table = Party.load(trained.path, name).train
            parts.append(encode(own, table, rows_of(name, bank)))
        blocks += [plan.public() for plan in own]
        codes += list(np.concatenate(parts).T)
    label = np.concatenate(
        [Party.load(trained.path, bank).train.label[rows_of(bank, bank)] for bank in groups]
    )
    return pooled(blocks, codes, label.astype(np.int64))


def released(moments):
    """Return what a noisy run opens of exact moments: no table of one feature with itself."""
    table = Table.of(moments.blocks)
    return table.read(table.vector(moments))


KINDS = ["banks", pytest.param("both", marks=pytest.mark.slow), "columns"]


@pytest.mark.parametrize("kind", KINDS)
def test_with_noise_that_is_zero_the_builder_opens_the_exact_counts(noisy, kind):
    """The control: whatever differs in a noisy run is the noise."""
    trained = noisy(kind, silent=True)
    counts, bads = released(exact(trained, kind))
    assert np.array_equal(trained.counts, counts)
    assert np.array_equal(trained.bads, bads)
    assert trained.n == counts[: trained.blocks[0].n_atoms].diagonal().sum()


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_builder_opens_carries_the_noise_that_was_agreed(noisy, kind):
    trained = noisy(kind)
    counts, _ = released(exact(trained, kind))
    off = trained.counts - counts
    spans = Table.of(trained.blocks).spans()
    for first, one in enumerate(spans):
        for second, two in enumerate(spans[: first + 1]):
            part = np.diag(off[one, two]) if first == second else off[one, two]
            if kind != "columns":
                expected = trained.variances
            else:
                expected = np.sqrt(trained.variances.tables[first, second])
                owners = {trained.blocks[at].owner for at in (first, second)}
                assert (expected == 0) == (owners == {"bank"})  # the builder knows its own
            if expected == 0:
                assert not part.any()
            else:
                assert np.abs(part).max() < 6 * expected
    upper = off[np.triu_indices(len(off), 1)]
    scale = np.sqrt(trained.variances.tables.max()) if kind == "columns" else trained.variances
    assert upper[upper != 0].std() > 0.4 * scale


@pytest.mark.parametrize("kind", KINDS)
def test_epsilon_in_every_ledger_is_what_the_noise_costs_and_no_more_than_agreed(noisy, kind):
    trained = noisy(kind)
    agreed = terms_of(EPSILON, DELTA)
    for name in spenders(kind):
        lines = trained.store(name).ledger()
        found = audit(lines, DELTA)  # works every line out again
        assert found.epsilon == epsilon(agreed.mechanisms, DELTA) <= EPSILON
        assert found.epsilon > 0.95 * EPSILON
        assert found.with_noise == 2
        assert found.without == len(lines) - 2 > 0
        entries = {line.entry.what: line.entry for line in lines if line.entry.noise}
        assert set(entries) == {noise.BINS, noise.MOMENTS}
        one = entries[noise.MOMENTS]
        assert one.epsilon == epsilon([mechanism_of(one.noise)], DELTA)
        parties = len({"banks": BANKS, "both": everybody("both")}.get(kind, range(3)))
        assert one.noise.parties == parties
        assert one.noise.colluders == (2 if kind in {"columns", "both"} else 1)
        spent = Budget(trained.store(name).home / "budget.jsonl", Limit(10.0, DELTA))
        assert spent.epsilon() == found.epsilon


@pytest.mark.parametrize("kind", KINDS)
def test_the_release_says_per_party_what_had_noise_and_what_had_none(noisy, kind):
    trained = noisy(kind)
    builder = "bank" if kind == "columns" else "east"
    manifest = unpack_release(trained.outcome["release"][builder]["release"]).manifest
    for name, party in manifest.parties.items():
        lines = trained.store(name).ledger()
        head = next((at for at, line in enumerate(lines) if line.digest == party.ledger_head), None)
        assert party.ledger_head != GENESIS
        found = audit(lines[: head + 1], DELTA)
        if name not in spenders(kind):
            assert found.with_noise == 0
            assert party.privacy is None
            continue
        assert party.privacy.epsilon == found.epsilon
        assert (party.privacy.with_noise, party.privacy.without) == (2, found.without)
        assert "says nothing of them" in party.privacy.told()


@pytest.mark.slow  # beside it: test_a_little_noise_costs_little_and_a_lot_costs_more
@pytest.mark.parametrize("kind", KINDS)
def test_with_much_epsilon_the_card_is_nearly_that_of_the_same_coarse_bins(noisy, kind, tmp_path):
    builder = "bank" if kind == "columns" else "east"
    terms_of(8.0, DELTA)  # solved once, and not by every party's thread
    plenty = run(MAKE[kind](tmp_path, moments_epsilon=8.0, **_many(kind)), silent=False)
    control = run(MAKE[kind](tmp_path / "c", moments_epsilon=8.0, **_many(kind)), silent=True)
    with_noise, without = (one.outcome["score"][builder]["auc"] for one in (plenty, control))
    assert without > 0.65
    assert with_noise > without - 0.03


def _many(kind):
    return {"customers": 1600} if kind == "columns" else {"sizes": (900, 950, 920, 930)}


# Budgets.


@pytest.mark.parametrize("kind", KINDS)
def test_a_budget_that_is_spent_refuses_by_name_before_anything_leaves(tmp_path, kind):
    path = MAKE[kind](tmp_path)
    poor = "payments" if kind == "columns" else "north"
    change(tmp_path / poor / "party.toml", privacy_epsilon=2.9)
    frames = []
    with pytest.raises(RunFailed, match=r"of 2\.9 allowed") as caught:
        train(path, tamper=lambda frame: frames.append(frame) or frame)
    assert (caught.value.party, caught.value.reported) == (poor, BudgetSpent.code)
    assert not (tmp_path / poor / "ledger.jsonl").exists()
    assert not (tmp_path / poor / "budget.jsonl").exists()
    assert not list(tmp_path.rglob("card.json"))
    told = ("sum/", "align/list", "products/")
    assert not [f for f in frames if f.sender == poor and any(t in f.tag for t in told)]


def test_a_party_that_allows_no_noisy_release_says_so(tmp_path):
    path = banks(tmp_path)
    change(tmp_path / "north" / "party.toml", privacy_epsilon=0.0)
    with pytest.raises(RunFailed, match="its privacy_epsilon is 0") as caught:
        train(path)
    assert caught.value.party == "north"


@pytest.mark.slow
def test_runs_add_up_until_the_budget_is_spent(tmp_path):
    """Other noise makes other bins; the journal does not stand in the way, the budget does."""
    path = banks(tmp_path)
    train(path)
    spent = Budget(tmp_path / "east" / "budget.jsonl", Limit(10.0, DELTA)).epsilon()
    assert spent <= EPSILON
    change(tmp_path / "south" / "party.toml", privacy_epsilon=5.0)
    train(path, "second")
    again = audit(Store(tmp_path / "east").ledger(), DELTA)
    assert again.with_noise == 4
    assert spent < again.epsilon < 2 * spent
    with pytest.raises(RunFailed, match="of 5 allowed"):
        train(path, "third")
    assert audit(Store(tmp_path / "south").ledger(), DELTA).with_noise == 4


@pytest.mark.slow  # a deadline has to pass
@pytest.mark.parametrize("tag", ["sum/moments/1/masked", "sum/moments/1/seed"])
def test_a_restart_with_the_survivors_draws_for_their_cohort_and_costs_again(
    tmp_path, monkeypatch, tag
):
    """Even after seeds left: the two sums differ by noise that the budget counts twice."""
    monkeypatch.setattr("server.exchange._GRACE_S", 6.0)
    path = banks(tmp_path, deadline_s=8)
    gone = []

    def tamper(frame):
        if frame.sender == "south" and tag in frame.tag:
            gone.append(frame.tag)
        return None if gone and frame.sender == "south" else frame

    outcome = train(path, tamper=tamper)
    assert outcome["lost"] == {"south": "moments"}
    for bank in ("east", "north", "west"):
        lines = [line.entry for line in Store(tmp_path / bank).ledger() if line.entry.noise]
        assert [entry.what for entry in lines] == [noise.BINS, noise.MOMENTS, noise.MOMENTS]
        assert [entry.noise.parties for entry in lines] == [4, 4, 3]
        assert lines[1].binding != lines[2].binding
        once = terms_of(EPSILON, DELTA).mechanisms
        expected = epsilon([*once, once[1]], DELTA)
        found = audit(Store(tmp_path / bank).ledger(), DELTA)
        assert found.epsilon == pytest.approx(expected)
        assert found.epsilon > EPSILON
        assert Budget(
            tmp_path / bank / "budget.jsonl", Limit(10, DELTA)
        ).epsilon() == pytest.approx(expected)


def test_who_dies_between_spending_and_sending_has_spent_for_nothing(tmp_path, monkeypatch):
    path = banks(tmp_path)
    original = SharedNoise.draw

    def crash(*_):
        raise MemoryError

    monkeypatch.setattr(SharedNoise, "draw", crash)
    with pytest.raises(RunFailed, match="MemoryError"):
        train(path)
    spent = Budget(tmp_path / "north" / "budget.jsonl", Limit(10, DELTA))
    assert [line.what for line in spent.lines()] == [noise.BINS]
    told = [line.entry.what for line in Store(tmp_path / "north").ledger()]
    assert told == [noise.BINS]  # written down first, too; nothing left
    monkeypatch.setattr(SharedNoise, "draw", original)
    train(path, "second")
    assert len(spent.lines()) == 3


def test_more_colluders_than_a_cohort_has_are_refused(tmp_path):
    path = banks(tmp_path, colluders=4)
    with pytest.raises(RunFailed, match="4 of 4 parties cannot collude"):
        train(path)
