"""A review of a line, in the one order that the policy fixes (domain 5.6).

1 buckets and triggers, 2 target, 3 cut, 4 step down, 5 exit from observation, 6 step up, 7 the
allocator's scale, 8 reasons, 9 the closing event. The order is part of the policy: another one
gives other limits.

Reviews that come early (an alert, a new score) may lower, hold and freeze. Only a scheduled one
counts towards an exit, raises or offers anything (invariant I20).

Two readings of the study, argued in `docs/decisions/`: a step down after a cut in the same review
is not taken on top but where it would go lower (else the riskier of two lines could fare better),
and a cut of what the caps allow starts the cool-down of every line below, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

from server.limits.delinquency import add_months, advance
from server.limits.line import Cause, Line, Offer, State, Window
from server.limits.line_events import Journal, LineEvent
from server.limits.line_policy import LinePolicy
from server.limits.line_reasons import because, cooling, first_of, progress, silent
from server.limits.reasons import Reason
from server.limits.target import Target
from server.limits.triggers import (
    Facts,
    Seen,
    is_over,
    look,
    needed_reviews,
    observes,
    watched,
)
from shared.errors import Conflict

_RANK: Final[tuple[Cause, ...]] = ("", "arrears", "default", "purpose", "fraud")
_RISING: Final = frozenset({State.REDUCED, State.RESTORING})
_DOWN: Final = {State.ACTIVE: State.REDUCED, State.RESTORING: State.REDUCED}


@dataclass(frozen=True, slots=True)
class Reviewed:
    """The outcome of a review.

    Parameters
    ----------
    line : Line
    events : tuple of LineEvent
        At least one; the last closes the review.
    reasons : tuple of Reason
        At most four: of what happened, or else why the limit is not higher.
    """

    line: Line
    events: tuple[LineEvent, ...]
    reasons: tuple[Reason, ...]


def review(line: Line, facts: Facts, target: Target, policy: LinePolicy, as_of: date) -> Reviewed:
    """Review a line.

    Parameters
    ----------
    line : Line
    facts : Facts
    target : Target
        What the caps allow on that day.
    policy : LinePolicy
    as_of : date
        Scheduled if it is not before `line.next_review_on`.

    Raises
    ------
    Conflict
        If the line is pending or closed, or the day lies before its last change.
    """
    return review_seen(line, facts, look(line, facts, policy, as_of), target, policy, as_of)


def review_seen(
    line: Line, facts: Facts, seen: Seen, target: Target, policy: LinePolicy, as_of: date
) -> Reviewed:
    """Review a line on what was already seen of it; see `review`."""
    if line.state in {State.PENDING, State.CLOSED}:
        raise Conflict(f"a line that is {line.state} has no reviews", check="state")
    one = _Review(line, facts, seen, target, policy, as_of)
    one.lapse()
    one.buckets()
    if one.line.state not in {State.FROZEN, State.CLOSING}:
        one.watch()
        one.caps_path()
        one.cut()
        one.step_down()
        one.leave()
        one.step_up()
        one.scale()
        one.offer()
    return one.close()


def age(line: Line, facts: Facts, policy: LinePolicy, as_of: date) -> Reviewed:
    """Move only the buckets on, as a job does every day: it may freeze, and take one step down.

    Parameters
    ----------
    line, facts, policy, as_of
        See `review`; no trigger is looked at.

    Raises
    ------
    Conflict
        See `review`.
    """
    if line.state in {State.PENDING, State.CLOSED}:
        raise Conflict(f"a line that is {line.state} has no days past due", check="state")
    whole = line.approved_limit_minor
    target = Target(whole, whole, whole, reasons=(because("B08"),))
    one = _Review(line, facts, Seen({}, frozenset(), clean=False), target, policy, as_of)
    one.scheduled = False
    one.lapse()
    one.buckets()
    if one.line.state not in {State.FROZEN, State.CLOSING}:
        one.step_down()
    return one.close()


class _Review:
    """One review on its way; each method is a step, and notes what it does as an event."""

    def __init__(
        self, line: Line, facts: Facts, seen: Seen, target: Target, policy: LinePolicy, as_of: date
    ) -> None:
        self.journal = Journal(line, as_of)
        self.before, self.facts, self.seen = line, facts, seen
        self.target, self.policy, self.as_of = target, policy, as_of
        self.scheduled = line.next_review_on is None or as_of >= line.next_review_on
        self.windows, self.late = line.windows, line.delinquency
        self.caps, self.caps_cut_on = line.caps_limit_minor, line.caps_cut_on
        self.offered: Offer | None = line.offer
        self.start = line.effective_limit_minor
        self.fell = self.left = False
        self.last_words: list[Reason] = []
        self.barred = self._barred()

    @property
    def line(self) -> Line:
        """The line as it is by now."""
        return self.journal.line

    # 1 buckets and triggers

    def lapse(self) -> None:
        """Let what has run out fall away."""
        passing, offer = self.line.temporary, self.line.offer
        if passing is not None and passing.until < self.as_of:
            self.journal.note("lapsed", [because("P-TEMP")], temporary=None)
        if offer is not None and offer.until < self.as_of:
            self.offered = None

    def buckets(self) -> None:
        """Move the delinquency on; freeze, or end a freeze that is cured."""
        line, facts, arrears = self.line, self.facts, self.policy.arrears
        self.late = advance(
            line.delinquency,
            arrears,
            self.as_of,
            facts.days_past_due,
            clear_since=facts.clear_since,
            forborne_on=facts.forborne_on,
        )
        cause, reason = self._cause()
        if line.state is State.CLOSING:
            return
        if reason is not None and _RANK.index(cause) > _RANK.index(line.frozen_for):
            self.offered = None
            self.journal.note("frozen", [reason], state=State.FROZEN, frozen_for=cause)
        elif line.frozen_for in {"arrears", "default"} and not self.late.curing and self.scheduled:
            self._cure()

    def _cause(self) -> tuple[Cause, Reason | None]:
        """Return why the line must be frozen, gravest first."""
        days, arrears = self.facts.days_past_due, self.policy.arrears
        late = because("B08", days=days, bucket=self.late.bucket)
        if self.facts.fraud:
            return "fraud", because("P-FRAUD")
        for code, reason in self.seen.fired.items():
            if self.policy.rules[code].effect == "freeze":
                return "purpose", reason
        if days >= arrears.default_from:
            return "default", late
        return ("arrears", late) if days >= arrears.freeze_from else ("", None)

    def _cure(self) -> None:
        """Let draws through again, at the floor and under observation."""
        line = self.line
        low = min(line.effective_limit_minor, self.policy.floor(line.base_limit_minor))
        self.windows = (
            *(one for one in self.windows if one.code != "B08"),
            Window("B08", self.as_of, self.as_of),
        )
        self.journal.note(
            "cured",
            [because("B08", days=0, bucket=self.late.bucket)],
            state=State.OBSERVATION,
            frozen_for="",
            windows=self.windows,
            **self._lowered_to(low),
        )
        self.start, self.fell = low, True

    def watch(self) -> None:
        """Move the windows on; go under observation unless that would flap."""
        self.windows = watched(
            self.windows,
            self.seen,
            self.policy,
            self.as_of,
            score=self.facts.measures.get("score"),
            scheduled=self.scheduled,
        )
        rules, line = self.policy.rules, self.line
        fired = [
            reason for code, reason in self.seen.fired.items() if rules[code].effect == "observe"
        ]
        held = [
            reason
            for code, reason in self.seen.fired.items()
            if rules[code].effect == "hold" and self.before.window(code) is None
        ]
        self.last_words += held
        settled = line.loosened_on is None or self._days_since(line.loosened_on) >= (
            self.policy.dwell_days
        )
        if fired and settled and line.state is not State.OBSERVATION:
            self.journal.note("observed", first_of(fired), state=State.OBSERVATION)

    # 2 and 3 target and cut

    def caps_path(self) -> None:
        """Move on what the limit would be had nothing been observed."""
        goal, policy = self.target.lowest_minor, self.policy
        if goal < self.caps:
            self.caps = self._after_cut(self.caps, goal)
            self.caps_cut_on = self.as_of
        elif self.scheduled and not self.barred and self._cooled(self.caps_cut_on):
            step = policy.step(self.line.base_limit_minor, policy.up_share)
            self.caps = min(self.caps + step, max(goal, self.caps), self.line.approved_limit_minor)

    def cut(self) -> None:
        """Lower the limit to what the caps allow, by one step at most."""
        line, target = self.line, self.target
        limit = line.effective_limit_minor
        if target.limit_minor >= limit:
            return
        reasons = list(target.reasons) if target.full_minor < limit else []
        if target.limit_minor < min(target.full_minor, limit):
            reasons.insert(1, because("M-MACRO", scenario=target.scenario))
        low = self._after_cut(limit, target.limit_minor)
        self._lower("cut", first_of(reasons), low)

    def _after_cut(self, limit: int, goal: int) -> int:
        """Return a limit after a cut: one step at most, but never above law and customer."""
        low = max(goal, self.policy.lowest_after_cut(limit))
        absolute = self.target.absolute_minor
        return low if absolute is None else min(low, max(goal, absolute))

    # 4 step down

    def step_down(self) -> None:
        """Take a step for what goes on, for arrears, or for an idle line."""
        line, start = self.line, self.start
        steps = [*self._going_on(start), *self._arrears(start), *self._idle(start)]
        lowest = min((low for low, _ in steps), default=start)
        if lowest < line.effective_limit_minor:
            reasons = first_of(reason for low, reason in steps if low == lowest)
            self._lower("stepped_down", reasons, lowest)
        elif not self.fell and steps:
            self.last_words += [because("B03")]

    def _going_on(self, start: int) -> list[tuple[int, Reason]]:
        if not self.scheduled or self.line.state is not State.OBSERVATION:
            return []
        found = []
        for one in self.windows:
            rule = self.policy.rules.get(one.code)
            goes_on = one.run >= self.policy.down_reviews and one.code in self.seen.fired
            if rule is not None and rule.steps_down and goes_on:
                reason = because("B02", rule=one.code, reviews=one.run)
                found.append((self._stepped(start), reason))
        return found

    def _arrears(self, start: int) -> list[tuple[int, Reason]]:
        """Take one step as the line enters the bucket, not one a review."""
        edge, days = self.policy.arrears.reduce_from, self.facts.days_past_due
        if self.before.delinquency.days_past_due >= edge or days < edge:
            return []
        return [(self._stepped(start), because("B08", days=days, bucket=self.late.bucket))]

    def _idle(self, start: int) -> list[tuple[int, Reason]]:
        rule = self.policy.inactivity
        if rule is None or not self.scheduled or not self._is_idle():
            return []
        base = self.line.base_limit_minor
        floor = min(start, self.policy.floored(rule.floor_share * base))
        low = max(floor, start - self.policy.step(base, rule.share))
        return [(low, because("I-IDLE", days=rule.after_days))] if low < start else []

    def _is_idle(self) -> bool:
        rule, since = self.policy.inactivity, self.facts.last_draw_on or self.line.opened_on
        if rule is None or since is None or self.facts.outstanding_minor:
            return False
        return self._days_since(since) >= rule.after_days

    def _stepped(self, start: int) -> int:
        policy, base = self.policy, self.line.base_limit_minor
        return max(min(start, policy.floor(base)), start - policy.step(base, policy.down_share))

    # 5 exit

    def leave(self) -> None:
        """Close the windows that are over; leave observation when the last one is."""
        if not self.scheduled:
            return
        policy = self.policy
        over = [one for one in self.windows if is_over(one, policy, self.as_of)]
        self.windows = tuple(one for one in self.windows if one not in over)
        self.last_words += [
            progress(one.code, one.clean, needed_reviews(one.code, policy))
            for one in self.windows
            if one.clean
        ]
        watching = any(observes(one, policy) for one in self.windows)
        self.left = any(observes(one, policy) for one in over)
        line = self.line
        if line.state is State.OBSERVATION and not watching:
            self.left = True
            state = State.REDUCED if line.is_reduced else State.ACTIVE
            self.journal.note(
                "left_observation",
                [because("R01")],
                state=state,
                loosened_on=self.as_of,
                windows=self.windows,
            )
        elif self.left and not watching:
            self.last_words.append(because("R01"))

    # 6 step up

    def step_up(self) -> None:
        """Restore a step, not in the same review as a cut or an exit."""
        line, policy = self.line, self.policy
        if not self._may_rise() or line.state not in _RISING:
            return
        limit, goal = line.effective_limit_minor, line.approved_limit_minor
        ceiling = min(goal, self.target.lowest_minor)
        step = policy.step(line.base_limit_minor, policy.up_share)
        new = max(limit, min(limit + step, ceiling))
        if new == limit < goal:
            return
        told = because("R02", step=new - limit)
        if line.state is State.REDUCED or new < goal:
            self._raise("stepped_up", told, State.RESTORING, new)
        if new == goal:
            self._raise("restored", because("R03"), State.ACTIVE, new)

    def _may_rise(self) -> bool:
        """Return whether anything may be raised in this review."""
        free = self.scheduled and not (self.fell or self.left or self.windows)
        clean = self._clean() >= self.policy.up_clean_reviews
        cooled = self._cooled(self.line.cut_on) and self._cooled(self.caps_cut_on)
        return free and clean and cooled and not self.held() and not self._is_idle()

    # 7 the allocator's scale

    def scale(self) -> None:
        """Lower the limit to the portfolio's share of it: never a reason about the person."""
        limit, goal = self.line.effective_limit_minor, self.target.scaled_minor
        if goal < limit:
            low = min(limit, max(goal, self.policy.lowest_after_cut(self.start)))
            if low < limit:
                self._lower("scaled", (because("C-CAP"),), low)

    def offer(self) -> None:
        """Offer a higher limit where the caps allow one; silence is a no."""
        line, policy = self.line, self.policy
        allowed, offered = self.target.lowest_minor, self.offered
        if offered and (self.windows or offered.limit_minor > allowed or self.held()):
            self.offered = offered = None
        if offered or line.state is not State.ACTIVE or allowed <= line.approved_limit_minor:
            return
        if not self._may_rise() or not self._long_enough():
            return
        most = line.approved_limit_minor + policy.floored(
            policy.increase_share * line.approved_limit_minor
        )
        best = min(allowed, most)
        if best > line.approved_limit_minor:
            until = self.as_of + timedelta(days=policy.offer_days)
            self.offered = Offer(best, self.as_of, until)
            self.journal.note("offered", offer=self.offered, offered_on=self.as_of)

    def _long_enough(self) -> bool:
        """Return whether the line is old enough, and the last increase or offer long ago."""
        line, months = self.line, self.policy.months_between
        past = [day for day in (line.increased_on, line.offered_on) if day is not None]
        if any(add_months(day, months) > self.as_of for day in past):
            return False
        opened = line.opened_on
        return opened is not None and self._days_since(opened) >= self.policy.days_after_opening

    # 8 and 9 reasons and the closing event

    def close(self) -> Reviewed:
        """Note the closing event; return the line, the events and the reasons."""
        line, policy = self.line, self.policy
        changes: dict[str, Any] = {
            "windows": self.windows,
            "delinquency": self.late,
            "caps_limit_minor": self.caps,
            "caps_cut_on": self.caps_cut_on,
            "advised_limit_minor": self._advised(line.effective_limit_minor),
            "offer": self.offered,
        }
        if self.scheduled:
            changes["clean_reviews"] = self._clean()
            changes["next_review_on"] = self.as_of + timedelta(days=policy.every_days)
            changes["score"] = self.facts.measures.get("score", line.score)
        self.journal.note("reviewed", first_of(self.last_words), **changes)
        events = tuple(self.journal.events)
        told = first_of(reason for one in events for reason in one.reasons)
        return Reviewed(self.line, events, told or first_of(self.standing()))

    def held(self) -> list[Reason]:
        """Return what forbids raising anything (invariant I13)."""
        behaviour = [because("B08", bucket=self.late.bucket)] if self.late.curing else []
        return behaviour + self.barred

    def _barred(self) -> list[Reason]:
        """Return what forbids it whatever the customer did on the line."""
        facts, found = self.facts, []
        if self.target.missing:
            found.append(silent(self.target.missing))
        if not facts.consent or self.line.consent_withdrawn_on is not None:
            found.append(because("P-CONSENT"))
        if facts.dispute:
            found.append(because("P-DISPUTE"))
        if facts.budget_used >= self.policy.pause_at:
            found.append(because("C-PAUSE"))
        return found

    def standing(self) -> list[Reason]:
        """Return why the limit is not higher, behaviour first, then what is not about it."""
        line, target, policy = self.line, self.target, self.policy
        found = [
            progress(one.code, one.clean, needed_reviews(one.code, policy)) for one in self.windows
        ]
        found += self.held()
        cut = line.last_cut()
        if line.state in _RISING and not self._cooled(cut) and cut is not None:
            found.append(cooling(cut + timedelta(days=policy.cool_down_days)))
        return [*found, *target.told()]

    def _lower(self, kind: str, reasons: tuple[Reason, ...], low: int) -> None:
        state = _DOWN.get(self.line.state, self.line.state)
        self.journal.note(kind, reasons, state=state, **self._lowered_to(low))
        self.fell, self.offered = True, None

    def _lowered_to(self, low: int) -> dict[str, Any]:
        """Return the changes of a lower limit; utilisation goes on remembering the old one."""
        line = self.line
        if low >= line.effective_limit_minor:
            return {}
        since = self.as_of - timedelta(days=self.policy.memory_days)
        remembered = tuple(one for one in line.before_cuts if one[0] > since)
        return {
            "effective_limit_minor": low,
            "cut_on": self.as_of,
            "before_cuts": (*remembered, (self.as_of, line.effective_limit_minor)),
            "offer": None,
        }

    def _raise(self, kind: str, reason: Reason, state: State, new: int) -> None:
        self.caps = max(self.caps, new)
        changes: dict[str, Any] = {
            "state": state,
            "effective_limit_minor": new,
            "caps_limit_minor": self.caps,
            "advised_limit_minor": self._advised(new),
            "loosened_on": self.as_of,
        }
        if state is State.ACTIVE:
            changes["restored_on"] = self.as_of
        self.journal.note(kind, [reason], **changes)

    def _advised(self, limit: int) -> int:
        owed = self.facts.outstanding_minor + self.facts.held_minor
        return max(limit + self.line.temporary_on(self.as_of), owed)

    def _clean(self) -> int:
        return self.before.clean_reviews + 1 if self.seen.clean else 0

    def _cooled(self, since: date | None) -> bool:
        return since is None or self._days_since(since) >= self.policy.cool_down_days

    def _days_since(self, day: date) -> int:
        return (self.as_of - day).days
