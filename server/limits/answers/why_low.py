"""Why a limit is what it is today: the reasons of what bound, and the way from caps to money.

The limit of a line is the least of what the caps allow, what was agreed with the customer, the
caps' own path after a cut, and what behaviour left of it. Whichever of these is lower than the
others is the component that bound, and gives the reasons (Regulation B, comment 9(b)(2)-7).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Final

from server.limits.basis.reasons import Reason
from server.limits.caps.caps import CAPS, FROM_SCORE
from server.limits.caps.decide import CAP_REASONS, Decision
from server.limits.line.bars import bars_told, consents, cooling_down
from server.limits.line.line import Line, State
from server.limits.line.reasons import FROZEN, because, curing, progress
from server.limits.line.review_state import is_idle
from server.limits.line.target import Target
from server.limits.line.triggers import Facts, look, needed_reviews
from server.limits.line.waterfall import Available
from server.limits.rules.line_policy import LinePolicy
from server.limits.words.explain import Money, Texts, principal, tell

_CLOSED: Final = frozenset({State.CLOSING, State.CLOSED})


@dataclass(frozen=True, slots=True)
class Standing:
    """What stands between a line and a higher limit, today.

    Parameters
    ----------
    reasons : tuple of Reason
        At most four, and one more about enquiries; the component that bound first.
    component : str
        `closed`, `frozen`, `consent`, `behaviour`, `cooling`, `agreed` or `caps`.
    """

    reasons: tuple[Reason, ...]
    component: str


def standing(line: Line, facts: Facts, target: Target, policy: LinePolicy, as_of: date) -> Standing:
    """Return why a limit is not higher on a day.

    Parameters
    ----------
    line : Line
    facts : Facts
        Of that day.
    target : Target
        Of that day.
    policy : LinePolicy
    as_of : date
    """
    watched = _watched(line, facts, policy, as_of)
    held = bars_told(line, facts, target, policy)
    component, first = _bound(line, facts, target, policy, as_of, watched)
    reasons = {one.code: one for one in reversed([*first, *watched, *held])}
    ordered = dict.fromkeys(one.code for one in [*first, *watched, *held])
    return Standing(principal([reasons[code] for code in ordered]), component)


def _bound(
    line: Line,
    facts: Facts,
    target: Target,
    policy: LinePolicy,
    as_of: date,
    watched: Sequence[Reason],
) -> tuple[str, list[Reason]]:
    """Return which component is lowest, and its reasons."""
    if line.state in _CLOSED:
        return "closed", [because("P-CLOSE")]
    if line.frozen_for:
        return "frozen", [because(FROZEN[line.frozen_for])]
    if not consents(line, facts):
        return "consent", [because("P-CONSENT")]
    return _lowest(line, target, policy, as_of, watched)


def _lowest(
    line: Line, target: Target, policy: LinePolicy, as_of: date, watched: Sequence[Reason]
) -> tuple[str, list[Reason]]:
    """Return which component is lowest on a line that is in use, and its reasons."""
    if line.effective_limit_minor < line.caps_limit_minor:
        return "behaviour", [*watched, *cooling_down(line, policy, as_of)]
    if target.lowest_minor <= line.effective_limit_minor:
        return "caps", list(target.told())
    if line.is_reduced:
        return "cooling", cooling_down(line, policy, as_of) or list(target.told())
    return "agreed", [because("P-AGREED")]


def _watched(line: Line, facts: Facts, policy: LinePolicy, as_of: date) -> list[Reason]:
    """Return the signals that hold a line, with their figures, and how far each watch is."""
    fired = look(line, facts, policy, as_of).fired
    found = [fired[one.code] for one in line.windows if one.code in fired]
    found += [
        progress(one.code, one.clean, needed_reviews(one.code, policy))
        for one in line.windows
        if one.code not in fired
    ]
    if line.delinquency.curing and not line.frozen_for:
        found.append(curing(line.delinquency, policy.arrears))
    idle = policy.inactivity
    if idle is not None and is_idle(line, facts, policy, as_of):
        found.append(because("I-IDLE", days=idle.after_days))
    return found


def caps_view(decision: Decision, texts: Texts, money: Money) -> list[dict[str, Any]]:
    """Return every cap with its sentence, the smallest first, and which of them binds.

    While holders are silent, what follows from the score is an upper bound and said to be one: it
    is what the caps would be if the silent ones told the best there is.

    Parameters
    ----------
    decision : Decision
    texts : Texts
    money : Money
    """
    order = {name: at for at, name in enumerate(CAPS)}
    rows = sorted(decision.caps.items(), key=lambda pair: (pair[1], order[pair[0]]))
    return [
        {
            "name": name,
            "amount_minor": amount,
            "code": CAP_REASONS[name][0],
            "text": _cap_text(name, amount, decision, texts, money),
            "not_about_you": CAP_REASONS[name][1] == "outside",
            "binds": name in decision.binding,
        }
        for name, amount in rows
    ]


def _cap_text(name: str, minor: int, decision: Decision, texts: Texts, money: Money) -> str:
    if decision.blocked and name in FROM_SCORE:
        amount = texts.money(minor, money.currency, money.digits)
        return _at_most(amount, texts.say(f"cap.{name}"), decision, texts)
    code, family = CAP_REASONS[name]
    return tell(Reason(code, family, amount_minor=minor), texts, money).text


def _at_most(amount: str, cap: str, decision: Decision, texts: Texts) -> str:
    holders = texts.holders(sorted(decision.blocked))
    return texts.say("path.at_most", amount=amount, cap=cap, holders=holders)


def path_view(
    line: Line,
    decision: Decision,
    target: Target,
    room: Available,
    texts: Texts,
    money: Money,
    *,
    multiplier: Decimal,
) -> list[dict[str, Any]]:
    """Return the way from the cap that binds down to what can be drawn now, step by step.

    Every step that takes nothing is left out.

    Parameters
    ----------
    line : Line
    decision : Decision
        On the caps, of today.
    target : Target
        Of that decision.
    room : Available
    texts : Texts
    money : Money
    multiplier : Decimal
        Of the downturn; see `multiplier_of`.
    """

    def amount(minor: int) -> str:
        return texts.money(minor, money.currency, money.digits)

    rows: list[dict[str, Any]] = []

    def add(name: str, minor: int, **words: object) -> None:
        text = texts.say(f"path.{name}", amount=amount(minor), **words)
        rows.append({"step": name, "amount_minor": minor, "text": text})

    binding = _binding(decision)
    names = texts.listed([texts.say(f"cap.{one}") for one in binding])
    if decision.blocked and not FROM_SCORE.isdisjoint(binding):
        text = _at_most(amount(target.full_minor), names, decision, texts)
        rows.append({"step": "cap", "amount_minor": target.full_minor, "text": text})
    else:
        add("cap", target.full_minor, cap=names)
    if target.limit_minor < target.full_minor:
        add("macro", target.limit_minor, multiplier=texts.percent(multiplier))
    if target.scaled_minor < target.limit_minor:
        add("capital", target.scaled_minor)
    if target.lowest_minor < line.effective_limit_minor:
        add("above", line.effective_limit_minor)
    else:
        _line_rows(line, target, amount, add)
    _money_rows(rows, line, room, texts, amount, add)
    return rows


def _line_rows(line: Line, target: Target, amount: Any, add: Any) -> None:
    """Add what stands between the caps and a limit that is not above them."""
    if line.approved_limit_minor < target.lowest_minor or line.is_reduced:
        add("agreed", line.approved_limit_minor)
    if line.caps_limit_minor < line.approved_limit_minor:
        add("behind", line.caps_limit_minor)
    if line.effective_limit_minor < line.caps_limit_minor:
        taken = line.caps_limit_minor - line.effective_limit_minor
        add("behaviour", line.effective_limit_minor, taken=amount(taken))


def multiplier_of(decision: Decision, policy: LinePolicy, day: date) -> Decimal:
    """Return the downturn's multiplier of a day: the stricter of the two policies', not both."""
    overlay = policy.overlay_on(day)
    own = Decimal(decision.multiplier)
    return own if overlay is None else min(own, overlay.multiplier)


def _money_rows(
    rows: list[dict[str, Any]], line: Line, room: Available, texts: Texts, amount: Any, add: Any
) -> None:
    """Add what stands between the limit and what can be drawn."""
    left = room.parts["effective"]
    if room.parts["temporary"] and line.temporary is not None:
        left += room.parts["temporary"]
        until = texts.day(line.temporary.until)
        add("temporary", left, added=amount(room.parts["temporary"]), day=until)
    for name in ("outstanding", "held"):
        taken = room.parts[name]
        if taken:
            left -= taken
            add(name, max(0, left), taken=amount(taken))
    tight = [one for one in room.binding if one != "limit"]
    if tight and room.amount_minor < max(0, left):
        words = texts.listed([texts.say(f"term.{one}") for one in tight])
        key = "room" if room.amount_minor else "no_room"
        rest = texts.say(f"path.{key}", amount=amount(room.amount_minor), term=words)
        rows.append({"step": "room", "amount_minor": room.amount_minor, "text": rest})
    add("available", room.amount_minor)


def _binding(decision: Decision) -> Sequence[str]:
    """Return the caps that are smallest; where a holder is silent, the decision names that."""
    smallest = min(decision.caps.values())
    return [name for name in CAPS if decision.caps.get(name) == smallest]
