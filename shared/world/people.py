"""Who the borrowers are: what stays with them, of which no holder sees more than traces."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import numpy as np

from shared.world.chance import BIRTH, luck, stream

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shared.world.chance import Span
    from shared.world.traits import Traits

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]

_UNIFORMS, _NORMALS = 8, 8


@dataclass(frozen=True, slots=True)
class People:
    """Borrowers of a block, an array a trait; floats are standardised unless a unit is given.

    Parameters
    ----------
    cause : (n,) float64
        Standing risk: the part of distress that does not pass.
    wealth, appetite, care : (n,) float64
        Log income, liking for spending, and care with bills; all three are part of `cause`.
    income : (n,) float64
        A month, in whole units of money.
    limit : (n,) float64
        Of the card at their bank, in whole units of money, steps of 10,000.
    thirst : (n,) float64
        Share of a limit that they come to owe when nothing stops them.
    transactor, idle : (n,) bool
        Pays the whole bill; hardly uses the card.
    thin : (n,) bool
        Known to the holders for some months only.
    business : (n,) bool
        Runs a micro business.
    age : (n,) float64
        Years; protected, in no model.
    woman : (n,) bool
        Protected, in no model.
    """

    cause: Floats
    wealth: Floats
    appetite: Floats
    care: Floats
    income: Floats
    limit: Floats
    thirst: Floats
    transactor: Flags
    idle: Flags
    thin: Flags
    business: Flags
    age: Floats
    woman: Flags

    def __len__(self) -> int:
        return int(self.cause.size)

    def only(self, those: Flags) -> People:
        """Return some of them."""
        return replace(self, **{one.name: getattr(self, one.name)[those] for one in fields(self)})


def born(span: Span, seed: int, traits: Traits) -> People:
    """Return the people of a block.

    Parameters
    ----------
    span : Span
    seed : int
    traits : Traits
    """
    got = luck(stream(seed, span.block, BIRTH), len(span), _UNIFORMS, _NORMALS)
    own, wealth, appetite, care, generous, taste, ease, years = got.normal
    standing = (
        traits.own * own - traits.wealth * wealth + traits.appetite * appetite - traits.care * care
    )
    income = np.exp(traits.log_income + traits.income_spread * wealth)
    offer = np.log(income) + traits.log_multiple + traits.multiple_spread * generous
    limit = np.maximum(np.round(np.exp(offer - traits.shyness * standing) / 10_000), 1) * 10_000
    thirst = logistic(traits.thirst + traits.thirst_spread * taste + traits.thirst_risk * standing)
    idle = got.uniform[0] < logistic(traits.idle - 0.3 * appetite)
    whole = traits.transactor - traits.transactor_risk * standing + 0.5 * ease
    return People(
        cause=standing,
        wealth=wealth,
        appetite=appetite,
        care=care,
        income=income,
        limit=limit,
        thirst=thirst,
        transactor=got.uniform[1] < logistic(whole),
        idle=idle,
        thin=got.uniform[2] < traits.thin,
        business=got.uniform[3] < traits.business,
        age=np.clip(35.5 + 9.2 * years, 21, 79),
        woman=got.uniform[4] < 0.6,
    )


def logistic(x: Floats) -> Floats:
    """Return 1 / (1 + exp(-x))."""
    found: Floats = 1.0 / (1.0 + np.exp(-x))
    return found
