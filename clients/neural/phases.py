"""A party's side of the neural model: agree on edges, train rounds, check, evaluate and keep it.

The party hands in means, weighted by its customers, to secure sums that the coordinator opens; its
own updates, counts and metrics stay here. torch is imported when a round starts, not before: a
party of the scorecard needs none.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clients.neural import noise as neural_noise
from clients.neural.data import (
    Customers,
    Model,
    begin_round,
    check_ending,
    contribute,
    learning,
    read_models,
    testing,
)
from clients.neural.judging import judged
from clients.party import Party
from shared import metrics, trueness
from shared.errors import BadPeer, DataError, EnvironmentFault
from shared.jobs import COORDINATOR, Run
from shared.neural import average
from shared.neural.inputs import check_same_features, describe, own_counts
from shared.neural.judging import BETTER, FAIR, HARM, UNCHECKED
from shared.neural.noisy import is_noisy
from shared.neural.scores import tally
from shared.sealed import SealedChannel

if TYPE_CHECKING:
    from shared.neural.personal import Choice
    from shared.neural.train import Recipe

Floats = NDArray[np.float64]

# A loss is at most -log of the least probability that a logit in float64 gives.
_WORST_LOSS = 1000.0


def features(party: Party, run: Run, _: Mapping[str, Any]) -> dict[str, Any]:
    """Say what the features are: names, kinds, levels and directions, as in the contract.

    Returns
    -------
    dict
        See `shared.neural.inputs.describe`.

    Raises
    ------
    ConfigError
        If the parties' features differ.
    EnvironmentFault
        If torch is not installed: better now than after the first exchange.
    BudgetSpent
        If the party cannot pay for a training with noise.
    """
    check_same_features(party.contract)
    _check_torch()
    if is_noisy(party.federation):
        neural_noise.check_budget(party, run)
    return {"features": describe(party.contract.of(party.name))}


def edges(party: Party, channel: SealedChannel, run: Run, _: Mapping[str, Any]) -> dict[str, Any]:
    """Hand in the own customers by public bucket of each feature, none of a few.

    Returns
    -------
    dict
        Nothing of the party's own.
    """
    check_same_features(party.contract)
    if is_noisy(party.federation):
        return neural_noise.edges(party, channel, run)
    own, _held = learning(party)
    counts = own_counts(party.contract.of(party.name), own.values, party.federation.floors.rows)
    contribute(
        party,
        channel,
        run,
        average.EDGES_PHASE,
        counts / max(1, len(own)),
        len(own),
        what="customers by public bucket of each feature",
    )
    return {}


def train_round(
    party: Party, channel: SealedChannel, run: Run, job: Mapping[str, Any]
) -> dict[str, Any]:
    """Train from the common weights, and hand in how they moved, cut to the agreed length.

    Returns
    -------
    dict
        Nothing of the party's own.

    Raises
    ------
    BadPeer
        If the coordinator's weights do not fit the agreed network, it shows another model to
        another party, or asks for a round or a step that was not agreed on.
    Refused
        If the training diverged, this model was already trained in another cohort, or the round
        is out of order.
    """
    number, shrink = int(job["round"]), float(job.get("shrink", 1.0))
    agreed = party.federation.neural
    if not 1 <= number <= agreed.rounds:
        raise BadPeer(f"it asks for round {number} of {agreed.rounds}", party=COORDINATOR)
    pull = agreed.pull if agreed.strategy == "fedprox" else 0.0
    if not 0.0 < shrink <= 1.0 or float(job.get("pull", 0.0)) != pull:
        raise BadPeer("it asks for steps that were not agreed on", party=COORDINATOR)
    model = read_models(party, job)[0]
    begin_round(party, run, number, model, shrink)
    if is_noisy(party.federation):
        return neural_noise.play_round(party, channel, run, model, number)
    own, _ = learning(party)
    from shared.neural.train import train  # noqa: PLC0415 - torch takes seconds; only here

    recipe = _recipe(party, f"{party.name}/{number}", shrink=shrink, pull=pull)
    inputs = model.encoding.apply(own.values)
    trained, loss = train(model.layout, model.weights, inputs, own.label, recipe)
    update = average.clipped(trained - model.weights, agreed.clip)
    contribute(
        party,
        channel,
        run,
        average.round_phase(number),
        np.append(update, min(loss, _WORST_LOSS)),
        len(own),
        model=model.digest,
        what=f"update and loss of round {number}",
    )
    return {}


def check(party: Party, run: Run, job: Mapping[str, Any]) -> dict[str, Any]:
    """Say whether a round harmed, at the builder: on its own customers that nobody trains on.

    Only the verdict leaves, one of four words; the losses behind it do not.

    Returns
    -------
    dict
        ``verdict``: "better" than any round so far, "fair", "harm", or "unchecked" with fewer
        customers held out than the floor; all but the last signed, for this very model.

    Raises
    ------
    Refused
        If the round was not just trained, or was judged before on other models.
    """
    number = int(job["round"])
    _, held = learning(party)
    if not party.is_builder or len(held) < party.federation.floors.rows:
        return {"verdict": UNCHECKED}
    fresh, best = read_models(party, job, 2)
    party.store.journal.give_verdict(run.name, number, f"{fresh.digest} {best.digest}")
    from shared.neural.personal import log_losses  # noqa: PLC0415 - see `train_round`

    inputs = fresh.encoding.apply(held.values)
    loss, least = (
        float(log_losses(fresh.layout, model.weights, inputs, held.label).mean())
        for model in (fresh, best)
    )
    verdict = BETTER if loss < least else FAIR
    if not loss <= least * (1.0 + party.federation.neural.harm):
        verdict = HARM
    return judged(party, run, number, fresh.digest, verdict, len(held))


def evaluate(
    party: Party, channel: SealedChannel, run: Run, job: Mapping[str, Any]
) -> dict[str, Any]:
    """Keep the model or one's own, whichever is better here; hand in how good both are.

    What a party keeps, and why, is told in its own folder only (`runs/<run>/neural.json`).

    Returns
    -------
    dict
        Nothing of the party's own.

    Raises
    ------
    BadPeer
        If the run has ended with another model.
    DataError
        If the customers to evaluate on are of one class.
    """
    model = read_models(party, job)[0]
    check_ending(party, run, model)
    test = testing(party)
    if not 0 < test.label.sum() < len(test):
        raise DataError(party.settings.test, ["the customers are of one class only"])
    from shared.neural.train import default_prob  # noqa: PLC0415 - see `train_round`

    choice = _choose(party, model)
    inputs = model.encoding.apply(test.values)
    common = default_prob(model.layout, model.weights, inputs)
    kept = default_prob(model.layout, choice.weights, inputs)
    # What is kept may be trained here without noise: then nothing that follows from it leaves.
    told = (common,) if is_noisy(party.federation) else (common, kept)
    floor = party.federation.floors.rows
    contribute(
        party,
        channel,
        run,
        average.EVALUATE_PHASE,
        np.concatenate([tally(test.label, prob, floor) for prob in told]),
        len(test),
        model=model.digest,
        what=f"good and bad by score, log loss and Brier score; models: {len(told)}",
    )
    _keep(party, run, model, choice, test, {"common": common, "kept": kept})
    return {}


def _recipe(party: Party, label: str, *, shrink: float = 1.0, pull: float = 0.0) -> Recipe:
    from shared.neural.train import Recipe  # noqa: PLC0415 - see `train_round`

    agreed = party.federation.neural
    return Recipe(
        epochs=agreed.local_epochs,
        batch=agreed.batch,
        learning_rate=agreed.learning_rate * shrink,
        seed=agreed.seed,
        label=label,
        decay=agreed.decay,
        pull=pull,
    )


def _choose(party: Party, model: Model) -> Choice:
    """Compare the common model with a personal head and with the network alone."""
    from shared.neural.personal import choose  # noqa: PLC0415 - see `train_round`

    agreed = party.federation.neural
    own, held = learning(party)
    return choose(
        model.layout,
        model.weights,
        model.layout.initial(agreed.seed),
        (model.encoding.apply(own.values), own.label),
        (model.encoding.apply(held.values), held.label),
        _recipe(party, f"{party.name}/personal"),
        agreed.rounds,
    )


def _keep(
    party: Party,
    run: Run,
    model: Model,
    choice: Choice,
    test: Customers,
    prob: Mapping[str, Floats],
) -> None:
    """Write down model and choice, once: a run that is resumed may evaluate again."""
    if party.store.run_path(run.name, "neural.json").exists():
        return
    for name, weights in (("neural_weights", model.weights), ("neural_kept", choice.weights)):
        if not party.store.run_path(run.name, f"{name}.npy").exists():
            party.store.save_array(run.name, name, weights)
    party.store.save_value(
        run.name,
        "neural",
        {
            "digest": model.digest,
            "contract": run.contract_digest,
            "network": {"hidden": model.layout.hidden, "blocks": model.layout.blocks},
            "edges": model.encoding.to_mapping(),
            "kept": choice.kept,
            "told": _TOLD[choice.kept],
            "held_out_loss": dict(choice.losses),
            "own_test": {
                name: {
                    "auc": metrics.roc_auc(test.label, each),
                    "log_loss": trueness.log_loss(test.label, each),
                }
                for name, each in prob.items()
            },
        },
    )


_TOLD = {
    "common": "the federation's model is the best this party has; it is kept",
    "head": "the federation's model is better here with a last layer of this party's own; "
    "that one is kept",
    "alone": "this party is better off with its own model, trained alone; that one is kept",
}


def _check_torch() -> None:
    if importlib.util.find_spec("torch") is None:
        raise EnvironmentFault(
            "the neural model needs torch, which is not installed",
            hint="pip install 'confide[neural]'; without a GPU, add "
            "--extra-index-url https://download.pytorch.org/whl/cpu and save gigabytes",
        )
