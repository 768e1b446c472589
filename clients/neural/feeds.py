"""A party's feed of a released network, made again from today's table: by the release alone.

What the release holds is all that is needed: its weights and mean input in the file that was
signed, its layout and edges in the manifest.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from clients.neural.challenger import Trained, scored
from clients.party import Party
from clients.releases import feeds
from clients.releases.feeds import Published
from clients.releases.kept import load_release, need_key
from shared.challenger.network import Network
from shared.challenger.tensors import read_weights
from shared.errors import ConfideError, DataError
from shared.neural.inputs import Encoding
from shared.neural.layout import Layout
from shared.release import NEURAL, Release, verify_release


def publish(party: Party, name: str, *, as_of: str = "", out: Path | None = None) -> Published:
    """Score this party's customers by a released network, and keep the signed feed.

    Parameters
    ----------
    party : Party
    name : str
        Of the release.
    as_of, out
        See `clients.releases.feeds.publish`.

    Raises
    ------
    NotFound
        If the party has no such release, or no pseudonym key.
    ReleaseRefused
        If the release fails a check.
    DataError
        If its network is not one of this contract, or a table breaks the contract.
    UsageError
        See `clients.releases.feeds.publish`.
    """
    release, network = own_network(party, name)
    encoding, trained = as_trained(party, release, network)
    tables = feeds.tables(party)
    ids = [one for columns in tables for one in columns.ids]
    inputs = np.concatenate([encoding.apply(columns.values) for columns in tables])
    rows = scored(trained, ids, inputs, need_key(party))
    return feeds.publish_rows(party, release.manifest, rows, len(ids), as_of=as_of, out=out)


def own_network(party: Party, name: str) -> tuple[Release, Network]:
    """Return a network that this party keeps, checked anew.

    Raises
    ------
    NotFound
        If it has none of that name.
    ReleaseRefused
        If it fails a check.
    """
    release = load_release(party.releases, name, kind=NEURAL)
    manifest = release.manifest
    verify_release(
        release,
        party.federation,
        now=party.store.now(),
        newest=manifest.counter - 1,
        contract=party.contract.digest(),
    )
    network = manifest.model
    assert isinstance(network, Network)  # by its kind
    return release, network


def as_trained(party: Party, release: Release, network: Network) -> tuple[Encoding, Trained]:
    """Return how a released network encodes its inputs, and the network ready to score.

    Raises
    ------
    DataError
        If layout, edges and weights do not fit each other and the contract.
    EnvironmentFault
        If torch or safetensors is not installed.
    """
    weights = read_weights(release.weights, network)
    try:
        features = party.contract.of(party.name)
        encoding = Encoding.from_mapping(features, network.encoding["edges"], party.name)
        hidden, blocks = int(network.layout["hidden"]), int(network.layout["blocks"])
        layout = Layout(encoding.monotone, hidden, blocks)
        fits = (layout.size, layout.width) == (network.parameters, network.width)
    except (KeyError, TypeError, ValueError, ConfideError):
        fits = False
    if not fits:
        raise DataError(release.manifest.name, ["its network is none that this program knows"])
    from shared.neural.net import log_odds  # noqa: PLC0415 - torch takes seconds; only here

    return encoding, Trained(network, weights, log_odds(layout, weights.weights), {})
