"""The golden year (domain 5.6, T33) lived through in a real store: draws, repayments, reviews."""

from __future__ import annotations

from datetime import timedelta
from itertools import count

from server.accounts import drawing, repaying
from server.accounts.desk import RuleText, rule_texts
from server.limits.line import golden
from server.store.holds import HoldRequest
from server.store.repayments import RepaymentRequest
from tests.accounts.kit import GOOD, Office

NUMBERS = count(1)
OVERLAY = """
[[overlay]]
scenario = "downturn"
since = {since}
until = {until}
multiplier = 0.7
approved_by = ["first", "second"]
approved_on = {since}
note = "cycles 3 and 4"
"""


def golden_texts(start):
    """Return the rules of the replay: nobody above 10,000, and a downturn in cycles 3 and 4."""
    found = rule_texts()
    products = found["catalogue"].text.replace("cap_minor = 5_000_000", "cap_minor = 1_000_000", 1)
    since = start + timedelta(days=61)
    overlay = OVERLAY.format(since=since, until=start + timedelta(days=120))
    line = found["line"].text + overlay
    return {
        "catalogue": RuleText.of(products, "products.toml"),
        "line": RuleText.of(line, "line.toml"),
    }


class Year:
    """A customer's line over twelve cycles of thirty days.

    Parameters
    ----------
    office : Office
        With the rules of `golden_texts`.
    who : golden.Customer
    customer : str
    """

    def __init__(self, office: Office, who, customer=GOOD):
        self.office, self.who, self.customer = office, who, customer
        self.begun = office.now
        self.line = office.line(customer)
        self.done = 0
        self.decisions = []

    def at(self, day):
        self.office.now = self.begun + timedelta(days=day)

    def live(self, cycles):
        """Draw, repay everything on day 28 and review, for so many cycles."""
        for _ in range(cycles):
            before = 30 * self.done
            for day, amount in self.who.draws[self.done]:
                self.at(before + day)
                self.draw(amount)
            self.at(before + golden.REPAID_ON)
            self.repay()
            self.at(before + 30)
            self.decisions.append(self.office.decide(self.line, "review"))
            self.done += 1
        return self

    def draw(self, amount):
        asked = HoldRequest(f"year-{next(NUMBERS)}", self.line, amount, "CNY", "daily")
        return self.office.write(drawing.draw, asked, 3, self.office.now)

    def repay(self, amount=None):
        number = next(NUMBERS)
        owed = amount or self.office.get(self.line).totals.outstanding_minor
        asked = RepaymentRequest(
            f"paid-{number}", f"ref-{number}", self.line, owed, "CNY", self.office.day
        )
        return self.office.write(repaying.repay, asked, self.office.now)

    @property
    def limits(self):
        return [one.new_minor // 100 for one in self.decisions]

    def ask(self, function, *values, **named):
        """Ask something of the service, in a transaction that only reads."""
        with self.office.store.read() as db:
            return function(self.office.desk, db, *values, **named)
