"""A line on a day, ready to be told: today by the rules in force, or then by those of its record.

What both answers to a customer share: reasons, the way back, advice that is proved, the score. No
limit is computed here but by the policy that decides, run ahead on the same facts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import Connection

from server.accounts import policies
from server.accounts.desk import DecidingRules, Desk, RuleText, deciding_rules
from server.accounts.grounds import Rules
from server.accounts.recording import LineDecision
from server.accounts.standing import NO_RELEASE, Standing
from server.limits.answers.advice import advice_view, advise
from server.limits.answers.line_reviews import LineReviews
from server.limits.answers.way_back import way_back
from server.limits.answers.whatif import PolicyReviews
from server.limits.answers.why_low import multiplier_of, standing
from server.limits.basis.reasons import Reason
from server.limits.caps.decide import Decision
from server.limits.caps.snapshot import Snapshot
from server.limits.line.line import Line, State
from server.limits.line.restore import restoration
from server.limits.line.target import Target
from server.limits.line.triggers import Facts
from server.limits.rules.policy import Policy
from server.limits.words.explain import Explanation, Money, Texts, principal
from server.limits.words.explain import explain as explain_reasons
from shared.errors import UsageError

_WITHOUT: Final = frozenset({State.PENDING, State.CLOSING, State.CLOSED})


def texts_of(desk: Desk, language: str) -> Texts:
    """Return the sentences of a language.

    Raises
    ------
    UsageError
        If there are none.
    """
    found = desk.rules.texts.get(language)
    if found is None:
        raise UsageError(f"lang must be one of {', '.join(sorted(desk.rules.texts))}")
    return found


def money_of(policy: Policy) -> Money:
    """Return how a policy's amounts are written."""
    return Money(policy.currency, policy.minor_digits)


@dataclass(frozen=True, slots=True)
class Told:
    """A line on a day, with the rules of that day, ready to be told.

    Parameters
    ----------
    line : Line
    facts : Facts
    snapshot : Snapshot, optional
        None where no score was looked at, or none could be had.
    caps : Decision, optional
    target : Target, optional
    reviews : LineReviews, optional
        None where the line has no coming reviews, or they look at what is not known.
    rules : Rules
        Of the product.
    day : date
    model : str
    """

    line: Line
    facts: Facts
    snapshot: Snapshot | None
    caps: Decision | None
    target: Target | None
    reviews: LineReviews | None
    rules: Rules
    day: date
    model: str

    @property
    def money(self) -> Money:
        """How its amounts are written."""
        return money_of(self.rules.policy)


def as_it_is(seen: Standing) -> Told:
    """Return a line as it is today."""
    caps = PolicyReviews(seen.policy, seen.rules.pack, seen.snapshot, seen.inputs)
    reviews = None
    if seen.line.state not in _WITHOUT:
        reviews = LineReviews(seen.line, seen.facts, seen.line_policy, caps, seen.scale)
    return Told(
        line=seen.line,
        facts=seen.facts,
        snapshot=seen.snapshot if seen.scored is not None else None,
        caps=seen.caps,
        target=seen.target,
        reviews=reviews,
        rules=seen.rules,
        day=seen.day,
        model=seen.model_ref,
    )


def as_it_was(db: Connection, record: LineDecision) -> Told:
    """Return a line as it was after a decision, under the rules of that day."""
    wanted = tuple(sorted(record.rules.items()))
    rules = _rules_of(tuple((kind, policies.text_of(db, one)) for kind, one in wanted))
    mine, grounds, after = rules.of(record.ask.product), record.grounds, record.outcome.after
    reviews = None
    scored = grounds.snapshot is not None and grounds.inputs is not None
    if scored and after.state not in _WITHOUT:
        caps = PolicyReviews(mine.policy, mine.pack, grounds.snapshot, grounds.inputs)  # type: ignore[arg-type]
        reviews = LineReviews(after, grounds.facts, mine.line, caps, grounds.scale)
    model = record.about.get("model", NO_RELEASE)
    known = grounds.snapshot if model != NO_RELEASE else None
    return Told(
        line=after,
        facts=grounds.facts,
        snapshot=known,
        caps=record.outcome.caps,
        target=record.outcome.target,
        reviews=reviews,
        rules=mine,
        day=record.ask.day,
        model=model,
    )


@lru_cache(maxsize=16)
def _rules_of(texts: tuple[tuple[str, RuleText], ...]) -> DecidingRules:
    return deciding_rules(dict(texts))


def reasons_then(record: LineDecision, told: Told) -> tuple[Reason, ...]:
    """Return the decision's reasons; where the limit stayed, first what kept it there."""
    own, before, after = record.outcome.reasons, record.before, record.outcome.after
    moved = before.effective_limit_minor != after.effective_limit_minor
    if moved or told.target is None or before.version == 0 or after.version == 0:
        return principal(own)
    kept = standing(after, told.facts, told.target, told.rules.line, told.day).reasons
    known = {reason.code for reason in kept}
    if known & {"P-CONSENT", "P-HOLDERS"}:  # then it is said whose choice the silence is
        known.add("H-MISSING")
    fresh = [one for one in own if one.code not in known]
    return principal([*kept, *fresh])


