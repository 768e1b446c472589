"""The coordinator's side of phase `neural_release`: open the mean input, add counts it cannot read.

Drafts, signatures and pseudonyms are between the parties. A run that cannot be released (a network
no better than its first weights, too few banks left to sign) ends well without a release, and says
why: the parties have the model all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from server.coordinator import Coordinator
from server.exchange import exchange
from server.neural.means import Means
from shared.arrays import pack_array, unpack_value
from shared.errors import BadPeer
from shared.jobs import COORDINATOR, Run
from shared.neural import average
from shared.protocols.sum import sum_coordinator
from shared.protocols.sum_commit import Evidence
from shared.sealed import SealedChannel
from shared.shape import Shape

# More counts than points of any scale, or pairs of their bands, come to.
_MOST_COUNTS = 1 << 24


def release_network(
    means: Means, coordinator: Coordinator, width: int, outcome: Mapping[str, Any], champion: str
) -> dict[str, Any]:
    """Have the parties release the network that they trained.

    Parameters
    ----------
    means : Means
        Who takes part.
    coordinator : Coordinator
    width : int
        Inputs of the network.
    outcome : mapping
        Of the training: its best round, and the model's digest.
    champion : str
        Digest of the scorecard that serves, or empty.

    Returns
    -------
    dict
        What the builder tells (`clients.neural.release.release`); without a release, only ``why``.

    Raises
    ------
    ConfideError
        The first party's error, under its name.
    """
    run = means.run
    why = _unfit(run, int(outcome["best_round"]))
    if why:
        return {"why": why}
    digest = str(outcome["model"]["digest"])
    job = {"model": digest, "champion": champion}
    coordinator.tell("phase", name=average.RELEASE_PHASE)
    replies = exchange(
        means.grid,
        coordinator,
        run,
        average.RELEASE_PHASE,
        means.messages("query.neural_release", job, None),
        lambda channel: _add(channel, run, digest, width, means.keeper(average.MEAN_PHASE)),
    )
    seconds = max(reply["seconds"] for reply in replies.values())
    coordinator.tell("done", name=average.RELEASE_PHASE, seconds=seconds, replies=replies)
    return replies[run.federation.builder]


def _unfit(run: Run, best_round: int) -> str:
    if not best_round:
        return "no round made the network better than its first weights"
    signers, quorum = len(run.parties), run.federation.quorum
    if signers < quorum:
        return f"{signers} parties are left to sign, and the quorum is {quorum}"
    return ""


def _add(
    channel: SealedChannel,
    run: Run,
    digest: str,
    width: int,
    keep: Callable[[Evidence, str], None] | None,
) -> None:
    """Open the mean input and tell it; add counts for the builder."""
    builder = run.federation.builder
    plan = _read_plan(channel.receive(builder, "release/plan"), builder)
    if plan["again"]:
        return
    job = average.mean_job(
        run.name, average.MEAN_PHASE, run.parties, COORDINATOR, model=digest, length=width
    )
    total = sum_coordinator(channel, job, keep=keep)
    assert total is not None  # the coordinator is the opener
    mean, customers = average.mean_of(total)
    channel.send_all(run.parties, "release/mean", pack_array(np.append(mean, float(customers))))
    shape = Shape(run.parties, (), builder)
    for label in ("points", "pairs"):
        if plan[label]:
            sum_coordinator(channel, run.counts(shape, f"neural_{label}", plan[label]))


def _read_plan(raw: bytes, builder: str) -> dict[str, Any]:
    value = unpack_value(raw, cap=1 << 10)
    kinds = {"again": bool, "points": int, "pairs": int}
    good = isinstance(value, dict) and value.keys() == kinds.keys()
    if not good or any(type(value[key]) is not kind for key, kind in kinds.items()):
        raise BadPeer("its plan of the release is malformed", party=builder)
    if not (1 <= value["points"] <= _MOST_COUNTS and 0 <= value["pairs"] <= _MOST_COUNTS):
        raise BadPeer("it asks for a sum of a length that no sum has", party=builder)
    return dict(value)
