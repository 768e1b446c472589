"""Sentences of the answers, from the texts that come with confide: codes stay, words may change."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files
from typing import Any

from server.limits.basis.reasons import Reason
from server.limits.caps.decide import Decision
from server.limits.rules.policy import Policy
from server.limits.words import explain
from server.limits.words.explain import Money, Texts


@lru_cache
def texts_in(language: str) -> Texts:
    """Return the sentences of a language.

    Parameters
    ----------
    language : str
        One of `server.limits.words.explain.LANGUAGES`.
    """
    name = f"{language}.toml"
    text = (files("server.limits") / "texts" / name).read_text(encoding="utf-8")
    return explain.parse_texts(text, f"texts/{name}")


def money(minor: int, policy: Policy, language: str = "en") -> str:
    """Return an amount for people: ``19,400.00 CNY``."""
    return texts_in(language).money(minor, policy.currency, policy.minor_digits)


def score_reason(reason: Reason, language: str = "en", baseline: str = "mean") -> dict[str, Any]:
    """Return a reason of the score with its sentence."""
    told = explain.tell(reason, texts_in(language), Money("", 0), baseline=baseline)
    return told.to_mapping()


def limit_reason(
    reason: Reason,
    decision: Decision,
    policy: Policy,
    language: str = "en",
    baseline: str = "mean",
) -> dict[str, Any]:
    """Return a reason of a decision with its sentence."""
    return explain.tell(
        reason,
        texts_in(language),
        Money(policy.currency, policy.minor_digits),
        multiplier=decision.multiplier,
        baseline=baseline,
    ).to_mapping()


def blocked(holder: str, why: str, *, line: bool, language: str = "en") -> str:
    """Return why nothing is raised, or opened where there is no line yet."""
    texts = texts_in(language)
    cause = texts.say(f"blocked.{why.replace(' ', '_')}", holder=texts.holders([holder]))
    return texts.say("blocked.line" if line else "blocked.no_line", cause=cause)
