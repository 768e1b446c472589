"""Segments of customers, and what an allocation gives them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Segment:
    """Customers who get the same limit from the programme.

    Parameters
    ----------
    name : str
    ladder : str
        Limits never rise with risk among segments of one ladder: a product.
    customers : int
    floor_minor, cap_minor : int
        Bounds on the limit of one customer.
    default_prob, lgd : float
    utilisation : float
        Share of a limit that is drawn in an ordinary month.
    ccf : float
        Share of the rest that is drawn by the time of a default.
    revenue, funding : float
        A year, on what is drawn.
    micro : bool
        Counts towards the inclusion floor.
    partner_shares : mapping of str to float
        Share of each draw that a partner funds.
    """

    name: str
    ladder: str
    customers: int
    floor_minor: int
    cap_minor: int
    default_prob: float
    lgd: float
    utilisation: float
    ccf: float
    revenue: float
    funding: float
    micro: bool = False
    partner_shares: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def exposure_rate(self) -> float:
        """What is owed at a default, over the limit."""
        return self.utilisation + self.ccf * (1.0 - self.utilisation)

    @property
    def loss_rate(self) -> float:
        """The loss to expect in a year, over the limit."""
        return self.default_prob * self.lgd * self.exposure_rate

    @property
    def margin(self) -> float:
        """What a year brings after funding and losses, over the limit."""
        return (self.revenue - self.funding) * self.utilisation - self.loss_rate


@dataclass(frozen=True, slots=True)
class Allocation:
    """What the programme gives.

    Parameters
    ----------
    limits : mapping of str to float
        Limit of one customer of each segment in minor units, as solved.
    limits_minor : mapping of str to int
        The same, down to the minor unit.
    objective_minor : float
        Margin of a year.
    shadow_prices : mapping of str to float
        What one more unit of each bound would bring; 0 where it does not bind.
    """

    limits: Mapping[str, float]
    limits_minor: Mapping[str, int]
    objective_minor: float
    shadow_prices: Mapping[str, float]

    @property
    def binding(self) -> tuple[str, ...]:
        """Bounds that bind, dearest first."""
        priced = [(price, name) for name, price in self.shadow_prices.items() if price > 1e-9]
        return tuple(name for _, name in sorted(priced, key=lambda one: (-one[0], one[1])))
