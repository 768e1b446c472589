"""The network's weights as one flat array: where each lies, what it starts as, what it may be.

One array travels instead of one a layer: every array of a Flower message is an exchange of its own
with the SuperLink.

Monotone by construction: units are *free* or *rising*. A rising unit may take in anything, but
takes what rises (a rising unit, or an input that `default_prob` may only rise with) with a weight
of 0 or more; a free unit takes nothing that rises. Activations never fall. So no path from such an
input to the output turns its sign, whatever the data were. These bounds are a box, hence convex: a
mean of parties' weights keeps them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from shared.arrays import pack_array, pack_value
from shared.masks import Keystream
from shared.neural.inputs import Encoding

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Layout:
    """A residual network with one output, the logit of default.

    With inputs ``x`` and activation ``f``: ``h = f(W x + b)``; in each block
    ``h = h + B f(A h + a)``; the logit is ``v h + s x + c``.

    Parameters
    ----------
    monotone : tuple of bool
        Of each input, whether the logit may only rise with it; see `Encoding.monotone`.
    hidden : int
        Units of every layer, at least 2.
    blocks : int
        Residual blocks.
    """

    monotone: tuple[bool, ...]
    hidden: int
    blocks: int

    @property
    def width(self) -> int:
        """Number of inputs."""
        return len(self.monotone)

    @cached_property
    def rising(self) -> Bools:
        """Which hidden units are rising, shape (hidden,); the first ones are free.

        As many as inputs that rise, in proportion, and at least one of each kind if there are both.
        """
        share = float(np.mean(self.monotone))
        count = round(share * self.hidden)
        if 0.0 < share < 1.0:
            count = min(max(count, 1), self.hidden - 1)
        chosen: Bools = np.arange(self.hidden) >= self.hidden - count
        return chosen

    @property
    def turned(self) -> Bools:
        """Units whose activation is ``min(0, x)`` in place of ``max(0, x)``, shape (hidden,).

        With rising ones of both kinds a monotone function need not be convex (Runje and
        Shankaranarayana, "Constrained Monotonic Neural Networks", ICML 2023, section 3.1).
        """
        odd: Bools = np.arange(self.hidden) % 2 == 1
        return odd

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of weights and offsets, in order ``W b (A a B)* v s c``."""
        square, units = (self.hidden, self.hidden), (self.hidden,)
        block = (square, units, square)
        last = ((1, self.hidden), (1, self.width), (1,))
        return ((self.hidden, self.width), units, *(block * self.blocks), *last)

    @cached_property
    def size(self) -> int:
        """Elements of the flat array."""
        return sum(int(np.prod(shape)) for shape in self.shapes)

    def split(self, weights: Floats) -> list[Floats]:
        """Return views of the flat array, one a shape."""
        stops = np.cumsum([int(np.prod(shape)) for shape in self.shapes])[:-1]
        parts = np.split(weights, stops)
        return [part.reshape(shape) for part, shape in zip(parts, self.shapes, strict=True)]

    @cached_property
    def bounds(self) -> tuple[Floats, Floats]:
        """Least and largest value of each weight, two arrays of shape (size,)."""
        inputs, units, out = np.array(self.monotone), self.rising, np.array([True])
        into = [(units, inputs), None]
        into += [(units, units), None, (units, units)] * self.blocks
        into += [(out, units), (out, inputs), None]
        lower, upper = [], []
        for shape, ends in zip(self.shapes, into, strict=True):
            low, high = np.full(shape, -np.inf), np.full(shape, np.inf)
            if ends is not None:
                target, source = ends
                low[:, source] = 0.0
                high[np.ix_(~target, source)] = 0.0
            lower.append(low.ravel())
            upper.append(high.ravel())
        return np.concatenate(lower), np.concatenate(upper)

    def project(self, weights: Floats) -> Floats:
        """Return the nearest weights within the bounds."""
        return np.clip(weights, *self.bounds)

    @property
    def head(self) -> slice:
        """Where the last layer lies, ``v s c``: a party's personal head is of this shape."""
        return slice(self.size - self.hidden - self.width - 1, self.size)

    def initial(self, seed: int) -> Floats:
        """Return the weights that training starts from: the same everywhere for one seed.

        Uniform within ``sqrt(3 / inputs of the layer)`` (LeCun et al., "Efficient BackProp",
        1998), from a keystream, so that neither torch nor its version has a say. The last layer
        of a block, the direct path ``s`` and offsets start at 0: the network starts shallow. A
        weight that may not be negative starts at the absolute value of its draw.

        Parameters
        ----------
        seed : int

        Returns
        -------
        ndarray of float64, shape (size,)
        """
        draws = 2.0 * uniform(seed, "start", self.size) - 1.0
        draws = np.where(self.bounds[0] == 0.0, np.abs(draws), draws)
        parts = self.split(draws)
        for number, part in enumerate(parts):
            layer = (number - 2) % 3 if 2 <= number < 2 + 3 * self.blocks else -1
            idle = part.ndim == 1 or layer == 2 or number == len(parts) - 2
            np.multiply(part, 0.0 if idle else np.sqrt(3.0 / part.shape[-1]), out=part)
        return self.project(draws) + 0.0


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


def model_digest(layout: Layout, encoding: Encoding, weights: Floats) -> str:
    """Return the SHA-256 of a model, hex.

    Parties sign it with every job, so a coordinator that shows two models is found out.
    """
    head = pack_value(
        {"layout": [layout.width, layout.hidden, layout.blocks], "edges": encoding.to_mapping()}
    )
    return hashlib.sha256(hashlib.sha256(head).digest() + pack_array(weights)).hexdigest()
