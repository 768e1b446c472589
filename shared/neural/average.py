"""A mean over parties, weighted by their customers, by one secure sum.

Federated averaging (McMahan et al., "Communication-Efficient Learning of Deep Networks from
Decentralized Data", AISTATS 2017) needs ``sum_i n_i w_i / sum_i n_i`` and no party's own `w_i` or
`n_i`. Each party hands in ``(n_i w_i, n_i)``; the coordinator opens the sum and divides.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import numpy as np
from numpy.typing import NDArray

from shared.config import Federation
from shared.errors import BadPeer, Refused
from shared.protocols.sum_job import MIN_COHORT, SumJob

Floats = NDArray[np.float64]

#: Names of the phases; a round has its number besides.
EDGES_PHASE, ROUND_PHASE, EVALUATE_PHASE = "neural_edges", "neural", "neural_evaluate"
CHECK_PHASE, RELEASE_PHASE, MEAN_PHASE = "neural_check", "neural_release", "neural_mean"

# What is handed in. A party's journal knows an input by its kind and its model, so the kind of a
# round must not say which round: the same weights sent again as another one are the same model.
_KINDS = {EDGES_PHASE: "inputs", EVALUATE_PHASE: "metrics", MEAN_PHASE: "mean input"}
UPDATE = "update"

#: Most customers of one party in one sum, and the largest absolute value of an element.
MAX_EXAMPLES = 1 << 22
MAX_VALUE = 1 << 11

# Ten parties at the bound stay below 2^61. A unit of 2^-24 leaves an error of at most
# parties / customers / 2^25 in the mean: 1e-10 for three parties of a hundred customers.
_SCALE = 24


def round_phase(number: int) -> str:
    """Return the name of a round's phase: every round is a session of its own."""
    return f"{ROUND_PHASE}_{number}"


def check_phase(number: int) -> str:
    """Return the name of the phase in which the builder checks a round."""
    return f"{CHECK_PHASE}_{number}"


def shrunk(undone: int) -> float:
    """Return the length of the steps after so many rounds in a row that were undone."""
    return 0.5**undone


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
        kind=_KINDS.get(label, UPDATE),
        model=model,
        bits=64,
        length=length + 1,
        scale=_SCALE,
        bound=MAX_EXAMPLES * MAX_VALUE << _SCALE,
    )


def check_cohort(cohort: Collection[str], federation: Federation) -> None:
    """Refuse a cohort of fewer parties than were agreed on.

    Raises
    ------
    Refused
        Under `neural.min_parties`, or under 3.
    """
    least = max(MIN_COHORT, federation.neural.min_parties or len(federation.holders))
    if len(cohort) < least or not set(cohort) <= set(federation.holders):
        raise Refused(
            f"{len(cohort)} parties: a round takes at least {least} of the federation",
            hint="wait for the others, then train again with --resume",
        )


def clipped(update: Floats, length: float) -> Floats:
    """Return an update of at most this length (L2): a longer one is cut, its direction kept.

    Raises
    ------
    Refused
        If it is not finite; a model whose training diverged ends here.
    """
    size = float(np.linalg.norm(update))
    if not np.isfinite(size):
        raise Refused("the training has diverged", hint="a smaller neural.learning_rate")
    return update * min(1.0, length / size) if size else update


def check_mean(mean: Floats, n_examples: int, *, expected: int, length: float) -> None:
    """Refuse an opened mean that no clipped updates of these customers can have.

    A mean of vectors that are no longer than a bound is itself no longer; a sum that wrapped round
    the ring, or an input that was never clipped, all but surely is.

    Parameters
    ----------
    mean : ndarray of float64, shape (size,)
    n_examples : int
        Customers counted by this sum.
    expected : int
        Customers counted by the first sum of the run.
    length : float

    Raises
    ------
    BadPeer
        Says which of it is so.
    """
    if n_examples != expected:
        raise BadPeer(f"the sum of updates counts {n_examples} customers, not {expected}")
    size = float(np.linalg.norm(mean))
    if not np.isfinite(size):
        raise BadPeer("the mean update is not finite")
    if size > length * (1.0 + 1e-6):
        raise BadPeer(
            f"the mean update is longer than any of them may be, {length:g}: "
            "a party's input is wrong, or the sum wrapped round"
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
