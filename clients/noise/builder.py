"""What only the builder does with noise: make moments of what was opened, and fit from them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clients.card import builder
from clients.party import Party
from shared.arrays import unpack_value
from shared.jobs import Run
from shared.privacy.moments import LABEL_WEIGHT, Table
from shared.privacy.tidy import Tidied, Variances, tidy, tidy_counts
from shared.protocols.noisy_blocks import Released
from shared.protocols.products import Opened
from shared.protocols.products_noise import Design
from shared.scorecard.blocks import Block

Floats = NDArray[np.float64]


def fit_sum(party: Party, run: Run, released: Released) -> dict[str, Any]:
    """Fit from a noisy sum; see `clients.card.builder.fit`."""
    started = time.perf_counter()
    blocks = [block for part in blocks_of(released.descriptions).values() for block in part]
    tidied = tidy(released.vector, blocks, released.n, released.deviation)
    return _fit(party, run, tidied, started)


def fit_products(
    party: Party, run: Run, opened: Opened, design: Design, n_rows: int
) -> dict[str, Any]:
    """Fit from noisy products; see `clients.card.builder.fit`."""
    started = time.perf_counter()
    tidied = tidied_products(opened, design, n_rows)
    return _fit(party, run, tidied, started)


def tidied_products(opened: Opened, design: Design, n_rows: int) -> Tidied:
    """Put noisy tables of several holders together.

    Parameters
    ----------
    opened : Opened
        In units of the ring; the builder's last two bins are its label, of which bad counts are
        weighted.
    design : Design
    n_rows : int

    Raises
    ------
    BadPeer
        If a description is malformed, or noise is all there is.
    """
    described = blocks_of(opened.descriptions)
    blocks = [block for part in described.values() for block in part]
    width = {holder: sum(block.n_atoms for block in part) for holder, part in described.items()}
    counts = np.block([[_table(opened, a, b, width) for b in described] for a in described])
    bins = np.diag(counts).copy()
    for span in Table.of(blocks).spans():
        counts[span, span] = np.diag(bins[span])
    bads = np.concatenate([_bads(opened, design, holder, width) for holder in described])
    owners = [holder for holder, part in described.items() for _ in part]
    variances = np.array([[_variance(design, a, b) for b in owners] for a in owners])
    of_bads = np.array([design.variance(owner) for owner in owners]) / LABEL_WEIGHT**2
    unit = design.unit
    noise = Variances(variances / unit**2, of_bads / unit**2)
    return tidy_counts(counts / unit, bads / unit, blocks, n_rows, noise)


def blocks_of(descriptions: Mapping[str, bytes]) -> dict[str, list[Block]]:
    """Return every holder's blocks, in the order of the units' names.

    Raises
    ------
    BadPeer
        If a description is malformed; names the party.
    """
    blocks = {}
    for holder in sorted(descriptions):
        described = unpack_value(descriptions[holder])
        described = described if isinstance(described, list) else [None]
        blocks[holder] = [Block.from_mapping(item, owner=holder) for item in described]
    return blocks


def _table(opened: Opened, first: str, second: str, width: Mapping[str, int]) -> Floats:
    if first == second:
        table = opened.own[first]
    elif (first, second) in opened.cross:
        table = opened.cross[first, second]
    else:
        table = opened.cross[second, first].T
    return table[: width[first], : width[second]].astype(np.float64)  # without the label


def _bads(opened: Opened, design: Design, holder: str, width: Mapping[str, int]) -> Floats:
    """Return a holder's bad counts, in units of the ring."""
    mine = width[holder]
    if holder == design.builder:
        return opened.own[holder][:mine, -1].astype(np.float64)
    if (holder, design.builder) in opened.cross:
        weighted = opened.cross[holder, design.builder][:, -1]
    else:
        weighted = opened.cross[design.builder, holder][-1]
    return weighted / LABEL_WEIGHT


def _variance(design: Design, first: str, second: str) -> float:
    return design.variance(*{first, second})


def _fit(party: Party, run: Run, tidied: Tidied, started: float) -> dict[str, Any]:
    return builder.fit_moments(party, run, tidied.moments, started, ridge=tidied.ridge)
