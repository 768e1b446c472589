"""What people do with their lines in a month, by the functions that the API's routes call."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from hashlib import sha256
from typing import Final

from sqlalchemy import Connection

from server.accounts import customers, drawing, opening, repaying, reviewing
from server.accounts.consents import TRAINING, ConsentRequest, give_consent
from server.accounts.customers import EvidenceRequest
from server.accounts.desk import Desk
from server.accounts.dossier import CREDIT, BureauReport
from server.cycle.parties import Act
from server.cycle.setting import DAYS, Clock, instant
from server.store import people
from server.store.draws import get_drawdown
from server.store.holds import HoldRequest
from server.store.lines import StoredLine, get_line, lines_of, page_of_lines
from server.store.repayments import RepaymentRequest, find_repayment
from shared.errors import Conflict, NotFound, Refused

PRODUCT: Final = "revolving_consumer"
_CATEGORIES: Final = ("income", "repayment", "spending")
_CUSTOMER: Final = "customer:app"
_PURPOSE: Final = "daily"
_TERM: Final = 12  # months over which an amount is drawn
_OFFER_DAY, _PAY_DAY = 1, 5
_FIRST_DRAW, _LAST_DRAW = 8, 27
_OPEN_HOURS_S: Final = 7 * 3600  # from noon on
_PAGE: Final = 500
_TEACHES: Final = 4  # of five: those who let the lender learn from how they repay


@dataclass(slots=True)
class Month:
    """What came of what people asked for.

    Parameters
    ----------
    drawn_minor, repaid_minor : int
    accepted : int
        Increases that were offered.
    refused : Counter
        Draws by the code of the reason.
    """

    drawn_minor: int = 0
    repaid_minor: int = 0
    accepted: int = 0
    refused: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Step:
    """Something that happens at an instant."""

    at: datetime
    act: Callable[[Connection, datetime], None]


def opens(desk: Desk, clock: Clock, who: Iterable[tuple[Act, str]]) -> Counter[str]:
    """Let people consent, prove their income and ask for a line; return what came of it.

    Who has asked before is not asked again.

    Parameters
    ----------
    desk : Desk
    clock : Clock
    who : iterable of (Act, str)
        People and their pseudonyms.
    """
    found: Counter[str] = Counter()
    for act, pseudonym in who:
        now = clock.set(clock.read() + timedelta(seconds=2))
        try:
            with desk.store.write() as db:
                desk.follow(db, now)
                if before := _answered(db, pseudonym):
                    found[before] += 1
                    continue
                _consents(desk, db, act.name, pseudonym, now)
                _proves(desk, db, act, pseudonym, now)
                made = opening.open_line(desk, db, pseudonym, PRODUCT, now, _CUSTOMER)
        except (Conflict, Refused) as error:
            found[error.code] += 1
        else:
            found["opened" if made.line is not None else "declined"] += 1
    return found


def _answered(db: Connection, pseudonym: str) -> str:
    """Return what somebody was told who has asked before; empty for who has not."""
    if lines_of(db, pseudonym):
        return "opened"
    return "declined" if people.rows_of(db, people.DECLINED, [pseudonym])[pseudonym] else ""


def _consents(desk: Desk, db: Connection, name: str, pseudonym: str, now: datetime) -> None:
    holders = desk.scores.federation.holders
    purposes = [CREDIT]
    if _number(name) % 5 < _TEACHES:
        purposes.append(TRAINING)
    for purpose in purposes:
        give_consent(desk, db, ConsentRequest(pseudonym, purpose, holders, _CATEGORIES), now)


def _proves(desk: Desk, db: Connection, act: Act, pseudonym: str, now: datetime) -> None:
    day = desk.today(now)
    proof = EvidenceRequest(
        customer_id=pseudonym,
        kind="income_flow",
        value_minor=act.income_minor,
        source="bank",
        issued=day,
        file_hash=sha256(f"{pseudonym} {day}".encode()).hexdigest(),
        by="operator:operator",
    )
    customers.add_evidence(desk, db, proof, now)


def open_lines(desk: Desk) -> Iterator[StoredLine]:
    """Yield the lines that are not closed."""
    after = ""
    while True:
        with desk.store.read() as db:
            page = page_of_lines(db, after=after, count=_PAGE)
        yield from (one for one in page if one.closed_at is None)
        if len(page) < _PAGE:
            return
        after = page[-1].id


def steps_of(
    desk: Desk, month: int, lines: Mapping[str, StoredLine], acts: Iterable[Act], told: Month
) -> list[Step]:
    """Return what people do in a month, in order.

    Parameters
    ----------
    desk : Desk
    month : int
    lines : mapping of str to StoredLine
        Of those who have one, by the platform's names.
    acts : iterable of Act
    told : Month
        Gets what comes of it.
    """
    steps: list[Step] = []
    for act in acts:
        stored = lines.get(act.name)
        if stored is None:
            continue
        line = stored.id
        if stored.domain["offer"] is not None:
            steps.append(Step(_at(month, _OFFER_DAY, act.name), _accepts(desk, line, told)))
        steps.append(Step(_at(month, _PAY_DAY, act.name), _repays(desk, month, line, act, told)))
        steps += _draws(desk, month, line, act, told)
    return sorted(steps, key=lambda one: one.at)


def _at(month: int, day: int, name: str) -> datetime:
    """Return when on a day somebody acts: not all at once, and the same in each cycle."""
    return instant(month, day) + timedelta(seconds=_number(name) % _OPEN_HOURS_S)


def _number(name: str) -> int:
    """Return a number that is a customer's own, in no order."""
    return int.from_bytes(sha256(name.encode()).digest()[:8], "big")


