"""Why a limit that was cut is not back yet, as sentences: rule, progress, dates, steps.

`server.limits.line.restore` plans; here its plan is told. Every figure comes from the policy in
force or from the plan, none from a text.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

from server.limits.basis.reasons import Reason
from server.limits.line.restore import Need, Restoration
from server.limits.rules.line_policy import Condition, LinePolicy
from server.limits.words.explain import SHARES, Money, Texts, tell


def way_back(
    plan: Restoration, base_minor: int, policy: LinePolicy, texts: Texts, money: Money
) -> dict[str, Any]:
    """Return what a limit still needs, how far it is, and the dates, ready for JSON.

    Parameters
    ----------
    plan : Restoration
    base_minor : int
        What steps are shares of.
    policy : LinePolicy
    texts : Texts
    money : Money

    Returns
    -------
    dict
        `earliest` is the first day on which the slowest open rule can be over, or, where none is
        open, on which the limit can rise; `rises_on` is always the latter. None: no review until
        the end of the plan, as things are.
    """
    slow = slowest(plan)
    step = policy.step(base_minor, policy.up_share)
    rule_over = None if slow is None else slow.earliest
    earliest = plan.earliest if slow is None else rule_over
    missing = plan.approved_minor - plan.limit_minor
    return {
        "rule": slow.code if slow else "",
        "needs": needs_text(slow, policy, texts) if missing or slow else "",
        "progress": plan.progress,
        "earliest": _iso(earliest),
        "then": texts.say(
            "restoration.then",
            step=_amount(step, texts, money),
            days=policy.cool_down_days,
        )
        if missing
        else "",
        "missing_minor": missing,
        "lost_to_behaviour_minor": plan.lost_to_behaviour_minor,
        "lost_to_rules_minor": plan.lost_to_caps_minor,
        "cut_on": _iso(plan.cut_on),
        "cool_down_until": _iso(plan.cool_down_until),
        "next_review_on": _iso(plan.next_review_on),
        "rises_on": _iso(plan.earliest),
        "restored_on": _iso(plan.restored_on),
        "downturn_until": _iso(plan.downturn_until),
        "rules": [_rule(one, texts) for one in plan.needs],
        "steps": [
            {
                "on": one.on.isoformat(),
                "state": one.state.value,
                "limit_minor": one.limit_minor,
                "text": texts.say(
                    "restoration.step",
                    day=texts.day(one.on),
                    limit=_amount(one.limit_minor, texts, money),
                    state=texts.say(f"state.{one.state.value}"),
                ),
            }
            for one in plan.steps
        ],
        "waits_for": _told(plan.waits_for, texts, money),
        "held_by": _told(plan.held_by, texts, money),
        "text": _summary(plan, earliest, texts, money),
    }


def slowest(plan: Restoration) -> Need | None:
    """Return the open rule that takes longest, or None where none is open."""
    counted = [one for one in plan.needs if one.needed]
    slow = max(counted, key=lambda one: (one.needed - one.clean, one.code), default=None)
    return slow or next(iter(plan.needs), None)


def needs_text(need: Need | None, policy: LinePolicy, texts: Texts) -> str:
    """Return what the coming reviews must meet, as one sentence."""
    if need is None:
        return texts.say("restoration.needs_clean", needed=texts.reviews(policy.up_clean_reviews))
    if not need.needed:  # what was overdue is cured by time alone
        until = "" if need.earliest is None else texts.day(need.earliest)
        return texts.say("restoration.needs_cure" if until else "restoration.needs_paid", day=until)
    said = [condition_text(one, texts) for one in need.conditions]
    if not said:
        return texts.say("restoration.needs_clean", needed=texts.reviews(need.needed))
    return texts.say(
        "restoration.needs",
        needed=texts.reviews(need.needed),
        conditions=texts.sentences["form.list"].join(dict.fromkeys(said)),
    )


def condition_text(condition: Condition, texts: Texts) -> str:
    """Return a condition of a clean review in words, with its figures."""
    share = condition.metric in SHARES
    value = texts.percent(condition.threshold) if share else f"{condition.threshold.normalize():f}"
    return texts.say(
        f"condition.{condition.metric}{'-least' if condition.rising else ''}",
        value=value,
        days=condition.days,
        over_days=condition.over_days,
    )


def each_review(
    policy: LinePolicy, next_on: date | None, base_minor: int, texts: Texts, money: Money
) -> dict[str, Any]:
    """Return what happens at each review, in the order that the policy fixes.

    Parameters
    ----------
    policy : LinePolicy
    next_on : date, optional
    base_minor : int
    texts : Texts
    money : Money
    """
    figures = {
        "every": policy.every_days,
        "cut": texts.percent(policy.cut_share),
        "down": _amount(policy.step(base_minor, policy.down_share), texts, money),
        "floor": _amount(policy.floor(base_minor), texts, money),
        "up": _amount(policy.step(base_minor, policy.up_share), texts, money),
        "running": policy.down_reviews,
        "reviews": texts.reviews(policy.clean_reviews),
        "dwell": policy.dwell_days,
        "cool": policy.cool_down_days,
    }
    return {
        "every_days": policy.every_days,
        "next_on": _iso(next_on),
        "then_on": _iso(None if next_on is None else next_on + timedelta(days=policy.every_days)),
        "steps": [texts.say(f"review.{name}", **figures) for name in REVIEW_STEPS],
    }


REVIEW_STEPS = (
    "look",
    "allowed",
    "cut",
    "step_down",
    "watch_ends",
    "step_up",
    "capital",
    "reasons",
)
"""What a review does, in its fixed order (`server.limits.line.review`)."""


def _summary(plan: Restoration, earliest: date | None, texts: Texts, money: Money) -> list[str]:
    """Return the answer in a few sentences."""
    missing = plan.approved_minor - plan.limit_minor
    if not missing:
        whole = _amount(plan.limit_minor, texts, money)
        said = [texts.say("restoration.whole", limit=whole)]
        return [*said, *_falls(plan, texts, money), *_rule_over(plan, earliest, texts)]
    said = [
        texts.say(
            "restoration.missing",
            limit=_amount(plan.limit_minor, texts, money),
            approved=_amount(plan.approved_minor, texts, money),
            missing=_amount(missing, texts, money),
        )
    ]
    for name, lost in (
        ("behaviour", plan.lost_to_behaviour_minor),
        ("rules", plan.lost_to_caps_minor),
    ):
        if lost:
            said.append(texts.say(f"restoration.lost_{name}", amount=_amount(lost, texts, money)))
    said += _falls(plan, texts, money)
    if plan.cool_down_until is not None:
        said.append(texts.say("restoration.cool_down", day=texts.day(plan.cool_down_until)))
    if plan.downturn_until is not None:
        said.append(texts.say("restoration.downturn", day=texts.day(plan.downturn_until)))
    if plan.waits_for:
        causes = [tell(one, texts, money).text for one in plan.waits_for]
        said += [texts.say("restoration.waits"), *causes]
        said += [texts.say("restoration.settled")] if plan.earliest is not None else []
    said += _rule_over(plan, earliest, texts)
    if plan.earliest is None:
        said.append(texts.say("restoration.never"))
    else:
        said.append(texts.say("restoration.rises", day=texts.day(plan.earliest)))
    if plan.restored_on is not None:
        said.append(texts.say("restoration.restored", day=texts.day(plan.restored_on)))
    return said


def _falls(plan: Restoration, texts: Texts, money: Money) -> list[str]:
    """Return that a coming review lowers the limit, where the rules already allow less."""
    first = next((one for one in plan.steps if one.limit_minor != plan.limit_minor), None)
    if first is None or first.limit_minor > plan.limit_minor:
        return []
    low = _amount(first.limit_minor, texts, money)
    return [texts.say("restoration.falls", day=texts.day(first.on), limit=low)]


def _rule_over(plan: Restoration, earliest: date | None, texts: Texts) -> list[str]:
    """Return when the slowest open rule can be over: a watch, or the time after late payment."""
    slow = slowest(plan)
    if slow is None or earliest is None:
        return []
    key = "earliest" if slow.needed else "cured"
    return [texts.say(f"restoration.{key}", day=texts.day(earliest))]


def _rule(one: Need, texts: Texts) -> dict[str, Any]:
    return {
        "code": one.code,
        "clean": one.clean,
        "needed": one.needed,
        "not_before": _iso(one.not_before),
        "earliest": _iso(one.earliest),
        "each_review": [condition_text(condition, texts) for condition in one.conditions],
    }


def _told(reasons: Sequence[Reason], texts: Texts, money: Money) -> list[dict[str, Any]]:
    return [tell(one, texts, money).to_mapping() for one in reasons]


def _amount(minor: int, texts: Texts, money: Money) -> str:
    return texts.money(minor, money.currency, money.digits)


def _iso(day: date | None) -> str | None:
    return None if day is None else day.isoformat()
