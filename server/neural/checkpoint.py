"""Where a training of the neural model stands, on disk after every round.

One file, `runs/<run>/neural.npz` of the coordinator's folder, there whole or not at all. It holds
opened means and nothing finer. A round counts once it is written: a coordinator that dies between
a round's sum and its file trains the round again from the same weights, and the sum that was opened
is forgotten, so no update is ever counted twice.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.resuming import agreed_otherwise, damaged, nothing_left
from shared.edge.files import write_atomic
from shared.edge.stored_arrays import read_arrays

Floats = NDArray[np.float64]

FILE = "neural.npz"
_ARRAYS = ("weights", "best", "first", "second", "speed")


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a training stands.

    Parameters
    ----------
    agreement : str
        Digest of all that the parties agreed on; see `Federation.agreement`.
    attempt : int
        How often the run was begun or went on with fewer parties.
    cohort : tuple of str
        Who is left; empty for everybody.
    edges : list of list of float
        See `Encoding.to_mapping`.
    customers : int
        To learn from, in all.
    round : int
        Rounds that count.
    harmed : int
        Rounds undone since the last one that was not.
    weights, best : ndarray of float64, shape (size,)
        After the last round, and after the one that the builder found best.
    first, second : ndarray of float64, shape (size,) or (0,)
        Moments of an adaptive strategy.
    speed : ndarray of float64, shape (size,) or (0,)
        Of a noisy training, whose steps go on from round to round.
    history : list of dict
        One entry a round.
    """

    agreement: str
    attempt: int
    cohort: tuple[str, ...]
    edges: list[list[float]]
    customers: int
    round: int
    harmed: int
    weights: Floats
    best: Floats
    first: Floats = field(default_factory=lambda: np.zeros(0))
    second: Floats = field(default_factory=lambda: np.zeros(0))
    speed: Floats = field(default_factory=lambda: np.zeros(0))
    history: list[dict[str, Any]] = field(default_factory=list)

    def save(self, folder: Path) -> None:
        """Write it in place of the one before, whole or not at all."""
        head = {
            "agreement": self.agreement,
            "attempt": self.attempt,
            "cohort": list(self.cohort),
            "edges": self.edges,
            "customers": self.customers,
            "round": self.round,
            "harmed": self.harmed,
            "history": self.history,
        }
        arrays: Mapping[str, Any] = {name: getattr(self, name) for name in _ARRAYS}
        stream = io.BytesIO()
        np.savez(stream, head=np.frombuffer(json.dumps(head).encode(), np.uint8), **arrays)
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / FILE, stream.getvalue())

    @classmethod
    def load(cls, folder: Path, agreement: str) -> Progress:
        """Read where a run stands; it goes on with its attempt one higher.

        Raises
        ------
        NotFound
            If the run has left none.
        EnvironmentFault
            If the file is damaged.
        Refused
            If the parties agreed on something else since.
        """
        path = folder / FILE
        try:
            arrays: dict[str, Any] = read_arrays(path, ("head", *_ARRAYS))
            head = json.loads(arrays.pop("head").tobytes())
        except FileNotFoundError as error:
            raise nothing_left(path) from error
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise damaged(path) from error
        if head["agreement"] != agreement:
            raise agreed_otherwise()
        cohort = tuple(head.pop("cohort"))
        known = cls(cohort=cohort, **head, **arrays)
        return replace(known, attempt=known.attempt + 1)
