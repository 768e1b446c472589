"""A bank's side of phases `bins` and `cells`: one set of bins for all banks, from summed counts."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clients import phases
from clients.banks import builder as bank_builder
from clients.card.parts import Plans, plans_from_value, plans_to_value, take
from clients.noise import banks as noisy_banks
from clients.noise import moments as noise
from clients.party import Party
from shared.arrays import pack_value, unpack_value
from shared.errors import BadPeer, FloorBroken
from shared.jobs import COORDINATOR, Run
from shared.protocols.sum import sum_party
from shared.scorecard.buckets import Tally, count_all, tallies
from shared.scorecard.common import check_common, count_cells
from shared.sealed import SealedChannel
from shared.shape import Shape

Ints = NDArray[np.int64]


def survivors(party: Party, run: Run, *, banks_only: bool = False) -> Shape:
    """Return the shape of those who are left.

    Parameters
    ----------
    party : Party
    run : Run
    banks_only : bool
        Holders of columns take no part in the phase.

    Raises
    ------
    Refused
        If somebody is missing without whom there is no card, or too few banks are left.
    """
    shape = party.shape
    wanted = shape.banks if banks_only else shape.everybody
    for name in sorted(set(wanted) - set(run.parties)):
        shape = shape.without(name)
    return shape


def bins(party: Party, channel: SealedChannel, run: Run, job: Mapping[str, Any]) -> dict[str, Any]:
    """Agree on the banks' bins: each counts over public buckets, the builder plans from the sums.

    Returns
    -------
    dict
        Digest of the plan, and the number of cells of pairs that are to be counted yet.

    Raises
    ------
    FloorBroken
        If the bank has too few customers to be one of a sum.
    BadPeer
        If the builder's plan is none of public buckets.
    """
    noise.check_budget(party)
    shape = survivors(party, run, banks_only=True)
    rows = rows_of(party, run, job, party.name, "train")[: party.federation.protocol.sample_cap]
    minimum = party.federation.floors.rows
    if len(rows) < minimum:
        raise FloorBroken(f"{len(rows)} customers; a sum takes at least {minimum} of a bank")
    if run.noisy:
        columns, plans = noisy_banks.plan_bins(party, channel, run, shape, rows)
        return _keep_bins(party, run, _shown(party, channel, shape, columns, plans, ()))
    columns = tallies(party.contract.of(party.name), party.contract.summaries)
    values = take(party.train, rows)
    binding = _bucket_binding(party, rows, columns)
    party.store.journal.open_moments(
        binding, accept_more=party.settings.further_moments == "accept", kind="bins"
    )
    counts = count_all(columns, values)
    if party.is_builder:  # the coordinator knows no contract
        channel.send(COORDINATOR, "bins/length", pack_value({"length": len(counts)}))
    summed = add_counts(party, channel, run, shape, "bins", counts, binding, len(rows))
    planned: tuple[Plans, Plans] = ((), ())
    if summed is not None:
        planned = bank_builder.plan_bins(party, shape, columns, summed, rows)
    return _keep_bins(party, run, _shown(party, channel, shape, columns, *planned))


def _keep_bins(party: Party, run: Run, value: dict[str, Any]) -> dict[str, Any]:
    party.store.save_value(run.name, f"bins_{run.attempt}", value)
    proposed = plans_from_value(value["proposed"], "bins")
    return {"bins": _digest(value), "cells": sum(plan.n_atoms for plan in proposed)}


def cells(party: Party, channel: SealedChannel, run: Run, job: Mapping[str, Any]) -> dict[str, Any]:
    """Agree on pairs of the banks' features: each counts their cells, the builder chooses.

    Returns
    -------
    dict
        Digest of the whole plan.
    """
    shape = survivors(party, run, banks_only=True)
    rows = rows_of(party, run, job, party.name, "train")
    singles, proposed = bank_plans(party, run, job)
    counts = count_cells(proposed, take(party.train, rows))
    binding = phases.binding_of(party, rows, proposed)
    summed = add_counts(party, channel, run, shape, "cells", counts, binding, len(rows))
    plans: Plans = ()
    if summed is not None:
        plans = (*singles, *bank_builder.choose_pairs(party, proposed, summed))
    columns = tallies(party.contract.of(party.name), party.contract.summaries)
    value = _shown(party, channel, shape, columns, plans, ())
    party.store.save_value(run.name, f"cells_{run.attempt}", value)
    return {"bins": _digest(value)}


def _bucket_binding(party: Party, rows: Ints, columns: tuple[Tally, ...]) -> str:
    """Return the digest of the set of customers and of what is counted of them."""
    ids = sorted(party.train.ids[row] for row in rows.tolist())
    counted = [[one.name, one.size] for one in columns]
    return hashlib.sha256(pack_value([ids, counted])).hexdigest()


def add_counts(
    party: Party,
    channel: SealedChannel,
    run: Run,
    shape: Shape,
    label: str,
    counts: Ints,
    binding: str,
    n_rows: int,
    what: str = "",
) -> Ints | None:
    """Add the banks' counts; the ledger's line is written before anything leaves.

    Parameters
    ----------
    party : Party
    channel : SealedChannel
    run : Run
    shape : Shape
        Whose counts, and who opens the sum.
    label : str
        Of the sum, and phase of the ledger's line.
    counts : ndarray of int64
    binding : str
        Digest of what is counted of whom.
    n_rows : int
        Own customers behind it.
    what : str
        What is counted, in words; the label without it.

    Returns
    -------
    ndarray of int64 or None
        The sum at the builder.
    """
    party.store.record(
        run.name,
        phase=label,
        what=f"sum of the banks' counts: {what or label}",
        unit="customers of all banks in a bucket",
        recipient=shape.builder,
        rows=n_rows,
        values=len(counts),
        binding=binding,
    )
    job = run.counts(shape, label, len(counts))
    return sum_party(channel, job, counts, journal=party.store.journal)


def _shown(
    party: Party,
    channel: SealedChannel,
    shape: Shape,
    columns: tuple[Tally, ...],
    plans: Plans,
    proposed: Plans,
) -> dict[str, Any]:
    """Show the builder's plan to every bank, which holds it against the contract."""
    others = [bank for bank in shape.banks if bank != shape.builder]
    if party.is_builder:
        shown = {"plans": plans_to_value(plans), "proposed": plans_to_value(proposed)}
        channel.send_all(others, "bins/plan", pack_value(shown))
        return shown
    value = unpack_value(channel.receive(shape.builder, "bins/plan"))
    if not isinstance(value, dict) or value.keys() != {"plans", "proposed"}:
        raise BadPeer("its plan of bins is malformed", party=shape.builder)
    settings = phases.column_settings(party, 1, 1)
    for part in value.values():
        received = plans_from_value(part, f"the plan of {shape.builder}")
        check_common(received, columns, settings, shape.builder)
    return dict(value)


def _digest(value: Any) -> str:
    return hashlib.sha256(pack_value(value)).hexdigest()


def rows_of(party: Party, run: Run, job: Mapping[str, Any], bank: str, table: str) -> Ints:
    """Return rows of the own table: the aligned ones, or all where nobody holds further columns."""
    if not party.shape.columns:
        own = party.train if table == "train" else party.test
        return np.arange(len(own.ids), dtype=np.int64)
    name = f"{table}_rows_{bank}_{int(job['attempts']['align'])}"
    return party.store.load_array(run.name, name)


def bank_plans(party: Party, run: Run, job: Mapping[str, Any]) -> tuple[Plans, Plans]:
    """Return the banks' bins, and pairs that are proposed still."""
    last = "cells" if "cells" in job["done"] else "bins"
    value = party.store.load_value(run.name, f"{last}_{int(job['attempts'][last])}")
    if _digest(value) != job["bins"]:
        raise BadPeer("names another plan of bins than the banks agreed on", party=COORDINATOR)
    plans, proposed = (plans_from_value(value[key], "bins") for key in ("plans", "proposed"))
    return plans, proposed
