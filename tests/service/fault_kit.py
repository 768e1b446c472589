"""Many clients that ask until they are answered, whatever is killed, and what must be true then.

A `World` is a federation on disk with customers who have lines, and a store by URL. `Storm` is the
clients; every final answer goes into the world's ledger. `verdict` holds the ledger against the
store: it believes the answers, reckons all money from them alone, and says where the store differs.
"""

from __future__ import annotations

import asyncio
import heapq
import json
import random
import time
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count, pairwise

import sqlalchemy as sa

from server.accounts import partners, proving
from server.accounts.customers import ConsentRequest, give_consent, report_bureau
from server.accounts.desk import open_desk
from server.accounts.dossier import BureauReport
from server.accounts.opening import open_line
from server.accounts.partners import PartnerRequest
from server.accounts.recording import read_record
from server.accounts.replaying import replay_store
from server.api.tokens import OFFLINE, Caller, Role, make_keys, mint, read_keys
from server.limits.line.events import line_from_mapping, replay
from server.store import checks, decisions
from server.store.log_checks import check_log
from server.store.tables import (
    DECISIONS,
    DRAWDOWNS,
    FUNDS,
    HOLDS,
    KEYS,
    LINE_EVENTS,
    LINES,
    REPAYMENTS,
    SHARES,
)
from tests.service.desk_kit import good
from tests.service.kit import PARTIES, Kit, real_now

CLIENTS = 50
LIMIT_MINOR = 4_000_000
LAKE_RULES = {
    "name": "lake",
    "version": "1",
    "grades": ["A", "B"],
    "products": ["revolving_consumer"],
}
_FINAL_REFUSALS = {400, 401, 403, 404, 422}
_SOON_S, _FAILED_S, _PATIENCE_S = 1.0, 0.2, 20.0
_PAGE_S = 300  # a token lives for a quarter of an hour
NUMBERS = count(1)


