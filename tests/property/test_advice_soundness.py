"""I17 over stored lines: what `why` promises is what the running service then does.

Each line lives through some random months of draws and repayments, is asked for advice, and lives
on twice: once as advised, once as before. Nothing of the code under test is used for living.
"""

from __future__ import annotations

import shutil
import tempfile
from datetime import date, timedelta
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.accounts import answering, customers, drawing, repaying
from server.accounts.customers import EvidenceRequest
from server.accounts.desk import RuleText, rule_texts
from server.limits.line.line import DRAWING
from server.store.engine import open_store
from server.store.holds import HoldRequest
from server.store.repayments import RepaymentRequest
from tests import postgres
from tests.accounts.kit import GOOD, START, Office, Scene
from tests.depth import depth

pytestmark = pytest.mark.slow
NUMBERS = count(1)
CAP, PRESUMED = 2_000_000, 300_000  # an income that is proven can raise the limit
SMALL = 10_000


def texts():
    """Return rules under which both fewer draws and a proven income can raise a limit."""
    text = rule_texts()["catalogue"].text
    end = text.index("[[products]]", text.index("[[products]]") + 1)
    first, rest = text[:end], text[end:]
    first = first.replace("cap_minor = 5_000_000", f"cap_minor = {CAP}", 1)
    for presumed in ("1_400_000", "800_000", "600_000"):
        first = first.replace(f"presumed_minor = {presumed}", f"presumed_minor = {PRESUMED}")
    return {"catalogue": RuleText.of(first + rest, "products.toml")}


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return Scene(tmp_path_factory.mktemp("federation"))


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    file = tmp_path_factory.mktemp("empty") / "limits.db"
    open_store(f"sqlite:///{file}", create=True).close()
    return file


class Life:
    """A line of a store of its own, from its first day on."""

    def __init__(self, scene, empty, months):
        self.folder = Path(tempfile.mkdtemp(prefix="confide-", dir=postgres.scratch()))
        shutil.copy(empty, self.folder / "limits.db")
        self.store = open_store(f"sqlite:///{self.folder}/limits.db")
        self.office = Office(scene, self.store, **texts())
        self.office.now = START
        self.line = self.office.line()
        for draws, share in months:
            self.month(draws, share)

    def month(self, draws, share=0.0):
        """Draw so often, a share of the limit at once, repay all of it, and be reviewed."""
        office, domain = self.office, self.office.domain(self.line)
        begun = domain.next_review_on - timedelta(days=30)
        for at in range(draws):
            self.to(begun + timedelta(days=2 + at))
            whole = int(share * domain.effective_limit_minor) // SMALL * SMALL
            self.draw(max(SMALL, whole) if at == 0 else SMALL)
            if at:
                self.repay(SMALL)
        self.to(begun + timedelta(days=28))
        self.repay(office.get(self.line).totals.outstanding_minor)
        self.to(domain.next_review_on)
        office.decide(self.line, "review")

    def to(self, day):
        self.office.now += timedelta(days=max(0, (day - self.office.day).days))

    def draw(self, amount):
        if self.office.domain(self.line).state not in DRAWING:
            return
        asked = HoldRequest(f"life-{next(NUMBERS)}", self.line, amount, "CNY", "daily")
        self.office.write(drawing.draw, asked, 3, self.office.now)

    def repay(self, amount):
        if amount:
            number, day = next(NUMBERS), self.office.day
            asked = RepaymentRequest(f"p-{number}", f"r-{number}", self.line, amount, "CNY", day)
            self.office.write(repaying.repay, asked, self.office.now)

    def prove(self, income):
        proof = EvidenceRequest(GOOD, "income_flow", income, "bank", self.office.day, "5f" * 32)
        self.office.write(customers.add_evidence, proof, self.office.now)

    def ask(self):
        with self.store.read() as db:
            told = answering.why(self.office.desk, db, self.line, "en", self.office.now)
            return told["advice"]

    def until(self, day, draws, share):
        """Go on month by month until a day, and return what can be had: the limit, or an offer."""
        while self.office.domain(self.line).next_review_on <= day:
            self.month(draws, share)
        line = self.office.domain(self.line)
        return max(line.effective_limit_minor, line.offer.limit_minor if line.offer else 0)

    def close(self):
        self.store.close()
        shutil.rmtree(self.folder, ignore_errors=True)


months = st.lists(
    st.tuples(st.sampled_from([1, 2, 4, 7]), st.sampled_from([0.1, 0.5, 0.95])),
    min_size=1,
    max_size=4,
)


@given(months)
@settings(
    max_examples=depth(3, 7),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_i17_what_is_advised_comes_true_when_it_is_lived(scene, empty, past):
    first = Life(scene, empty, past)
    advice = first.ask()
    first.close()
    for one in advice[:2]:
        draws, share = past[-1]
        life = Life(scene, empty, past)
        try:
            again = next(row for row in life.ask() if row["codes"] == one["codes"])
            assert again == one  # the same line, the same answer
            if "ADV-FREQ" in one["codes"]:
                draws = int(one["action"].split("Borrow at most ")[1].split(" times")[0])
                draws = min(draws, past[-1][0])
            if "ADV-PROOF-NEW" in one["codes"]:
                amount = one["action"].split("your income is ")[1].split(" CNY")[0]
                life.prove(int(amount.replace(",", "").replace(".", "")))
            by = date.fromisoformat(one["by"])
            assert life.until(by, draws, share) >= one["expected_limit_minor"]
        finally:
            life.close()


def test_the_property_has_something_to_check(scene, empty):
    """Control: a line that borrowed often is advised both, and without either stays low."""
    past = [(7, 0.5), (7, 0.5), (7, 0.5)]
    life = Life(scene, empty, past)
    advice = life.ask()
    assert {code for one in advice for code in one["codes"]} >= {"ADV-FREQ", "ADV-PROOF-NEW"}
    best = advice[0]
    by = date.fromisoformat(best["by"])
    assert life.until(by, *past[-1]) == best["otherwise_limit_minor"]
    assert best["otherwise_limit_minor"] < best["expected_limit_minor"]
    life.close()
