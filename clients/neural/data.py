"""What the phases of the neural model share: own customers, the common model, what is handed in."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clients.audits import openings as audits
from clients.holdings import load_holding
from clients.party import Party
from shared.contract import Columns
from shared.errors import BadPeer, FloorBroken
from shared.jobs import COORDINATOR, Run
from shared.neural import average
from shared.neural.inputs import Encoding
from shared.neural.layout import Layout, model_digest
from shared.protocols.sum import sum_party
from shared.sealed import SealedChannel
from shared.sections import Neural

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
ALL = "all parties and the coordinator"


@dataclass(frozen=True, slots=True)
class Customers:
    """Some of a party's customers.

    Parameters
    ----------
    values : mapping of str to ndarray of float64, shape (n,)
        See `shared.contract.Columns`.
    label : ndarray of int64, shape (n,)
        1 is bad.
    """

    values: Mapping[str, Floats]
    label: Ints

    def __len__(self) -> int:
        return len(self.label)

    @classmethod
    def of(cls, table: Columns, rows: NDArray[np.bool_] | slice = slice(None)) -> Customers:
        """Return a table's customers, or some of them."""
        assert table.label is not None  # asked for
        values = {name: column[rows] for name, column in table.values.items()}
        return cls(values, table.label[rows].astype(np.int64))


def learning(party: Party) -> tuple[Customers, Customers]:
    """Return the customers that the party trains on, and those it holds out of that to check with.

    A hash of the customer's id says which, so that a customer is never on the other side later.
    """
    table = load_holding(
        party.store.home / party.settings.train, party.contract, party.name, with_label=True
    )
    share = party.federation.neural.holdout
    held = np.array([_unit(key) < share for key in table.ids], dtype=bool)
    return Customers.of(table, ~held), Customers.of(table, held)


def testing(party: Party) -> Customers:
    """Return the customers that the party evaluates on."""
    table = load_holding(
        party.store.home / party.settings.test, party.contract, party.name, with_label=True
    )
    return Customers.of(table)


@dataclass(frozen=True, slots=True)
class Model:
    """A model as the coordinator sent it, checked.

    Parameters
    ----------
    layout : Layout
    encoding : Encoding
    weights : ndarray of float64, shape (layout.size,)
    """

    layout: Layout
    encoding: Encoding
    weights: Floats

    @property
    def digest(self) -> str:
        """SHA-256 of the model, hex."""
        return model_digest(self.layout, self.encoding, self.weights)


def layout_of(encoding: Encoding, agreed: Neural) -> Layout:
    """Return the agreed network over the inputs of an encoding."""
    return Layout(encoding.monotone, agreed.hidden, agreed.blocks)


def read_models(party: Party, job: Mapping[str, Any], count: int = 1) -> list[Model]:
    """Read the coordinator's models; they must fit the contract and the agreed network.

    Parameters
    ----------
    party : Party
    job : mapping
        With the edges; its array holds the weights of one model after the other.
    count : int
        Models in it.

    Raises
    ------
    BadPeer
        If they do not fit, or hold a number that no weight can be.
    """
    agreed = party.federation.neural
    features = party.contract.of(party.name)
    encoding = Encoding.from_mapping(features, job.get("edges"), COORDINATOR)
    layout = layout_of(encoding, agreed)
    weights = np.asarray(job.get("arrays", {}).get("weights", ()))
    if weights.dtype != np.float64 or weights.shape != (count * layout.size,):
        raise BadPeer("the weights do not fit the agreed network", party=COORDINATOR)
    if not np.isfinite(weights).all():
        raise BadPeer("the weights are not finite", party=COORDINATOR)
    if np.abs(weights).max(initial=0.0) > average.MAX_VALUE:
        raise BadPeer(f"a weight is beyond +-{average.MAX_VALUE}", party=COORDINATOR)
    return [Model(layout, encoding, part) for part in np.split(weights, count)]


def begin_round(party: Party, run: Run, number: int, model: Model, shrink: float) -> None:
    """Note the model that a round begins from; steps follow from how often it was undone.

    Were their length the coordinator's to say, one party's update could be the only one that moves.

    Raises
    ------
    BadPeer
        If steps of another length are asked for.
    Refused
        If the round is out of order; see `clients.journal.Journal.begin_round`.
    """
    undone = party.store.journal.begin_round(run.name, number, model.digest)
    if shrink != average.shrunk(undone):
        raise BadPeer(f"it asks for steps of {shrink:g}", party=COORDINATOR)


def check_ending(party: Party, run: Run, model: Model) -> None:
    """Refuse to evaluate a second model: metrics of any model asked for would tell too much.

    Raises
    ------
    BadPeer
        If the run has ended with another one.
    """
    if party.store.run_path(run.name, "neural.json").exists():
        known = party.store.load_value(run.name, "neural")["digest"]
        if known != model.digest:
            raise BadPeer("this run has ended with another model", party=COORDINATOR)


def contribute(
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
    """Add to a weighted mean; the ledger's line is written before anything leaves.

    Raises
    ------
    FloorBroken
        If the party has too few customers for it.
    Refused
        If the cohort is smaller than agreed, or a rule of the sum says no.
    """
    minimum = party.federation.floors.rows
    if n_examples < minimum:
        raise FloorBroken(f"{n_examples} customers; a mean takes at least {minimum} of a party")
    average.check_cohort(run.parties, party.federation)
    job = average.mean_job(
        run.name, label, run.parties, COORDINATOR, model=model, length=len(values)
    )
    own = average.weigh(values, n_examples)
    party.store.record(
        run.name,
        phase=label,
        what=f"mean over the parties: {what}",
        unit="all own customers",
        recipient=ALL,
        rows=n_examples,
        values=job.length,
        binding=job.digest,
    )
    keep = audits.keeper(party, run, label)
    sum_party(channel, job, own, journal=party.store.journal, keep=keep)


def _unit(key: str) -> float:
    """Hash a customer's id to [0, 1)."""
    digest = hashlib.sha256(f"neural holdout\0{key}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48
