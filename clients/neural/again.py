"""A network's release that was made, or begun, before: a run is released once.

Before it signs, a party writes down the network that it signs. Whoever resumes the run signs that
one and no other; and where the release was completed, even if only one party kept it, everybody
takes that one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clients.neural.challenger import Trained, conclude, scored
from clients.neural.data import Model
from clients.party import Party
from clients.releases.kept import need_key, release_of
from shared.arrays import pack_value
from shared.challenger.network import Network
from shared.challenger.shapley import Model as Scorer
from shared.challenger.tensors import Weights
from shared.jobs import Run
from shared.release import NEURAL, Release, pack_release, refuse, verify_release

Floats = NDArray[np.float64]

FILE = "neural_release"


def settle(party: Party, run: Run, trained: Trained) -> None:
    """Write down what is about to be signed; what was written down before must be the same.

    Raises
    ------
    ReleaseRefused
        With check `network`, if this party signed another network in this run.
    """
    value = {
        "network": trained.network.to_mapping(),
        "mean": trained.weights.baseline.tolist(),
    }
    if not party.store.run_path(run.name, f"{FILE}.json").exists():
        party.store.save_value(run.name, FILE, value)
    elif pack_value(party.store.load_value(run.name, FILE)) != pack_value(value):
        refuse(
            "network",
            f"{party.name} was about to sign another network in run {run.name}",
            hint="a table has changed since: change it back, or train anew, without --resume",
        )


def known(party: Party, run: Run) -> dict[str, Any] | None:
    """Return the release of this run that the party keeps, packed without its weights, if any."""
    found = release_of(party.releases, run.name, NEURAL)
    return pack_release(replace(found, weights=b"")) if found else None


def take(
    party: Party,
    run: Run,
    bare: Release,
    model: Model,
    score: Scorer,
    ids: Sequence[str],
    inputs: Floats,
) -> dict[str, Any]:
    """Take a completed release of this run: the one that this party signed, with its own weights.

    Parameters
    ----------
    party : Party
    run : Run
    bare : Release
        Without weights, as another party may have kept it.
    model : Model
        What this party kept after the last round.
    score : callable
        The model.
    ids : sequence of str, length n
        Own customers who consent to a score.
    inputs : ndarray of float64, shape (n, width)

    Returns
    -------
    dict
        See `clients.neural.release.release`.

    Raises
    ------
    ReleaseRefused
        By the name of the check that failed; `signature` if this party never signed it.
    """
    manifest = bare.manifest
    if party.store.journal.releases.get(manifest.counter) != manifest.digest():
        refuse("signature", f"{party.name} did not sign {manifest.name}", party=party.name)
    mean = np.array(party.store.load_value(run.name, FILE)["mean"], dtype=np.float64)
    weights = Weights(model.weights, mean)
    whole = replace(bare, weights=weights.to_bytes())
    verify_release(
        whole,
        party.federation,
        now=party.store.now(),
        newest=manifest.counter - 1,
        contract=run.contract_digest,
    )
    network = manifest.model
    assert isinstance(network, Network)  # its weights were verified
    trained = Trained(network, weights, score, {})
    told = conclude(party, whole, lambda: scored(trained, ids, inputs, need_key(party)), len(ids))
    why = "" if "against" in manifest.evaluation else "it was not when the release was made"
    return told | ({"not_compared": why} if party.is_builder else {})
