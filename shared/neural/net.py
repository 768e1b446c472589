"""The network in torch: flat weights in, flat weights out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import linear

from shared.neural.layout import Layout

Floats = NDArray[np.float64]

# More threads gain nothing at this size; on a machine shared by parties they wait for each other.
torch.set_num_threads(1)


class ResidualNet(nn.Module):
    """The network of a `Layout`, in float64, the layout's parameters in its order.

    Double precision costs little at this size, and keeps the mean of updates equal to that of a
    training in the clear.

    Parameters
    ----------
    layout : Layout
    weights : ndarray of float64, shape (layout.size,)
        Taken within the layout's bounds: the network is monotone whatever they are.
    """

    def __init__(self, layout: Layout, weights: Floats) -> None:
        super().__init__()
        parts = layout.split(layout.project(weights))
        self.layers = nn.ParameterList(torch.tensor(part) for part in parts)
        self._turn = torch.tensor(np.where(layout.turned, -1.0, 1.0))
        self._blocks = layout.blocks

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the logits, shape (..., 1), of inputs of shape (..., width)."""
        hidden = self._bend(linear(inputs, self.layers[0], self.layers[1]))
        for block in range(self._blocks):
            first, offset, second = (self.layers[2 + 3 * block + part] for part in range(3))
            hidden = hidden + linear(self._bend(linear(hidden, first, offset)), second)
        straight, past, offset = (self.layers[place] for place in (-3, -2, -1))
        return linear(hidden, straight) + linear(inputs, past, offset)

    def _bend(self, values: Tensor) -> Tensor:
        """Apply ``max(0, x)``, or ``min(0, x)`` in the units that are turned: neither falls."""
        return self._turn * torch.relu(self._turn * values)


def build(layout: Layout, weights: Floats) -> ResidualNet:
    """Return the network with these weights."""
    return ResidualNet(layout, weights)


def weights_of(net: nn.Module) -> Floats:
    """Return the weights as one flat array, shape (size,)."""
    parts = [parameter.detach().numpy().ravel() for parameter in net.parameters()]
    flat: Floats = np.concatenate(parts).astype(np.float64, copy=False)
    return flat


def log_odds(layout: Layout, weights: Floats) -> Callable[[Floats], Floats]:
    """Return the network as a callable from inputs, shape (n, width), to logits, shape (n,)."""
    net = build(layout, weights)

    def score(inputs: Floats) -> Floats:
        with torch.no_grad():
            logits: Floats = net(torch.from_numpy(np.ascontiguousarray(inputs)))[:, 0].numpy()
        return logits

    return score
