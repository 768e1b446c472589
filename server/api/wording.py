"""Reasons as sentences for the customer; codes are stable, words may change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from server.limits.decide import Decision
from server.limits.policy import Policy
from server.limits.reasons import Reason

_TEXTS: Final[Mapping[str, str]] = {
    "P-GRADE": "Your score's grade allows up to {amount}.",
    "P-LOSS": "With your score, a line of up to {amount} keeps the expected loss within bounds.",
    "P-STRESS": "With your score, a line of up to {amount} keeps the loss of a bad year in bounds.",
    "P-INCOME": "With your score, the income we could verify allows up to {amount}.",
    "P-CAPACITY": "Your verified income less your other repayments can carry up to {amount}.",
    "P-PRODUCT": "This product ends at {amount} for everybody.",
    "P-LAW": "The law allows a consumer up to {amount} on such a line.",
    "P-OWN": "You have asked us not to go above {amount}.",
    "M-MACRO": "All limits stand at {multiplier} of their usual height because of the economy.",
    "H-MISSING": "We have no current data from {holders}, so your limit stays as it is.",
}
_BLOCKED: Final[Mapping[str, str]] = {
    "no feed": "{holder} has published no scores for this model yet",
    "stale": "the scores of {holder} are out of date",
    "unknown customer": "{holder} has published no score for this customer",
}


def money(minor: int, policy: Policy) -> str:
    """Return an amount for people: ``19,400.00 CNY``."""
    whole, rest = divmod(minor, 10**policy.minor_digits)
    cents = f".{rest:0{policy.minor_digits}d}" if policy.minor_digits else ""
    return f"{whole:,}{cents} {policy.currency}"


def score_reason(reason: Reason) -> dict[str, Any]:
    """Return a reason of the score with its sentence."""
    lost, who = reason.points_lost or 0, " and ".join(reason.holders)
    topic = reason.code.removeprefix("S-").replace("_", " ").lower()
    points = "point" if lost == 1 else "points"
    return _told(reason, f"Your {topic}, as {who} knows it, is {lost} {points} below average.")


def limit_reason(reason: Reason, decision: Decision, policy: Policy) -> dict[str, Any]:
    """Return a reason of a decision with its sentence."""
    if reason.family == "score":
        return score_reason(reason)
    text = _TEXTS[reason.code].format(
        amount=money(reason.amount_minor or 0, policy),
        multiplier=decision.multiplier,
        holders=" and ".join(reason.holders),
    )
    return _told(reason, text)


def blocked(holder: str, why: str, *, line: bool) -> str:
    """Return why nothing is raised, or opened where there is no line yet."""
    cause = _BLOCKED[why].format(holder=holder)
    until = "no limit is raised" if line else "no line is opened"
    return f"Until that changes {until}: {cause}."


def _told(reason: Reason, text: str) -> dict[str, Any]:
    return {
        "code": reason.code,
        "family": reason.family,
        "text": text,
        "not_about_you": reason.family == "outside",
        "amount_minor": reason.amount_minor,
        "points_lost": reason.points_lost,
        "holders": list(reason.holders),
    }
