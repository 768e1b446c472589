"""Short ways to ask a store for things."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import count

from server.store import changes, checks, draws, funds, holds, lines, repayments
from server.store.changes import LineChange
from server.store.draws import Share, Terms
from server.store.holds import HoldRequest
from server.store.lines import NewLine
from server.store.repayments import RepaymentRequest

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
NUMBERS = count(1)


def terms(amount, *, bank=0, fund="bank"):
    """Own money, and a part of it from a partner."""
    shares = [Share("own", amount - bank)]
    if bank:
        shares.append(Share(fund, bank, fund))
    return Terms(shares, "policy-1", "model-1", {"apr": "0.12"})


class World:
    """A store at a time, with one transaction for each thing that is asked."""

    def __init__(self, store, at=START):
        self.store = store
        self.at = at

    def later(self, **delta):
        self.at += timedelta(**delta)
        return self.at

    def line(self, limit=10_000, *, line_id=None, may_draw=True, budget=None, customer=None):
        number = next(NUMBERS)
        new = NewLine(
            id=line_id or f"line-{number}",
            customer_id=customer or f"customer-{number}",
            product="revolving",
            currency="CNY",
            state="ACTIVE" if may_draw else "PENDING",
            may_draw=may_draw,
            limit_minor=limit,
            domain={"windows": [], "limit": limit},
            policy_ref="policy-1",
            model_ref="model-1",
            ref=f"decision-{number}",
            budget_id=budget,
        )
        with self.store.write() as db:
            return lines.open_line(db, new, self.at).id

    def get(self, line):
        with self.store.read() as db:
            return lines.get_line(db, line)

    def change(self, line, **values):
        now = self.get(line)
        change = LineChange(
            line_id=line,
            version=now.version,
            state=now.state,
            may_draw=now.may_draw,
            limit_minor=now.totals.limit_minor,
            domain=now.domain,
            policy_ref="policy-2",
            model_ref="model-2",
            ref=f"decision-{next(NUMBERS)}",
        )
        with self.store.write() as db:
            changes.change_line(db, replace(change, **values), self.at)

    def ask(self, line, amount, *, hold_id=None, currency="CNY", purpose="shopping"):
        return HoldRequest(hold_id or f"hold-{next(NUMBERS)}", line, amount, currency, purpose)

    def hold(self, line, amount, *, seconds=600, **values):
        asked = self.ask(line, amount, **values)
        with self.store.write() as db:
            return holds.hold(db, asked, self.at + timedelta(seconds=seconds), self.at)

    def post(self, hold_id, given):
        with self.store.write() as db:
            return draws.post(db, hold_id, given, self.at)

    def void(self, hold_id):
        with self.store.write() as db:
            return holds.void(db, hold_id, self.at)

    def expire(self, line):
        with self.store.write() as db:
            return holds.expire(db, line, self.at)

    def draw(self, line, amount, *, bank=0, **values):
        asked = self.ask(line, amount, **values)
        with self.store.write() as db:
            return draws.draw(db, asked, terms(amount, bank=bank), self.at)

    def repay(self, line, amount, *, ref=None, to=None, currency="CNY", day=date(2026, 3, 1)):
        number = next(NUMBERS)
        asked = RepaymentRequest(
            f"repayment-{number}", ref or f"ref-{number}", line, amount, currency, day, to
        )
        with self.store.write() as db:
            return repayments.repay(db, asked, self.at)

    def fund(self, name="bank", cap=1_000_000, *, kind="partner", is_open=True):
        with self.store.write() as db:
            return funds.set_fund(db, name, kind=kind, cap_minor=cap, is_open=is_open, at=self.at)

    def get_fund(self, name="bank"):
        with self.store.read() as db:
            return funds.get_fund(db, name)

    def findings(self):
        with self.store.read() as db:
            return checks.findings(db)
