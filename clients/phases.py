"""A party's side of each phase: align, moments, score.

A phase reads what earlier phases left in the party's folder, runs one protocol after the other over
the sealed channel, writes to the ledger what was opened, and keeps its result.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from os import urandom
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clients.card import builder
from clients.card.alone import evaluate_alone
from clients.card.common import find_common
from clients.card.parts import (
    Part,
    Plans,
    encode,
    plans_digest,
    plans_from_value,
    plans_to_value,
    take,
)
from clients.noise import columns as noisy_columns
from clients.noise import moments as noise
from clients.party import Party
from clients.store import of_attempt
from shared.arrays import pack_value, unpack_value
from shared.errors import BadPeer, DataError, FloorBroken
from shared.jobs import Run
from shared.privacy.terms import MOST_BINS
from shared.protocols.align import Alignment
from shared.protocols.products import OneHot, multiply
from shared.protocols.sample import sample_rows, toss
from shared.protocols.score import add_points, check_two_parties, digests
from shared.scorecard.bins import Floors
from shared.scorecard.planning import ColumnSettings, plan_blocks
from shared.scorecard.thin import rank_of, thin
from shared.sealed import SealedChannel


def align(party: Party, channel: SealedChannel, run: Run, _: Mapping[str, Any]) -> dict[str, Any]:
    """Find the common customers, to learn from and to evaluate on, in one common order."""
    noise.check_budget(party)
    return _keep_alignment(party, run, find_common(party, channel, run.align()))


def _keep_alignment(party: Party, run: Run, found: Alignment) -> dict[str, Any]:
    n_own = len(party.train.ids)
    train = found.positions[found.positions < n_own]
    test = found.positions[found.positions >= n_own] - n_own
    minimum = party.federation.protocol.min_common
    if len(train) < minimum:
        raise FloorBroken(
            f"{len(train)} common customers to learn from; at least {minimum} are needed",
            hint="the parties share too few customers, or spell their ids differently",
        )
    if party.is_builder:
        builder.check_classes(party, train, test)
    store, attempt = party.store, run.attempt
    store.save_array(run.name, of_attempt("train_rows", attempt), train)
    store.save_array(run.name, of_attempt("test_rows", attempt), test)
    check = {"check": found.check.hex()}
    store.save_value(run.name, of_attempt("alignment", attempt), check)
    details: dict[str, Any] = {
        "phase": "align",
        "binding": hashlib.sha256(found.check).hexdigest(),
        "values": 1,
    }
    total = n_own + len(party.test.ids)
    everybody = "all parties and the coordinator"
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
        what="who is common",
        unit="customer",
        recipient="all parties",
        rows=len(found.positions),
        **details,
    )
    told = {"n_train": len(train), "n_test": len(test), "own": total}
    if party.is_builder:
        told["both_classes"] = builder.both_classes(party, test)
    return told


def moments(
    party: Party, channel: SealedChannel, run: Run, job: Mapping[str, Any]
) -> dict[str, Any]:
    """Exchange moments once; the builder fits the card."""
    rows = aligned(party, run, job, "train")
    work = run.moments(int(job["n_train"]))
    _check_count(len(rows), int(job["n_train"]))
    plans = plan(party, run, rows, work.n_rows)
    salt = urandom(32)
    coin = toss(channel, run.federation.holders, plans_digest(plans, salt))
    sampled = rows[sample_rows(coin, len(rows), work.n_rows)]
    order = hashlib.sha256(check_of(party, run, job) + coin).hexdigest()
    mine = matrix(party, plans, sampled, order)
    result = {"order": order, "width": mine.width, "blocks": len(plans)}
    if run.noisy:
        fitted = noisy_columns.moments(party, channel, run, work, mine)
        party.store.keep_value(run.name, "plans", plans_to_value(plans))
        return result | fitted
    binding = binding_of(party, sampled, plans)

    def consent() -> None:
        party.store.journal.open_moments(
            binding, accept_more=party.settings.further_moments == "accept"
        )
        party.store.record(
            run.name,
            phase="moments",
            what="moments",
            unit="customers in a pair of bins",
            recipient=run.federation.builder,
            rows=work.n_rows,
            values=mine.width**2,
            binding=binding,
        )

    opened = multiply(
        channel,
        work,
        mine,
        minimum=floors(party).minimum(work.n_rows),
        max_rank_share=party.federation.floors.builder_rank,
        journal=party.store.journal,
        consent=consent,
    )
    party.store.keep_value(run.name, "plans", plans_to_value(plans))
    if opened is None:
        return result
    return result | builder.fit(party, run, opened)


def score(party: Party, channel: SealedChannel, run: Run, job: Mapping[str, Any]) -> dict[str, Any]:
    """Open the common customers' points at the builder; it calibrates and evaluates."""
    n_train, n_test = int(job["n_train"]), int(job["n_test"])
    train, test = (aligned(party, run, job, table) for table in ("train", "test"))
    _check_count(len(train) + len(test), n_train + n_test)
    plans = plans_from_value(party.store.load_value(run.name, "plans"), "plans.json")
    work = run.score(n_train + n_test, str(job["card"]))
    check_two_parties(work)
    part, alone = take_parts(party, channel, run, plans, work.card)
    codes_train = encode(plans, party.train, train)
    codes_test = encode(plans, party.test, test)
    points = np.concatenate([part.total(codes_train), part.total(codes_test)])
    ids = [party.train.ids[row] for row in train] + [party.test.ids[row] for row in test]
    customers = digests(ids, points)
    two = len(run.federation.holders) == 2
    party.store.record(
        run.name,
        phase="score",
        what="own points, openly" if two else "sum of all parties' points",
        unit="customer",
        recipient=run.federation.builder,
        rows=len(points),
        values=len(points),
        binding=customers[1],
    )
    totals = add_points(channel, work, points, customers=customers, journal=party.store.journal)
    order = hashlib.sha256(b"test" + check_of(party, run, job)).hexdigest()
    both_classes = bool(job.get("both_classes", True))
    points = alone.total(codes_test)
    tables = evaluate_alone(party, channel, run, n_test, both_classes, test, points, order)
    party.store.keep_value(run.name, "part", part.to_mapping() | {"card": work.card})
    if totals is None:
        return {}
    return builder.finish(party, run, totals, train, test, points, tables)


