"""Reasons as sentences, in the customer's language: what is about the customer, and what is not.

The sentences stand in a TOML file a language; here they are linted and filled in. A reason comes
from the component that bound, at most four are told (Regulation B, comment 9(b)(2)-1 and -7), and
one more where enquiries come later: 15 U.S.C. 1681g(f)(9) exempts that factor from the count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Final

from server.limits.basis.reasons import Family, Reason
from server.limits.words.sentences import (
    LANGUAGES,
    Texts,
    check_languages,
    parse_texts,
    placeholders,
)

MOST_REASONS: Final = 4
ENQUIRIES: Final = frozenset({"S-ENQUIRIES", "B06"})
"""Codes that say how often lenders asked about the customer."""
MACRO: Final = "M-MACRO"
SHARES: Final = frozenset({"utilisation", "others_growth"})
"""Metrics of triggers that people read as a percentage."""


def principal(reasons: Sequence[Reason], most: int = MOST_REASONS) -> tuple[Reason, ...]:
    """Return the first reasons, and one about enquiries even where it comes later.

    Parameters
    ----------
    reasons : sequence of Reason
        Weightiest first.
    most : int
    """
    first = tuple(reasons[:most])
    if any(one.code in ENQUIRIES for one in first):
        return first
    return first + tuple(one for one in reasons[most:] if one.code in ENQUIRIES)[:1]


@dataclass(frozen=True, slots=True)
class Told:
    """A reason with its sentence.

    Parameters
    ----------
    code, family
        See `Reason`.
    text : str
    not_about_you : bool
        It comes from capital, a partner, the law, the economy or an outage.
    amount_minor, points_lost, holders
        See `Reason`.
    """

    code: str
    family: Family
    text: str
    not_about_you: bool
    amount_minor: int | None
    points_lost: int | None
    holders: tuple[str, ...]

    def to_mapping(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return {**asdict(self), "holders": list(self.holders)}


@dataclass(frozen=True, slots=True)
class Money:
    """How amounts are written.

    Parameters
    ----------
    currency : str
        ISO 4217.
    digits : int
        Its decimals.
    """

    currency: str
    digits: int


def tell(
    reason: Reason,
    texts: Texts,
    money: Money,
    *,
    multiplier: str | None = None,
    baseline: str = "mean",
) -> Told:
    """Return a reason with its sentence.

    Parameters
    ----------
    reason : Reason
    texts : Texts
    money : Money
    multiplier : str, optional
        Of the scenario of the economy, where it is known.
    baseline : str
        What points are measured below: the card's kind of baseline.

    Raises
    ------
    UsageError
        If the texts have no sentence for the code.
    """
    holders = texts.holders(reason.holders)
    if reason.family == "score":
        topic = reason.code.removeprefix("S-")
        named = texts.sentences.get(f"topic.{topic}", topic.replace("_", " ").lower())
        points = texts.points(reason.points_lost or 0)
        text = texts.say(f"score.{baseline}", topic=named, holders=holders, points=points)
    else:
        plain = reason.code == MACRO and multiplier is None
        text = texts.say(
            f"reason.{reason.code}{'-FOR-A-TIME' if plain else ''}",
            **_figures(reason, texts, money),
            multiplier="" if multiplier is None else texts.percent(Decimal(multiplier)),
            holders=holders,
        )
    return Told(
        reason.code,
        reason.family,
        text,
        reason.family == "outside",
        reason.amount_minor,
        reason.points_lost,
        reason.holders,
    )


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a limit is what it is.

    Parameters
    ----------
    language : str
    headline : str
    about_you : tuple of Told
        At most four, and one more about enquiries.
    not_about_you : tuple of Told
        Apart, so that nobody takes a cut for lack of capital for a judgement.
    """

    language: str
    headline: str
    about_you: tuple[Told, ...]
    not_about_you: tuple[Told, ...]

    def to_mapping(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return {
            "language": self.language,
            "headline": self.headline,
            "reasons": [one.to_mapping() for one in self.about_you],
            "not_about_you": [one.to_mapping() for one in self.not_about_you],
        }


def explain(
    reasons: Sequence[Reason],
    texts: Texts,
    money: Money,
    *,
    limit_minor: int,
    before_minor: int | None = None,
    target_minor: int | None = None,
    frozen: bool = False,
    closing: bool = False,
    multiplier: str | None = None,
    baseline: str = "mean",
) -> Explanation:
    """Explain a limit.

    Parameters
    ----------
    reasons : sequence of Reason
        Of the components that bound, weightiest first.
    texts, money, multiplier, baseline
        See `tell`.
    limit_minor : int
    before_minor : int, optional
        The limit before; None where the line is new.
    target_minor : int, optional
        The limit that the line is being restored to.
    frozen : bool
        Nothing may be drawn for now.
    closing : bool
        Nothing will be drawn any more.
    """
    told = [
        tell(one, texts, money, multiplier=multiplier, baseline=baseline)
        for one in principal(reasons)
    ]
    amounts = {"limit": limit_minor, "before": before_minor or 0}
    written = {
        name: texts.money(minor, money.currency, money.digits) for name, minor in amounts.items()
    }
    which = _headline(limit_minor, before_minor, target_minor, frozen=frozen)
    which = "closing" if closing else which
    return Explanation(
        texts.language,
        texts.say(f"headline.{which}", **written),
        tuple(one for one in told if not one.not_about_you),
        tuple(one for one in told if one.not_about_you),
    )


def _figures(reason: Reason, texts: Texts, money: Money) -> dict[str, object]:
    """Return what a sentence says beside its code, as people read it."""
    figures: dict[str, object] = dict(reason.params)
    if figures.get("metric") in SHARES:
        for name in figures.keys() & {"value", "enter"}:
            figures[name] = texts.percent(Decimal(str(figures[name])))
    elif "enter" in figures:
        figures["enter"] = f"{Decimal(str(figures['enter'])).normalize():f}"
    if isinstance(step := figures.get("step"), int):
        figures["step"] = texts.money(step, money.currency, money.digits)
    if isinstance(until := figures.get("until"), str):
        figures["until"] = texts.day(date.fromisoformat(until))
    if "rule" in figures:
        figures["signal"] = texts.sentences.get(f"signal.{figures['rule']}", figures["rule"])
    if reason.amount_minor is not None:
        figures["amount"] = texts.money(reason.amount_minor, money.currency, money.digits)
    return figures


def _headline(limit: int, before: int | None, target: int | None, *, frozen: bool) -> str:
    if frozen:
        return "frozen"
    if before is None:
        return "set" if limit else "declined"
    if limit != before:
        return "raised" if limit > before else "lowered"
    return "not_restored" if target is not None and limit < target else "kept"


__all__ = [
    "ENQUIRIES",
    "LANGUAGES",
    "MACRO",
    "MOST_REASONS",
    "SHARES",
    "Explanation",
    "Money",
    "Texts",
    "Told",
    "check_languages",
    "explain",
    "parse_texts",
    "placeholders",
    "principal",
    "tell",
]
