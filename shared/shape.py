"""Who holds which rows and which columns: several banks, holders of further columns, or both.

The contract says it. What it gives to `EVERY` is held by every party of the federation that it does
not name: these are the *banks*, with the same features of other customers. A party that it names
has *columns* of its own about customers of all banks. Without banks all parties have columns of the
same customers, and none of this is needed (`shared.protocols.products`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from shared.contract import EVERY, Contract
from shared.errors import ConfigError, Refused
from shared.protocols.sum_job import MIN_COHORT


@dataclass(frozen=True, slots=True)
class Shape:
    """Who takes part, and as what.

    Parameters
    ----------
    banks : tuple of str
        Sorted; parties with the same features of other customers. Empty where each feature has an
        owner of its own.
    columns : tuple of str
        Sorted; parties with features of their own.
    builder : str
        Who opens and fits; one of the banks, if there are any.
    """

    banks: tuple[str, ...]
    columns: tuple[str, ...]
    builder: str

    @classmethod
    def of(cls, contract: Contract, parties: Iterable[str], builder: str) -> Shape:
        """Read the shape off a contract.

        Raises
        ------
        ConfigError
            If only some of features and label are the banks', or the builder is none of them.
        Refused
            If there are fewer than 3 banks.
        """
        everybody = sorted(parties)
        if EVERY not in {contract.label_owner, *(item.owner for item in contract.features)}:
            return cls((), tuple(everybody), builder)
        banks = tuple(name for name in everybody if contract.unit(name) == EVERY)
        columns = tuple(name for name in everybody if name not in banks)
        findings = []
        if contract.label_owner != EVERY:
            findings.append(f"label_owner: must be '{EVERY}'. Got {contract.label_owner!r}")
        if all(item.owner != EVERY for item in contract.features):
            findings.append(f"features: the banks need one or more with owner '{EVERY}'")
        if findings:
            raise ConfigError(f"contract {contract.name}", findings)
        if builder not in banks:
            raise ConfigError(
                "federation", [f"builder: must be one of {', '.join(banks)}. Got {builder!r}"]
            )
        shape = cls(banks, columns, builder)
        shape.check()
        return shape

    def check(self) -> None:
        """Refuse too few banks for anybody to hide among.

        Raises
        ------
        Refused
        """
        if len(self.banks) < MIN_COHORT:
            raise Refused(
                f"{len(self.banks)} banks with the same features: with fewer than {MIN_COHORT} "
                "each would learn another's counts",
                hint="a sum takes a third bank",
            )

    @property
    def everybody(self) -> tuple[str, ...]:
        """All parties in the order of every protocol."""
        return tuple(sorted((*self.banks, *self.columns)))

    def around(self, bank: str) -> tuple[str, ...]:
        """Return, sorted, who knows a bank's customers: the bank and all holders of columns."""
        return tuple(sorted((bank, *self.columns)))

    def unit(self, party: str) -> str:
        """Return whose columns a party brings: the banks' together, or its own."""
        return EVERY if party in self.banks else party

    @property
    def units(self) -> tuple[str, ...]:
        """Whose columns the card is made of, in the order of its blocks."""
        return tuple(sorted((EVERY, *self.columns) if self.banks else self.columns))

    def without(self, lost: str) -> Shape:
        """Return the survivors.

        Raises
        ------
        Refused
            If nobody can do the part of who was lost, or too few banks are left.
        """
        if lost == self.builder or lost not in self.banks:
            raise Refused(f"without {lost} there is no card", party=lost)
        left = replace(self, banks=tuple(bank for bank in self.banks if bank != lost))
        left.check()
        return left
