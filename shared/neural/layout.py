"""The network's weights as one flat array: where each layer lies, and what they start as.

One array travels instead of one a layer: every array of a Flower message is an exchange of its own
with the SuperLink.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.arrays import pack_array, pack_value
from shared.masks import Keystream
from shared.neural.inputs import Scaling

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Layout:
    """A network with one hidden layer and one output, the logit of default.

    Parameters
    ----------
    width : int
        Inputs.
    hidden : int
        Units of the hidden layer.
    """

    width: int
    hidden: int

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of weights and offsets, layer by layer."""
        return (self.hidden, self.width), (self.hidden,), (1, self.hidden), (1,)

    @property
    def size(self) -> int:
        """Elements of the flat array."""
        return sum(int(np.prod(shape)) for shape in self.shapes)

    def split(self, weights: Floats) -> list[Floats]:
        """Return views of the flat array, one a shape."""
        stops = np.cumsum([int(np.prod(shape)) for shape in self.shapes])[:-1]
        parts = np.split(weights, stops)
        return [part.reshape(shape) for part, shape in zip(parts, self.shapes, strict=True)]

    def initial(self, seed: int) -> Floats:
        """Return the weights that training starts from: the same everywhere for one seed.

        Uniform within ``1 / sqrt(inputs of the layer)`` (LeCun et al., "Efficient BackProp",
        1998), from a keystream, so that neither torch nor its version has a say.

        Parameters
        ----------
        seed : int

        Returns
        -------
        ndarray of float64, shape (size,)
        """
        draws = uniform(seed, "start", self.size)
        fan_in = np.concatenate(
            [
                np.full(int(np.prod(shape)), inputs)
                for shape, inputs in zip(
                    self.shapes, (self.width, self.width, self.hidden, self.hidden), strict=True
                )
            ]
        )
        start: Floats = (2.0 * draws - 1.0) / np.sqrt(fan_in)
        return start


def uniform(seed: int, label: str, count: int) -> Floats:
    """Return numbers in [0, 1), the same everywhere for one seed and label.

    Parameters
    ----------
    seed : int
        Chosen by people, so no secret: nothing is hidden behind these numbers.
    label : str
    count : int
    """
    secret = hashlib.sha256(f"confide/neural/{seed}".encode()).digest()
    bits = Keystream(secret, label).elements((count,), np.uint64)
    numbers: Floats = (bits >> np.uint64(11)).astype(np.float64) / float(1 << 53)
    return numbers


def model_digest(layout: Layout, scaling: Scaling, weights: Floats) -> str:
    """Return the SHA-256 of a model, hex.

    Parties sign it with every job, so a coordinator that shows two models is found out.
    """
    head = pack_value({"layout": [layout.width, layout.hidden], "scaling": scaling.to_mapping()})
    return hashlib.sha256(hashlib.sha256(head).digest() + pack_array(weights)).hexdigest()
