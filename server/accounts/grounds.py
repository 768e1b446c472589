"""What a decision on a line is asked, made from, and comes to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from server.limits.basis.reasons import Reason
from server.limits.caps.caps import Inputs
from server.limits.caps.decide import Decision
from server.limits.caps.snapshot import Snapshot
from server.limits.line.acted import Acted
from server.limits.line.events import Initiator, LineEvent
from server.limits.line.line import Line
from server.limits.line.reasons import first_of
from server.limits.line.review import Reviewed
from server.limits.line.target import Target
from server.limits.line.triggers import Facts
from server.limits.rules.line_policy import LinePolicy
from server.limits.rules.pack import Pack
from server.limits.rules.policy import Policy
from server.limits.rules.products import Product
from shared.errors import UsageError


@dataclass(frozen=True, slots=True)
class Ask:
    """What is to be decided.

    Parameters
    ----------
    purpose : str
    day : date
        Local civil date.
    product : str
    initiator : {'issuer', 'customer', 'regulator', 'partner'}
    limit_minor : int, optional
        Of a lower limit, a temporary amount or an override.
    until : date, optional
        Last day of a temporary amount.
    """

    purpose: str
    day: date
    product: str
    initiator: Initiator = "issuer"
    limit_minor: int | None = None
    until: date | None = None


@dataclass(frozen=True, slots=True)
class Grounds:
    """What a decision is made from, besides the rules and the line.

    Parameters
    ----------
    facts : Facts
    snapshot : Snapshot, optional
        None where no cap is looked at.
    inputs : Inputs, optional
        None where no cap is looked at.
    scale : Decimal
        Of the allocator.
    proofs : tuple of str
        Ids of the evidence that counted.
    """

    facts: Facts
    snapshot: Snapshot | None = None
    inputs: Inputs | None = None
    scale: Decimal = Decimal(1)
    proofs: tuple[str, ...] = ()

    @property
    def owed_minor(self) -> int:
        """Outstanding and held."""
        return self.facts.outstanding_minor + self.facts.held_minor


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a decision comes to.

    Parameters
    ----------
    caps : Decision, optional
    target : Target, optional
    events : tuple of LineEvent
        None where the line stays as it is.
    after : Line
    reasons : tuple of Reason
        At most four, and one more where it is about enquiries.
    earliest : date, optional
        Of the first rise, if nothing more stands against it.
    """

    caps: Decision | None
    target: Target | None
    events: tuple[LineEvent, ...]
    after: Line
    reasons: tuple[Reason, ...]
    earliest: date | None = None


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of one product.

    Parameters
    ----------
    policy : Policy
    pack : Pack
    line : LinePolicy
    product : Product
    """

    policy: Policy
    pack: Pack
    line: LinePolicy
    product: Product


@dataclass(frozen=True, slots=True)
class UnderDecision:
    """A decision on its way.

    Parameters
    ----------
    rules : Rules
    ask : Ask
    grounds : Grounds
    before : Line
    caps : Decision, optional
        None where no cap is looked at.
    target : Target, optional
        None where no cap is looked at.
    """

    rules: Rules
    ask: Ask
    grounds: Grounds
    before: Line
    caps: Decision | None
    target: Target | None

    @property
    def goal(self) -> Target:
        """What the caps allow.

        Raises
        ------
        UsageError
            If the purpose looks at no cap.
        """
        if self.target is None:
            raise UsageError(f"a decision to {self.ask.purpose} looks at the caps")
        return self.target

    def amount(self) -> int:
        """Return the amount that is asked for, minor units.

        Raises
        ------
        UsageError
            If there is none.
        """
        if self.ask.limit_minor is None:
            raise UsageError(f"a decision to {self.ask.purpose} needs limit_minor")
        return self.ask.limit_minor

    def done(
        self,
        acted: Acted | Reviewed,
        reasons: tuple[Reason, ...] = (),
        earliest: date | None = None,
    ) -> Outcome:
        """Return the outcome; without reasons of its own, those of the events."""
        told = reasons or first_of(one for event in acted.events for one in event.reasons)
        return Outcome(self.caps, self.target, acted.events, acted.line, told, earliest)
