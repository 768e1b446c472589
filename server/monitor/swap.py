"""Swap sets: whom a new policy lets in and leaves out, with limits, and what came of them.

What became of people whom the old policy declined is not known. Their bad rate is therefore
reported over the known outcomes only, with how many those are, and never filled in.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Final, Literal

from server.monitor.months import told_cells
from shared.errors import DataError

Side = Literal["both", "swapped_in", "swapped_out", "neither"]
SIDES: Final[tuple[Side, ...]] = ("both", "swapped_in", "swapped_out", "neither")


@dataclass(frozen=True, slots=True)
class Case:
    """One customer under two policies.

    Parameters
    ----------
    old_minor, new_minor : int
        Limits; 0 is a decline.
    bad : bool, optional
        None where the outcome is not known.
    """

    old_minor: int
    new_minor: int
    bad: bool | None = None


@dataclass(frozen=True, slots=True)
class Cell:
    """People whom two policies treat alike.

    Parameters
    ----------
    people, known, bads : int
        Everybody, those whose outcome is known, and the bads of these.
    old_minor, new_minor : int
        Sums of limits.
    """

    people: int = 0
    known: int = 0
    bads: int = 0
    old_minor: int = 0
    new_minor: int = 0

    @property
    def bad_rate(self) -> float | None:
        """Bads over known outcomes; None where none is known."""
        return self.bads / self.known if self.known else None

    def __add__(self, other: Cell) -> Cell:
        """Add two groups of people."""
        return Cell(
            self.people + other.people,
            self.known + other.known,
            self.bads + other.bads,
            self.old_minor + other.old_minor,
            self.new_minor + other.new_minor,
        )


@dataclass(frozen=True, slots=True)
class SwapTable:
    """Old policy against new (domain 2.14, T22).

    Parameters
    ----------
    both, swapped_in, swapped_out, neither : Cell
        Approved by both, only by the new, only by the old, by none.
    """

    both: Cell
    swapped_in: Cell
    swapped_out: Cell
    neither: Cell

    def __post_init__(self) -> None:
        findings = []
        for side in SIDES:
            cell: Cell = getattr(self, side)
            if not 0 <= cell.bads <= cell.known <= cell.people:
                findings.append(f"{side}: must have 0 <= bads <= known <= people")
            volumes = (cell.old_minor > 0, cell.new_minor > 0)
            if cell.people and volumes != (side in _OLD, side in _NEW):
                findings.append(f"{side}: limits must stand where the policy approves, only there")
        if findings:
            raise DataError("swap set", findings)

    @property
    def people(self) -> int:
        """Everybody."""
        return self._total().people

    @property
    def old_approval_rate(self) -> float:
        """Share that the old policy approves; 0 of nobody."""
        return (self.both.people + self.swapped_out.people) / max(1, self.people)

    @property
    def new_approval_rate(self) -> float:
        """Share that the new policy approves; 0 of nobody."""
        return (self.both.people + self.swapped_in.people) / max(1, self.people)

    @property
    def volume_change_minor(self) -> int:
        """Sum of the new limits less that of the old."""
        total = self._total()
        return total.new_minor - total.old_minor

    def __add__(self, other: SwapTable) -> SwapTable:
        """Add the tables of two groups of people, as two holders count them."""
        return SwapTable(*(getattr(self, side) + getattr(other, side) for side in SIDES))

    def _total(self) -> Cell:
        return self.both + self.swapped_in + self.swapped_out + self.neither


_OLD: Final = frozenset({"both", "swapped_out"})
_NEW: Final = frozenset({"both", "swapped_in"})


def swap_table(cases: Iterable[Case]) -> SwapTable:
    """Cross the limits of two policies on the same people."""
    cells = dict.fromkeys(SIDES, Cell())
    for case in cases:
        side = _side(case)
        known = case.bad is not None
        cells[side] += Cell(1, int(known), int(case.bad is True), case.old_minor, case.new_minor)
    return SwapTable(*(cells[side] for side in SIDES))


def told_swap(table: SwapTable, floor: int) -> dict[str, dict[str, int] | None]:
    """Return the four cells as plain values, with None in place of those about few people."""
    cells = {side: getattr(table, side) for side in SIDES}
    people = told_cells([cell.people for cell in cells.values()], floor)
    return {
        name: None if count is None else asdict(cell)
        for (name, cell), count in zip(cells.items(), people, strict=True)
    }


def _side(case: Case) -> Side:
    if case.old_minor > 0:
        return "both" if case.new_minor > 0 else "swapped_out"
    return "swapped_in" if case.new_minor > 0 else "neither"
