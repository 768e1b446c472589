"""Gradients that no customer moves by more than a bound: DP-SGD, one step at a time.

Abadi et al., "Deep Learning with Differential Privacy" (CCS 2016), algorithm 1, with the sum taken
in whole numbers so that it goes into the secure sum as it is. A step at a party:

1. draw each own customer independently (`poisson_sample`): shuffled batches of a fixed size are
   not what the accounting assumes;
2. take the gradient of the loss of each drawn customer by itself (`torch.func.vmap`), all rows of
   one customer together;
3. scale it down to the clipping bound where it is longer, and cut it to whole units *towards zero*:
   no element grows, so the bound holds exactly in the integers, without any word on rounding;
4. add up, add the party's share of the noise (`shared.privacy.noise`), and hand in.

The sum of all parties, over the *expected* number of customers, is the gradient of the step.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from os import urandom

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.functional import binary_cross_entropy_with_logits

from shared.errors import Refused, UsageError
from shared.privacy.clip import Clip
from shared.privacy.gaussian import Entropy

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Customers whose gradients are in memory at once.
_CHUNK = 256
# Doubles round the scaled gradient's length by less than this share of it.
_SAFE = 1.0 - 2.0**-40


def dp_update(
    net: nn.Module,
    rows: Floats,
    labels: NDArray[np.integer],
    clip: Clip,
    rng_bytes: Entropy = urandom,
    *,
    rate: float,
    customers: Ints | None = None,
) -> Ints:
    """Return a party's update of one step, without noise: it must not leave before noise is added.

    Parameters
    ----------
    net : Module
        At the step's weights; rows in, logits out. No layer may mix rows (batch normalisation).
    rows : ndarray of float64, shape (n, width)
    labels : ndarray of integers, shape (n,)
        1 is bad.
    clip : Clip
    rng_bytes : callable
        Takes a number of bytes, returns so many unpredictable ones.
    rate : float
        Probability by which each customer is drawn, in (0, 1].
    customers : ndarray of int64, shape (n,), optional
        Whose row it is; every row another customer's by default.

    Returns
    -------
    ndarray of int64, shape (d,)
        Sum of the drawn customers' clipped gradients, in units of `clip`.
    """
    who = np.arange(len(labels)) if customers is None else customers
    names, place = np.unique(who, return_inverse=True)
    drawn = poisson_sample(len(names), rate, rng_bytes)
    number = np.full(len(names), -1)
    number[drawn] = np.arange(drawn.size)
    chosen = np.flatnonzero(number[place] >= 0)
    chosen = chosen[np.argsort(number[place][chosen], kind="stable")]
    return clipped_sum(net, rows[chosen], labels[chosen], clip, customers=number[place][chosen])


def poisson_sample(size: int, rate: float, entropy: Entropy = urandom) -> NDArray[np.intp]:
    """Draw each of `size` independently.

    Parameters
    ----------
    size : int
    rate : float
        In (0, 1]; rounded down to a multiple of 2^-53, so never above.
    entropy : callable

    Returns
    -------
    ndarray of int, ascending
    """
    if not 0 < rate <= 1:
        raise UsageError(f"rate: must be in (0, 1]. Got {rate}")
    words = np.frombuffer(entropy(8 * size), dtype="<u8").astype(np.uint64) >> np.uint64(11)
    return np.flatnonzero(words < np.uint64(math.floor(rate * (1 << 53))))


def clipped_sum(
    net: nn.Module,
    rows: Floats,
    labels: NDArray[np.integer],
    clip: Clip,
    *,
    customers: Ints | None = None,
) -> Ints:
    """Add up customers' gradients, each within the bound.

    Parameters
    ----------
    net, rows, labels, clip
        See `dp_update`.
    customers : ndarray of int64, shape (n,), optional
        Ascending numbers of whose row it is.

    Returns
    -------
    ndarray of int64, shape (d,)

    Raises
    ------
    Refused
        If a gradient is not finite: the training has diverged.
    """
    whose = np.arange(len(labels)) if customers is None else customers
    size = sum(parameter.numel() for parameter in net.parameters())
    total = np.zeros(size, dtype=np.int64)
    for part in _chunks(whose):
        each = _gradients(net, rows[part], labels[part])
        first = np.flatnonzero(np.diff(whose[part], prepend=-1))
        own = each if first.size == len(each) else np.add.reduceat(each, first, axis=0)
        total += _clipped(own, clip).sum(axis=0)
    return total


def _chunks(whose: Ints) -> Iterator[slice]:
    """Split rows into parts that never part a customer."""
    starts = np.flatnonzero(np.diff(whose, prepend=-1))
    ends = np.append(starts[1:], len(whose))
    for first in range(0, len(starts), _CHUNK):
        yield slice(int(starts[first]), int(ends[min(first + _CHUNK, len(starts)) - 1]))


def _gradients(net: nn.Module, rows: Floats, labels: NDArray[np.integer]) -> Floats:
    """Return the gradient of each row's log loss, shape (n, d)."""
    weights = {name: value.detach() for name, value in net.named_parameters()}

    def loss(values: dict[str, Tensor], row: Tensor, label: Tensor) -> Tensor:
        logit = functional_call(net, values, (row.unsqueeze(0),)).reshape(())
        return binary_cross_entropy_with_logits(logit, label)

    kind = next(iter(weights.values())).dtype
    each = vmap(grad(loss), in_dims=(None, 0, 0))(
        weights, torch.as_tensor(rows, dtype=kind), torch.as_tensor(labels, dtype=kind)
    )
    flat = torch.cat([each[name].reshape(len(labels), -1) for name in weights], dim=1)
    gradients: Floats = flat.to(torch.float64).numpy()
    return gradients


def _clipped(gradients: Floats, clip: Clip) -> Ints:
    """Return each row within the bound, in whole units, cut towards zero."""
    if not np.isfinite(gradients).all():
        raise Refused("a gradient is not finite: the training has diverged")
    norms = np.linalg.norm(gradients, axis=1)
    factors = clip.units / clip.norm * np.minimum(1.0, clip.norm / np.maximum(norms, clip.norm))
    whole: Ints = np.trunc(gradients * (factors * _SAFE)[:, None]).astype(np.int64)
    if whole.size and int((whole**2).sum(axis=1).max()) > clip.units**2:
        raise Refused("a clipped gradient is beyond its bound")
    return whole
