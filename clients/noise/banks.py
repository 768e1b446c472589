"""Several banks with noise: bins from a noisy sum over coarse buckets, and one noisy table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clients.card.parts import Plans, take
from clients.noise import moments as noise
from clients.noise.opening import Opening, release
from clients.party import Party
from shared.arrays import pack_value
from shared.jobs import COORDINATOR, Run
from shared.privacy.moments import Table
from shared.privacy.noise import SharedNoise
from shared.privacy.plans import bins_within, plan_noisy
from shared.privacy.terms import MOST_BINS, shared_noise
from shared.protocols.blocks import BlocksJob
from shared.protocols.noisy_blocks import Drawn, Released, add_noisy_blocks
from shared.protocols.products_job import OneHot
from shared.protocols.sum import sum_party
from shared.protocols.sum_job import FreshInputs
from shared.scorecard.buckets import Tally, count_all
from shared.sealed import SealedChannel
from shared.shape import Shape

Ints = NDArray[np.int64]

_NUMBER = "number of customers, added over all banks"


def plan_bins(
    party: Party, channel: SealedChannel, run: Run, shape: Shape, rows: Ints
) -> tuple[tuple[Tally, ...], Plans]:
    """Add noisy counts over coarse buckets; the builder plans from them.

    Parameters
    ----------
    party : Party
    channel : SealedChannel
    run : Run
    shape : Shape
    rows : ndarray of int64
        Own customers.

    Returns
    -------
    columns : tuple of Tally
        What was counted: a plan's edges are ends of these buckets.
    plans : tuple of BlockPlan
        At the builder; empty elsewhere.

    Raises
    ------
    BudgetSpent
        If this party's budget does not last; nothing has left.
    """
    columns = noise.coarse_columns(party)
    counts = count_all(columns, take(party.train, rows))
    shared, unit = _shared(party, len(shape.banks), len(columns), noise.terms(party).bins)
    binding = noise.digest_of(noise.counted(columns), run)
    opening = Opening("bins", noise.BINS, shape.builder, len(rows), len(counts), binding)
    drawn = release(party, run, shared, opening)
    _tell_number(party, run, shape, "bins", len(rows), binding)
    vector = np.append(counts * unit + drawn, len(rows))
    grain = shared.grain(unit)
    if party.is_builder:
        said = {"variance": grain.variance, "unit": grain.unit}
        channel.send(COORDINATOR, "bins/length", pack_value({"length": len(vector)}))
        channel.send(COORDINATOR, "blocks/grain", pack_value(said))
    job = run.counts(shape, "bins", len(vector), grain)
    summed = sum_party(channel, job, vector, journal=FreshInputs())
    if summed is None:
        return columns, ()
    n = int(summed[-1])
    most = min(MOST_BINS, party.federation.scorecard.thresholds + 1)
    if shape.columns:  # the label's column is one of the rank, the column of ones another
        rank = int(n * party.federation.floors.builder_rank) - 1
        most = min(most, bins_within(len(columns), rank))
    deviation, floors = shared.deviation / unit, noise.floors_of(party)
    bank = party.contract.unit(party.name)
    return columns, plan_noisy(bank, columns, summed[:-1] / unit, deviation, n, floors, most)


def add(
    party: Party,
    channel: SealedChannel,
    run: Run,
    work: BlocksJob,
    mine: Mapping[str, OneHot],
) -> Released | None:
    """Add the noisy table; see `shared.protocols.noisy_blocks.add_noisy_blocks`."""
    rows = sum(len(matrix.codes) for matrix in mine.values())
    shape = work.shape

    def draw(sizes: tuple[int, ...]) -> Drawn:
        table = Table(sizes)
        multiplier = noise.terms(party).counts
        parties = len(shape.everybody)
        shared, unit = _shared(party, parties, table.squared_sensitivity, multiplier)
        binding = noise.digest_of(list(sizes), run)
        what, builder = noise.MOMENTS, shape.builder
        opening = Opening("moments", what, builder, rows, table.size, binding)
        share = release(party, run, shared, opening)
        if not shape.columns:
            _tell_number(party, run, shape, "moments", rows, binding)
        return Drawn(shared, unit, share)

    return add_noisy_blocks(
        channel,
        work,
        mine,
        max_rank_share=party.federation.floors.builder_rank,
        journal=party.store.journal,
        draw=draw,
    )


def _shared(party: Party, parties: int, squared: int, multiplier: float) -> tuple[SharedNoise, int]:
    """Return the noise of a sum of the cohort that is left."""
    return shared_noise(parties, party.federation.privacy.colluders, squared, multiplier)


def _tell_number(party: Party, run: Run, shape: Shape, phase: str, rows: int, binding: str) -> None:
    """Write down what goes with the noisy counts and has no noise: how many customers there are."""
    told: dict[str, Any] = {"rows": rows, "values": 1, "binding": binding}
    party.store.record(
        run.name, phase, _NUMBER, unit="all customers of all banks", recipient=shape.builder, **told
    )
