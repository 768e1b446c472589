"""The lives of the demo's customers until today, and what the lender does meanwhile.

The first two are those of the golden replay (`server.limits.line.golden`), ten cycles of twelve:
both have always paid on time, both were cut in the same downturn; one is restored, the other will
be in two cycles. What is told of the others is in `server.demo_people.people.ABOUT`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from sqlalchemy import Connection

from server.accounts import allocating, budgeting, customers, partners
from server.accounts.customers import CaseRequest
from server.accounts.desk import Desk
from server.accounts.partners import PartnerRequest
from server.demo_people.people import BUSINESS, CAPITAL, OFTEN, PARTNER, SILENT, STEADY
from server.demo_people.steps import Act, Borrower, Step
from server.limits.line import golden
from server.store.decisions import chain_of
from server.store.lines import lines_of, page_of_lines

CYCLES: Final = 10
"""Of the golden replay that are over today."""
DAYS: Final = CYCLES * golden.CYCLE_DAYS
_CONSUMER: Final = "revolving_consumer"
_BUDGET: Final = "budget"
_OPERATOR: Final = "operator:operator"
_SHARE: Final = Decimal("0.3")
_OWN_FUNDS: Final = 1_000_000_00
_TIGHT: Final = Decimal("0.95")  # of what is committed: what the lender's capital then carries
_MOST_LINES: Final = 500
_MOST_DECISIONS: Final = 100


def lives(who: Mapping[str, str], holders: tuple[str, ...], now: datetime) -> list[Step]:
    """Return everything that happens until now, in order.

    Parameters
    ----------
    who : mapping of str to str
        Pseudonyms by name; see `server.demo_people.people.borrowers`.
    holders : tuple of str
        The federation's.
    now : datetime
        Aware UTC: no step lies behind it.
    """
    last = now - timedelta(hours=1)
    begun = last - timedelta(days=DAYS)
    found = [Step(begun - timedelta(hours=1), _lender)]
    for name, story in ((STEADY, golden.stable()), (OFTEN, golden.frequent())):
        found += _golden(Borrower(name, who[name], _CONSUMER, begun), story, holders)
    minute = timedelta(minutes=10)
    found += [Step(last + minute, Borrower(STEADY, who[STEADY], _CONSUMER, begun).draws(300_000))]
    found += _business(
        Borrower(BUSINESS, who[BUSINESS], "micro_business", _ago(last, 120)), holders
    )
    found += _silent(Borrower(SILENT, who[SILENT], _CONSUMER, _ago(last, 90)), holders)
    found += _capital(Borrower(CAPITAL, who[CAPITAL], "credit_loan_plus", _ago(last, 90)), holders)
    found += [Step(last + 2 * minute, _appeals(who[OFTEN]))]
    return sorted(found, key=lambda one: one.at)


def _ago(last: datetime, days: int) -> datetime:
    return last - timedelta(days=days)


def _golden(one: Borrower, story: golden.Customer, holders: tuple[str, ...]) -> list[Step]:
    """Draw as the replay does, repay everything on day 28 of each cycle, be reviewed on day 30."""
    found = [one.on(0, one.opens(holders))]
    for cycle in range(CYCLES):
        before = golden.CYCLE_DAYS * cycle
        found += [one.on(before + day, one.draws(amount)) for day, amount in story.draws[cycle]]
        found.append(one.on(before + golden.REPAID_ON, one.repays()))
        found.append(one.on(before + golden.CYCLE_DAYS, one.is_reviewed))
    return found


def _business(one: Borrower, holders: tuple[str, ...]) -> list[Step]:
    work = "business"
    return [
        one.on(0, one.proves_income(1_800_000)),
        one.on(0, one.opens(holders)),
        one.on(9, one.draws(1_500_000, work)),
        one.on(30, one.is_reviewed),
        one.on(38, one.repays()),
        one.on(60, one.is_reviewed),
        one.on(90, one.is_reviewed),
        one.on(101, one.draws(2_000_000, work, 12)),
        one.on(120, one.is_reviewed),
    ]


def _silent(one: Borrower, holders: tuple[str, ...]) -> list[Step]:
    fewer = holders[:-2] + holders[-1:]
    return [
        one.on(0, one.opens(holders)),
        one.on(12, one.draws(200_000)),
        one.on(30, one.is_reviewed),
        one.on(40, one.repays()),
        one.on(47, one.tells_less(fewer)),
        one.on(60, one.is_reviewed),
        one.on(70, one.draws(100_000)),
        one.on(83, one.repays()),
        one.on(90, one.is_reviewed),
    ]


def _capital(one: Borrower, holders: tuple[str, ...]) -> list[Step]:
    return [
        one.on(0, one.proves_income(4_500_000)),
        one.on(0, one.opens(holders)),
        one.on(20, one.draws(3_000_000, months=12)),
        one.on(30, one.is_reviewed),
        one.on(48, one.repays()),
        # Nobody owes anything on that day: all count as equally idle, and what earns least is cut.
        one.on(59, _shares_out),
        one.on(60, one.is_reviewed),
        one.on(90, one.is_reviewed),
    ]


def _lender(desk: Desk, db: Connection, now: datetime) -> None:
    """Have a budget, and a bank that lends together with the platform."""
    _set_budget(desk, db, now, _OWN_FUNDS)
    asked = PartnerRequest(
        id=PARTNER,
        tier1_minor=1_000_000_000_00,
        loans_minor=8_000_000_000_00,
        elsewhere_minor=0,
        agreed_minor=50_000_000_00,
        rules={
            "name": PARTNER,
            "version": "1",
            "grades": ["A", "B"],
            "products": [_CONSUMER, "credit_loan_plus", "micro_business"],
            "most_minor": None,
            "most_default_prob": "0.05",
        },
    )
    partners.set_partner(desk, db, asked, now)


def _shares_out(desk: Desk, db: Connection, now: datetime) -> None:
    """Share out less than is committed; then there is more again, until the next run unshared."""
    committed = sum(one.totals.limit_minor for one in page_of_lines(db, count=_MOST_LINES))
    whole = _set_budget(desk, db, now, _OWN_FUNDS)
    # Commitments are in proportion to own funds.
    _set_budget(desk, db, now, int(_OWN_FUNDS * _TIGHT * committed / whole))
    allocating.allocate(desk, db, _BUDGET, _OPERATOR, now)
    _set_budget(desk, db, now, _OWN_FUNDS)


def _set_budget(desk: Desk, db: Connection, now: datetime, own_funds_minor: int) -> int:
    """Set the budget that own funds carry, and return what may be committed."""
    made = budgeting.set_budget(desk, db, _BUDGET, own_funds_minor, _SHARE, _OPERATOR, now)
    return made.cap_minor


def _appeals(pseudonym: str) -> Act:
    """Ask a person to look at the last decision: something waits in the officers' queue."""

    def act(desk: Desk, db: Connection, now: datetime) -> None:
        [line] = lines_of(db, pseudonym)
        newest = chain_of(db, line.id, count=_MOST_DECISIONS)[-1].id
        text = "I have always paid on time. Why does my limit come back so slowly?"
        asked = CaseRequest("appeal", pseudonym, newest, "B01", text)
        customers.open_case(desk, db, asked, now)

    return act
