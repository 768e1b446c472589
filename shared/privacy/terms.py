"""What a federation agreed that noisy moments may cost, as two Gaussian releases.

Bins come first, then the counts over these bins. Both together cost what one Gaussian release of
the target would: a tenth of its squared signal goes to the bins, the rest to the counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from shared.privacy.accounting import Mechanism, multiplier_for, split_in_two
from shared.privacy.noise import SharedNoise, finest, honest_majority

#: What the bins take of the squared signal.
BINS_SHARE = 0.1
#: Most bins of a feature, those apart not counted.
MOST_BINS = 8


@dataclass(frozen=True, slots=True)
class Terms:
    """Noise of the two releases.

    Parameters
    ----------
    bins, counts : float
        Multipliers of the histogram that bins are read off, and of the counts.
    delta : float
        At which epsilon was solved.
    """

    bins: float
    counts: float
    delta: float

    @property
    def mechanisms(self) -> tuple[Mechanism, Mechanism]:
        """What the accounting takes for both."""
        return Mechanism(self.bins), Mechanism(self.counts)


@lru_cache(maxsize=16)
def terms_of(epsilon: float, delta: float) -> Terms:
    """Solve for the noise of a target.

    Parameters
    ----------
    epsilon : float
        Of both releases together, > 0.
    delta : float

    Raises
    ------
    EnvironmentFault
        If `dp-accounting` is not installed.
    """
    return Terms(*split_in_two(multiplier_for(epsilon, delta), BINS_SHARE), delta)


def shared_noise(
    parties: int, colluders: int, squared_sensitivity: int, multiplier: float
) -> tuple[SharedNoise, int]:
    """Return noise that the parties of a sum share out, and the unit they count in.

    Parameters
    ----------
    parties : int
        Of the cohort.
    colluders : int
        As agreed; 0 for fewer than half.
    squared_sensitivity : int
        In customers.
    multiplier : float

    Returns
    -------
    noise : SharedNoise
        In units of the sum.
    unit : int
        What one customer counts in it; see `shared.privacy.noise.finest`.

    Raises
    ------
    UsageError
        If so many cannot collude.
    """
    tolerated = colluders or honest_majority(parties)
    unit = 1
    if tolerated < parties:
        unit = finest(parties, tolerated, squared_sensitivity, multiplier)
    return SharedNoise(parties, tolerated, squared_sensitivity * unit**2, multiplier), unit


def own_noise(
    parties: int, squared_sensitivity: int, multiplier: float, unit: int = 0
) -> tuple[SharedNoise, int]:
    """Return noise that one party adds whole, whatever all others know, and its unit.

    Parameters
    ----------
    parties : int
        Of the run.
    squared_sensitivity : int
        In customers, of the party's own records.
    multiplier : float
    unit : int
        Where several must agree on it; the smallest that will do by default.
    """
    unit = unit or finest(parties, parties - 1, squared_sensitivity, multiplier)
    return SharedNoise(parties, parties - 1, squared_sensitivity * unit**2, multiplier), unit
