"""Joint lending: who funds how much of a draw, and whose money comes back, to the minor unit.

The lender's own share of every draw is at least the law's, rounded up (domain 2.9, T27, T36). A
partner decides by itself: without its yes it funds nothing. Repayments follow what is outstanding,
so that each share is zero exactly when the whole is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction
from types import MappingProxyType
from typing import Final

from server.limits.basis.reasons import Reason
from server.limits.rules.pack import Pack
from shared.errors import UsageError

OWN: Final = "own"
"""Name of the lender's own share."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What the law asks of joint loans.

    Parameters
    ----------
    own_share : Decimal
        Of every draw, at least.
    one_of_tier1 : Decimal
        What a bank may lend with one partner, over its net tier-1 capital.
    all_of_loans : Decimal
        What a bank may lend jointly, over all its loans.
    """

    own_share: Decimal
    one_of_tier1: Decimal
    all_of_loans: Decimal


@dataclass(frozen=True, slots=True)
class Partner:
    """A bank that funds part of the draws.

    Parameters
    ----------
    id : str
    tier1_minor, loans_minor : int
        Its net tier-1 capital and all its loans.
    with_us_minor : int
        Its outstanding joint loans with this lender.
    joint_minor : int
        Its outstanding joint loans with everybody.
    agreed_minor : int, optional
        What it has agreed to lend with this lender, at most.
    """

    id: str
    tier1_minor: int
    loans_minor: int
    with_us_minor: int = 0
    joint_minor: int = 0
    agreed_minor: int | None = None


@dataclass(frozen=True, slots=True)
class PartnerDecision:
    """What a partner decided about one draw, by its own rules: a value for the log.

    Parameters
    ----------
    partner : str
    accepted : bool
    policy : str
        Name and version of its rules.
    reason : str
        Its code; '' where it accepted.
    day : date
    """

    partner: str
    accepted: bool
    policy: str
    reason: str
    day: date


@dataclass(frozen=True, slots=True)
class Funding:
    """Who funds a draw.

    Parameters
    ----------
    amount_minor : int
    shares_minor : mapping of str to int
        By partner, and `own`; they add up to the amount. Empty where it cannot be funded.
    decisions : tuple of PartnerDecision
        All of them, for the log.
    reasons : tuple of Reason
        C-PARTNER where it cannot be funded.
    """

    amount_minor: int
    shares_minor: Mapping[str, int]
    decisions: tuple[PartnerDecision, ...]
    reasons: tuple[Reason, ...] = ()


def terms_on(pack: Pack, day: date) -> Terms:
    """Return the terms of a day.

    Raises
    ------
    ConfigError
        If the pack has none: without them nothing is lent jointly.
    """
    return Terms(
        own_share=pack.number("joint_own_share", day),
        one_of_tier1=pack.number("joint_one_partner_of_tier1", day),
        all_of_loans=pack.number("joint_all_of_loans", day),
    )


def bounds(partner: Partner, terms: Terms) -> dict[str, int]:
    """Return what each bound of a partner leaves, below zero where it is passed (domain T27).

    Parameters
    ----------
    partner : Partner
    terms : Terms

    Returns
    -------
    dict of str to int
        Minor units: `one_of_tier1`, `all_of_loans`, and `agreed` where something was agreed.
    """
    found = {
        "one_of_tier1": math.floor(terms.one_of_tier1 * partner.tier1_minor)
        - partner.with_us_minor,
        "all_of_loans": math.floor(terms.all_of_loans * partner.loans_minor) - partner.joint_minor,
    }
    if partner.agreed_minor is not None:
        found["agreed"] = partner.agreed_minor - partner.with_us_minor
    return found


def room(partner: Partner, terms: Terms) -> int:
    """Return what a partner may still lend with this lender: the least of its bounds."""
    return max(0, min(bounds(partner, terms).values()))


def least_own(amount_minor: int, share: Decimal) -> int:
    """Return the lender's own share of an amount at the least, up to the minor unit."""
    return math.ceil(Fraction(share) * amount_minor)


