"""What can be drawn now, term by term, and which term binds (domain 5.3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from types import MappingProxyType
from typing import Any, Final

from server.limits.line.line import Line, State
from server.limits.line.reasons import FROZEN
from shared.errors import UsageError

CODES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "state": "",
        "limit": "",
        "partner": "C-PARTNER",
        "budget": "C-CAP",
        "velocity": "P-VELOCITY",
        "purpose": "P-PURPOSE",
    }
)
"""Every term and the reason it stands for, in the order in which they are told of."""


@dataclass(frozen=True, slots=True)
class Room:
    """What else limits a draw, minor units; None where it does not apply.

    Parameters
    ----------
    partner_minor : int, optional
        What partner banks still fund.
    budget_minor : int, optional
        The line's share of what is left of the portfolio's budget.
    velocity_minor : int, optional
        What may still be drawn within the window of the velocity rule.
    purpose_minor : int, optional
        Of the purpose that was named.
    """

    partner_minor: int | None = None
    budget_minor: int | None = None
    velocity_minor: int | None = None
    purpose_minor: int | None = None


@dataclass(frozen=True, slots=True)
class Term:
    """A term of the minimum.

    Parameters
    ----------
    name : str
        Of `CODES`.
    amount_minor : int
        May be below 0 for `limit`, after a cut.
    code : str
        Reason code where it binds; empty for the limit itself.
    binds : bool
    """

    name: str
    amount_minor: int
    code: str
    binds: bool


@dataclass(frozen=True, slots=True)
class Available:
    """What can be drawn.

    Parameters
    ----------
    amount_minor : int
        At least 0.
    parts : mapping of str to int
        What the limit's term is made of: `effective`, `temporary`, `outstanding`, `held`.
    terms : tuple of Term
    """

    amount_minor: int
    parts: Mapping[str, int]
    terms: tuple[Term, ...]

    @property
    def binding(self) -> tuple[str, ...]:
        """The terms that are smallest."""
        return tuple(term.name for term in self.terms if term.binds)

    def to_mapping(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return {
            "available_minor": self.amount_minor,
            "parts": dict(self.parts),
            "waterfall": [
                {
                    "name": term.name,
                    "amount_minor": term.amount_minor,
                    "code": term.code,
                    "binds": term.binds,
                }
                for term in self.terms
            ],
        }


_NO_ROOM: Final = Room()


def available(
    line: Line,
    day: date,
    outstanding_minor: int,
    held_minor: int = 0,
    room: Room = _NO_ROOM,
    *,
    consents: bool = True,
) -> Available:
    """Return what can be drawn on a day.

    Parameters
    ----------
    line : Line
    day : date
        A temporary amount counts until its last day.
    outstanding_minor, held_minor : int
        Principal owed, and what open holds reserve.
    room : Room
    consents : bool
        Whether a consent to credit stands that day: one may run out between two reviews, and the
        line does not know.

    Raises
    ------
    UsageError
        If an amount is negative.
    """
    rest = {
        "partner": room.partner_minor,
        "budget": room.budget_minor,
        "velocity": room.velocity_minor,
        "purpose": room.purpose_minor,
    }
    if min(outstanding_minor, held_minor, *(value or 0 for value in rest.values())) < 0:
        raise UsageError("an amount of money must be 0 or more")
    parts = {
        "effective": line.effective_limit_minor,
        "temporary": line.temporary_on(day),
        "outstanding": outstanding_minor,
        "held": held_minor,
    }
    may_draw = line.may_draw and consents
    amounts = {} if may_draw else {"state": 0}
    amounts["limit"] = parts["effective"] + parts["temporary"] - outstanding_minor - held_minor
    amounts.update({name: value for name, value in rest.items() if value is not None})
    smallest = min(amounts.values()) if may_draw else 0
    terms = tuple(
        Term(
            name,
            amount,
            _code(name, line, consents=consents),
            amount == smallest if may_draw else name == "state",
        )
        for name, amount in amounts.items()
    )
    return Available(max(0, smallest), MappingProxyType(parts), terms)


def _code(name: str, line: Line, *, consents: bool) -> str:
    if name != "state":
        return CODES[name]
    if line.frozen_for:
        return FROZEN[line.frozen_for]
    is_closing = line.state in {State.CLOSING, State.CLOSED}
    withdrawn = line.consent_withdrawn_on is not None or not consents
    return "P-CONSENT" if withdrawn and not is_closing else "P-CLOSE"
