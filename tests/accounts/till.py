"""Short ways to hold, draw and repay at an office, and partners to lend with."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import contextmanager
from datetime import timedelta
from itertools import count

import sqlalchemy as sa

from server.accounts import drawing, lineview, partner_books, partners, repaying
from server.accounts.desk import RuleText
from server.accounts.partners import PartnerRequest
from server.policies import embedded
from server.store.engine import open_store
from server.store.holds import HoldRequest
from server.store.repayments import RepaymentRequest
from server.store.tables import METADATA
from tests import postgres
from tests.accounts.kit import Office

NUMBERS = count(1)
HOUR = timedelta(hours=1)
RULES = {
    "name": "bank-rules",
    "version": "1",
    "grades": ["A", "B", "C"],
    "products": ["revolving_consumer", "credit_loan_plus", "micro_business"],
}
BILLION = 100_000_000_000


def products(*pairs):
    """Return the embedded catalogue with some of its text replaced, as rule texts."""
    text, source = embedded("products")
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new, 1)
    return {"catalogue": RuleText.of(text, source)}


class Till:
    """An office at which money is drawn and repaid.

    Parameters
    ----------
    office : Office
    """

    def __init__(self, office):
        self.office = office
        self.desk = office.desk

    def __getattr__(self, name):
        return getattr(self.office, name)

    def ask(self, line, amount, *, id_=None, purpose="daily", currency="CNY"):
        return HoldRequest(id_ or f"hold-{next(NUMBERS)}", line, amount, currency, purpose)

    def hold(self, line, amount, *, ttl=HOUR, **values):
        return self.do_hold(self.ask(line, amount, **values), ttl)

    def do_hold(self, asked, ttl=HOUR):
        return self.office.write(drawing.hold, asked, ttl, self.office.now)

    def draw(self, line, amount, *, months=3, **values):
        return self.do_draw(self.ask(line, amount, **values), months)

    def do_draw(self, asked, months=3):
        return self.office.write(drawing.draw, asked, months, self.office.now)

    def post(self, hold_id, months=3):
        return self.office.write(drawing.post, hold_id, months, self.office.now)

    def void(self, hold_id):
        return self.office.write(lambda _, db: drawing.void(db, hold_id, self.office.now))

    def quote(self, line, amount, months=3):
        with self.office.store.read() as db:
            return drawing.quote(self.desk, db, line, amount, months, self.office.now)

    def repay(self, line, amount, *, ref=None, day=None, to=None):
        number = next(NUMBERS)
        asked = RepaymentRequest(
            f"r-{number}", ref or f"r-{number}", line, amount, "CNY", day or self.office.day, to
        )
        return self.office.write(repaying.repay, asked, self.office.now)

    def view(self, line):
        with self.office.store.read() as db:
            return lineview.line_view(self.desk, db, line, self.office.now)

    def late(self, line, day=None):
        with self.office.store.read() as db:
            return repaying.days_past_due(self.desk, db, line, day or self.office.day)

    def history(self, line):
        with self.office.store.read() as db:
            stored = self.office.get(line)
            return repaying.history_of(self.desk, db, stored, self.office.day)

    def partner(self, name="lake", **values):
        """Take a partner on: large, and willing unless told otherwise."""
        rules = RULES | {key: values.pop(key) for key in list(values) if key not in _FIELDS}
        fields = {"tier1_minor": BILLION, "loans_minor": BILLION * 10, "elsewhere_minor": 0}
        asked = PartnerRequest(id=name, rules=rules, **(fields | values))
        return self.office.write(partners.set_partner, asked, self.office.now)

    def withdraw(self, name="lake"):
        return self.office.write(partners.withdraw_partner, name, self.office.now)

    def lending(self, own_share=None, own_line_minor=None):
        return self.office.write(
            partners.set_lending,
            own_share=own_share,
            own_line_minor=own_line_minor,
            by="officer",
            reason="test",
            now=self.office.now,
        )

    def book(self, name="lake"):
        with self.office.store.read() as db:
            return partner_books.book(self.desk, db, name, self.office.now)

    def everything(self):
        """Return every row of the store but the texts of its rules."""
        with self.office.store.read() as db:
            return {
                name: sorted(map(str, db.execute(sa.select(table)).all()))
                for name, table in METADATA.tables.items()
                if name != "rule_texts"
            }


_FIELDS = {"tier1_minor", "loans_minor", "elsewhere_minor", "agreed_minor", "is_open"}


@contextmanager
def a_till(scene, empty_file):
    """A fresh office on SQLite, for a test that needs many."""
    with tempfile.TemporaryDirectory(prefix="confide-", dir=postgres.scratch()) as folder:
        shutil.copy(empty_file, f"{folder}/limits.db")
        opened = open_store(f"sqlite:///{folder}/limits.db", pool=12)
        made = Till(Office(scene, opened))
        yield made
        assert made.findings() == []
        opened.close()