@dataclass(frozen=True, slots=True)
class Ask:
    """One request, the same however often it is sent.

    Parameters
    ----------
    kind : str
        draw, hold, post, void, repay, again (a payment that is reported under another key), lower.
    line : str
    customer : str
        Whose line it is.
    path : str
    body : mapping
    key : str
    """

    kind: str
    line: str
    customer: str
    path: str
    body: dict
    key: str

    @property
    def caller(self):
        if self.kind in {"repay", "again"}:
            return Caller(OFFLINE, Role.OPERATOR, "")
        return Caller(OFFLINE, Role.CUSTOMER, self.customer)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request came to, finally."""

    status: int
    raw: bytes
    version: int | None = None
    replayed: bool = False

    @property
    def done(self):
        return self.status in {200, 201}

    @property
    def body(self):
        return json.loads(self.raw)

    @property
    def final(self):
        """Whether the same request need not be sent again."""
        if self.done or self.status in _FINAL_REFUSALS:
            return True
        return self.status == 409 and self.body.get("check") not in {"in-flight", "id"}


@dataclass
class World:
    """A federation whose customers have lines at a store.

    Parameters
    ----------
    folder : Path
    url : str
        Of the store; its schema is brought up.
    customers : int
        Those who may get lines.
    """

    folder: object
    url: str
    customers: int = 80
    lines: list = field(default_factory=list)
    ledger: list = field(default_factory=list)

    def __post_init__(self):
        self.kit = Kit(self.folder)
        now = real_now()
        release = self.kit.serve(created=now, now=now)
        self.desk = open_desk(self.folder, self.kit.federation, self.url, create=True)
        self.home = self.desk.home
        make_keys(self.home / "token.key")
        proving.make_log_key(self.desk)
        feeds = self.kit.feeds(
            3 * self.customers, manifest=release.manifest, as_of=now[:10], created=now
        )
        for party, raw in feeds.items():
            self.desk.scores.feeds.accept(raw, now, party=party)
        rich = {"tier1_minor": 10**13, "loans_minor": 10**14, "elsewhere_minor": 0}
        with self.store.write() as db:
            at = self.desk.clock()
            partners.set_partner(
                self.desk, db, PartnerRequest("lake", rules=LAKE_RULES, **rich), at
            )
            words = {"by": "tests", "reason": "joint", "now": at}
            share = Decimal("0.3")
            partners.set_lending(self.desk, db, own_share=share, own_line_minor=None, **words)
        self._tokens = {}

    @property
    def store(self):
        return self.desk.store

    def close(self):
        self.store.close()

    def open_lines(self, number):
        """Give so many more customers lines; return them with their lines."""
        made = []
        for _ in range(number):
            customer = good(len(self.lines))
            with self.store.write() as db:
                now = self.desk.clock()
                consent = ConsentRequest(customer, "credit_line", PARTIES, ("repayment",))
                give_consent(self.desk, db, consent, now)
                report_bureau(self.desk, db, BureauReport(customer, self.desk.today(now)), now)
                opened = open_line(self.desk, db, customer, "revolving_consumer", now, "tests:app")
            assert opened.line.totals.limit_minor == LIMIT_MINOR
            made.append((opened.line.id, customer))
            self.lines.append(made[-1])
        return made

    def bearer(self, caller):
        """Return a token that is good for some minutes more."""
        made, until = self._tokens.get(caller, ("", 0.0))
        if time.monotonic() > until:
            made = mint(read_keys(self.home / "token.key"), caller, datetime.now(UTC))
            self._tokens[caller] = (made, time.monotonic() + _PAGE_S)
        return made

    def hurry(self):
        """Let the leases of all claims run out, as if a minute had gone by.

        Of those who are at work, too: whoever takes over from a living worker has the only effect.
        """
        with self.store.write() as db:
            past = datetime.now(UTC) - timedelta(seconds=1)
            db.execute(sa.update(KEYS).where(KEYS.c.status.is_(None)).values(lease_until=past))

    # Requests.

    def draw(self, place, amount):
        body = {"amount_minor": amount, "currency": "CNY", "purpose": "daily", "months": 3}
        return self._ask("draw", place, f"/v1/lines/{place[0]}/drawdowns", body)

    def hold(self, place, amount):
        body = {"amount_minor": amount, "currency": "CNY", "purpose": "daily", "ttl_s": 86_400}
        return self._ask("hold", place, f"/v1/lines/{place[0]}/holds", body)

    def post(self, place, hold_id):
        return self._ask("post", place, f"/v1/holds/{hold_id}/post", {"months": 3})

    def void(self, place, hold_id):
        return self._ask("void", place, f"/v1/holds/{hold_id}/void", None)

    def lower(self, place, limit):
        body = {"purpose": "self_lower", "limit_minor": limit}
        return self._ask("lower", place, f"/v1/lines/{place[0]}/decisions", body)

    def repay(self, place, amount, ref=None):
        body = {
            "external_ref": ref or f"transfer-{next(NUMBERS)}",
            "line_id": place[0],
            "amount_minor": amount,
            "currency": "CNY",
            "value_date": f"{datetime.now(UTC):%Y-%m-%d}",
        }
        return self._ask("again" if ref else "repay", place, "/v1/repayments", body)

    def _ask(self, kind, place, path, body):
        return Ask(kind, *place, path, body, f"{kind}-{next(NUMBERS)}-{random.getrandbits(40):x}")


class Wire:
    """A client's connection: opened anew when it broke, and now and then, so that workers share."""

    def __init__(self, world, port, *, kept=25):
        self.world, self.port, self.kept = world, port, kept
        self._reader = self._writer = None
        self._sent = 0

    async def send(self, ask):
        """Send a request once; return its answer, or None where there is none to be had."""
        try:
            async with asyncio.timeout(_PATIENCE_S):
                return await self._exchange(self._spelt(ask))
        except (OSError, EOFError, TimeoutError):
            await self.close()
            return None

    async def open(self):
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self.port)
        self._sent = 0

    async def close(self):
        if self._writer is not None:
            self._writer.close()
            with suppress(OSError):
                await self._writer.wait_closed()
            self._writer = None

    def _spelt(self, ask):
        body = b"" if ask.body is None else json.dumps(ask.body).encode()
        kind = "Content-Type: application/json\r\n" if body else ""
        head = (
            f"POST {ask.path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Authorization: Bearer {self.world.bearer(ask.caller)}\r\n"
            f"Idempotency-Key: {ask.key}\r\n{kind}Content-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    async def _exchange(self, raw):
        if self._writer is None or self._sent >= self.kept:
            await self.close()
            await self.open()
        self._sent += 1
        self._writer.write(raw)
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
        names = dict(line.split(": ", 1) for line in head[1:] if ": " in line)
        body = await self._reader.readexactly(int(names.get("content-length", 0)))
        if names.get("connection") == "close":
            await self.close()
        tag = names.get("etag")
        version = int(tag.strip('"')) if tag else None
        replayed = "idempotency-replayed" in names
        return Answer(int(head[0].split()[1]), body, version, replayed)


@dataclass
class Storm:
    """Clients that draw and repay until each request has its answer.

    A client whose request must wait goes on with another and comes back to it; no more than one
    request of each is under way.

    Parameters
    ----------
    world : World
    port : int
    places : list of (str, str)
        Lines and their customers.
    wanted : int
        Requests in all.
    seed : int
    """

    world: World
    port: int
    places: list
    wanted: int
    seed: int = 1
    clients: int = CLIENTS
    issued: int = 0
    tries: int = 0
    open: int = 0
    failures: Counter = field(default_factory=Counter)
    answered: list = field(default_factory=list)
    aside: list = field(default_factory=list)

    async def run(self, *disturbers):
        """Ask for everything; meanwhile let others do harm, each told of this storm."""
        self._choose = random.Random(self.seed)
        harm = [asyncio.create_task(one(self)) for one in disturbers]
        await asyncio.gather(*(self._client() for _ in range(self.clients)))
        await asyncio.gather(*harm)
        self.world.ledger += self.answered

    async def reach(self, share):
        """Wait until a share of the requests is answered."""
        while len(self.answered) < share * self.wanted:  # noqa: ASYNC110 - few wait, many answer
            await asyncio.sleep(0.01)

    async def _client(self):
        wire = Wire(self.world, self.port, kept=self._choose.randint(10, 40))
        while (found := self._next()) is not None:
            if not found:
                await asyncio.sleep(0.02)
                continue
            talk, ask = found
            self.tries += 1
            answer = await wire.send(ask)
            if answer is not None and answer.final:
                self._told(talk, ask, answer)
            else:
                self._wait(talk, ask, answer)
        await wire.close()

    def _next(self):
        """Return what to ask now; nothing while all of it waits, None when all is answered."""
        if self.aside and self.aside[0][0] <= time.monotonic():
            return heapq.heappop(self.aside)[2:]
        if self.issued < self.wanted:
            talk = self._talk()
            self.open += 1
            self.issued += 1
            return talk, next(talk)
        return () if self.open else None

    def _told(self, talk, ask, answer):
        self.answered.append((ask, answer))
        try:
            following = talk.send(answer)
        except StopIteration:
            self.open -= 1
            return
        self.issued += 1
        heapq.heappush(self.aside, (0.0, next(NUMBERS), talk, following))

    def _wait(self, talk, ask, answer):
        body = answer.body if answer else {}
        why = body.get("check") or body.get("detail", "hung up")
        self.failures[(answer.status if answer else 0, why)] += 1
        pause = _SOON_S if answer is not None and answer.status == 409 else _FAILED_S
        heapq.heappush(self.aside, (time.monotonic() + pause, next(NUMBERS), talk, ask))

    def _talk(self):
        """Yield requests that follow from each other; take their answers."""
        world, choose = self.world, self._choose
        place = choose.choice(self.places)
        amount = choose.randint(10_000, 40_000)
        kind = choose.choices(["draw", "hold", "repay", "lower"], [50, 22, 25, 3])[0]
        if kind == "lower":
            yield world.lower(place, 10_000 * choose.randint(300, 390))
        elif kind == "repay":
            yield from self._pay(place, amount)
        elif kind == "draw":
            drawn = yield world.draw(place, amount)
            if drawn.done and choose.random() < 0.3:
                yield from self._pay(place, choose.randint(1, amount))
        else:
            held = yield world.hold(place, amount)
            end = choose.choices([world.post, world.void, None], [60, 30, 10])[0]
            if held.done and end is not None:
                yield end(place, held.body["hold_id"])

    def _pay(self, place, amount):
        ask = self.world.repay(place, amount)
        paid = yield ask
        if paid.done and self._choose.random() < 0.1:
            yield self.world.repay(place, amount, ref=ask.body["external_ref"])


# What must be true at the end.


class Books:
    """All money as the answers tell it, and nothing but the answers."""

    def __init__(self, lines, ledger):
        self.limit = {line: LIMIT_MINOR for line, _ in lines}
        self.steps = {line: {} for line in self.limit}
        self.versions = {line: Counter({1: 1}) for line in self.limit}
        self.draws, self.holds, self.payments = Counter(), {}, Counter()
        self.parts, self.again, self.decisions = Counter(), [], Counter()
        told = [(ask, answer) for ask, answer in ledger if answer.done]
        for ask, answer in sorted(told, key=lambda one: (one[0].line, one[1].version)):
            getattr(self, f"_{ask.kind}")(ask, answer, answer.body)

    def _step(self, ask, answer, outstanding, held=0):
        self.versions[ask.line][answer.version] += 1
        self.steps[ask.line][answer.version] = (outstanding, held)

    def _draw(self, ask, answer, body):
        self._step(ask, answer, body["amount_minor"])
        self.holds[body["hold_id"]] = (ask.line, body["amount_minor"], "posted")
        self._drawn(ask, body)

    def _post(self, ask, answer, body):
        self._step(ask, answer, body["amount_minor"], -body["amount_minor"])
        self.holds[body["hold_id"]] = (ask.line, body["amount_minor"], "posted")
        self._drawn(ask, body)

    def _drawn(self, ask, body):
        self.draws[(body["drawdown_id"], ask.line, body["amount_minor"])] += 1
        for one in body["shares"]:
            self.parts[(body["drawdown_id"], one["partner_id"])] += one["amount_minor"]

    def _hold(self, ask, answer, body):
        self._step(ask, answer, 0, body["amount_minor"])
        self.holds[body["hold_id"]] = (ask.line, body["amount_minor"], "pending")

    def _void(self, ask, answer, body):
        self._step(ask, answer, 0, -body["amount_minor"])
        self.holds[body["hold_id"]] = (ask.line, body["amount_minor"], "voided")

    def _repay(self, ask, answer, body):
        self._step(ask, answer, -body["amount_minor"])
        name = (body["repayment_id"], ask.body["external_ref"], ask.line, body["amount_minor"])
        self.payments[name] += 1
        for one in body["allocations"]:
            self.parts[(one["drawdown_id"], one["partner_id"])] -= one["amount_minor"]

    def _again(self, ask, _answer, body):
        self.again.append((body["repayment_id"], ask.body["external_ref"], ask.line))

    def _lower(self, ask, answer, body):
        self._step(ask, answer, 0)
        self.limit[ask.line] = ask.body["limit_minor"]
        self.decisions[body["decision_id"]] += 1

    def totals(self, line, version=None):
        """Return outstanding and held, at the end or at a version."""
        steps = [one for at, one in self.steps[line].items() if version is None or at <= version]
        return sum(one[0] for one in steps), sum(one[1] for one in steps)


def verdict(db, lines, ledger):
    """Return where the store is not what the answers say, or not in order in itself."""
    books = Books(lines, ledger)
    return [
        *checks.findings(db),
        *_rows(db, books),
        *_answers(db, ledger),
        *_lines(db, books),
        *_history(db, books),
        *_funds(db, books),
        *_decisions(db, books),
    ]


def _rows(db, books):
    """Every answer is one row, every row is one answer."""
    drawn = db.execute(sa.select(DRAWDOWNS.c.id, DRAWDOWNS.c.line_id, DRAWDOWNS.c.amount_minor))
    yield from _same("draw", books.draws, Counter(tuple(row) for row in drawn))
    paid = REPAYMENTS.c
    rows = db.execute(sa.select(paid.id, paid.external_ref, paid.line_id, paid.amount_minor))
    rows = Counter(tuple(row) for row in rows)
    yield from _same("repayment", books.payments, rows)
    known = {name[:3] for name in rows}
    yield from (f"repayment: {one} was told otherwise" for one in books.again if one not in known)
    holds = db.execute(sa.select(HOLDS)).all()
    rows = {row.id: (row.line_id, row.amount_minor, row.state) for row in holds}
    yield from _same("hold", Counter(books.holds.items()), Counter(rows.items()))
    shares = db.execute(sa.select(SHARES)).all()
    rows = Counter({(row.drawdown_id, row.partner_id): row.open_minor for row in shares})
    yield from _same("share", books.parts, rows)
    whole = {row.drawdown_id: 0 for row in shares}
    for row in shares:
        whole[row.drawdown_id] += row.amount_minor
    amounts = {name: amount for name, _, amount in books.draws}
    yield from _same("shares of draw", Counter(amounts), Counter(whole))


def _same(what, told, kept):
    for one in (told - kept).keys() | (kept - told).keys():
        if told[one] != kept[one]:
            yield f"{what}: {one} is in {told[one]} answers, {kept[one]} times kept"


def _answers(db, ledger):
    """The answer that is kept under a key is the one that was given."""
    kept = {row.key: row for row in db.execute(sa.select(KEYS))}
    for ask, answer in ledger:
        row = kept.pop(ask.key, None)
        if answer.done and (row is None or (row.status, row.body) != (answer.status, answer.raw)):
            yield f"key: {ask.key} has another answer in the store"
        if not answer.done and row is not None and row.status is not None:
            yield f"key: {ask.key} was refused and is answered in the store"
    yield from (f"key: {key} was answered to nobody" for key, row in kept.items() if row.status)


def _lines(db, books):
    for row in db.execute(sa.select(LINES)):
        told = (*books.totals(row.id), books.limit[row.id])
        kept = (row.outstanding_minor, row.held_minor, row.limit_minor)
        if told != kept:
            yield f"line: {row.id} is {kept}, the answers make it {told}"
        if books.versions[row.id] != Counter(range(1, row.version + 1)):
            yield f"line: {row.id} has versions that no answer, or more than one, tells of"


def _history(db, books):
    """The events of a line run forward, and tell each past state as the answers do."""
    events = sa.select(LINE_EVENTS.c.line_id, LINE_EVENTS.c.version, LINE_EVENTS.c.at)
    by_line = defaultdict(list)
    for row in db.execute(events.order_by(LINE_EVENTS.c.line_id, LINE_EVENTS.c.version)):
        by_line[row.line_id].append(row)
    for line, rows in by_line.items():
        if any(one.at > two.at for one, two in pairwise(rows)):
            yield f"event: those of {line} run backward"
        for row in random.Random(line).sample(rows, min(3, len(rows))):
            last = max(one.version for one in rows if one.at <= row.at)
            state = checks.state_at(db, line, row.at)
            told = (last, *books.totals(line, last))
            if (state.version, state.outstanding_minor, state.held_minor) != told:
                yield f"event: {line} at version {last} is not what the answers make it"
        now = checks.state_at(db, line)
        stored = db.execute(sa.select(LINES).where(LINES.c.id == line)).one()
        if any(getattr(now, name) != getattr(stored, name) for name in now.__slots__):
            yield f"event: those of {line} do not lead to what is stored"


def _funds(db, books):
    told = Counter()
    for (_, partner), minor in books.parts.items():
        told[partner] += minor
    for row in db.execute(sa.select(FUNDS).where(FUNDS.c.id == "lake")):
        if row.used_minor != told["lake"]:
            yield f"fund: lake has lent {row.used_minor}, the answers make it {told['lake']}"


def _decisions(db, books):
    """Chains have what was answered, and their records lead to the lines as they are."""
    asked = sa.select(DECISIONS.c.id).where(DECISIONS.c.purpose == "self_lower")
    kept = Counter(db.execute(asked).scalars())
    yield from _same("decision", books.decisions, kept)
    for line in books.limit:
        chain = decisions.chain_of(db, line, count=10_000)
        yield from (f"chain: {line}: {one}" for one in decisions.chain_findings(chain))
        records = [read_record(decisions.record_of(db, one.id)[0]) for one in chain]
        told = replay([event for one in records for event in one.outcome.events])
        stored = db.execute(sa.select(LINES.c.domain).where(LINES.c.id == line)).scalar_one()
        if told != line_from_mapping(stored):
            yield f"chain: the records of {line} do not lead to what is stored"


def log_findings(db, pin):
    """Return what is wrong with the log, and with decisions made again from their records."""
    found = check_log(db, pin)
    wrong = list(found.findings)
    if found.pending or found.newest is None or found.newest.head.size != found.decisions:
        wrong.append("head: it does not cover all decisions")
    return wrong + list(replay_store(db).findings)
