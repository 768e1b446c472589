"""A party's side of phase `neural_release`: what is released of the network, and that it is it.

Every party has the weights that it kept after the last round. The banks add their inputs, of which
the coordinator opens the mean that reasons are measured against, and their counts of good and bad
by points, which the builder opens, calibrates on and evaluates with; `clients.neural.challenger`
drafts, signs and publishes. A run is released once: whoever resumes it gets the release that was
signed, or signs the very same network again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clients.banks import bins as bank_bins
from clients.banks import builder as bank_builder
from clients.card import builder
from clients.neural import again as neural_again
from clients.neural import challenger
from clients.neural.challenger import Trained, draft_network
from clients.neural.champion import Champion, champions, compare_with
from clients.neural.data import Model, contribute, layout_of
from clients.neural.judging import check_best
from clients.neural.plan import agree
from clients.party import Party
from clients.releases import feeds
from shared.arrays import pack_value, unpack_array
from shared.challenger.network import Network
from shared.challenger.points import points_of, span
from shared.challenger.shapley import Model as Scorer
from shared.challenger.shapley import blocks_of
from shared.challenger.tensors import Weights
from shared.errors import BadPeer
from shared.jobs import COORDINATOR, Run
from shared.neural import average
from shared.neural.inputs import Encoding
from shared.release import refuse
from shared.scorecard.calibration import fit_calibration
from shared.scorecard.scale import Scale
from shared.sealed import SealedChannel

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

POINTS = "neural_points"
_MEAN = "release/mean"
# What rounding to fixed point may add to a sum of inputs, with room.
_ROUNDING = 1e-5


def release(
    party: Party, channel: SealedChannel, run: Run, job: Mapping[str, Any]
) -> dict[str, Any]:
    """Make the release of the network that this run trained, and this party's score feed of it.

    Returns
    -------
    dict
        Name and digest of the release, customers in the own feed; at the builder also the release,
        and why it was not compared, if so.

    Raises
    ------
    ReleaseRefused
        By the name of the check that failed: `weights` and `network` besides those of a card.
    BadPeer
        If the mean input cannot be the federation's, or a message is malformed.
    FloorBroken
        If this party has too few customers for a sum.
    """
    model = kept(party, run, str(job["model"]))
    from shared.neural.net import log_odds  # noqa: PLC0415 - torch takes seconds; only here

    score = log_odds(model.layout, model.weights)
    tables = feeds.tables(party)  # what is wrong with them shows before anything leaves
    ids = [name for columns in tables for name in columns.ids]
    inputs = np.concatenate([model.encoding.apply(columns.values) for columns in tables])
    found = champions(party)
    plan = agree(party, channel, run, found, str(job.get("champion", "")))
    if plan.again is not None:
        return neural_again.take(party, run, plan.again, model, score, ids, inputs)
    champion = next((one for one in found if one.digest == plan.champion), None)
    trained = _trained(party, channel, run, model, score, champion)
    neural_again.settle(party, run, trained)
    told = challenger.release(party, channel, run, trained, ids, inputs)
    return told | ({"not_compared": plan.why} if party.is_builder else {})


def kept(party: Party, run: Run, digest: str) -> Model:
    """Return the model that this party kept after the last round.

    Parameters
    ----------
    party : Party
    run : Run
    digest : str
        Of the model that the coordinator names.

    Raises
    ------
    ReleaseRefused
        With check `weights`, if it is another one; with `network`, if this party, the builder,
        found another one better.
    EnvironmentFault
        If the party kept none.
    """
    about = party.store.load_value(run.name, "neural")
    weights = party.store.load_array(run.name, "neural_weights")
    encoding = Encoding.from_mapping(party.contract.of(party.name), about["edges"], party.name)
    model = Model(layout_of(encoding, party.federation.neural), encoding, weights)
    if weights.shape != (model.layout.size,) or model.digest != digest:
        why = f"{party.name} keeps other weights of this run than the coordinator names"
        refuse("weights", why)
    check_best(party, run, digest)
    return model


def _trained(
    party: Party,
    channel: SealedChannel,
    run: Run,
    model: Model,
    score: Scorer,
    champion: Champion | None,
) -> Trained:
    """Measure what a release says besides the weights; calibrate and evaluate at the builder."""
    scale = builder.settings_of(party).scale
    learn, test = (model.encoding.apply(one.values) for one in (party.train, party.test))
    mean, customers = _mean_input(party, channel, run, model, learn)
    weights = Weights(model.weights, mean)
    network = _network(party, model, weights, score, scale, customers)
    points = (points_of(score(learn), scale), points_of(score(test), scale))
    summed = _add_points(party, channel, run, points, scale)
    evaluation: dict[str, Any] = {}
    if summed is not None:
        learned, seen = bank_builder.counted(summed, span(scale)[1])
        curve = fit_calibration(*learned)
        bads = float(learned[1].mean())
        network = replace(network, rows=len(learned[1]), bad_rate=bads, calibration=curve)
        evaluation = builder.evaluation(seen[1], seen[0], curve.default_prob(seen[0]))
    if champion is not None:
        found = compare_with(party, channel, run, champion, points[1], scale, network.calibration)
        evaluation |= {"against": found} if found else {}
    if party.is_builder:
        _record_figures(party, run, network, evaluation)
    return Trained(network, weights, score, evaluation)


def _network(
    party: Party, model: Model, weights: Weights, score: Scorer, scale: Scale, customers: int
) -> Network:
    """Return the network's release without what only the builder counts."""
    features = party.contract.of(party.name)
    owners = model.encoding.owners
    widths = [owners.count(place) for place in range(len(features))]
    layout = model.layout
    return draft_network(
        contract=party.contract.digest(),
        rows=customers,
        bad_rate=0.0,
        layout={"kind": "residual", "hidden": layout.hidden, "blocks": layout.blocks},
        encoding={"kind": "piecewise", "edges": model.encoding.to_mapping()},
        weights=weights,
        blocks=blocks_of([item.reason for item in features], widths),
        model=score,
        scale=scale,
    )


