"""What people do, each thing at its instant: by the functions that the API's routes call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

from sqlalchemy import Connection

from server.accounts import customers, drawing, opening, repaying, reviewing
from server.accounts.customers import ConsentRequest, EvidenceRequest
from server.accounts.desk import Desk
from server.store.holds import HoldRequest
from server.store.lines import StoredLine, lines_of
from server.store.repayments import RepaymentRequest

Act = Callable[[Desk, Connection, datetime], object]
_MONTHS = 3


@dataclass(frozen=True, slots=True)
class Step:
    """Something that happens.

    Parameters
    ----------
    at : datetime
        Aware UTC.
    act : callable
        Of the desk, the transaction and the instant.
    """

    at: datetime
    act: Act


@dataclass(frozen=True, slots=True)
class Borrower:
    """A customer with one line, and the day on which the story begins.

    Parameters
    ----------
    name : str
        Of the login; names draws and payments, too.
    pseudonym : str
    product : str
    begun : datetime
        Aware UTC.
    """

    name: str
    pseudonym: str
    product: str
    begun: datetime

    def on(self, day: int, act: Act) -> Step:
        """Return what happens so many days after the beginning."""
        return Step(self.begun + timedelta(days=day), act)

    def line(self, db: Connection) -> StoredLine:
        """Return the line, once it is open."""
        return lines_of(db, self.pseudonym)[-1]

    def opens(self, holders: Sequence[str]) -> Act:
        """Consent, and apply."""

        def act(desk: Desk, db: Connection, now: datetime) -> object:
            customers.give_consent(desk, db, self._consent(holders), now)
            return opening.open_line(desk, db, self.pseudonym, self.product, now, self._by)

        return act

    def tells_less(self, holders: Sequence[str]) -> Act:
        """Let fewer holders tell: the new consent first, so that no line is closed in between."""

        def act(desk: Desk, db: Connection, now: datetime) -> object:
            before = customers.consents_of(db, self.pseudonym)
            customers.give_consent(desk, db, self._consent(holders), now)
            return [customers.withdraw_consent(desk, db, one.id, now) for one in before]

        return act

    def proves_income(self, monthly_minor: int) -> Act:
        """Bring the bank's statement of an income."""

        def act(desk: Desk, db: Connection, now: datetime) -> object:
            asked = EvidenceRequest(
                customer_id=self.pseudonym,
                kind="income_flow",
                value_minor=monthly_minor,
                source="bank",
                issued=desk.today(now),
                file_hash=sha256(self.name.encode()).hexdigest(),
                by="operator:operator",
            )
            return customers.add_evidence(desk, db, asked, now)

        return act

    def draws(self, amount_minor: int, purpose: str = "daily", months: int = _MONTHS) -> Act:
        """Borrow."""

        def act(desk: Desk, db: Connection, now: datetime) -> object:
            line, currency = self.line(db).id, desk.rules.policy.currency
            asked = HoldRequest(self._ref("draw", now), line, amount_minor, currency, purpose)
            return drawing.draw(desk, db, asked, months, now)

        return act

    def repays(self) -> Act:
        """Repay everything."""

        def act(desk: Desk, db: Connection, now: datetime) -> object:
            line, ref = self.line(db), self._ref("paid", now)
            owed, currency = line.totals.outstanding_minor, desk.rules.policy.currency
            asked = RepaymentRequest(ref, ref, line.id, owed, currency, desk.today(now))
            return repaying.repay(desk, db, asked, now)

        return act

    def is_reviewed(self, desk: Desk, db: Connection, now: datetime) -> object:
        """Have the line reviewed, as every night whatever is due."""
        return reviewing.decide_line(desk, db, self.line(db).id, "review", now, "service:nightly")

    @property
    def _by(self) -> str:
        return f"customer:{self.name}"

    def _ref(self, what: str, now: datetime) -> str:
        return f"{self.name}-{what}-{now:%Y%m%d%H%M%S}"

    def _consent(self, holders: Sequence[str]) -> ConsentRequest:
        return ConsentRequest(
            self.pseudonym, "credit_line", tuple(holders), ("income", "repayment", "spending")
        )
