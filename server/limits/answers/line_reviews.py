"""The coming reviews of a line that has a history, run ahead on facts that stay or change.

`PolicyReviews` knows the caps; here the line's whole life is run: triggers, steps down,
observation, restoration and offers, by the same `review` that the nightly run calls. What is not
changed stays as it is today, with two exceptions that time itself makes: an overdue payment gets
older, and a balance that falls is out of a window's peak only when the window has passed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Final

from server.limits.answers.whatif import Change, PolicyReviews, Step, Value, changed
from server.limits.caps.caps import Inputs
from server.limits.caps.decide import Decision, decide
from server.limits.line.line import DRAWING, Line, State
from server.limits.line.review import review
from server.limits.line.target import Target, target_of
from server.limits.line.triggers import Facts
from server.limits.rules.line_policy import LinePolicy
from shared.errors import UsageError

_ON_THE_LINE: Final = frozenset({"draws", "enquiries", "days_past_due", "utilisation"})


@dataclass(frozen=True, slots=True)
class LineReviews:
    """Reviews of a line, scheduled as its policy says.

    Parameters
    ----------
    line : Line
        As it is today.
    seen : Facts
        What a review would look at today.
    policy : LinePolicy
    caps : PolicyReviews
        The limit policy with the customer's snapshot and inputs of today; what is owed is the
        line's.
    scale : Decimal
        Of the allocator.

    Raises
    ------
    UsageError
        If what is owed differs between the two, or the line has no reviews.
    """

    line: Line
    seen: Facts
    policy: LinePolicy
    caps: PolicyReviews
    scale: Decimal = Decimal(1)
    # Plans that are tried one after another mostly ask the caps the same: what they answered.
    _decided: dict[Inputs, tuple[Decision, Target]] = field(
        init=False, repr=False, compare=False, default_factory=dict
    )
    _days: dict[str, frozenset[int]] = field(
        init=False, repr=False, compare=False, default_factory=dict
    )

    def __post_init__(self) -> None:
        if self.seen.outstanding_minor != self.caps.inputs.drawn_minor:
            raise UsageError("reviews: what is owed must be the same for line and caps")
        if self.line.state in {State.PENDING, State.CLOSING, State.CLOSED}:
            raise UsageError(f"a line that is {self.line.state} has no reviews to run ahead")

    def today(self) -> date:
        """Return the day from which it looks ahead."""
        return self.caps.inputs.day

    def facts(self) -> Mapping[str, Value]:
        """Return today's value of every fact that can be changed here; what is unknown is not."""
        measures, facts = self.seen.measures, dict(self.caps.facts())
        for metric in ("draws", "enquiries"):
            known = [measures[name] for name in self._windows(metric) if name in measures]
            if known:
                facts[metric] = max(known)
        facts["days_past_due"] = self.seen.days_past_due
        whole = max(1, self.line.approved_limit_minor)
        facts["utilisation"] = Decimal(self.seen.outstanding_minor) / whole
        return facts

    def waits_for(self) -> tuple[str, ...]:
        """Return nothing: the line is open."""
        return ()

    def settles(self, fact: str) -> date | None:
        """Return the day on which the last draw is out of every window that counts draws."""
        last, windows = self.seen.last_draw_on, self._conditions("draws")
        if fact != "draws" or last is None or not windows:
            return None
        return max(self.today(), last + timedelta(days=max(windows)))

    def path(self, changes: Sequence[Change], horizon: date) -> tuple[Step, ...]:
        """Run every scheduled review until a day."""
        line, steps = self.line, []
        day = max(line.next_review_on or self.today(), self.today())
        steps.append(_step(line, self.today(), (), ()))
        while day <= horizon:
            begun = [one for one in changes if one.since <= day]
            line, step = self._review(line, begun, day)
            steps.append(step)
            day += timedelta(days=self.policy.every_days)
        return tuple(steps)

    def _review(self, line: Line, changes: Sequence[Change], day: date) -> tuple[Line, Step]:
        caps = self.caps
        best = max(caps.policy.haircuts, key=lambda source: caps.policy.haircuts[source])
        held = [self._owed(one) for one in changes]
        at_caps = [one for one in held if one.fact not in _ON_THE_LINE]
        inputs = changed(caps.inputs, at_caps, best)
        inputs = replace(inputs, day=day, current_minor=line.effective_limit_minor)
        decision, target = self._allowed(inputs)
        done = review(line, self._seen_on(day, held), target, self.policy, day)
        codes = tuple(reason.code for reason in done.reasons)
        return done.line, _step(done.line, day, decision.binding, codes)

    def _allowed(self, inputs: Inputs) -> tuple[Decision, Target]:
        """Return what the caps say, and the target that follows from it."""
        known = self._decided.get(inputs)
        if known is None:
            caps = self.caps
            decision = decide(caps.policy, caps.pack, caps.snapshot, inputs)
            target = target_of(decision, self.policy, inputs.day, scale=self.scale)
            known = self._decided[inputs] = (decision, target)
        return known

    def _owed(self, change: Change) -> Change:
        """Return a share of the limit as the amount that is owed then."""
        if change.fact != "utilisation":
            return change
        owed = int(Decimal(change.value) * self.line.approved_limit_minor)
        return replace(change, fact="drawn_minor", value=owed)

    def _seen_on(self, day: date, changes: Sequence[Change]) -> Facts:
        """Return what a review sees on a day."""
        seen, measures = self.seen, dict(self.seen.measures)
        told: dict[str, Any] = {}
        if seen.days_past_due:
            told["days_past_due"] = seen.days_past_due + (day - self.today()).days
        for one in changes:
            if one.fact in {"draws", "enquiries"}:
                measures |= dict.fromkeys(self._windows(one.fact), int(one.value))
            elif one.fact == "days_past_due":
                told["days_past_due"] = int(one.value)
                told["clear_since"] = None if one.value else (seen.clear_since or one.since)
            elif one.fact == "drawn_minor":
                owed = int(one.value)
                told["outstanding_minor"] = owed
                measures |= {
                    name: owed
                    for name, days in self._peaks().items()
                    if name in measures and one.since + timedelta(days=days) <= day
                }
        return replace(seen, measures=measures, **told)

    def _windows(self, metric: str) -> tuple[str, ...]:
        conditions = self._conditions(metric)
        return tuple(sorted({f"{metric}_{days}d" for days in conditions}))

    def _peaks(self) -> dict[str, int]:
        return {f"peak_balance_{days}d": days for days in self._conditions("utilisation")}

    def _conditions(self, metric: str) -> frozenset[int]:
        known = self._days.get(metric)
        if known is None:
            known = self._days[metric] = frozenset(
                one.days
                for rule in self.policy.rules.values()
                for one in (*rule.enter, *rule.exit)
                if one.metric == metric
            )
        return known


def _step(line: Line, day: date, binding: tuple[str, ...], codes: tuple[str, ...]) -> Step:
    """Return what may be had on a day: the limit, or a higher one that is offered."""
    limit, offer = line.effective_limit_minor, line.offer
    if line.state not in DRAWING:
        return Step(day, 0, binding, codes)  # the limit stands, and nothing can be drawn
    if offer is not None and offer.limit_minor > limit:
        return Step(day, offer.limit_minor, binding, codes, offered=True)
    return Step(day, limit, binding, codes)
