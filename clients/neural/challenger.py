"""A party's side of a network's release: score its own customers, explain, sign, publish.

The network is a callable from inputs to log-odds of default: who trains it brings it along. Every
party has the common weights after the last round, so the file of weights is made at each of them
and sent by none; a party signs only the weights that it holds itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from clients.party import Party
from clients.releases import drafting, feeds, publish
from clients.releases.kept import keep_release, release_names
from shared.challenger.network import Network, digest_of
from shared.challenger.points import points_of
from shared.challenger.shapley import Block, Model, reasons_of, shapley
from shared.challenger.tensors import Weights
from shared.errors import DataError, UsageError
from shared.feed import FeedRow, pseudonyms
from shared.jobs import Run
from shared.release import Manifest, Release, Signature, pack_release, refuse, sign_manifest
from shared.scorecard.reasons import MOST_REASONS
from shared.scorecard.scale import Scale
from shared.sealed import SealedChannel

Floats = NDArray[np.float64]

_CHUNK: Final = 4096  # customers that are explained at once


@dataclass(frozen=True, slots=True)
class Trained:
    """A network as a party holds it after the last round.

    Parameters
    ----------
    network : Network
        At the builder with its calibration.
    weights : Weights
        The common ones, with the federation's mean input.
    model : callable
        From inputs, shape (n, width), to log-odds of default, shape (n,).
    evaluation : mapping
        Metrics, and under ``against`` the comparison with the champion; the builder's is released.
    """

    network: Network
    weights: Weights
    model: Model
    evaluation: Mapping[str, Any]


def draft_network(
    *,
    contract: str,
    rows: int,
    bad_rate: float,
    layout: Mapping[str, Any],
    encoding: Mapping[str, Any],
    weights: Weights,
    blocks: Sequence[Block],
    model: Model,
    scale: Scale,
) -> Network:
    """Return what is released of a network, still without its calibration.

    Parameters
    ----------
    contract : str
        Digest of the data contract.
    rows, bad_rate
        Customers it was trained on, and the share of bad ones.
    layout, encoding : mapping
        Plain JSON values.
    weights : Weights
    blocks : sequence of Block
    model : callable
    scale : Scale
    """
    baseline = weights.baseline
    return Network(
        contract=contract,
        rows=rows,
        bad_rate=bad_rate,
        layout=layout,
        encoding=encoding,
        parameters=len(weights.weights),
        width=len(baseline),
        weights=digest_of(weights.to_bytes()),
        blocks=tuple(blocks),
        mean_points=int(points_of(model(baseline[None]), scale)[0]),
        scale=scale,
    )


def scored(trained: Trained, ids: Sequence[str], inputs: Floats, key: bytes) -> Iterator[FeedRow]:
    """Yield points and reasons of every customer.

    A reason is a public code with the whole points that it costs the customer against the mean
    input: its exact Shapley value.

    Parameters
    ----------
    trained : Trained
    ids : sequence of str, length n
    inputs : ndarray of float64, shape (n, width)
    key : bytes
        The pseudonym key.

    Raises
    ------
    DataError
        If a customer stands there twice, or inputs do not fit.
    """
    if len(set(ids)) != len(ids) or len(ids) != len(inputs):
        raise DataError("score feed", ["a customer stands there twice, or has no inputs"])
    network, baseline = trained.network, trained.weights.baseline
    codes = [block.code for block in network.blocks]
    for start in range(0, len(ids), _CHUNK):
        part = inputs[start : start + _CHUNK]
        points = points_of(trained.model(part), network.scale).tolist()
        added = -network.scale.factor * shapley(trained.model, part, baseline, network.blocks)
        names = pseudonyms(key, ids[start : start + _CHUNK])
        for name, total, row in zip(names, points, added.tolist(), strict=True):
            yield FeedRow(name, total, reasons_of(dict(zip(codes, row, strict=True)), MOST_REASONS))


def release(
    party: Party,
    channel: SealedChannel,
    run: Run,
    trained: Trained,
    ids: Sequence[str],
    inputs: Floats,
) -> dict[str, Any]:
    """Make the release of a network, and this party's score feed of it.

    Parameters
    ----------
    party : Party
    channel : SealedChannel
        Of this phase.
    run : Run
    trained : Trained
    ids : sequence of str, length n
        Own customers who consent to a score.
    inputs : ndarray of float64, shape (n, width)

    Returns
    -------
    dict
        Name and digest of the release, customers in the own feed; at the builder also the release.

    Raises
    ------
    ReleaseRefused
        By the name of the check that a draft, a signature or the complete release failed.
    BadPeer
        If a party's message is malformed; names it.
    UsageError
        If the builder has no calibration yet.
    """
    if party.is_builder and trained.network.calibration is None:
        raise UsageError("the network is not calibrated", hint="fit it to counts of good and bad")
    weights = trained.weights.to_bytes()
    key = publish.agree_key(party, channel, run)
    mine = drafting.state_of(party)
    draft = drafting.agree_draft(
        party,
        channel,
        run,
        mine,
        lambda states: drafting.manifest_of(
            run, party.store.now(), states, trained.network, trained.evaluation, {}
        ),
    )
    drafting.check_head(draft, party, run, mine, lambda: check_network(draft, trained.network))
    signature = _sign(party, run, draft)
    whole = publish.complete(party, channel, run, draft, signature, weights)
    return conclude(party, whole, lambda: scored(trained, ids, inputs, key), len(ids))


def conclude(
    party: Party, whole: Release, rows: Callable[[], Iterable[FeedRow]], customers: int
) -> dict[str, Any]:
    """Keep a complete release, publish the own feed of it, and tell of both.

    What of it this party did before, in an attempt that was broken off, it does not do again.

    Parameters
    ----------
    party : Party
    whole : Release
        Verified.
    rows : callable
        Returns the feed's rows; called only if there is no feed yet.
    customers : int
        How many rows there are.

    Returns
    -------
    dict
        See `release`.
    """
    manifest = whole.manifest
    if manifest.name not in release_names(party.releases):
        keep_release(party.releases, whole)
    if not feeds.path_of(party, manifest).exists():
        feeds.publish_rows(party, manifest, rows(), customers)
    told = {"name": manifest.name, "digest": manifest.digest(), "feed_customers": customers}
    return told | ({"release": pack_release(whole)} if party.is_builder else {})


def check_network(draft: Manifest, own: Network) -> None:
    """Hold the draft's network against the one that this party trained.

    What only the builder counted (customers, share of bad ones, calibration) is its word; points
    of the mean input may differ by the one that rounding on another machine makes.

    Raises
    ------
    ReleaseRefused
        With check `network`, or `weights` if only these are others.
    """
    told = draft.model
    if not isinstance(told, Network):
        refuse("network", "the draft is of a scorecard")
    if told.weights != own.weights:
        refuse("weights", "its weights are not those that this party trained")
    if abs(told.mean_points - own.mean_points) > 1:
        refuse("network", "it gives the mean input other points than this party's network")
    theirs = replace(
        told,
        rows=own.rows,
        bad_rate=own.bad_rate,
        mean_points=own.mean_points,
        calibration=own.calibration,
    )
    if theirs.to_mapping() != own.to_mapping():
        refuse("network", "its network is not the one that this party trained")


def _sign(party: Party, run: Run, draft: Manifest) -> Signature:
    """Sign, after journal and ledger say so."""
    network = draft.model
    assert isinstance(network, Network)  # `check_network`
    digest = draft.digest()
    party.store.journal.sign_release(draft.counter, digest)
    party.store.record(
        run.name,
        phase="release",
        what="weights of the network and its mean input",
        unit="all parties' customers",
        recipient="whoever has the release",
        rows=network.rows,
        values=network.parameters + network.width,
        binding=digest,
    )
    return sign_manifest(party.identity, draft.to_bytes())
