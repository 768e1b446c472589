"""Several banks, same features, other people: their secure sum of moments is the pooled table."""

from __future__ import annotations

from functools import partial

import numpy as np

from clients.journal import Journal
from shared.contract import Feature
from shared.protocols.sum import sum_coordinator, sum_party
from shared.protocols.sum_job import SumJob
from shared.scorecard.build import draft_card
from shared.scorecard.columns import Floors
from shared.scorecard.moments import Moments, pooled
from shared.scorecard.planning import ColumnSettings, plan_blocks
from tests.support import COORDINATOR, run_parties

BANKS = ("bank-a", "bank-b", "bank-c")


def people(n, seed):
    rng = np.random.default_rng(seed)
    x, z = rng.normal(size=n), rng.normal(size=n)
    label = (rng.random(n) < 1 / (1 + np.exp(1.5 - x + 0.5 * z))).astype(np.int64)
    return {"X": x, "Z": z}, label


def flat(moments):
    return np.concatenate([moments.counts.ravel(), moments.bads, [moments.n, moments.n_bad]])


def test_summed_moments_and_their_card_equal_the_pooled_ones(tmp_path):
    tables = {bank: people(700 + 200 * place, place) for place, bank in enumerate(BANKS)}
    everybody = {
        name: np.concatenate([values[name] for values, _ in tables.values()]) for name in "XZ"
    }
    label = np.concatenate([label for _, label in tables.values()])
    features = [Feature("X", "*"), Feature("Z", "*")]
    settings = ColumnSettings(thresholds=8, floors=Floors(rows=50, share=0.01))
    plans = plan_blocks("banks", features, everybody, settings, with_pairs=True)
    blocks = tuple(plan.public() for plan in plans)

    def counted(values, outcome):
        return pooled(blocks, [plan.encode(values) for plan in plans], outcome)

    whole = counted(everybody, label)
    own = {bank: counted(*table) for bank, table in tables.items()}
    job = SumJob(
        run="run",
        label="moments",
        attempt=1,
        cohort=BANKS,
        opener="bank-a",
        coordinator=COORDINATOR,
        kind="moments",
        model="",
        bits=64,
        length=flat(whole).size,
        scale=0,
        bound=1 << 40,
    )

    def bank(name, channel):
        return sum_party(channel, job, flat(own[name]), journal=Journal(tmp_path / name))

    roles = {name: partial(bank, name) for name in BANKS}
    run = run_parties(roles | {COORDINATOR: lambda channel: sum_coordinator(channel, job)})
    total = run.value("bank-a")
    assert all(run.results[name] is None for name in (*BANKS[1:], COORDINATOR))
    assert (total == flat(whole)).all()
    size = len(whole.bads)
    summed = Moments(
        int(total[-2]),
        blocks,
        total[: size * size].reshape(size, size),
        total[size * size : -2],
        int(total[-1]),
    )
    summed.check()
    ours, theirs = draft_card(summed), draft_card(whole)
    assert (ours.fit.coefficients == theirs.fit.coefficients).all()
    assert all((a == b).all() for a, b in zip(ours.points, theirs.points, strict=True))
