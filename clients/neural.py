"""A party's side of the neural model: scale the inputs, train rounds, evaluate and keep it.

The party hands in means, weighted by its customers, to secure sums that the coordinator opens; its
own weights, counts and metrics stay here. torch is imported when a round starts, not before: a
party of the scorecard needs none.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clients.holdings import load_holding
from clients.party import Party
from shared import metrics
from shared.contract import Columns
from shared.errors import BadPeer, DataError, EnvironmentFault, FloorBroken
from shared.jobs import COORDINATOR, Run
from shared.neural import average
from shared.neural.inputs import Scaling, check_same_features, encode, own_means, width
from shared.neural.layout import Layout, model_digest
from shared.protocols.sum import sum_party
from shared.sealed import SealedChannel

Floats = NDArray[np.float64]
_ALL = "all parties and the coordinator"


def scale(party: Party, channel: SealedChannel, run: Run, _: Mapping[str, Any]) -> dict[str, Any]:
    """Hand in the own means of the inputs; see `shared.neural.inputs.own_means`.

    Returns
    -------
    dict
        Number of the network's inputs, the same at every party.

    Raises
    ------
    ConfigError
        If the parties' features differ.
    EnvironmentFault
        If torch is not installed: better now than after the first exchange.
    FloorBroken
        If a feature is present for some customers here, but for too few: their mean is handed in.
    """
    check_same_features(party.contract)
    _check_torch()
    table = _table(party, party.settings.train)
    features = party.contract.of(party.name)
    values = own_means(features, table.values)
    _check_present(values[: len(features)] * len(table.ids), party.federation.floors.rows)
    _contribute(party, channel, run, average.SCALE_PHASE, values, len(table.ids), what="inputs")
    return {"width": width(features)}


def train_round(
    party: Party, channel: SealedChannel, run: Run, job: Mapping[str, Any]
) -> dict[str, Any]:
    """Train from the common weights, and hand in the result.

    Returns
    -------
    dict
        Nothing of the party's own.

    Raises
    ------
    BadPeer
        If the coordinator's weights do not fit the agreed network, it shows another model to
        another party, or asks for a round that was not agreed on.
    Refused
        If the training diverged, or this model was already trained in another cohort.
    """
    number = int(job["round"])
    agreed = party.federation.neural
    if not 1 <= number <= agreed.rounds:
        raise BadPeer(f"it asks for round {number} of {agreed.rounds}", party=COORDINATOR)
    layout, scaling, weights, digest = _model(party, job)
    table = _table(party, party.settings.train)
    from shared.neural.train import Recipe, train  # noqa: PLC0415 - torch takes seconds; only here

    recipe = Recipe(
        epochs=agreed.local_epochs,
        batch=agreed.batch,
        learning_rate=agreed.learning_rate,
        seed=agreed.seed,
        label=f"{party.name}/{number}",
    )
    inputs = encode(party.contract.of(party.name), table.values, scaling)
    trained, loss = train(layout, weights, inputs, _label(table), recipe)
    _contribute(
        party,
        channel,
        run,
        average.round_phase(number),
        np.append(trained, loss),
        len(table.ids),
        model=digest,
        what=f"weights and loss of round {number}",
    )
    return {}


def evaluate(
    party: Party, channel: SealedChannel, run: Run, job: Mapping[str, Any]
) -> dict[str, Any]:
    """Evaluate the model on the own customers held out, hand in the metrics, and keep the model.

    Returns
    -------
    dict
        Nothing of the party's own.

    Raises
    ------
    DataError
        If the customers to evaluate on are of one class.
    """
    layout, scaling, weights, digest = _model(party, job)
    table = _table(party, party.settings.test)
    label = _label(table)
    if not 0 < label.sum() < len(label):
        raise DataError(party.settings.test, ["the customers are of one class only"])
    from shared.neural.train import default_prob  # noqa: PLC0415 - torch takes seconds; only here

    inputs = encode(party.contract.of(party.name), table.values, scaling)
    prob = default_prob(layout, weights, inputs)
    own = {"auc": metrics.roc_auc(label, prob), "log_loss": metrics.log_loss(label, prob)}
    _contribute(
        party,
        channel,
        run,
        average.EVALUATE_PHASE,
        np.array([own["auc"], own["log_loss"]]),
        len(label),
        model=digest,
        what="metrics",
    )
    party.store.save_array(run.name, "neural_weights", weights)
    party.store.save_value(
        run.name,
        "neural",
        {
            "digest": digest,
            "contract": run.contract_digest,
            "width": layout.width,
            "hidden": layout.hidden,
            "scaling": scaling.to_mapping(),
            "own_test": own,
        },
    )
    return {}


def _contribute(
    party: Party,
    channel: SealedChannel,
    run: Run,
    label: str,
    values: Floats,
    n_examples: int,
    *,
    model: str = "",
    what: str,
) -> None:
    """Add to a weighted mean; the ledger's line is written before anything leaves."""
    minimum = party.federation.floors.rows
    if n_examples < minimum:
        raise FloorBroken(f"{n_examples} customers; a mean takes at least {minimum} of a party")
    job = average.mean_job(
        run.name, label, run.federation.holders, COORDINATOR, model=model, length=len(values)
    )
    own = average.weigh(values, n_examples)
    party.store.record(
        run.name,
        phase=label,
        what=f"mean over the parties: {what}",
        unit="all own customers",
        recipient=_ALL,
        rows=n_examples,
        values=job.length,
        binding=job.digest,
    )
    sum_party(channel, job, own, journal=party.store.journal)


def _model(party: Party, job: Mapping[str, Any]) -> tuple[Layout, Scaling, Floats, str]:
    """Read the coordinator's model; it must fit the contract and the agreed network."""
    features = party.contract.of(party.name)
    layout = Layout(width(features), party.federation.neural.hidden)
    scaling = Scaling.from_mapping(job.get("scaling"), len(features), COORDINATOR)
    weights = np.asarray(job.get("arrays", {}).get("weights", ()))
    if weights.dtype != np.float64 or weights.shape != (layout.size,):
        raise BadPeer("the weights do not fit the agreed network", party=COORDINATOR)
    if not np.isfinite(weights).all():
        raise BadPeer("the weights are not finite", party=COORDINATOR)
    return layout, scaling, weights, model_digest(layout, scaling, weights)


def _table(party: Party, name: str) -> Columns:
    return load_holding(party.store.home / name, party.contract, party.name, with_label=True)


def _label(table: Columns) -> NDArray[np.int64]:
    assert table.label is not None  # asked for
    return table.label.astype(np.int64)


def _check_present(present: Floats, minimum: int) -> None:
    """Refuse a feature of few customers: where nobody else has it, the mean opens their values."""
    counts = np.rint(present)
    few = int(((counts > 0) & (counts < minimum)).sum())
    if few:
        raise FloorBroken(
            f"{few} of {len(counts)} features are there for 1 to {minimum - 1} customers only; "
            f"a mean takes at least {minimum}, or none",
            hint="leave such a feature empty for everybody at this party",
        )


def _check_torch() -> None:
    if importlib.util.find_spec("torch") is None:
        raise EnvironmentFault(
            "the neural model needs torch, which is not installed",
            hint="pip install 'confide[neural]'; without a GPU, add "
            "--extra-index-url https://download.pytorch.org/whl/cpu and save gigabytes",
        )
