"""What a party does before anything with noise leaves it: pay, write down, and only then draw.

The budget's line is on the disk first, then the ledger's, then noise is drawn, then something may
leave; every noisy release goes this way. A crash in between has

- before the budget's line: done nothing;
- after it: paid for a release that never was. Nothing is handed back: what is asked for again is
  drawn anew, a second release, and costs again unless the ledger tells that the first never was;
- after the ledger's line: told of an opening that never was. A ledger that says too much is true
  in what it promises, that nothing left without a line; one written after the draw would have
  noise in memory, ready to leave, of which no file knows.

So whatever the disk says after a crash, at least as much was paid and told as has left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import urandom
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clients.noise.budget import Budget, Limit
from clients.party import Party
from shared.errors import BudgetSpent
from shared.jobs import Run
from shared.privacy.accounting import UNIT, Mechanism
from shared.privacy.audit import details, noise_of
from shared.privacy.noise import SharedNoise

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Opening:
    """What the ledger tells of a noisy release; see `shared.ledger.Entry`.

    Parameters
    ----------
    phase, what, recipient : str
    rows, values : int
    binding : str
    rate : float
        Probability by which a customer took part in a step.
    steps : int
        Steps that the line stands for.
    """

    phase: str
    what: str
    recipient: str
    rows: int
    values: int
    binding: str
    rate: float = 1.0
    steps: int = 1


@dataclass(frozen=True, slots=True)
class Cost:
    """What a release takes from the budget; see `clients.noise.budget.Spent`."""

    what: str
    binding: str
    mechanism: Mechanism


def budget_of(party: Party) -> Budget:
    """Return the party's own budget.

    Raises
    ------
    BudgetSpent
        If the party allows nothing.
    """
    settings = party.settings
    if settings.privacy_epsilon <= 0:
        raise BudgetSpent(
            "this party allows no noisy release: its privacy_epsilon is 0",
            hint="raise privacy_epsilon in party.toml, or take no part in what has noise",
        )
    limit = Limit(settings.privacy_epsilon, settings.privacy_delta)
    return Budget(party.store.home / "budget.jsonl", limit, party.store.now)


def write_down(
    party: Party, run: Run, noise: SharedNoise, opening: Opening, costs: Sequence[Cost]
) -> None:
    """Spend, and write the ledger's line; only what is drawn after this may leave.

    Parameters
    ----------
    party : Party
    run : Run
    noise : SharedNoise
    opening : Opening
    costs : sequence of Cost
        What is not paid for yet; a round of a training may be.

    Raises
    ------
    BudgetSpent
        If it would pass the party's limit; nothing was told, and nothing may be drawn.
    """
    if costs:
        budget = budget_of(party)
        for cost in costs:
            budget.spend(run.name, cost.what, cost.binding, cost.mechanism)
    delta = party.federation.privacy.delta
    told: Mapping[str, Any] = details(
        noise_of(noise, delta, rate=opening.rate, steps=opening.steps)
    )
    party.store.record(
        run.name,
        opening.phase,
        opening.what,
        unit=UNIT,
        recipient=opening.recipient,
        rows=opening.rows,
        values=opening.values,
        binding=opening.binding,
        **told,
    )


def write_down_once(party: Party, run: Run, noise: SharedNoise, opening: Opening) -> None:
    """Spend on a single release, and write the ledger's line; see `write_down`."""
    cost = Cost(opening.what, opening.binding, Mechanism(noise.multiplier))
    write_down(party, run, noise, opening, [cost])


def release(party: Party, run: Run, noise: SharedNoise, opening: Opening) -> Ints:
    """Spend on a single release, write the ledger's line, and draw the own noise.

    Parameters
    ----------
    party : Party
    run : Run
    noise : SharedNoise
    opening : Opening
        It has a number to draw for each of its values.

    Returns
    -------
    ndarray of int64, shape (opening.values,)
        In units of the sum; it is to be used once.

    Raises
    ------
    BudgetSpent
        If it would pass the party's limit; nothing was drawn or written.
    """
    write_down_once(party, run, noise, opening)
    return noise.draw(opening.values, urandom)
