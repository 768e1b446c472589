"""Lives of customers that the pages are looked at with."""

from __future__ import annotations

from server.accounts import proving
from tests.service.desk_kit import good, poor

AMOUNT = 50_000


def fresh(office, who):
    """A line that was never used."""
    return office.line(who)


def cut(office, who):
    """A line that was lowered for drawing often, repaid on time, and is not restored."""
    line = office.line(who)
    for _ in range(3):
        office.later(days=25)
        again(office)
        for _ in range(6):
            office.draw(line, AMOUNT, who)
        office.repay(line, 6 * AMOUNT)
        office.later(days=5)
        again(office)
        office.done("alice", f"/v1/lines/{line}/decisions", {"purpose": "review"})
    return line


def on_the_way_back(office, who):
    """A line that was lowered, and that nothing but its own use keeps down."""
    line = cut(office, who)
    office.bureau(who)
    return line


def lent(office, who):
    """A line whose loans a partner bank shares, with an income that was proven."""
    rules = {"name": "lake", "version": "1", "grades": ["A"], "products": ["revolving_consumer"]}
    partner = {"id": "lake", "tier1_minor": 10**11, "loans_minor": 10**12, "rules": rules}
    office.done("ops", "/v1/partners", partner)
    office.done("ops", "/v1/lending", {"own_share": "0.3", "reason": "As agreed."}, 200)
    line = office.line(who)
    office.done("alice", "/v1/evidence", {
        "customer_id": who, "kind": "income_flow", "value_minor": 1_500_000, "source": "bank",
        "issued": f"{office.clock.now:%Y-%m-%d}", "file_hash": "5f" * 32})  # fmt: skip
    office.draw(line, 1_000_000, who)
    return line


def late(office, who):
    """A line on which an instalment was not paid, so that nothing can be drawn."""
    line = office.line(who)
    office.draw(line, 600_000, who)
    office.later(days=75)
    again(office)
    office.bureau(who)
    office.done("alice", f"/v1/lines/{line}/decisions", {"purpose": "review"})
    return line


def again(office):
    """Let the holders publish anew: scores that are too old raise nothing."""
    now = office.clock.text()
    when = {"as_of": now[:10], "created": now}
    for party, raw in office.kit.feeds(9, **when).items():
        office.scores.feeds.accept(raw, now, party=party)


ME, TOM = good(0), good(1)


PEOPLE = 26
"""Who has a line in `busy`: enough for figures to be told."""


def busy(office):
    """A book of many: lines drawn, some of them late, some refused, a budget and a partner."""
    own = {"own_funds_minor": 4_000_000, "own_share": "0.3"}
    office.done("ops", "/v1/budgets/budget", own, status=200)
    rules = {"name": "lake", "version": "1", "grades": ["A", "B"], "most_minor": None,
             "products": ["revolving_consumer"], "most_default_prob": None}  # fmt: skip
    told = {"id": "lake", "tier1_minor": 10**11, "loans_minor": 10**12}
    office.done("ops", "/v1/partners", told | {"rules": rules})
    lines = {}
    for number in range(PEOPLE):
        who = good(number)
        lines[who] = office.line(who)
        if number % 2:
            office.draw(lines[who], 200_000 + 10_000 * number, who)
    for number in range(6):
        refused(office, poor(number))
    office.done("ops", "/v1/allocations", {"budget_id": "budget"})
    return lines


def refused(office, who):
    """Somebody who asked for a line and has none."""
    office.consent(who)
    office.bureau(who)
    office.post(who, "/v1/lines", {"customer_id": who, "product": "revolving_consumer"})


def sealed(office):
    """Let the log sign a head over everything decided so far."""
    now = office.clock.now
    proving.make_log_key(office.desk)
    for work in (proving.integrate, proving.sign):
        with office.store.write() as db:
            work(office.desk, db, now)