def headline_and_reasons(
    desk: Desk, told: Told, reasons: Sequence[Reason], texts: Texts, before: Line | None
) -> Explanation:
    """Return reasons as sentences, under a headline that says what happened.

    Parameters
    ----------
    desk : Desk
    told : Told
    reasons : sequence of Reason
    texts : Texts
    before : Line, optional
        None where the line is new.
    """
    line = told.line
    multiplier = None
    if told.caps is not None:
        multiplier = str(multiplier_of(told.caps, told.rules.line, told.day))
    return explain_reasons(
        reasons,
        texts,
        told.money,
        limit_minor=line.effective_limit_minor,
        before_minor=None if before is None else before.effective_limit_minor,
        target_minor=line.approved_limit_minor,
        frozen=line.state is State.FROZEN or not _consents(told),
        closing=line.state in {State.CLOSING, State.CLOSED},
        multiplier=multiplier if multiplier is not None and Decimal(multiplier) < 1 else None,
        baseline=baseline_of(desk, told.model),
    )


def _consents(told: Told) -> bool:
    """Return whether a consent stands; a line that was never opened is about no consent."""
    line = told.line
    return line.version == 0 or (told.facts.consent and line.consent_withdrawn_on is None)


def spoken(explained: Explanation, reasons: Sequence[Reason]) -> dict[str, Any]:
    """Return headline and reasons, with the letters of the families that spoke."""
    families = list(dict.fromkeys(one.code[0] for one in reasons))
    return {**explained.to_mapping(), "family": families}


def way_back_of(told: Told, texts: Texts) -> dict[str, Any] | None:
    """Return the way back of a limit that is not whole; None where nothing was agreed yet."""
    line = told.line
    if told.target is None or line.version == 0 or line.state in _WITHOUT:
        return None
    plan = restoration(line, told.facts, told.target, told.rules.line, told.day)
    return way_back(plan, line.base_limit_minor, told.rules.line, texts, told.money)


def advice_of(desk: Desk, told: Told, texts: Texts) -> dict[str, Any]:
    """Return what would help, proved, what to avoid, and what does not help."""
    does_not_help = [texts.say(f"help.{one}") for one in ("repaying_early", "asking", "agent")]
    if told.reviews is None:
        return {
            "advice": [],
            "avoid": "",
            "notes": [],
            "does_not_help": does_not_help,
            "actions": desk.rules.actions.name,
        }
    snapshot = told.reviews.caps.snapshot
    codes = _card_codes(desk, told.model)
    found = advise(
        told.reviews, desk.rules.actions, holders=sorted(snapshot.points), card_codes=codes
    )
    idle = told.rules.line.inactivity
    view = advice_view(
        found,
        told.rules.line.rules.values(),
        texts,
        told.money,
        idle_days=None if idle is None else idle.after_days,
    )
    if not found.activity_counts:
        does_not_help.insert(0, texts.say("help.activity"))
    told_apart = {texts.say("advice.no_agent"), texts.say("advice.no_activity")}
    notes = [one for one in view["notes"] if one not in told_apart]
    return {
        "advice": view["advice"],
        "avoid": view["avoid"],
        "notes": notes,
        "does_not_help": does_not_help,
        "actions": view["actions"],
    }


def score_of(desk: Desk, told: Told) -> dict[str, Any] | None:
    """Return the score, its range, its day and its model (15 U.S.C. 1681g(f)); None without one."""
    snapshot = told.snapshot
    if snapshot is None:
        return None
    release = desk.scores.feeds.shelf.release
    scale = None if release is None or release.name != told.model else release.model.scale
    return {
        "value": snapshot.rating.score,
        "low": None if scale is None else round(scale.low),
        "high": None if scale is None else round(scale.high),
        "grade": snapshot.rating.grade,
        "default_prob": float(snapshot.rating.default_prob),
        "date": told.day.isoformat(),
        "model": told.model,
        "missing": sorted(snapshot.missing),
    }


def baseline_of(desk: Desk, model: str) -> str:
    """Return what points are measured below, by the card that gave them."""
    release = desk.scores.feeds.shelf.release
    return "mean" if release is None or release.name != model else release.model.baseline.kind


def _card_codes(desk: Desk, model: str) -> frozenset[str]:
    """Return the reason codes of the model in use; of one that is gone, nothing is known."""
    release = desk.scores.feeds.shelf.release
    if release is None or release.name != model:
        return frozenset()
    return frozenset().union(*(release.model.codes(party) for party in release.parties))
