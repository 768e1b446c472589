"""A party's side of each phase where several banks hold the same features of other customers.

A bank brings its customers, with their label; a holder of columns brings features of its own about
the customers of every bank. Without such holders phase `align` is left out, and sums of the banks'
counts are all that is exchanged: one path for both (`shared.protocols.blocks`).

What a phase leaves carries its attempt: a phase that is started again with the survivors leaves
files of its own, and the coordinator says which attempt ended well.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from os import urandom
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clients import phases
from clients.banks import builder as bank_builder
from clients.banks.bins import bank_plans, rows_of, survivors
from clients.card import builder
from clients.card import own as own_card
from clients.card.common import find_common
from clients.card.parts import Plans, encode, plans_digest, plans_from_value, plans_to_value
from clients.noise import banks as noisy_banks
from clients.noise import builder as noisy_builder
from clients.noise import moments as noise
from clients.party import Party
from shared.arrays import pack_value
from shared.errors import BadPeer, FloorBroken
from shared.jobs import COORDINATOR, Run, align_job, score_job
from shared.protocols.align import Alignment
from shared.protocols.blocks import add_blocks
from shared.protocols.products_job import OneHot
from shared.protocols.sample import sample_rows, toss
from shared.protocols.score import MAX_POINTS, add_points, check_two_parties, digests
from shared.protocols.sum import sum_party
from shared.sealed import SealedChannel
from shared.shape import Shape

Ints = NDArray[np.int64]


def align(party: Party, channel: SealedChannel, run: Run, _: Mapping[str, Any]) -> dict[str, Any]:
    """Find the customers that each bank has in common with all holders of columns.

    Returns
    -------
    dict
        Common customers to learn from and to evaluate on, by bank that this party knows of.
    """
    noise.check_budget(party)
    shape = survivors(party, run)
    banks = shape.banks if party.name in shape.columns else (party.name,)
    common = {}
    for bank in banks:
        found = find_common(party, channel, align_job(run, shape, bank))
        common[bank] = _keep_common(party, run, bank, found)
    return {"common": common, "own": len(party.train.ids) + len(party.test.ids)}


def _keep_common(party: Party, run: Run, bank: str, found: Alignment) -> list[int]:
    n_own = len(party.train.ids)
    train = found.positions[found.positions < n_own]
    test = found.positions[found.positions >= n_own] - n_own
    minimum = party.federation.protocol.min_common
    if len(train) < minimum:
        raise FloorBroken(
            f"{len(train)} customers of {bank} to learn from are common; at least {minimum} are "
            "needed",
            hint="the parties share too few customers, or spell their ids differently",
        )
    party.store.save_array(run.name, f"train_rows_{bank}_{run.attempt}", train)
    party.store.save_array(run.name, f"test_rows_{bank}_{run.attempt}", test)
    check = {"check": found.check.hex()}
    party.store.save_value(run.name, f"alignment_{bank}_{run.attempt}", check)
    details: dict[str, Any] = {
        "phase": "align",
        "binding": hashlib.sha256(found.check).hexdigest(),
        "values": 1,
    }
    total = n_own + len(party.test.ids)
    everybody = f"{bank}, all holders of columns and the coordinator"
    party.store.record(
        run.name,
        what="size of own set",
        unit="all own customers",
        recipient=everybody,
        rows=total,
        **details,
    )
    party.store.record(
        run.name,
        what=f"who is common with {bank}",
        unit="customer",
        recipient=f"{bank} and all holders of columns",
        rows=len(found.positions),
        **details,
    )
    return [len(train), len(test)]


def moments(
    party: Party, channel: SealedChannel, run: Run, job: Mapping[str, Any]
) -> dict[str, Any]:
    """Add the blocks of the table of counts; the builder fits the card."""
    shape = survivors(party, run)
    common = {bank: int(both[0]) for bank, both in job.get("common", {}).items()}
    work = run.blocks(shape, common)
    banks = shape.banks if party.name in shape.columns else (party.name,)
    rows = {bank: rows_of(party, run, job, bank, "train") for bank in banks}
    for bank, found in rows.items():
        if shape.columns and len(found) != common[bank]:
            raise BadPeer(f"counts other customers of {bank} than were aligned", party=COORDINATOR)
    if party.name in shape.columns:
        together = np.concatenate([found[: work.rows[bank]] for bank, found in rows.items()])
        plans = phases.plan(party, run, together, len(together))
    else:
        plans, _ = bank_plans(party, run, job)
    mine = {
        bank: _sampled(party, channel, run, job, shape, bank, found, plans)
        for bank, found in rows.items()
    }
    matrices = {bank: matrix for bank, (matrix, _) in mine.items()}
    result = {"width": next(iter(matrices.values())).width, "blocks": len(plans)}
    if run.noisy:
        released = noisy_banks.add(party, channel, run, work, matrices)
        party.store.save_value(run.name, f"plans_{run.attempt}", plans_to_value(plans))
        return result if released is None else result | noisy_builder.fit_sum(party, run, released)
    binding = _moments_binding(party, plans, mine)
    n_rows = sum(len(chosen) for _, chosen in mine.values())

    def consent() -> None:
        party.store.journal.open_moments(
            binding, accept_more=party.settings.further_moments == "accept"
        )
        party.store.record(
            run.name,
            phase="moments",
            what="moments, added over all banks",
            unit="customers of all banks in a pair of bins",
            recipient=shape.builder,
            rows=n_rows,
            values=result["width"] ** 2,
            binding=binding,
        )

    opened = add_blocks(
        channel,
        work,
        matrices,
        minimum=phases.floors(party).minimum(work.total),
        max_rank_share=party.federation.floors.builder_rank,
        journal=party.store.journal,
        consent=consent,
    )
    party.store.save_value(run.name, f"plans_{run.attempt}", plans_to_value(plans))
    return result if opened is None else result | builder.fit(party, run, opened)


def _sampled(
    party: Party,
    channel: SealedChannel,
    run: Run,
    job: Mapping[str, Any],
    shape: Shape,
    bank: str,
    rows: Ints,
    plans: Plans,
) -> tuple[OneHot, Ints]:
    """Return a bank's customers as own bins, in the order that all who know them share."""
    if not shape.columns:
        return phases.matrix(party, plans, rows, ""), rows
    attempt = int(job["attempts"]["align"])
    check = party.store.load_value(run.name, f"alignment_{bank}_{attempt}")["check"]
    coin = toss(channel, shape.around(bank), plans_digest(plans, urandom(32)))
    wanted = min(len(rows), party.federation.protocol.sample_cap)
    chosen = rows[sample_rows(coin, len(rows), wanted)]
    order = hashlib.sha256(bytes.fromhex(check) + coin).hexdigest()
    return phases.matrix(party, plans, chosen, order), chosen


