"""How far one customer may move a step of a noisy training, in real numbers and in whole units.

Apart from `shared.privacy.sgd`, which takes the gradients: whoever only adds up needs no torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.errors import UsageError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Units of the clipping bound. Cutting towards zero shortens a gradient by a millionth an element.
UNITS = 1 << 20


@dataclass(frozen=True, slots=True)
class Clip:
    """How long one customer's gradient may be.

    Parameters
    ----------
    norm : float
        L2 norm, > 0.
    units : int
        The same in units of the sum.

    Raises
    ------
    UsageError
        If a number is out of range.
    """

    norm: float
    units: int = UNITS

    def __post_init__(self) -> None:
        if not (math.isfinite(self.norm) and self.norm > 0 and 1 <= self.units <= 1 << 28):
            raise UsageError("clip: norm must be positive and finite, units in 1..2^28")

    def mean(self, total: NDArray[np.float64] | Ints, expected: float) -> Floats:
        """Return the gradient of a step from the opened sum.

        Parameters
        ----------
        total : ndarray, shape (d,)
            Sum of all parties' updates and noise, in units.
        expected : float
            Customers drawn on average: rate times the public number of all. The number really
            drawn is a secret.
        """
        if not expected > 0:
            raise UsageError("a step of no expected customer has no gradient")
        mean: Floats = total.astype(np.float64) * (self.norm / self.units / expected)
        return mean
