"""Weights of a released network as a file in the safetensors format.

Two arrays of float64: the flat weights, and the federation's mean input, which the reasons are
measured against. The format holds names, shapes and raw numbers and cannot run anything when it is
read. Only who scores by the network reads it: the registry and the limit service compare digests.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from shared.challenger.network import MAX_WEIGHTS, Network, weights_problem
from shared.errors import DataError, EnvironmentFault

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float64]

_WEIGHTS: Final = "weights"
_BASELINE: Final = "baseline"


@dataclass(frozen=True, slots=True)
class Weights:
    """What the file holds.

    Parameters
    ----------
    weights : ndarray of float64, shape (parameters,)
    baseline : ndarray of float64, shape (width,)
        The federation's mean input.
    """

    weights: Floats
    baseline: Floats

    def to_bytes(self) -> bytes:
        """Return the file: the same bytes for the same numbers.

        Raises
        ------
        DataError
            If a number is not finite, or the file would be too long.
        EnvironmentFault
            If the package safetensors is not installed.
        """
        arrays = {_WEIGHTS: self.weights, _BASELINE: self.baseline}
        if not all(np.isfinite(array).all() for array in arrays.values()):
            raise DataError("weights", ["every number must be finite"])
        _, save = _format()
        raw: bytes = save({name: np.ascontiguousarray(a, "<f8") for name, a in arrays.items()})
        if len(raw) > MAX_WEIGHTS:
            raise DataError("weights", [f"must take at most {MAX_WEIGHTS:,} bytes"])
        return raw


def read_weights(raw: bytes, network: Network) -> Weights:
    """Read the file of a network.

    Parameters
    ----------
    raw : bytes
    network : Network
        Its manifest was verified.

    Raises
    ------
    DataError
        If the file is not the one that was signed, or holds other arrays than the network has.
    EnvironmentFault
        If the package safetensors is not installed.
    """
    problem = weights_problem(network, raw)
    if problem:
        raise DataError("weights", [problem])
    load, _ = _format()
    try:
        arrays = load(raw)
    except Exception as error:  # the package raises a class of its own, from compiled code
        raise DataError("weights", ["is no file in the safetensors format"]) from error
    shapes = {_WEIGHTS: (network.parameters,), _BASELINE: (network.width,)}
    fits = arrays.keys() == shapes.keys() and all(
        arrays[name].dtype == np.float64
        and arrays[name].shape == shape
        and np.isfinite(arrays[name]).all()
        for name, shape in shapes.items()
    )
    if not fits:
        raise DataError("weights", ["its arrays are not those of the network"])
    return Weights(arrays[_WEIGHTS], arrays[_BASELINE])


def _format() -> tuple[Callable[[bytes], dict[str, Floats]], Callable[[dict[str, Floats]], bytes]]:
    """Return the package's reader and writer; a party without the neural model has neither."""
    try:
        from safetensors.numpy import load, save  # noqa: PLC0415 - part of the extra `neural`
    except ImportError as error:
        raise EnvironmentFault(
            "a network's weights need safetensors, which is not installed",
            hint="pip install 'confide[neural]'",
        ) from error
    return load, save
