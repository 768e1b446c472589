"""The rows of a jurisdiction pack: what may stand in one, and what says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final

FIGURES: Final[Mapping[str, str]] = {
    "adverse_action_days": "days",
    "all_in_cost_cap": "share",
    "bullet_months": "months",
    "business_cap": "minor",
    "ccf_cancellable": "share",
    "ccf_other": "share",
    "cure_months": "months",
    "default_days": "days",
    "default_prob_floor": "share",
    "forbearance_months": "months",
    "impact_ratio": "share",
    "joint_all_of_loans": "share",
    "joint_one_partner_of_tier1": "share",
    "joint_own_share": "share",
    "leverage_other_debt": "multiple",
    "leverage_standard_debt": "multiple",
    "lpr_multiple": "multiple",
    "materiality": "minor",
    "materiality_share": "share",
    "max_term_years": "years",
    "micro_lender_consumer_cap": "minor",
    "micro_lender_cost_cap": "share",
    "most_reasons": "count",
    "npv_loss_share": "share",
    "retail_risk_weight": "share",
    "revolver_default_prob_floor": "share",
    "significant_increase_days": "days",
    "transactor_risk_weight": "share",
}
"""Every number that a pack may hold, and its unit."""
DUTIES: Final = (
    "adverse_action_notice",
    "cost_sheet",
    "explanation",
    "financial_data_only",
    "human_intervention",
    "licensed_credit_data",
    "no_effects_test",
    "refuse_automated",
    "model_risk_principles",
)
"""Every rule without a number that a pack may hold."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What says so, and how sure we are.

    Parameters
    ----------
    status : str
        `in force` or `draft`.
    verified : bool
        It was looked up in the source; False: it is hearsay and must be checked.
    rule, source : str
        What says so, and where that was read.
    note : str
        What else a reader must know, such as that only the month is known.
    """

    status: str
    verified: bool
    rule: str
    source: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class LegalCap:
    """The most that one consumer may owe, from a day on.

    Parameters
    ----------
    since : date
        First day on which it holds.
    amount_minor : int
    income_parts : int
        Where above 0, the cap is also annual income over this: 3 is a third (domain T29).
    rule : str
        What says so.
    source : str
        Where that was read.
    """

    since: date
    amount_minor: int
    income_parts: int
    rule: str
    source: str


@dataclass(frozen=True, slots=True)
class Figure:
    """A legal number, from a day on.

    Parameters
    ----------
    name : str
        One of `FIGURES`.
    since : date
    value : Decimal
        In the unit of `FIGURES`.
    origin : Origin
    """

    name: str
    since: date
    value: Decimal
    origin: Origin


@dataclass(frozen=True, slots=True)
class Duty:
    """A rule without a number, from a day on.

    Parameters
    ----------
    name : str
        One of `DUTIES`, or the purpose that is forbidden.
    since : date
    origin : Origin
    topics : tuple of str
        Reason codes of a score that the rule keeps out: a release that has one does not serve.
    """

    name: str
    since: date
    origin: Origin
    topics: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CreditRepair:
    """An overdue payment that a bureau no longer shows once it is repaid (domain T28).

    Parameters
    ----------
    most_minor : int
        Of the overdue amount.
    arose_from, arose_to : date
        First and last day on which it may have arisen.
    repaid_by : date
        Last day of repayment.
    early_by, early_hidden : date
        What was repaid by the one is hidden from the other; what was repaid later, from the last
        day of the month after.
    origin : Origin
    """

    most_minor: int
    arose_from: date
    arose_to: date
    repaid_by: date
    early_by: date
    early_hidden: date
    origin: Origin
