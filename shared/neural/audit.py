"""Whether an update that a party opened is one that the rules of a round allow."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shared.errors import BadPeer
from shared.neural.average import MAX_EXAMPLES

Floats = NDArray[np.float64]


def check_update(values: Floats, *, clip: float, party: str) -> tuple[float, int]:
    """Check an opened input of a round: updates times customers, loss times customers, customers.

    Parameters
    ----------
    values : ndarray of float64, shape (size + 2,)
        See `shared.neural.average.weigh`.
    clip : float
        Largest length (L2) of the update.
    party : str
        For messages.

    Returns
    -------
    length : float
        Of the update.
    customers : int

    Raises
    ------
    BadPeer
        If it counts no whole number of customers, or is longer than the clip.
    """
    count = float(values[-1])
    if not 1.0 <= count <= MAX_EXAMPLES or count != round(count):
        raise BadPeer(f"its update counts {count:g} customers", party=party)
    length = float(np.linalg.norm(values[:-2])) / count
    if not length <= clip * (1.0 + 1e-6):
        raise BadPeer(
            f"its update is {length:g} long; at most {clip:g} was agreed on: it was not clipped",
            party=party,
        )
    return length, int(count)