def _accepts(desk: Desk, line: str, told: Month) -> Callable[[Connection, datetime], None]:
    """Take the increase that is offered."""

    def accept(db: Connection, now: datetime) -> None:
        reviewing.decide_line(desk, db, line, "accept_offer", now, _CUSTOMER)
        told.accepted += 1

    return accept


def _repays(
    desk: Desk, month: int, line: str, act: Act, told: Month
) -> Callable[[Connection, datetime], None]:
    """Repay what the person can.

    Who is behind by so many payments leaves as many unpaid; everybody else pays at least what
    falls due until the next time.
    """

    def repay(db: Connection, now: datetime) -> None:
        ref = f"cycle-{month:03d}-{line}"
        before = find_repayment(db, ref)
        if before is not None:  # the month was interrupted, and is lived again
            told.repaid_minor += before.amount_minor
            return
        stored, today = get_line(db, line), desk.today(now)
        owed = stored.totals.outstanding_minor
        until = today + timedelta(days=DAYS * (1 - act.late))
        due = repaying.due_by(desk, db, line, today, until)
        amount = min(owed, due if act.late else max(due, act.paid_minor))
        if amount > 0:
            repaying.repay(
                desk, db, RepaymentRequest(ref, ref, line, amount, stored.currency, today), now
            )
            told.repaid_minor += amount

    return repay


def _draws(desk: Desk, month: int, line: str, act: Act, told: Month) -> Iterator[Step]:
    least = desk.rules.catalogue.product(PRODUCT).least_draw_minor
    times = min(act.draws, act.spent_minor // least)
    for number in range(times):
        day = _FIRST_DRAW + (_LAST_DRAW - _FIRST_DRAW) * number // times
        amount = act.spent_minor // times
        yield Step(
            _at(month, day, act.name) + timedelta(minutes=number),
            _draw(desk, f"cycle-{month:03d}-{number:02d}-{line}", line, amount, told),
        )


def _draw(
    desk: Desk, ref: str, line: str, amount: int, told: Month
) -> Callable[[Connection, datetime], None]:
    """Draw an amount, or what there is."""

    def draw(db: Connection, now: datetime) -> None:
        with suppress(NotFound):  # the month was interrupted, and is lived again
            told.drawn_minor += get_drawdown(db, ref).amount_minor
            return
        stored = get_line(db, line)
        totals = stored.totals
        left = totals.limit_minor - totals.outstanding_minor - totals.held_minor
        if left < desk.rules.catalogue.product(PRODUCT).least_draw_minor:
            told.refused["nothing left"] += 1
            return
        asked = HoldRequest(ref, line, min(amount, left), stored.currency, _PURPOSE)
        drawing.draw(desk, db, asked, _TERM, now)
        told.drawn_minor += asked.amount_minor

    return draw


def play(desk: Desk, clock: Clock, steps: Iterable[Step], told: Month) -> None:
    """Let things happen, each in a transaction of its own; what the service refuses is told."""
    for step in steps:
        now = clock.set(step.at)
        try:
            with desk.store.write() as db:
                desk.follow(db, now)
                step.act(db, now)
        except (Conflict, Refused) as error:
            told.refused[getattr(error, "reason", "") or error.code] += 1


def report(
    desk: Desk, clock: Clock, who: Iterable[tuple[Act, str]], enquiries: Mapping[str, list[date]]
) -> None:
    """Let the bureau tell of everybody with a line, and let them prove their income anew.

    Parameters
    ----------
    desk : Desk
    clock : Clock
    who : iterable of (Act, str)
        People and their pseudonyms.
    enquiries : mapping of str to list of date
        By the platform's names.
    """
    now = clock.read()
    day = desk.today(now)
    for act, pseudonym in who:
        asked = BureauReport(
            pseudonym,
            day,
            other_balances_minor=act.others_minor,
            enquiries=tuple(enquiries.get(act.name, ())),
        )
        with desk.store.write() as db:
            customers.report_bureau(desk, db, asked, now)
            _proves(desk, db, act, pseudonym, now)
