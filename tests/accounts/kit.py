"""A desk over a small federation, a clock that a test sets, and short ways to ask for things."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count

from server.accounts import customers, opening, recording, reviewing
from server.accounts.customers import CaseRequest, ConsentRequest
from server.accounts.desk import desk_over, rule_texts, rulebook_of, text_of
from server.accounts.scores import LimitService
from server.limits.line.events import line_from_mapping, replay
from server.store import checks, decisions, draws, lines, people, repayments
from server.store.draws import Share, Terms
from server.store.holds import HoldRequest
from server.store.repayments import RepaymentRequest
from tests.service.kit import PARTIES, Kit, name_of

START = datetime(2026, 3, 2, 8, tzinfo=UTC)
GOOD, GOOD_TOO, POOR, BAD = (name_of(number) for number in (2, 5, 1, 0))
NUMBERS = count(1)


class Scene:
    """A federation with a champion and its feeds: what many offices look at, one after the other.

    Parameters
    ----------
    folder : Path
    """

    def __init__(self, folder):
        self.now = START
        self.kit = Kit(folder, valid_days=730, feed_days=366)
        self.release = self.kit.serve(now=text_of(START))
        self.rules = rulebook_of(rule_texts())
        self.scores = LimitService(
            folder, self.kit.federation, self.rules.policy, self.rules.pack, self.instant
        )
        self.scores.start()
        self.publish()
        self.shelf = self.scores.feeds.shelf

    def instant(self):
        return text_of(self.now)

    def publish(self, customers=6, parties=PARTIES):
        """Let parties publish their feeds of today."""
        when = {"as_of": f"{self.now:%Y-%m-%d}", "created": self.instant()}
        for raw in self.kit.feeds(customers, parties=parties, **when).values():
            self.scores.feeds.accept(raw, self.instant(), keep=False)

    def reset(self):
        self.now = START
        self.scores.feeds._shelf = self.shelf
        self.scores.policy, self.scores.pack = self.rules.policy, self.rules.pack


class Office:
    """A desk at an instant, with one transaction for each thing that is asked.

    Parameters
    ----------
    scene : Scene
    store : Store
    texts : mapping of str to RuleText
        In place of the embedded ones.
    """

    def __init__(self, scene, store, **texts):
        scene.reset()
        self.scene, self.store = scene, store
        self.scores, self.release = scene.scores, scene.release
        self.rules = rulebook_of({**scene.rules.sources, **texts}) if texts else scene.rules
        self.desk = desk_over(store, self.scores, self.rules, lambda: self.now, scene.kit.folder)

    @property
    def now(self):
        return self.scene.now

    @now.setter
    def now(self, at):
        self.scene.now = at

    def publish(self, customers=6, parties=PARTIES):
        """Let parties publish their feeds of today."""
        self.scene.publish(customers, parties)

    def silence(self, *parties):
        """Let parties have no feed."""
        feeds = self.scores.feeds
        in_use = {name: one for name, one in feeds.shelf.in_use.items() if name not in parties}
        feeds._shelf = replace(feeds.shelf, in_use=in_use)

    @property
    def day(self):
        return self.desk.today(self.now)

    def later(self, **delta):
        self.now += timedelta(**delta)
        return self

    def write(self, function, *values, **named):
        with self.store.write() as db:
            return function(self.desk, db, *values, **named)

    def consent(self, customer=GOOD, *, holders=PARTIES, purpose="credit_line", until=None):
        asked = ConsentRequest(customer, purpose, tuple(holders), ("scores",), until)
        return self.write(customers.give_consent, asked, self.now)

    def open(self, customer=GOOD, product="revolving_consumer", *, consent=True):
        if consent:
            self.consent(customer)
        return self.write(opening.open_line, customer, product, self.now, "customer:app")

    def line(self, customer=GOOD, product="revolving_consumer"):
        """Open a line and return its id."""
        return self.open(customer, product).line.id

    def decide(self, line, purpose, by="officer:desk", **more):
        return self.write(reviewing.decide_line, line, purpose, self.now, by, **more)

    def review(self, line, *, on_time=True):
        """Review a line, on the day of its next scheduled review."""
        if on_time:
            self.now += timedelta(days=(self.domain(line).next_review_on - self.day).days)
        return self.decide(line, "review")

    def case(self, kind="dispute", customer=GOOD, decision=None, text="that is not mine"):
        asked = CaseRequest(kind, customer, decision, "ENQUIRIES", text)
        return self.write(customers.open_case, asked, self.now)

    def get(self, line):
        with self.store.read() as db:
            return lines.get_line(db, line)

    def domain(self, line):
        return line_from_mapping(self.get(line).domain)

    def draw(self, line, amount):
        """Draw without terms: what the store does, no more."""
        asked = HoldRequest(f"draw-{next(NUMBERS)}", line, amount, "CNY", "daily")
        with self.store.write() as db:
            return draws.draw(db, asked, Terms([Share("own", amount)], "p", "m"), self.now)

    def repay(self, line, amount):
        number = next(NUMBERS)
        asked = RepaymentRequest(
            f"repayment-{number}", f"ref-{number}", line, amount, "CNY", self.day
        )
        with self.store.write() as db:
            return repayments.repay(db, asked, self.now)

    def records(self, chain):
        """Return the decisions of a chain with their records, in order."""
        with self.store.read() as db:
            found = decisions.chain_of(db, chain, count=1000)
            return [
                (one, recording.read_record(decisions.record_of(db, one.id)[0])) for one in found
            ]

    def texts(self, digests):
        with self.store.read() as db:
            return people.texts_at(db, digests)

    def replayed(self, chain):
        """Make every decision of a chain again from its record; return how many there were."""
        told = self.records(chain)
        for _, record in told:
            outcome = recording.replay(record.to_bytes(), self.texts(record.rules.values()))
            assert outcome == record.outcome
        return len(told)

    def rebuilt(self, line):
        """Return a line as the events of its decisions tell it, and as it is stored."""
        events = [event for _, record in self.records(line) for event in record.outcome.events]
        return replay(events), self.domain(line)

    def findings(self):
        with self.store.read() as db:
            return checks.findings(db)
