"""A party's noise on moments: what it costs, and the bins that a party plans alone.

The order is that of every noisy release; see `clients.noise.opening`. The journal is not asked
whether earlier moments were of other customers or bins: what two noisy releases tell together is
what the budget adds up.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clients.card.parts import Plans
from clients.noise.opening import Opening, budget_of, release
from clients.party import Party
from shared.arrays import pack_value
from shared.jobs import Run
from shared.privacy.plans import coarse_tallies, plan_noisy
from shared.privacy.terms import Terms, own_noise, terms_of
from shared.scorecard.bins import Floors
from shared.scorecard.buckets import Tally, count_all

Ints = NDArray[np.int64]

BINS, MOMENTS = "bins, from a noisy histogram", "moments with noise"


def asked_for(party: Party) -> bool:
    """Return whether the federation agreed on noise in the moments."""
    return party.federation.privacy.moments_epsilon > 0


def terms(party: Party) -> Terms:
    """Return what the federation agreed that noisy moments may cost."""
    agreed = party.federation.privacy
    return terms_of(agreed.moments_epsilon, agreed.delta)


def check_budget(party: Party) -> None:
    """Refuse before anything leaves where the budget will not last for noisy moments.

    Raises
    ------
    BudgetSpent
        Nothing was spent.
    EnvironmentFault
        If what does the accounting is not installed.
    """
    if asked_for(party) and not _exempt(party):
        budget_of(party).check("moments with noise", terms(party).mechanisms)


def _exempt(party: Party) -> bool:
    """Return whether the party adds no noise: a builder among holders of columns."""
    return not party.shape.banks and party.is_builder


def coarse_columns(party: Party) -> tuple[Tally, ...]:
    """Return the columns of this party, over coarse public buckets."""
    return coarse_tallies(party.contract.of(party.name), party.contract.summaries)


def floors_of(party: Party) -> Floors:
    """Return the fewest noisy customers behind a bin, as the federation agreed."""
    agreed = party.federation.floors
    return Floors(rows=agreed.rows, share=agreed.share)


def plan_alone(party: Party, run: Run, values: Mapping[str, NDArray[np.float64]], n: int) -> Plans:
    """Plan the own bins from a noisy histogram that stays here; the noise is whole.

    Others see of the bins how many there are, and counts over them: both follow from the
    histogram, so it is released in effect.

    Raises
    ------
    BudgetSpent
        If the budget does not last.
    """
    columns = coarse_columns(party)
    counts = count_all(columns, values)
    noise, unit = own_noise(len(run.parties), len(columns), terms(party).bins)
    binding = digest_of(counted(columns), run)
    opening = Opening("moments", BINS, run.federation.builder, n, len(counts), binding)
    drawn = release(party, run, noise, opening)
    noisy = counts + drawn / unit
    deviation = noise.deviation_of_one / unit
    return plan_noisy(party.name, columns, noisy, deviation, n, floors_of(party))


def counted(columns: Sequence[Tally]) -> list[list[Any]]:
    """Return what is counted, for a digest."""
    return [[one.name, one.size] for one in columns]


def digest_of(value: Any, run: Run) -> str:
    """Return what a noisy release is known by: never the same in two attempts."""
    return hashlib.sha256(pack_value([run.name, run.attempt, value])).hexdigest()
