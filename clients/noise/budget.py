"""A party's privacy budget: what its customers' data may cost in all, over every run.

Each release with noise is written to `budget.jsonl` and fsynced *before* its noise is drawn. A
process that dies in between has spent for nothing, never released for free: the same release asked
for again costs again, since a second draw of noise over the same data is a second release.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from clients.lines import append_line, read_lines
from shared.edge.clock import utc_now
from shared.errors import BadPeer, BudgetSpent, UsageError
from shared.privacy.accounting import Mechanism, epsilon, multiplier_for

_TEXTS = ("time", "run", "what", "binding")


@dataclass(frozen=True, slots=True)
class Limit:
    """What a party allows in all.

    Parameters
    ----------
    epsilon : float
        > 0.
    delta : float
        In (0, 1); below one over the number of customers.

    Raises
    ------
    UsageError
        If one is out of range.
    """

    epsilon: float
    delta: float

    def __post_init__(self) -> None:
        if not (0 < self.epsilon < float("inf") and 0 < self.delta < 1):
            raise UsageError(
                "privacy budget: epsilon must be positive and finite, delta in (0, 1). "
                f"Got {self.epsilon}, {self.delta}"
            )


@dataclass(frozen=True, slots=True)
class Spent:
    """One line of the budget.

    Parameters
    ----------
    time, run, what : str
        When, in which run, for which release.
    binding : str
        Digest of the job, hex: what a ledger line is found by.
    mechanism : Mechanism
    """

    time: str
    run: str
    what: str
    binding: str
    mechanism: Mechanism


class Budget:
    """The budget's file in a party's folder.

    The folder must be held (`Store.exclusive`): two runs at once would not see each other's lines.

    Parameters
    ----------
    path : Path
        `budget.jsonl`; it is made when the first line is written.
    limit : Limit
        From the party's own settings, never from the coordinator.
    now : callable
        Clock of the lines.
    """

    def __init__(self, path: Path, limit: Limit, now: Callable[[], str] = utc_now) -> None:
        self._path = path
        self._limit = limit
        self._now = now

    @property
    def limit(self) -> Limit:
        """What the party allows in all."""
        return self._limit

    def lines(self) -> list[Spent]:
        """Return all that was spent.

        Raises
        ------
        BadPeer
            If the file is damaged.
        """
        return [_spent(self._path, value) for value in read_lines(self._path)]

    def epsilon(self) -> float:
        """Return epsilon spent so far, at the limit's delta."""
        return epsilon([line.mechanism for line in self.lines()], self._limit.delta)

    def check(self, what: str, mechanisms: Sequence[Mechanism]) -> float:
        """Return epsilon spent in all if these were released too; nothing is written.

        Parameters
        ----------
        what : str
        mechanisms : sequence of Mechanism

        Raises
        ------
        BudgetSpent
            If it would pass the limit.
        """
        before = [line.mechanism for line in self.lines()]
        total = epsilon([*before, *mechanisms], self._limit.delta)
        if total > self._limit.epsilon:
            raise BudgetSpent(
                f"{what}: epsilon would be {total:.3f} of {self._limit.epsilon:g} allowed at delta "
                f"{self._limit.delta:g}; {self.epsilon():.3f} are spent",
                hint="more noise, or the party raises its own budget in party.toml",
            )
        return total

    def spend(self, run: str, what: str, binding: str, mechanism: Mechanism) -> float:
        """Spend on one release; call it before the noise is drawn.

        Parameters
        ----------
        run, what, binding : str
            See `Spent`.
        mechanism : Mechanism

        Returns
        -------
        float
            Epsilon spent in all, this one included. It is on the disk.

        Raises
        ------
        BudgetSpent
            If it would pass the limit; then nothing was written.
        """
        total = self.check(what, [mechanism])
        line = {"time": self._now(), "run": run, "what": what, "binding": binding}
        append_line(self._path, {"kind": "privacy", **line, **asdict(mechanism)})
        return total

    def multiplier_left(self, *, rate: float = 1.0, steps: int = 1) -> float:
        """Return the least noise of a release that takes all that is left.

        Raises
        ------
        BudgetSpent
            If nothing is left.
        """
        before = [line.mechanism for line in self.lines()]
        return multiplier_for(
            self._limit.epsilon, self._limit.delta, rate=rate, steps=steps, before=before
        )


def _spent(path: Path, value: dict[str, Any]) -> Spent:
    try:
        mechanism = Mechanism(value["multiplier"], value["rate"], value["steps"])
        time, run, what, binding = (str(value[name]) for name in _TEXTS)
        return Spent(time, run, what, binding, mechanism)
    except (KeyError, TypeError, UsageError) as error:
        raise BadPeer(
            f"{path} has a line that is no spending of a budget",
            hint="restore it from a backup; nothing with noise leaves this party without it",
        ) from error
