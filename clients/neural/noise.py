"""A party's side of a noisy training: pay, write down, draw, and only then hand in.

A round is one Flower message and some steps over the channel. At each step the party draws its
customers, adds up their clipped gradients, adds its share of the noise, and the coordinator opens
the secure sum and sends the next weights. The order is that of every noisy release; see
`clients.noise.opening`.

What it costs follows from the federation file alone; see `shared.neural.noisy`. Whatever weights
the coordinator sends, and however often it asks, the noise is that of the ledger's line, and the
party's own budget is the end of it.
"""

from __future__ import annotations

from dataclasses import replace
from os import urandom
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clients.neural.data import ALL, Model, learning
from clients.noise.opening import Cost, Opening, budget_of, write_down
from clients.party import Party
from shared.arrays import unpack_array
from shared.errors import FloorBroken
from shared.jobs import COORDINATOR, Run
from shared.neural import average, noisy, noisy_edges
from shared.neural.layout import model_digest
from shared.neural.noisy import Plan
from shared.privacy.accounting import Mechanism
from shared.privacy.audit import mechanism_of
from shared.privacy.noise import SharedNoise
from shared.protocols.sum import sum_party
from shared.protocols.sum_job import FreshInputs, SumJob
from shared.sealed import SealedChannel

Ints = NDArray[np.int64]

# What the budget's lines and the ledger's say of a training.
_EDGES, _STEPS = "edges of the neural model's inputs", "steps of the neural model"
_PLAN = "neural_noise"


def plan_of(party: Party, run: Run) -> Plan:
    """Return what the training costs; solved by the party itself, once a run.

    Raises
    ------
    ConfigError, EnvironmentFault
        See `shared.neural.noisy.Plan.of`.
    Refused
        If this run began under another agreement.
    """
    agreement = party.federation.agreement(run.contract_digest)
    store = party.store
    if store.run_path(run.name, f"{_PLAN}.json").exists():
        known = store.load_value(run.name, _PLAN)
        if known["agreement"] == agreement:
            return Plan.with_noise(party.federation, known["edges"], known["steps"])
    plan = Plan.of(party.federation)
    found = {"edges": plan.edges.multiplier, "steps": plan.steps.multiplier}
    store.keep_value(run.name, _PLAN, {"agreement": agreement, **found})
    return plan


def check_budget(party: Party, run: Run) -> None:
    """Refuse a training that this party cannot pay for, before any party has paid for a part.

    A run that went on before is paid for, as far as it goes; what is played again is paid again.

    Raises
    ------
    BudgetSpent
        Says what is spent, and what it would be.
    """
    plan, budget = plan_of(party, run), budget_of(party)
    if not any(line.run == run.name for line in budget.lines()):
        budget.check("a training of the neural model", [plan.edges, plan.steps])


def edges(party: Party, channel: SealedChannel, run: Run) -> dict[str, Any]:
    """Hand in the own customers by public bucket of each feature, with noise.

    The whole training is paid for here: its rounds draw on that.

    Returns
    -------
    dict
        Nothing of the party's own.

    Raises
    ------
    BudgetSpent
        If it cannot be; nothing was drawn.
    FloorBroken, Refused
        See `clients.neural.data.contribute`.
    """
    plan = plan_of(party, run)
    features = party.contract.of(party.name)
    own, _ = learning(party)
    _admit(party, run, len(own))
    job = noisy.edges_job(run, noisy_edges.counted(features))
    noise = plan.edges_noise(len(job.cohort), noisy_edges.sensitivity(features))
    costs = [Cost(_EDGES, job.digest, plan.edges)]
    costs += _missing(party, run, plan, plan.steps.steps, job.digest)
    opening = _opening(job, average.EDGES_PHASE, _EDGES, len(own), plan.edges)
    write_down(party, run, noise, opening, costs)
    counts = noisy_edges.own_counts(features, own.values)
    _hand_in(channel, job, counts, noise, len(own))
    return {}