def split(
    amount_minor: int, weights: Mapping[str, Decimal | int], least: Mapping[str, int] | None = None
) -> dict[str, int]:
    """Split an amount by weights: whole minor units that add up, by the largest remainders.

    Parameters
    ----------
    amount_minor : int
        0 or more.
    weights : mapping of str to Decimal or int
        0 or more, at least one above 0 unless the amount is 0.
    least : mapping of str to int, optional
        What somebody must get; what is missing comes from whoever has most above its own least.

    Returns
    -------
    dict of str to int
        By name; equal remainders go in the order of names.

    Raises
    ------
    UsageError
        If an argument is out of range, or the least add up to more than the amount.
    """
    total = sum(Fraction(weight) for weight in weights.values())
    floors = {name: (least or {}).get(name, 0) for name in weights}
    if amount_minor < 0 or min(map(Fraction, weights.values()), default=0) < 0:
        raise UsageError("split: amount and weights must be 0 or more")
    if (amount_minor and not total) or sum(floors.values()) > amount_minor:
        raise UsageError("split: weights must be above 0, and what is asked for within the amount")
    if not total:
        return dict.fromkeys(sorted(weights), 0)
    exact = {name: amount_minor * Fraction(weights[name]) / total for name in sorted(weights)}
    parts = {name: math.floor(value) for name, value in exact.items()}
    order = sorted(exact, key=lambda name: (parts[name] - exact[name], name))
    for name in order[: amount_minor - sum(parts.values())]:
        parts[name] += 1
    for name, floor in floors.items():
        while parts[name] < floor:
            giver = max(parts, key=lambda other: parts[other] - floors[other])
            moved = min(floor - parts[name], parts[giver] - floors[giver])
            parts[giver], parts[name] = parts[giver] - moved, parts[name] + moved
    return parts


def capacity(own_minor: int, rooms: Sequence[int], own_share: Decimal) -> int:
    """Return the largest draw that can be funded: the partner cap of a line.

    Parameters
    ----------
    own_minor : int
        What the lender itself can still fund.
    rooms : sequence of int
        Of the partners that would take part.
    own_share : Decimal
        Least own share of a draw, in (0, 1].
    """
    if own_minor <= 0:
        return 0
    return min(math.floor(own_minor / Fraction(own_share)), own_minor + sum(rooms))


def fund(
    amount_minor: int,
    own_minor: int,
    partners: Sequence[Partner],
    decisions: Sequence[PartnerDecision],
    terms: Terms,
    *,
    own_share: Decimal | None = None,
) -> Funding:
    """Share out a draw: the own share, then partners by what room they have left.

    A partner takes as much of the rest as it has room for, the roomiest first; what no partner
    takes stays with the lender.

    Parameters
    ----------
    amount_minor : int
        Above 0.
    own_minor : int
        What the lender itself can still fund.
    partners : sequence of Partner
    decisions : sequence of PartnerDecision
        A partner without one, or with a no, funds nothing.
    terms : Terms
    own_share : Decimal, optional
        Of the draw, where it is agreed to be above the law's.

    Raises
    ------
    UsageError
        If the amount is not above 0, or two decisions are of one partner.
    """
    by_partner = {one.partner: one for one in decisions}
    if amount_minor <= 0 or len(by_partner) != len(decisions):
        raise UsageError("a draw is above 0, and each partner decides once")
    share = max(terms.own_share, own_share or terms.own_share)
    willing = {
        one.id: room(one, terms)
        for one in partners
        if one.id in by_partner and by_partner[one.id].accepted
    }
    if amount_minor > capacity(own_minor, list(willing.values()), share):
        refused = Reason("C-PARTNER", "outside", holders=tuple(sorted(one.id for one in partners)))
        return Funding(amount_minor, MappingProxyType({}), tuple(decisions), (refused,))
    left = amount_minor - least_own(amount_minor, share)
    parts: dict[str, int] = {}
    for name in sorted(willing, key=lambda name: (-willing[name], name)):
        taken = min(left, willing[name])
        if taken:
            parts[name], left = taken, left - taken
    parts[OWN] = amount_minor - sum(parts.values())
    return Funding(amount_minor, MappingProxyType(parts), tuple(decisions))


def repay(
    amount_minor: int, outstanding_minor: Mapping[str, int], own_share: Decimal
) -> dict[str, int]:
    """Share out a repayment by what each is owed; at the last one nothing is left anywhere.

    What stays outstanding is split, not what comes in: so the lender's own share of it never falls
    below the law's where it did not before, and no share is repaid more than it is owed.

    Parameters
    ----------
    amount_minor : int
        From 0 to all that is outstanding.
    outstanding_minor : mapping of str to int
        By partner, and `own`.
    own_share : Decimal
        Of what is outstanding, at least.

    Raises
    ------
    UsageError
        If the amount is out of range.
    """
    owed = sum(outstanding_minor.values())
    if not 0 <= amount_minor <= owed:
        raise UsageError("a repayment must be from 0 to what is outstanding")
    stays = owed - amount_minor
    least = {OWN: min(least_own(stays, own_share), _share_of(stays, outstanding_minor))}
    left = split(stays, outstanding_minor, least if OWN in outstanding_minor else None)
    return {name: outstanding_minor[name] - left[name] for name in sorted(outstanding_minor)}


def _share_of(stays_minor: int, outstanding_minor: Mapping[str, int]) -> int:
    """Return the own part of what stays, up: more than that nobody may ask of the lender."""
    owed = sum(outstanding_minor.values())
    own = outstanding_minor.get(OWN, 0)
    return math.ceil(Fraction(own * stays_minor, owed)) if owed else 0
