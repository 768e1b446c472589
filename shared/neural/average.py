"""A mean over parties, weighted by their customers, by one secure sum.

Federated averaging (McMahan et al., "Communication-Efficient Learning of Deep Networks from
Decentralized Data", AISTATS 2017) needs ``sum_i n_i w_i / sum_i n_i`` and no party's own `w_i` or
`n_i`. Each party hands in ``(n_i w_i, n_i)``; the coordinator opens the sum and divides.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from shared.errors import BadPeer, Refused
from shared.protocols.sum_job import SumJob

Floats = NDArray[np.float64]

#: Names of the phases; a round has its number besides.
SCALE_PHASE, ROUND_PHASE, EVALUATE_PHASE = "neural_scale", "neural", "neural_evaluate"

# What is handed in. A party's journal knows an input by its kind and its model, so the kind of a
# round must not say which round: the same weights sent again as another one are the same model.
_KINDS = {SCALE_PHASE: "inputs", EVALUATE_PHASE: "metrics"}
_UPDATE = "update"

#: Most customers of one party in one sum, and the largest absolute value of an element.
MAX_EXAMPLES = 1 << 22
MAX_VALUE = 1 << 11

# Ten parties at the bound stay below 2^61. A unit of 2^-24 leaves an error of at most
# parties / customers / 2^25 in the mean: 1e-10 for three parties of a hundred customers.
_SCALE = 24


def round_phase(number: int) -> str:
    """Return the name of a round's phase: every round is a session of its own."""
    return f"{ROUND_PHASE}_{number}"


def mean_job(
    run: str, label: str, cohort: Iterable[str], coordinator: str, *, model: str, length: int
) -> SumJob:
    """Return the secure sum behind a weighted mean, opened by the coordinator.

    Parameters
    ----------
    run : str
    label : str
        What distinguishes it from the run's other sums: the phase. It says the kind besides.
    cohort : iterable of str
        At least 3 parties.
    coordinator : str
    model : str
        Digest of the model it belongs to; empty if there is none yet.
    length : int
        Elements of the mean.

    Raises
    ------
    Refused
        If fewer than 3 parties take part.
    """
    return SumJob(
        run=run,
        label=label,
        attempt=1,
        cohort=tuple(sorted(cohort)),
        opener=coordinator,
        coordinator=coordinator,
        kind=_KINDS.get(label, _UPDATE),
        model=model,
        bits=64,
        length=length + 1,
        scale=_SCALE,
        bound=MAX_EXAMPLES * MAX_VALUE << _SCALE,
    )


def weigh(values: Floats, n_examples: int) -> Floats:
    """Return a party's input of the sum.

    Parameters
    ----------
    values : ndarray of float64, shape (length,)
        Within +-`MAX_VALUE`.
    n_examples : int
        Customers behind them, 1 to `MAX_EXAMPLES`.

    Returns
    -------
    ndarray of float64, shape (length + 1,)

    Raises
    ------
    Refused
        If a number is out of range; a model whose training diverged ends here.
    """
    if not 0 < n_examples <= MAX_EXAMPLES:
        raise Refused(f"{n_examples} customers: a mean takes 1 to {MAX_EXAMPLES} of a party")
    if not np.isfinite(values).all() or np.abs(values).max(initial=0.0) > MAX_VALUE:
        raise Refused(
            f"values must be finite and within +-{MAX_VALUE}: the training has diverged",
            hint="a smaller neural.learning_rate",
        )
    return np.append(values * n_examples, float(n_examples))


def mean_of(total: Floats) -> tuple[Floats, int]:
    """Return the mean and the number of customers behind it.

    Raises
    ------
    BadPeer
        If there are none: a party's input was not made by `weigh`.
    """
    n_examples = round(float(total[-1]))
    if n_examples < 1:
        raise BadPeer("the sum of updates counts no customer")
    return total[:-1] / n_examples, n_examples