def aligned(party: Party, run: Run, job: Mapping[str, Any], table: str) -> NDArray[np.int64]:
    """Return the common customers' rows in one of the own tables, in common order."""
    return party.store.load_array(run.name, of_attempt(f"{table}_rows", _aligned_in(job)))


def check_of(party: Party, run: Run, job: Mapping[str, Any]) -> bytes:
    """Return the digest of who is common, in common order."""
    value = party.store.load_value(run.name, of_attempt("alignment", _aligned_in(job)))
    return bytes.fromhex(value["check"])


def _aligned_in(job: Mapping[str, Any]) -> int:
    """Return the attempt under which phase `align` ended at everybody."""
    return int(job.get("attempts", {}).get("align", 1))


def plan(party: Party, run: Run, rows: NDArray[np.int64], n_sampled: int) -> Plans:
    """Plan the own bins on the common customers, from the own values alone.

    The builder keeps the thresholds that its own label asks for first, as many as the federation
    allows. With noise every other holder reads its bins off a noisy histogram.
    """
    settings = column_settings(party, len(rows), n_sampled)
    # The common order is random to everybody: its first rows are a sample, and memory stays flat.
    few = rows[:n_sampled]
    values = take(party.train, few)
    if run.noisy and not party.is_builder:
        return noise.plan_alone(party, run, values, len(few))
    features = party.contract.of(party.name)
    plans = plan_blocks(party.name, features, values, settings, with_pairs=not party.is_builder)
    if not party.is_builder:
        return plans
    allowed = int(n_sampled * party.federation.floors.builder_rank) - 1  # one is the label's
    plans = thin(plans, values, builder.label_of(party.train)[few], allowed)
    if rank_of(plans) > allowed:
        raise FloorBroken(
            f"{len(rows)} common customers allow the builder columns of rank {allowed}; its "
            "categories, missing and special values alone need more",
            hint="more customers, or fewer features at the builder",
        )
    return plans