def _moments_binding(party: Party, plans: Plans, mine: Mapping[str, tuple[OneHot, Ints]]) -> str:
    """Return the digest of bins and customers, whoever else took part."""
    whole = {bank: phases.binding_of(party, rows, plans) for bank, (_, rows) in mine.items()}
    if party.name in whole:
        return whole[party.name]
    return hashlib.sha256(pack_value(whole)).hexdigest()


def score(party: Party, channel: SealedChannel, run: Run, job: Mapping[str, Any]) -> dict[str, Any]:
    """Score the customers at their own bank; the builder calibrates on counts of all banks."""
    shape = survivors(party, run)
    card = str(job["card"])
    plans_file = f"plans_{int(job['attempts']['moments'])}"
    plans = plans_from_value(party.store.load_value(run.name, plans_file), "plans.json")
    part, _ = phases.take_parts(party, channel, run, plans, card)
    totals: dict[str, tuple[Ints, Ints]] = {}
    for bank in shape.banks if party.name in shape.columns else (party.name,):
        train, test = (rows_of(party, run, job, bank, table) for table in ("train", "test"))
        points = np.concatenate(
            [
                part.total(encode(plans, party.train, train)),
                part.total(encode(plans, party.test, test)),
            ]
        )
        whole = (
            _open_points(party, channel, run, shape, bank, card, (train, test), points)
            if shape.columns
            else points
        )
        if whole is not None and bank == party.name:
            totals = {"train": (whole[: len(train)], train), "test": (whole[len(train) :], test)}
    party.store.keep_value(run.name, "part", part.to_mapping() | {"card": card})
    if party.name in shape.columns:
        return {}
    result = _evaluate(party, channel, run, shape, totals)
    own_card.tell(party, run, totals)
    return result


def _open_points(
    party: Party,
    channel: SealedChannel,
    run: Run,
    shape: Shape,
    bank: str,
    card: str,
    rows: tuple[Ints, Ints],
    points: Ints,
) -> Ints | None:
    """Open the points of a bank's customers at that bank, one whole number each."""
    work = score_job(run, shape, bank, len(points), card)
    check_two_parties(work)
    ids = [party.train.ids[row] for row in rows[0]] + [party.test.ids[row] for row in rows[1]]
    customers = digests(ids, points)
    two = len(work.holders) == 2
    party.store.record(
        run.name,
        phase="score",
        what="own points, openly" if two else "sum of all parties' points",
        unit="customer",
        recipient=bank,
        rows=len(points),
        values=len(points),
        binding=customers[1],
    )
    return add_points(channel, work, points, customers=customers, journal=party.store.journal)


def _evaluate(
    party: Party,
    channel: SealedChannel,
    run: Run,
    shape: Shape,
    totals: Mapping[str, tuple[Ints, Ints]],
) -> dict[str, Any]:
    """Count good and bad by points at every bank, and add; the builder finishes the card."""
    half = MAX_POINTS * len(shape.units)
    tables = {"train": party.train, "test": party.test}
    counts = [
        bank_builder.by_points(points, builder.label_of(tables[name])[rows], half)
        for name, (points, rows) in totals.items()
    ]
    vector = np.concatenate([part.ravel() for part in counts])
    n_rows = sum(len(points) for points, _ in totals.values())
    party.store.record(
        run.name,
        phase="score",
        what="sum of the banks' counts: good and bad by points",
        unit="customers of all banks with so many points",
        recipient=shape.builder,
        rows=n_rows,
        values=len(vector),
        binding=hashlib.sha256(vector.tobytes()).hexdigest(),
    )
    job = run.counts(shape, "points", len(vector))
    summed = sum_party(channel, job, vector, journal=party.store.journal)
    return {} if summed is None else bank_builder.finish(party, run, summed, half)
