"""Holders of columns with noise: each adds the whole of it to what it hands over."""

from __future__ import annotations

from os import urandom
from typing import Any

from clients.noise import builder as noisy_builder
from clients.noise import moments as noise
from clients.noise.opening import Opening, write_down_once
from clients.party import Party
from shared.jobs import Run
from shared.protocols import products_noise
from shared.protocols.products import Noise, ProductJob, multiply
from shared.protocols.products_job import OneHot
from shared.protocols.products_noise import Additions, Design
from shared.sealed import SealedChannel


def moments(
    party: Party, channel: SealedChannel, run: Run, work: ProductJob, mine: OneHot
) -> dict[str, Any]:
    """Exchange noisy moments once; the builder fits the card.

    Parameters
    ----------
    party : Party
    channel : SealedChannel
    run : Run
    work : ProductJob
    mine : OneHot
        The own bins, in common row order.

    Returns
    -------
    dict
        At the builder what `clients.card.builder.fit` returns; empty elsewhere.

    Raises
    ------
    BudgetSpent
        If this party's budget does not last; nothing of its rows has left.
    """
    multiplier = noise.terms(party).counts
    known: list[Design] = []

    def draw(design: Design) -> Additions:
        """Spend, write the ledger's line, and draw, in this order."""
        binding = noise.digest_of({k: list(v) for k, v in sorted(design.sizes.items())}, run)
        values = design.values(party.name)
        builder = run.federation.builder
        opening = Opening("moments", noise.MOMENTS, builder, work.n_rows, values, binding)
        write_down_once(party, run, design.noise(party.name), opening)
        return products_noise.draw(design, party.name, urandom)

    opened = multiply(
        channel,
        work,
        mine,
        minimum=noise.floors_of(party).minimum(work.n_rows),
        max_rank_share=party.federation.floors.builder_rank,
        journal=party.store.journal,
        noise=Noise(multiplier, draw, known.append),
    )
    if opened is None:
        return {}
    return noisy_builder.fit_products(party, run, opened, known[0], work.n_rows)