def play_round(
    party: Party, channel: SealedChannel, run: Run, model: Model, number: int
) -> dict[str, Any]:
    """Play the steps of a round, from the weights of its message on.

    Parameters
    ----------
    party : Party
    channel : SealedChannel
    run : Run
    model : Model
    number : int
        Of the round, from 1 on; within those agreed on.

    Returns
    -------
    dict
        Nothing of the party's own.

    Raises
    ------
    BudgetSpent
        If the round is not paid for and cannot be; nothing was drawn.
    BadPeer
        If the coordinator shows another party other weights, or weights that no network has.
    FloorBroken, Refused
        See `clients.neural.data.contribute`.
    """
    from shared.neural.net import build  # noqa: PLC0415 - torch takes seconds; only here
    from shared.privacy.sgd import dp_update  # noqa: PLC0415

    plan, layout, weights = plan_of(party, run), model.layout, model.weights
    own, _ = learning(party)
    _admit(party, run, len(own))
    inputs = model.encoding.apply(own.values)
    noise = plan.step_noise(len(run.parties))
    steps = replace(plan.steps, steps=plan.steps_in(number))
    for step in range(1, steps.steps + 1):
        digest = model_digest(layout, model.encoding, weights)
        job = noisy.step_job(run, number, step, digest, layout.size)
        if step == 1:
            costs = _missing(party, run, plan, steps.steps, job.digest)
            phase, what = average.round_phase(number), f"{_STEPS}, round {number}"
            opening = _opening(job, phase, what, len(own), steps)
            write_down(party, run, noise, opening, costs)
        net = build(layout, weights)
        update = dp_update(net, inputs, own.label, plan.clip, urandom, rate=plan.steps.rate)
        _hand_in(channel, job, update, noise, len(own))
        if step < steps.steps:
            raw = channel.receive(COORDINATOR, noisy.weights_tag(number, step))
            sent = unpack_array(raw, np.float64, (layout.size,), cap=layout.size)
            weights = noisy.check_weights(sent, layout)
    return {}


def _admit(party: Party, run: Run, n_examples: int) -> None:
    """Refuse a party of few customers, and a cohort smaller than agreed."""
    least = party.federation.floors.rows
    if n_examples < least:
        raise FloorBroken(f"{n_examples} customers; a noisy sum takes at least {least} of a party")
    average.check_cohort(run.parties, party.federation)


def _opening(job: SumJob, phase: str, what: str, rows: int, mechanism: Mechanism) -> Opening:
    """Return the ledger's line of a release; a round's steps are one line."""
    rate, steps = mechanism.rate, mechanism.steps
    told = f"sum over the parties, with noise: {what}"
    return Opening(phase, told, ALL, rows, job.length * steps, job.digest, rate, steps)


def _missing(party: Party, run: Run, plan: Plan, steps: int, binding: str) -> list[Cost]:
    """Return what steps still cost: those of a round that is played again are not paid for."""
    budget = budget_of(party)
    alike = replace(plan.steps, steps=1)
    paid = sum(
        line.mechanism.steps
        for line in budget.lines()
        if line.run == run.name and replace(line.mechanism, steps=1) == alike
    )
    played = sum(
        line.entry.noise.steps
        for line in party.store.ledger()
        if line.entry.run == run.name
        and line.entry.noise is not None
        and replace(mechanism_of(line.entry.noise), steps=1) == alike
    )
    missing = played + steps - paid
    return [Cost(_STEPS, binding, replace(plan.steps, steps=missing))] if missing > 0 else []


def _hand_in(
    channel: SealedChannel, job: SumJob, values: Ints, noise: SharedNoise, n_examples: int
) -> None:
    """Add this party's share of the noise, and sum; the number of customers is public."""
    noisy_values = values + noise.draw(len(values), urandom)
    whole = np.append(noisy_values, np.int64(n_examples))
    sum_party(channel, job, whole, journal=FreshInputs())
