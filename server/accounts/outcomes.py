"""What became of people: limits that fell and came back, groups side by side, who got a line.

Groups come from a file of their own that no decision reads; figures of few people are withheld.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from sqlalchemy import Connection

from server.accounts.attributes import Attributes, load_attributes
from server.accounts.desk import Desk
from server.accounts.kept import Kept, Span, kept
from server.monitor.fairness import Outcome, fairness_report, tally
from server.monitor.funnel import Seen, Spell, funnel, funnels, spells_of
from server.monitor.shock import Cut, shock


def restorations(desk: Desk, db: Connection, span: Span) -> dict[str, Any]:
    """Return how limits that fell come back, by reason, and what the cuts did to people's figures.

    Parameters
    ----------
    desk : Desk
    db : Connection
    span : Span
    """
    found = Spells()
    for history in _histories(db, span):
        found.add(history)
    return summed(desk, found, span)


@dataclass(slots=True)
class Spells:
    """What is kept of lines' histories while they are read, one line after the other."""

    spells: list[Spell] = field(default_factory=list)
    cuts: list[Cut] = field(default_factory=list)

    def add(self, history: list[Kept]) -> None:
        """Add the decisions of a line, in order."""
        self.spells += spells_of([_seen(one) for one in history])
        self.cuts += _cuts(history)


def summed(desk: Desk, found: Spells, span: Span) -> dict[str, Any]:
    """Return what `restorations` tells, of histories that were read."""
    floor = desk.rules.monitoring.floor
    return {
        **span.to_mapping(),
        "floor": floor,
        "all": asdict(funnel(found.spells, floor)),
        "by_reason": {code: asdict(one) for code, one in funnels(found.spells, floor).items()},
        "utilisation_shock": asdict(shock(found.cuts, floor)),
        "memory_days": desk.rules.line.memory_days,
    }


def inclusion(
    desk: Desk, db: Connection, span: Span, attributes: Attributes | None = None
) -> dict[str, Any]:
    """Compare groups, and say who is left out: by product, and of those whom few holders know.

    Parameters
    ----------
    desk : Desk
    db : Connection
    span : Span
    attributes : Attributes, optional
        Groups by pseudonym; without them, those of the audit file in the service's folder. Where
        there is no such file, only what needs no groups is answered.
    """
    floor = desk.rules.monitoring.floor
    store = attributes or load_attributes(desk.home)
    outcomes, asked = _outcomes(db, span)
    found: dict[str, Any] = {
        **span.to_mapping(),
        "floor": floor,
        "openings": _openings(asked, floor),
        "groups": None,
    }
    if store is not None:
        report = fairness_report(tally(outcomes, store), store.reference, desk.rules.monitoring)
        # Whether advice could be given is not known of every decision: no figure is made of it.
        found["groups"] = [
            {name: value for name, value in asdict(one).items() if name != "advice_ratio"}
            for one in report
        ]
        found["reference"] = store.reference
    return found


def _histories(db: Connection, span: Span) -> Iterator[list[Kept]]:
    """Yield the decisions of each line, in order."""
    by_line: dict[str, list[Kept]] = {}
    for one in kept(db, span):
        if one.after["version"]:
            by_line.setdefault(one.chain, []).append(one)
    yield from by_line.values()


def _seen(one: Kept) -> Seen:
    after = one.after
    limits = after["effective_limit_minor"], after["approved_limit_minor"]
    return Seen(one.on, after["state"], *limits, one.codes)


def _cuts(history: list[Kept]) -> Iterator[Cut]:
    for at, one in enumerate(history):
        before, after = one.before["effective_limit_minor"], one.after["effective_limit_minor"]
        if not 0 <= after < before or one.purpose == "self_lower":
            continue
        later = (next_one for next_one in history[at + 1 :] if next_one.purpose == "review")
        owed = one.body["grounds"]["facts"]["outstanding_minor"]
        yield Cut(owed, before, after, _score(one), _score(next(later, None)))


def _score(one: Kept | None) -> int | None:
    snapshot = None if one is None else one.snapshot
    return None if snapshot is None else int(snapshot["rating"]["score"])


def _outcomes(db: Connection, span: Span) -> tuple[list[Outcome], list[Kept]]:
    """Return the last outcome of each customer, and every opening that was asked for."""
    last: dict[str, Kept] = {}
    overridden: set[str] = set()
    histories: dict[str, list[Seen]] = {}
    asked: list[Kept] = []
    for one in kept(db, span):
        if one.purpose == "open":
            asked.append(one)
        if one.purpose == "override":
            overridden.add(one.customer)
        if one.after["version"]:
            histories.setdefault(one.customer, []).append(_seen(one))
        if one.snapshot is not None:
            last[one.customer] = one
    outcomes = []
    for customer, one in sorted(last.items()):
        snapshot = one.snapshot or {}
        limit = one.after["effective_limit_minor"]
        outcomes.append(
            Outcome(
                pseudonym=customer,
                approved=limit > 0,
                score=snapshot["rating"]["score"],
                band=snapshot["rating"]["grade"],
                limit_minor=limit,
                overridden=customer in overridden,
                restored_days=_restored_days(histories.get(customer, [])),
            )
        )
    return outcomes, asked


def _restored_days(history: list[Seen]) -> int | None:
    ended = [one for one in spells_of(history) if one.restored is not None]
    last = ended[-1] if ended else None
    return None if last is None or last.restored is None else (last.restored - last.began).days


def _openings(asked: list[Kept], floor: int) -> list[dict[str, Any]]:
    """Return how many who asked got a line: by product, thin files apart."""
    groups: dict[tuple[str, bool], list[int]] = {}
    for one in asked:
        snapshot = one.snapshot
        thin = snapshot is None or bool(snapshot["missing"])
        key = (str(one.body["ask"]["product"]), thin)
        groups.setdefault(key, []).append(one.after["effective_limit_minor"])
    rows = []
    for (product, thin), limits in sorted(groups.items()):
        opened = [limit for limit in limits if limit > 0]
        enough = len(limits) >= floor
        rows.append(
            {
                "product": product,
                "thin_file": thin,
                "asked": len(limits) if enough else None,
                "opened": len(opened) if enough else None,
                "rate": len(opened) / len(limits) if enough else None,
                "mean_limit_minor": sum(opened) // len(opened)
                if len(opened) >= max(floor, 1)
                else None,
            }
        )
    return rows
