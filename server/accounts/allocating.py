"""The allocation run: what each segment's limits are scaled by, and what a bad year would do.

A segment is a grade of a product. Its customers ask for the limits they have agreed to; a linear
programme shares the budget out (`server.limits.portfolio.portfolio`), and reviews scale what the
caps allow by what it gave: down, never up. The scale of a run stays in force until the next one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import ROUND_DOWN, Decimal
from typing import Any, Final

from sqlalchemy import Connection

from server.accounts.budgeting import own_funds_of
from server.accounts.desk import Desk, text_of
from server.accounts.dossier import CREDIT, Dossier, consent_from
from server.accounts.partners import partners_of
from server.limits.line.events import line_from_mapping
from server.limits.line.line import Line, State
from server.limits.portfolio.budget import Book, Budget, Stress, budget, stress
from server.limits.portfolio.joint import OWN
from server.limits.portfolio.portfolio import Order
from server.limits.portfolio.portfolio import allocate as programme
from server.limits.portfolio.scaling import scales
from server.limits.portfolio.segments import Allocation, Segment
from server.limits.rules.products import Product
from server.store import allocation_runs, people
from server.store.allocation_runs import AllocationRun
from server.store.ids import name, new_id
from server.store.lines import StoredLine, page_of_lines
from server.store.shares import lenders_in
from shared.errors import Conflict, EnvironmentFault, NotFound, UsageError
from shared.scorecard.scale import Scale

FUNDING: Final = Decimal("0.03")
"""What money costs a year, where nothing else is handed in (domain T24)."""
_PAGE: Final = 500
_IDLE: Final = 0.3
"""Share of a limit that is drawn where nobody of a segment has drawn yet."""
_MICRO: Final = Decimal("0.000001")
_OUT: Final = frozenset({State.PENDING, State.CLOSING, State.CLOSED})


@dataclass(slots=True)
class _Group:
    """What the lines of one segment come to, while they are counted."""

    product: Product
    grade: str
    customers: int = 0
    asked_minor: int = 0
    committed_minor: int = 0
    drawn_minor: int = 0
    probs: Decimal = Decimal(0)
    scored: int = 0
    funded: dict[str, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.product.id}/{self.grade}"

    @property
    def utilisation(self) -> float:
        return min(1.0, self.drawn_minor / self.committed_minor) if self.committed_minor else 0.0


def allocate(
    desk: Desk,
    db: Connection,
    budget_id: str,
    by: str,
    now: datetime,
    *,
    funding: Decimal = FUNDING,
) -> AllocationRun:
    """Share a budget out among the lines that are committed from it, and put the scales in force.

    Parameters
    ----------
    desk : Desk
    db : Connection
    budget_id : str
    by : str
    now : datetime
    funding : Decimal
        What money costs a year.

    Returns
    -------
    AllocationRun
        `result` holds `limits_minor`, `scales`, `shadow_prices`, `binding` and `objective_minor`.

    Raises
    ------
    Conflict
        With check `budget` if it was never set, has no lines, or no allocation meets its bounds.
    EnvironmentFault
        If no release serves: without a scale of grades there are no segments.
    """
    name(by, "by")
    own_funds, own_share = own_funds_of(db, budget_id)
    groups = _groups(desk, db, now, budget_id)
    if not groups:
        raise Conflict(f"no line is committed from {budget_id}", check="budget")
    segments = _segments(groups, _scale(desk, now), funding)
    rooms = {one.id: one.used_minor + one.room_minor for one in partners_of(desk, db, now)}
    rules = desk.rules.budget
    whole = _reachable(budget(own_funds, own_share, rules, partners_minor=rooms), groups)
    try:
        found = programme(segments, whole, Order.SHARES)
    except UsageError as error:
        raise Conflict(error.message, check="budget") from error
    by_segment = scales(segments, found, {one.name: one.asked_minor for one in groups})
    own = {"own_funds_minor": own_funds, "own_share": str(own_share), "funding": str(funding)}
    run = AllocationRun(
        id=new_id(now),
        budget_id=budget_id,
        inputs=_inputs(groups, segments, own, whole),
        result=_result(found, by_segment),
        made_by=by,
        made_at=now,
    )
    in_force = {(one.product.id, one.grade): by_segment[one.name] for one in groups}
    allocation_runs.keep_run(db, run, in_force)
    return run


def latest_run(db: Connection, budget_id: str) -> AllocationRun | None:
    """Return the allocation in force, or None."""
    return next(iter(allocation_runs.runs_of(db, budget_id, count=1)), None)


def stress_test(
    desk: Desk, db: Connection, own_funds_minor: int, own_share: Decimal, now: datetime
) -> tuple[Stress, ...]:
    """Return what each bad year of the budget rules does to all open lines together.

    Parameters
    ----------
    desk : Desk
    db : Connection
    own_funds_minor : int
    own_share : Decimal
        Of losses and exposure; the partners bear the rest.
    now : datetime

    Raises
    ------
    EnvironmentFault
        If no release serves.
    """
    groups = _groups(desk, db, now, None)
    scale = _scale(desk, now)
    books = tuple(
        Book(
            name=one.name,
            committed_minor=one.committed_minor,
            default_prob=_prob(one, scale),
            lgd=one.product.expected_loss.lgd,
            utilisation=Decimal(one.utilisation).quantize(_MICRO),
            ccf=one.product.expected_loss.ccf,
        )
        for one in groups
    )
    return stress(books, own_funds_minor, own_share, desk.rules.budget)


def _groups(desk: Desk, db: Connection, now: datetime, budget_id: str | None) -> list[_Group]:
    """Count all open lines, or those of a budget, by product and grade; a page at a time."""
    found: dict[tuple[str, str], _Group] = {}
    after = ""
    while page := page_of_lines(db, after=after, count=_PAGE):
        after = page[-1].id
        mine = [one for one in page if budget_id is None or one.budget_id == budget_id]
        _count(desk, db, mine, found, now)
    order = list(desk.rules.policy.grades)
    return sorted(found.values(), key=lambda one: (one.product.id, order.index(one.grade)))


def _count(
    desk: Desk,
    db: Connection,
    page: Sequence[StoredLine],
    found: dict[tuple[str, str], _Group],
    now: datetime,
) -> None:
    holders = _consents(desk, db, page, now)
    lent = lenders_in(db, [one.id for one in page])
    for stored in page:
        line = line_from_mapping(stored.domain)
        if line.state in _OUT:
            continue
        product = desk.rules.catalogue.product(stored.product)
        grade, prob = _risk(desk, stored, line, holders.get(stored.customer_id, ()), now)
        one = found.setdefault((product.id, grade), _Group(product, grade))
        one.customers += 1
        one.asked_minor += line.approved_limit_minor
        one.committed_minor += stored.totals.limit_minor
        one.drawn_minor += stored.totals.outstanding_minor
        if prob is not None:
            one.probs += prob
            one.scored += 1
        for partner, owed in lent.get(stored.id, ()):
            one.funded[partner] = one.funded.get(partner, 0) + owed


def _consents(
    desk: Desk, db: Connection, page: Sequence[StoredLine], now: datetime
) -> dict[str, tuple[str, ...]]:
    """Return the holders that each customer lets tell."""
    rows = people.rows_of(db, people.CONSENTS, sorted({one.customer_id for one in page}))
    day = desk.today(now)
    found = {}
    for customer, own in rows.items():
        consent = Dossier(consents=tuple(map(consent_from, own))).consent(CREDIT, day)
        found[customer] = () if consent is None else consent.holders
    return found


def _risk(
    desk: Desk, stored: StoredLine, line: Line, holders: Sequence[str], now: datetime
) -> tuple[str, Decimal | None]:
    """Return a line's grade and `default_prob`: of today, else the grade of its last review.

    Who was never scored counts with the safest, as a review counts them: nothing is taken from
    anybody because nobody answers.
    """
    try:
        rating = desk.scores.score(
            stored.customer_id, now=text_of(now), allowed=holders
        ).snapshot.rating
    except (NotFound, EnvironmentFault):
        if line.score is None:
            return next(iter(desk.rules.policy.grades)), None
        return _scale(desk, now).grade_of(line.score), None
    return rating.grade, rating.default_prob


def _scale(desk: Desk, now: datetime) -> Scale:
    release, _, _ = desk.scores.serving(text_of(now))
    return release.model.scale


def _prob(one: _Group, scale: Scale) -> Decimal:
    """Return a segment's mean `default_prob`; that of its grade's edge if nobody has a score."""
    if one.scored:
        return (one.probs / one.scored).quantize(_MICRO)
    floors = {grade.name: grade.at_least for grade in scale.grades}
    return Decimal(float(scale.default_prob_of(floors[one.grade]))).quantize(_MICRO)


def _segments(groups: Sequence[_Group], scale: Scale, funding: Decimal) -> list[Segment]:
    """Return the segments of the programme, each capped at what its customers ask for."""
    found = []
    for one in groups:
        cap = -(-one.asked_minor // one.customers)
        loss, price = one.product.expected_loss, one.product.prices[one.grade]
        shares = {name: owed / one.drawn_minor for name, owed in one.funded.items() if owed}
        found.append(
            Segment(
                name=one.name,
                ladder=one.product.id,
                customers=one.customers,
                floor_minor=min(cap, one.product.floor_minor),
                cap_minor=cap,
                default_prob=float(_prob(one, scale)),
                lgd=float(loss.lgd),
                utilisation=one.utilisation or _IDLE,
                ccf=float(loss.ccf),
                revenue=float(price.annual_rate + 12 * price.guarantee_monthly),
                funding=float(funding),
                micro=one.product.borrower == "business",
                partner_shares={name: part for name, part in shares.items() if name != OWN},
            )
        )
    return found


def _reachable(whole: Budget, groups: Sequence[_Group]) -> Budget:
    """Return the budget with no more for small firms than they ask for.

    Where fewer of them ask, the floor must not take from others what no small firm would get.
    """
    asked = sum(one.asked_minor for one in groups)
    micro = sum(one.asked_minor for one in groups if one.product.borrower == "business")
    if not asked:
        return replace(whole, inclusion_share=Decimal(0))
    part = (Decimal(micro) / asked).quantize(_MICRO, ROUND_DOWN)
    return replace(whole, inclusion_share=min(whole.inclusion_share, part))


def _inputs(
    groups: Sequence[_Group], segments: Sequence[Segment], own: Mapping[str, Any], whole: Budget
) -> dict[str, Any]:
    return {
        **own,
        "commitments_minor": whole.commitments_minor,
        "reserve_minor": whole.reserve_minor,
        "inclusion_share": str(whole.inclusion_share),
        "partners_minor": dict(whole.partners_minor),
        "segments": [
            {
                "name": segment.name,
                "customers": one.customers,
                "asked_minor": one.asked_minor,
                "committed_minor": one.committed_minor,
                "drawn_minor": one.drawn_minor,
                "cap_minor": segment.cap_minor,
                "default_prob": segment.default_prob,
                "partner_shares": dict(segment.partner_shares),
            }
            for one, segment in zip(groups, segments, strict=True)
        ],
    }


def _result(found: Allocation, by_segment: Mapping[str, Decimal]) -> dict[str, Any]:
    return {
        "limits_minor": dict(found.limits_minor),
        "scales": {name: str(scale) for name, scale in by_segment.items()},
        "shadow_prices": dict(found.shadow_prices),
        "binding": list(found.binding),
        "objective_minor": round(found.objective_minor),
    }