def column_settings(party: Party, n_rows: int, n_sampled: int) -> ColumnSettings:
    """Return how columns are cut, as the federation agreed; with noise coarsely, without pairs."""
    card = party.federation.scorecard
    noisy = noise.asked_for(party)
    return ColumnSettings(
        thresholds=min(card.thresholds, MOST_BINS - 1) if noisy else card.thresholds,
        pair_thresholds=max(card.pair_thresholds, 1),
        pair_levels=card.pair_levels,
        pairs=card.pair_thresholds > 0 and not noisy,
        floors=_floors_for_sample(floors(party), n_rows, n_sampled),
        summaries=party.contract.summaries,
    )


def floors(party: Party) -> Floors:
    """Return the fewest customers behind a bin, as the federation agreed."""
    agreed = party.federation.floors
    return Floors(rows=agreed.rows, share=agreed.share)


def _floors_for_sample(agreed: Floors, n_rows: int, n_sampled: int) -> Floors:
    """Leave room for chance where the bins are planned on other rows than they are counted on.

    Beyond the sampling cap both are random samples of one size. A bin of k rows in one has about k
    in the other, with a standard deviation under the root of 2 k; five of them are added.
    """
    if n_sampled == n_rows:
        return agreed
    wanted = agreed.minimum(n_sampled)
    return Floors(agreed.rows, min(0.5, (wanted + 5 * (2 * wanted) ** 0.5) / n_sampled))


def matrix(party: Party, plans: Plans, rows: NDArray[np.int64], order: str) -> OneHot:
    """Return the own bins of some rows; with the label behind them where the party holds it.

    Raises
    ------
    FloorBroken
        If the party has no bin.
    """
    codes = encode(plans, party.train, rows)
    sizes = [plan.n_atoms for plan in plans]
    if party.train.label is not None:
        label = builder.label_of(party.train)[rows]
        codes = np.column_stack([codes, label.astype(codes.dtype)])
        sizes.append(2)
    if not sizes:
        raise FloorBroken("no bin is left at this party: every one was merged away")
    description = pack_value([plan.public().to_mapping() for plan in plans])
    return OneHot(codes, tuple(sizes), description, order)


def binding_of(party: Party, rows: NDArray[np.int64], plans: Plans) -> str:
    """Return the digest of the set of customers and of the bins, whatever the order."""
    ids = sorted(party.train.ids[row] for row in rows.tolist())
    return hashlib.sha256(pack_value([ids, plans_to_value(plans)])).hexdigest()


def take_parts(
    party: Party, channel: SealedChannel, run: Run, plans: Plans, card: str
) -> tuple[Part, Part]:
    """Give every holder its part of the card, and of its own card; take the own parts."""
    sender = run.federation.builder
    if party.is_builder:
        parts = builder.parts(party, run)
        for holder in run.parties:
            if holder != party.name:
                channel.send(holder, "score/part", pack_value(parts[holder]))
        value = parts[party.name]
    else:
        value = unpack_value(channel.receive(sender, "score/part"))
    value = value if isinstance(value, dict) else {}
    if value.get("digest") != card:
        raise BadPeer("its part is of another card than the coordinator named", party=sender)
    return (
        Part.received(plans, value.get("card"), sender),
        Part.received(plans, value.get("alone"), sender),
    )


def _check_count(own: int, told: int) -> None:
    if own != told:
        raise DataError(
            "alignment", [f"{own} common customers here, {told} in the coordinator's message"]
        )
