"""A reason, whatever it comes from: the score, the policy, or something not about the customer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Family = Literal["score", "policy", "behaviour", "outside"]


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a score or a limit is not higher.

    Parameters
    ----------
    code : str
        Stable: `S-` and a code of the card, or a code of `server.limits.caps.decide`.
    family : {'score', 'policy', 'behaviour', 'outside'}
        `behaviour`: how the line was used; `outside`: it is not about the customer.
    amount_minor : int, optional
        Of the cap.
    points_lost : int, optional
        Of a score reason: whole points below the card's baseline, above 0.
    holders : tuple of str
        Who reported it, or who is missing.
    params : tuple of (str, int or str)
        What else its sentence says, such as clean reviews so far and needed.
    """

    code: str
    family: Family
    amount_minor: int | None = None
    points_lost: int | None = None
    holders: tuple[str, ...] = ()
    params: tuple[tuple[str, int | str], ...] = ()
