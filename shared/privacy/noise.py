"""Noise that nobody knows: shared out among the parties of a secure sum.

Each party adds its own share before masking, so the sum carries the noise and no party ever holds
a figure without it. A party knows its own share and could subtract it; so could several that
collude. The shares are therefore sized so that those of the *others* are the whole noise: with K
parties of which t collude, each share has the variance ``(z S)^2 / (K - t)``, S the sensitivity and
z the multiplier. All K together carry K / (K - t) of what is needed: the price of trusting nobody.

The sum of discrete Gaussians is one in all but ``10 K exp(-pi^2 v)``, v the variance of a share
(after Kairouz, Liu, Steinke, ICML 2021); `MIN_SHARE` makes that less
than 1e-60, so the accounting of the continuous Gaussian holds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from os import urandom

import numpy as np
from numpy.typing import NDArray

from shared.errors import Refused, UsageError
from shared.privacy.gaussian import MAX_VARIANCE, Entropy, discrete_gaussian

#: Least variance of one share, in ring units.
MIN_SHARE = 16
#: No share is larger than so many of its standard deviations, or the draw is a fault: 1e-87.
MAX_DEVIATIONS = 20


@dataclass(frozen=True, slots=True)
class SharedNoise:
    """How much noise each party adds to its input of one secure sum.

    Parameters
    ----------
    parties : int
        Of the sum's cohort, at least 2. After a restart it is the survivors'.
    colluders : int
        How many of them may pool what they know, the opener among them; at most ``parties - 1``.
        `honest_majority` is the default of the product.
    squared_sensitivity : int
        Square of the L2 sensitivity of the sum, in ring units.
    multiplier : float
        Standard deviation over sensitivity, as `accounting.multiplier_for` solved it.

    Raises
    ------
    UsageError
        If a number is out of range, or the units are so coarse or so fine that a share is.
    """

    parties: int
    colluders: int
    squared_sensitivity: int
    multiplier: float

    def __post_init__(self) -> None:
        if not (self.parties >= 2 and 1 <= self.colluders < self.parties):
            raise UsageError(
                f"noise: {self.colluders} of {self.parties} parties cannot collude",
                hint="at least one knows its own share, at least one does not collude",
            )
        if not (self.squared_sensitivity >= 1 and math.isfinite(self.multiplier)):
            raise UsageError("noise: sensitivity must be at least 1, the multiplier finite")
        if not (self.multiplier > 0 and MIN_SHARE <= self.share_variance <= MAX_VARIANCE):
            raise UsageError(
                f"noise: a share's variance of {self.share_variance} is outside "
                f"{MIN_SHARE}..{MAX_VARIANCE}",
                hint="count in finer or coarser units",
            )

    @property
    def share_variance(self) -> int:
        """Variance of one party's share, in squared ring units, rounded up."""
        needed = self.multiplier**2 * self.squared_sensitivity
        return math.ceil(needed / (self.parties - self.colluders))

    @property
    def deviation(self) -> float:
        """Standard deviation of what the sum carries, all shares together, in ring units."""
        return math.sqrt(self.parties * self.share_variance)

    @property
    def deviation_of_one(self) -> float:
        """Standard deviation of one party's share, in ring units."""
        return math.sqrt(self.share_variance)

    def grain(self, unit: int) -> Grain:
        """Return what the sum's job says of this noise."""
        return Grain(self.share_variance, unit)

    @property
    def bound(self) -> int:
        """Largest absolute value of a share: to be added to the bound of the sum's job."""
        return bound_of(self.share_variance)

    def draw(self, size: int, entropy: Entropy = urandom) -> NDArray[np.int64]:
        """Draw one party's share.

        Parameters
        ----------
        size : int
            Elements of the sum.
        entropy : callable
            Takes a number of bytes, returns so many unpredictable ones.

        Returns
        -------
        ndarray of int64, shape (size,)
            In ring units; to be added to the own input, once, and kept by nobody.

        Raises
        ------
        Refused
            If a value is beyond `bound`: the source of randomness is broken.
        """
        share = discrete_gaussian(size, self.share_variance, entropy)
        if np.abs(share).max(initial=0) > self.bound:
            raise Refused("a share of noise is beyond 20 deviations: is the random source broken?")
        return share


@dataclass(frozen=True, slots=True)
class Grain:
    """What all parties of a sum, and who adds, must agree on of its noise: part of the job.

    Parameters
    ----------
    variance : int
        Of one party's share, in squared units of the sum.
    unit : int
        What one customer counts in the sum.

    Raises
    ------
    Refused
        If one is none that a share has.
    """

    variance: int
    unit: int

    def __post_init__(self) -> None:
        whole = type(self.variance) is int and type(self.unit) is int
        if not (whole and MIN_SHARE <= self.variance <= MAX_VARIANCE and 1 <= self.unit <= 1 << 16):
            raise Refused(f"no noise has a variance of {self.variance} on counts of {self.unit}")

    def kind(self, what: str) -> str:
        """Return what a sum of `what` with this noise is called in its job."""
        return f"{what}, noise of variance {self.variance} on counts of {self.unit}"

    def bound(self, rows: int) -> int:
        """Return the largest absolute value of counts of so many rows with one share."""
        return rows * self.unit + bound_of(self.variance)


def bound_of(variance: int) -> int:
    """Return the largest absolute value of a share of some variance."""
    return MAX_DEVIATIONS * (math.isqrt(variance) + 1)


def finest(parties: int, colluders: int, squared_sensitivity: int, multiplier: float) -> int:
    """Return the unit in which counts are added: the smallest power of two that `MIN_SHARE` allows.

    Little noise on few counts would be too little for its own grid, so counts are taken in halves,
    quarters and so on.

    Returns
    -------
    int
        Units of the sum that one customer is counted as.
    """
    unit = 1
    needed = multiplier**2 * squared_sensitivity / (parties - colluders)
    while math.ceil(needed * unit**2) < MIN_SHARE:
        unit *= 2
    return unit


def honest_majority(parties: int) -> int:
    """Return the most colluders that leave a majority honest, at least 1: 1 of 3 or 4, 4 of 10."""
    return max(1, (parties - 1) // 2)


def noise_share(
    n_parties: int,
    sigma: float,
    clip: int,
    size: int,
    urandom: Entropy = urandom,
    *,
    colluders: int | None = None,
) -> NDArray[np.int64]:
    """Draw one party's share of noise for a sum of clipped updates; see `SharedNoise`.

    Parameters
    ----------
    n_parties : int
    sigma : float
        Multiplier of the clipping bound.
    clip : int
        Bound of one customer's update on the scale of the sum: `sgd.Clip.units`.
    size : int
        Elements of the update.
    urandom : callable
    colluders : int, optional
        `honest_majority` of the parties by default.
    """
    tolerated = honest_majority(n_parties) if colluders is None else colluders
    return SharedNoise(n_parties, tolerated, clip**2, sigma).draw(size, urandom)
