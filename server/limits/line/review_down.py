"""What a review may take: steps 1 to 4 of its order, and the allocator's scale (domain 5.6)."""

from __future__ import annotations

from server.limits.basis.reasons import Reason
from server.limits.line.delinquency import advance
from server.limits.line.line import RANK, Cause, State, Window
from server.limits.line.reasons import because, first_of
from server.limits.line.review_state import UnderReview
from server.limits.line.triggers import watched


def lapse(it: UnderReview) -> None:
    """Let what has run out fall away.

    Parameters
    ----------
    it : UnderReview
    """
    passing, offer = it.line.temporary, it.line.offer
    if passing is not None and passing.until < it.as_of:
        it.journal.note("lapsed", [because("P-TEMP")], temporary=None)
    if offer is not None and offer.until < it.as_of:
        it.offered = None


def buckets(it: UnderReview) -> None:
    """Move the delinquency on; freeze, or end a freeze that is cured.

    Parameters
    ----------
    it : UnderReview
    """
    line, facts, arrears = it.line, it.facts, it.policy.arrears
    it.late = advance(
        line.delinquency,
        arrears,
        it.as_of,
        facts.days_past_due,
        clear_since=facts.clear_since,
        forborne_on=facts.forborne_on,
    )
    cause, reason = _cause(it)
    if line.state is State.CLOSING:
        return
    if reason is not None and RANK.index(cause) > RANK.index(line.frozen_for):
        it.offered = None
        it.journal.note("frozen", [reason], state=State.FROZEN, frozen_for=cause)
    elif line.frozen_for in {"arrears", "default"} and not it.late.curing and it.scheduled:
        _cure(it)


def _cause(it: UnderReview) -> tuple[Cause, Reason | None]:
    """Return why the line must be frozen, gravest first."""
    days, arrears = it.facts.days_past_due, it.policy.arrears
    late = because("B08", days=days, bucket=it.late.bucket)
    if it.facts.fraud:
        return "fraud", because("P-FRAUD")
    for code, reason in it.seen.fired.items():
        if it.policy.rules[code].effect == "freeze":
            return "purpose", reason
    if days >= arrears.default_from:
        return "default", late
    return ("arrears", late) if days >= arrears.freeze_from else ("", None)


def _cure(it: UnderReview) -> None:
    """Let draws through again, at the floor and under observation."""
    line = it.line
    low = min(line.effective_limit_minor, it.policy.floor(line.base_limit_minor))
    it.windows = (
        *(one for one in it.windows if one.code != "B08"),
        Window("B08", it.as_of, it.as_of),
    )
    it.journal.note(
        "cured",
        [because("B08", days=0, bucket=it.late.bucket)],
        state=State.OBSERVATION,
        frozen_for="",
        windows=it.windows,
        **it.lowered_to(low),
    )
    it.start, it.fell = low, True


def watch(it: UnderReview) -> None:
    """Move the windows on; go under observation unless that would flap.

    Parameters
    ----------
    it : UnderReview
    """
    it.windows = watched(
        it.windows,
        it.seen,
        it.policy,
        it.as_of,
        score=it.facts.measures.get("score"),
        scheduled=it.scheduled,
    )
    rules, line = it.policy.rules, it.line
    fired = [reason for code, reason in it.seen.fired.items() if rules[code].effect == "observe"]
    held = [
        reason
        for code, reason in it.seen.fired.items()
        if rules[code].effect == "hold" and it.before.window(code) is None
    ]
    it.last_words += held
    settled = line.loosened_on is None or it.days_since(line.loosened_on) >= (it.policy.dwell_days)
    if fired and settled and line.state is not State.OBSERVATION:
        it.journal.note("observed", first_of(fired), state=State.OBSERVATION)


def caps_path(it: UnderReview) -> None:
    """Move on what the limit would be had nothing been observed.

    Parameters
    ----------
    it : UnderReview
    """
    goal, policy = it.target.lowest_minor, it.policy
    if goal < it.caps:
        it.caps = it.after_cut(it.caps, goal)
        it.caps_cut_on = it.as_of
    elif it.scheduled and not it.barred and it.cooled(it.caps_cut_on):
        step = policy.step(it.line.base_limit_minor, policy.up_share)
        it.caps = min(it.caps + step, max(goal, it.caps), it.line.approved_limit_minor)


def cut(it: UnderReview) -> None:
    """Lower the limit to what the caps allow, by one step at most.

    Parameters
    ----------
    it : UnderReview
    """
    line, target = it.line, it.target
    limit = line.effective_limit_minor
    if target.limit_minor >= limit:
        return
    reasons = list(target.reasons) if target.full_minor < limit else []
    if target.limit_minor < min(target.full_minor, limit):
        reasons.insert(1, because("M-MACRO", scenario=target.scenario))
    low = it.after_cut(limit, target.limit_minor)
    it.lower("cut", first_of(reasons), low)


def step_down(it: UnderReview) -> None:
    """Take a step for what goes on, for arrears, or for an idle line.

    Parameters
    ----------
    it : UnderReview
    """
    line, start = it.line, it.start
    steps = [*_going_on(it, start), *_arrears(it, start), *_idle(it, start)]
    lowest = min((low for low, _ in steps), default=start)
    if lowest < line.effective_limit_minor:
        reasons = first_of(reason for low, reason in steps if low == lowest)
        it.lower("stepped_down", reasons, lowest)
    elif not it.fell and steps:
        it.last_words += [because("B03")]


def _going_on(it: UnderReview, start: int) -> list[tuple[int, Reason]]:
    if not it.scheduled or it.line.state is not State.OBSERVATION:
        return []
    found = []
    for one in it.windows:
        rule = it.policy.rules.get(one.code)
        goes_on = one.run >= it.policy.down_reviews and one.code in it.seen.fired
        if rule is not None and rule.steps_down and goes_on:
            reason = because("B02", rule=one.code, reviews=one.run)
            found.append((_stepped(it, start), reason))
    return found


def _arrears(it: UnderReview, start: int) -> list[tuple[int, Reason]]:
    """Take one step as the line enters the bucket, not one a review."""
    edge, days = it.policy.arrears.reduce_from, it.facts.days_past_due
    if it.before.delinquency.days_past_due >= edge or days < edge:
        return []
    return [(_stepped(it, start), because("B08", days=days, bucket=it.late.bucket))]


def _idle(it: UnderReview, start: int) -> list[tuple[int, Reason]]:
    rule = it.policy.inactivity
    if rule is None or not it.scheduled or not it.is_idle():
        return []
    base = it.line.base_limit_minor
    floor = min(start, it.policy.floored(rule.floor_share * base))
    low = max(floor, start - it.policy.step(base, rule.share))
    return [(low, because("I-IDLE", days=rule.after_days))] if low < start else []


def _stepped(it: UnderReview, start: int) -> int:
    policy, base = it.policy, it.line.base_limit_minor
    return max(min(start, policy.floor(base)), start - policy.step(base, policy.down_share))


def scale(it: UnderReview) -> None:
    """Lower the limit to the portfolio's share of it: never a reason about the person.

    Parameters
    ----------
    it : UnderReview
    """
    limit, goal = it.line.effective_limit_minor, it.target.scaled_minor
    if goal < limit:
        low = min(limit, max(goal, it.policy.lowest_after_cut(it.start)))
        if low < limit:
            it.lower("scaled", (because("C-CAP"),), low)
