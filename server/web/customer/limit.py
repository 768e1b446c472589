"""`/me`: the limit, and the three questions: why so low, why not back, what can I do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from sqlalchemy import Connection

from server.accounts import answering
from server.accounts.desk import Desk
from server.accounts.lineview import Lender, LineView, line_view
from server.web import language
from server.web.customer.common import Looker, OfLine, mine_of
from server.web.render import Site

MOST_REASONS: Final = 4
"""That the law calls principal; more would hide them."""


@dataclass(frozen=True, slots=True)
class Sized:
    """An amount or a number of points as a bar with its text.

    Parameters
    ----------
    text : str
    amount_minor, points : int, optional
        One of them, or neither.
    most : int
        Of the longest bar beside it; 0 where there is no bar.
    binds : bool
    """

    text: str
    amount_minor: int | None = None
    points: int | None = None
    most: int = 0
    binds: bool = False


@dataclass(frozen=True, slots=True)
class Moment:
    """A day of the timeline.

    Parameters
    ----------
    day : str
    key : str
        Of what happens; of a step of the limit, empty.
    state : str
        Of the line after a step, else empty.
    limit_minor : int
    kind : {'past', 'now', 'coming'}
    """

    day: str
    key: str
    state: str
    limit_minor: int
    kind: str


@dataclass(frozen=True, slots=True)
class Advice:
    """Something that helps, proved by running the policy.

    Parameters
    ----------
    action : str
    effect : {'raises', 'keeps', 'less', 'opens'}
        Against today's limit: it would be higher, stay, or fall by less; or money could be drawn
        again at all.
    low_minor, high_minor : int
        What the limit would be without and with it: the truth lies between, if not all else stays.
    by : str
    offered : bool
        The limit would be offered, and the customer decides.
    """

    action: str
    effect: str
    low_minor: int
    high_minor: int
    by: str
    offered: bool


@dataclass(frozen=True, slots=True)
class Today:
    """What the page shows of a line; no probability of default among it.

    Parameters
    ----------
    line_id, product, currency, state, state_text, headline : str
    limit_minor, available_minor : int
    bars : tuple of Sized
        From what was agreed to what can be drawn.
    terms : tuple of str
        What binds what can be drawn now, as keys.
    reasons, outside : tuple of Sized
        About the customer, and not.
    lost : tuple of Sized
        What was taken of the agreed limit, for how the line was used and by the rules.
    path : tuple of Sized
        From the bound that counts down to what can be drawn.
    bounds : tuple of Sized
        Every bound of the rules, the smallest first.
    cut : mapping, optional
        The last one, while it counts.
    back : tuple of str
        What a repayment gave back at once.
    restoration : mapping, optional
        As `answering.why` tells it.
    whole : bool
        Nothing is missing.
    falls : Moment, optional
        The first review that lowers the limit, where the rules already allow less.
    moments : tuple of Moment
    reviews : tuple of str
    advice : tuple of Advice
    avoid : str
    notes, no_help : tuple of str
    lenders : tuple of Lender
        Who has money out on the line.
    due_on : str, optional
    due_minor : int
    days_past_due : int
    offer_minor : int, optional
        A higher limit that waits for the customer.
    """

    line_id: str
    product: str
    currency: str
    state: str
    state_text: str
    headline: str
    limit_minor: int
    available_minor: int
    bars: tuple[Sized, ...]
    terms: tuple[str, ...]
    reasons: tuple[Sized, ...]
    outside: tuple[Sized, ...]
    lost: tuple[Sized, ...]
    path: tuple[Sized, ...]
    bounds: tuple[Sized, ...]
    cut: Mapping[str, Any] | None
    back: tuple[str, ...]
    restoration: Mapping[str, Any] | None
    whole: bool
    falls: Moment | None
    moments: tuple[Moment, ...]
    reviews: tuple[str, ...]
    advice: tuple[Advice, ...]
    avoid: str
    notes: tuple[str, ...]
    no_help: tuple[str, ...]
    lenders: tuple[Lender, ...]
    due_on: str | None
    due_minor: int
    days_past_due: int
    offer_minor: int | None


def add(found: APIRouter, site: Site) -> None:
    """Add the route."""

    @found.get("/me")
    def me(request: Request, who: Looker, line: OfLine = "") -> Response:
        """Answer the three questions about a line, and show what it is."""
        wanted = language.wanted(request)

        def work(db: Connection, now: datetime) -> dict[str, Any]:
            mine = mine_of(db, who, line)
            view = None
            if mine.line is not None:
                view = today_of(site.desk, db, mine.line.id, wanted, now)
            return {"every": mine.every, "now": view}

        return site.page(request, "customer/me.html", who, **site.read(work))


def today_of(desk: Desk, db: Connection, line_id: str, wanted: str, now: datetime) -> Today:
    """Return what the page shows of a line.

    Raises
    ------
    NotFound
        If there is no such line.
    EnvironmentFault
        If partners bound what can be drawn, and no score can be had to ask them with.
    """
    view = line_view(desk, db, line_id, now)
    return today(answering.why_of(desk, db, view, wanted, now), view)


def today(why: Mapping[str, Any], view: LineView) -> Today:
    """Return what the page shows, out of what the API's answers are made of.

    Parameters
    ----------
    why : mapping
        See `server.accounts.answering.why`.
    view : LineView
    """
    line, back, low = view.line, why["why_not_back"], why["why_low"]
    way = back["restoration"]
    due = view.next_due
    return Today(
        line_id=line.id,
        product=line.product,
        currency=line.currency,
        state=why["state"]["code"],
        state_text=why["state"]["text"],
        headline=why["headline"],
        limit_minor=why["limit_minor"],
        available_minor=why["available_minor"],
        bars=bars_of(why, view),
        terms=tuple(f"term.{one}" for one in view.available.binding),
        reasons=reasons_of(why["reasons"][:MOST_REASONS]),
        outside=reasons_of(why["not_about_you"]),
        lost=lost_of(way, why["agreed_minor"]),
        path=path_of(low["path"]),
        bounds=bounds_of(low["caps"]),
        cut=low["last_cut"],
        back=tuple(back["at_once"]["text"]),
        restoration=way,
        whole=way is None or not (way["missing_minor"] or way["rule"]),
        falls=falls_of(way, why["limit_minor"]),
        moments=moments_of(way, why["as_of"]),
        reviews=tuple(back["each_review"]["steps"]),
        advice=tuple(advice_of(one, why["limit_minor"]) for one in why["advice"]),
        avoid=why["avoid"],
        notes=tuple(why["notes"]),
        no_help=tuple(why["does_not_help"]),
        lenders=view.lenders,
        due_on=None if due is None else due.due_on.isoformat(),
        due_minor=0 if due is None else due.amount_minor,
        days_past_due=view.days_past_due,
        offer_minor=view.domain.offer.limit_minor if view.domain.offer else None,
    )


def bars_of(why: Mapping[str, Any], view: LineView) -> tuple[Sized, ...]:
    """Return the way from what was agreed to what can be drawn, as bars of one scale."""
    held = view.available.parts["held"]
    rows = [
        ("agreed", why["agreed_minor"]),
        ("limit", why["limit_minor"]),
        ("owed", view.line.totals.outstanding_minor),
        ("held", held),
        ("available", why["available_minor"]),
    ]
    most = max(1, *(amount for _, amount in rows))
    shown = [(name, amount) for name, amount in rows if amount or name != "held"]
    return tuple(
        Sized(name, amount, most=most, binds=name == "available") for name, amount in shown
    )


def path_of(steps: Sequence[Mapping[str, Any]]) -> tuple[Sized, ...]:
    """Return the steps from the bound that counts to what can be drawn, as bars of one scale."""
    most = max((step["amount_minor"] for step in steps), default=0)
    return tuple(
        Sized(
            step["text"], step["amount_minor"], most=max(1, most), binds=step["step"] == "available"
        )
        for step in steps
    )


def bounds_of(caps: Sequence[Mapping[str, Any]]) -> tuple[Sized, ...]:
    """Return the rules' bounds, the smallest first; which of them count stands out."""
    most = max((one["amount_minor"] for one in caps), default=0)
    return tuple(
        Sized(one["text"], one["amount_minor"], most=max(1, most), binds=one["binds"])
        for one in caps
    )


