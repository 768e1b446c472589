"""The network in torch: flat weights in, flat weights out."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from shared.neural.layout import Layout

Floats = NDArray[np.float64]


def build(layout: Layout, weights: Floats) -> nn.Sequential:
    """Return the network with these weights, in float64.

    Double precision costs nothing at this size, and keeps the mean of updates equal to that of a
    training in the clear.

    Parameters
    ----------
    layout : Layout
    weights : ndarray of float64, shape (layout.size,)
    """
    net = nn.Sequential(
        nn.Linear(layout.width, layout.hidden), nn.ReLU(), nn.Linear(layout.hidden, 1)
    ).double()
    with torch.no_grad():
        for parameter, part in zip(net.parameters(), layout.split(weights), strict=True):
            parameter.copy_(torch.from_numpy(np.ascontiguousarray(part)))
    return net


def weights_of(net: nn.Module) -> Floats:
    """Return the weights as one flat array, shape (size,)."""
    parts = [parameter.detach().numpy().ravel() for parameter in net.parameters()]
    flat: Floats = np.concatenate(parts).astype(np.float64, copy=False)
    return flat