def _mean_input(
    party: Party, channel: SealedChannel, run: Run, model: Model, inputs: Floats
) -> tuple[Floats, int]:
    """Return the federation's mean input and its customers, as far as a party can check it."""
    own = inputs.mean(axis=0)
    contribute(
        party,
        channel,
        run,
        average.MEAN_PHASE,
        own,
        len(inputs),
        model=model.digest,
        what="inputs of the network",
    )
    raw = channel.receive(COORDINATOR, _MEAN)
    told = unpack_array(raw, np.float64, (len(own) + 1,), cap=len(own) + 1)
    check_mean_input(told[:-1], told[-1].item(), own, len(inputs))
    return told[:-1].copy(), int(told[-1])


def check_mean_input(mean: Floats, customers: float, own: Floats, n_own: int) -> None:
    """Refuse a mean input that cannot be the federation's, as far as one party can tell.

    Without the own customers what is left must be inputs of the others: each within 0 and 1. That
    all parties were told the same shows when they sign: the mean lies in the file of weights.

    Parameters
    ----------
    mean : ndarray of float64, shape (width,)
        As the coordinator tells it.
    customers : float
        Behind it.
    own : ndarray of float64, shape (width,)
        This party's mean.
    n_own : int

    Raises
    ------
    BadPeer
    """
    whole = np.isfinite(mean).all() and np.isfinite(customers) and customers == int(customers)
    left = customers - n_own
    if whole and left > 0:
        others = mean * customers - own * n_own
        if (others >= -_ROUNDING).all() and (others <= left + _ROUNDING).all():
            return
    raise BadPeer("the mean input that it tells is not the federation's", party=COORDINATOR)


def _add_points(
    party: Party, channel: SealedChannel, run: Run, points: tuple[Ints, Ints], scale: Scale
) -> Ints | None:
    """Count good and bad by points at every bank, and add; the builder opens."""
    half = span(scale)[1]
    labels = [builder.label_of(table) for table in (party.train, party.test)]
    vector = np.concatenate(
        [
            bank_builder.by_points(one, label, half).ravel()
            for one, label in zip(points, labels, strict=True)
        ]
    )
    return bank_bins.add_counts(
        party,
        channel,
        run,
        bank_bins.survivors(party, run),
        POINTS,
        vector,
        hashlib.sha256(vector.tobytes()).hexdigest(),
        sum(map(len, labels)),
        what="good and bad by points of the network",
    )


def _record_figures(
    party: Party, run: Run, network: Network, evaluation: Mapping[str, Any]
) -> None:
    """Write down that the release tells what the builder made of the opened counts."""
    told = pack_value({"network": network.to_mapping(), "evaluation": dict(evaluation)})
    party.store.record(
        run.name,
        phase=average.RELEASE_PHASE,
        what="calibration, metrics and comparison of the network",
        unit="customers of all banks",
        recipient="whoever has the release",
        rows=network.rows,
        values=_figures(evaluation),
        binding=hashlib.sha256(told).hexdigest(),
    )


def _figures(told: Any) -> int:
    """Return how many figures stand in what is told, however deep."""
    if isinstance(told, Mapping | list):
        inner = told.values() if isinstance(told, Mapping) else told
        return sum(map(_figures, inner))
    return 1