def advice_of(told: Mapping[str, Any], limit_minor: int) -> Advice:
    """Return an advice with what it does to today's limit.

    Parameters
    ----------
    told : mapping
        See `server.limits.answers.advice.advice_view`.
    limit_minor : int
        Today's.
    """
    low, high = told["otherwise_limit_minor"], told["expected_limit_minor"]
    if not low:  # a review that leaves nothing to draw is told as a limit of nothing
        effect = "opens"
    elif high > limit_minor:
        effect = "raises"
    else:
        effect = "keeps" if high == limit_minor else "less"
    return Advice(told["action"], effect, low, high, told["by"], told["offered"])


def falls_of(way: Mapping[str, Any] | None, limit_minor: int) -> Moment | None:
    """Return the first coming review that changes the limit, if it lowers it."""
    steps = () if way is None else way["steps"]
    first = next((one for one in steps if one["limit_minor"] != limit_minor), None)
    if first is None or first["limit_minor"] > limit_minor:
        return None
    return Moment(first["on"], "", first["state"], first["limit_minor"], "coming")


def lost_of(way: Mapping[str, Any] | None, agreed_minor: int) -> tuple[Sized, ...]:
    """Return what was taken of the agreed limit, by what it was taken for."""
    if way is None:
        return ()
    rows = (("lost_behaviour", "lost_to_behaviour_minor"), ("lost_rules", "lost_to_rules_minor"))
    return tuple(Sized(key, way[name], most=agreed_minor) for key, name in rows if way[name])


def reasons_of(told: Sequence[Mapping[str, Any]]) -> tuple[Sized, ...]:
    """Return reasons with their size: points are compared with points alone."""
    points = [one["points_lost"] or 0 for one in told]
    most = max(points, default=0)
    return tuple(
        Sized(
            one["text"],
            one["amount_minor"],
            one["points_lost"],
            most if one["points_lost"] else 0,
        )
        for one in told
    )


def moments_of(way: Mapping[str, Any] | None, today_is: str) -> tuple[Moment, ...]:
    """Return the timeline of a limit that fell: the cut, today, the rules' dates, the steps up."""
    if way is None or not (way["missing_minor"] or way["rule"]):
        return ()
    found = [Moment(today_is, "timeline.today", "", 0, "now")]
    if way["cut_on"]:
        found.append(Moment(way["cut_on"], "timeline.cut", "", 0, "past"))
    planned = {step["on"] for step in way["steps"]}
    named = (
        ("next_review_on", "timeline.review"),
        ("cool_down_until", "timeline.cool_down"),
        ("earliest", "timeline.earliest"),
        ("restored_on", "timeline.restored"),
    )
    for name, key in named:
        if way[name] and way[name] >= today_is and way[name] not in planned:
            found.append(Moment(way[name], key, "", 0, "coming"))
    found += [
        Moment(step["on"], "", step["state"], step["limit_minor"], "coming")
        for step in way["steps"]
    ]
    return tuple(sorted(found, key=lambda one: (one.day, one.kind != "past")))
