"""Reading stored arrays, one thread at a time.

NumPy reads the header of an array with `ast.literal_eval`, and Python before 3.11.8 counts the
depth of that parser for the whole interpreter: two threads at it at once now and then end in
"SystemError: AST constructor recursion depth mismatch" (python/cpython#106905). Engine ``local``
runs every party in a thread.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

_ONE_AT_A_TIME = threading.Lock()


def read_array(path: Path) -> NDArray[Any]:
    """Read one array from its file; errors are those of `numpy.load`."""
    with _ONE_AT_A_TIME:
        array: NDArray[Any] = np.load(path, allow_pickle=False)
    return array


def read_arrays(source: Path | BinaryIO, names: Iterable[str]) -> dict[str, NDArray[Any]]:
    """Read some arrays of an archive, and only those; errors are those of `numpy.load`.

    Raises
    ------
    KeyError
        If the archive lacks one.
    """
    with _ONE_AT_A_TIME, np.load(source, allow_pickle=False) as stored:
        return {name: stored[name] for name in names}


def carried_array(array: Any) -> NDArray[Any]:
    """Return the array that a message of Flower carries; it carries the bytes of a stored one."""
    with _ONE_AT_A_TIME:
        carried: NDArray[Any] = array.numpy()
    return carried
