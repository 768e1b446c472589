"""The limit policy: a dated TOML file that people can read, as frozen values.

Everything that is a choice of the lender stands there and nothing of it in code; everything that is
law stands in a jurisdiction pack (`server.limits.rules.pack`). Files are read by
`server.limits.rules.policy_lint`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from server.limits.basis.tables import in_force
from shared.errors import ConfigError


@dataclass(frozen=True, slots=True)
class GradeRow:
    """What a grade gets: a limit, and how many monthly incomes.

    Parameters
    ----------
    name : str
        Grade of the scorecard's scale.
    limit_minor : int
    income_multiple : Decimal
        Of the monthly income after its haircut.
    presumed_minor : int, optional
        Monthly income counted where no more is proven. None: the policy does not look at incomes,
        and no income bounds a limit (decision 18).
    """

    name: str
    limit_minor: int
    income_multiple: Decimal
    presumed_minor: int | None = None


@dataclass(frozen=True, slots=True)
class LossCap:
    """The most that may be lost on one line (domain 2.3).

    Parameters
    ----------
    most_minor : int
    lgd : Decimal
        Share of the exposure that a default loses, in (0, 1].
    ccf : Decimal
        Share of the undrawn limit that is drawn by the time of a default, in (0, 1].
    """

    most_minor: int
    lgd: Decimal
    ccf: Decimal


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a customer can repay out of income (domain 2.3).

    Parameters
    ----------
    dti : Decimal
        Largest share of the income that goes into repayments.
    annual_rate : Decimal
        Interest a year.
    months : int
        Over which the line could be repaid.
    """

    dti: Decimal
    annual_rate: Decimal
    months: int


@dataclass(frozen=True, slots=True)
class Macro:
    """The multiplier of a scenario, from a day on.

    Parameters
    ----------
    since : date
    multiplier : Decimal
        In (0, 1].
    scenario : str
    """

    since: date
    multiplier: Decimal
    scenario: str


@dataclass(frozen=True, slots=True)
class Policy:
    """A whole policy file.

    Parameters
    ----------
    id, version : str
    effective_from : date
        First day on which it may decide.
    jurisdiction : str
        Which pack of legal numbers goes with it.
    currency : str
        ISO 4217.
    minor_digits : int
        Decimals of the currency: 2 where a minor unit is a hundredth.
    quantum_minor : int
        Limits are whole multiples of it.
    product : str
    product_cap_minor : int
    grades : mapping of str to GradeRow
        Safest first.
    expected_loss : LossCap
    stress_loss : LossCap or None
        The same for a year as bad as one in a thousand.
    capacity : Capacity
    haircuts : mapping of str to Decimal
        Share of an income that counts, by where the figure is from.
    macro : tuple of Macro
        By date.
    other_lenders_minor : int, optional
        The most that a customer's revolving limits may come to with all lenders together.
    borrower : {'consumer', 'business'}
        Whose legal cap applies; a policy file is a consumer's, the product catalogue says else.
    lender : {'bank', 'micro_lender'}
        Whose legal cap applies.
    """

    id: str
    version: str
    effective_from: date
    jurisdiction: str
    currency: str
    minor_digits: int
    quantum_minor: int
    product: str
    product_cap_minor: int
    grades: Mapping[str, GradeRow]
    expected_loss: LossCap
    stress_loss: LossCap | None
    capacity: Capacity
    haircuts: Mapping[str, Decimal]
    macro: tuple[Macro, ...]
    other_lenders_minor: int | None = None
    borrower: str = "consumer"
    lender: str = "bank"

    @property
    def name(self) -> str:
        """Id and version, as decisions state it."""
        return f"{self.id}/{self.version}"

    def macro_on(self, day: date) -> Macro:
        """Return the scenario of a day.

        Raises
        ------
        ConfigError
            If the policy is not yet in force on that day.
        """
        macro = in_force(self.macro, day)
        if macro is None or day < self.effective_from:
            rule = f"effective_from: the policy is in force from {self.effective_from} on"
            raise ConfigError(f"policy {self.name}", [f"{rule}. Got {day}"])
        return macro
