"""What a customer can do for a higher limit: every advice is true in the policy that decides.

The actions of a file are tried one by one and in pairs, every step of each that helps: exact
enumeration, no search that could miss (Ustun et al. 2019, for linear scores; here the policy itself
is run, as a black box). What is told is read off that run, so the promise is what the policy does
(I17). The date is the earliest on which windows have run out and a review has come.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from itertools import combinations, product
from typing import Any

from server.limits.answers.actions import ActionSet
from server.limits.answers.whatif import FACTS, Change, Reviews, highest, limit_on
from server.limits.rules.line_policy import Rule
from server.limits.words.explain import SHARES, Money, Texts


@dataclass(frozen=True, slots=True)
class Advice:
    """Something to do, and what the policy would do then.

    Parameters
    ----------
    codes : tuple of str
        `ADV-...`, one or two.
    changes : tuple of Change
        What must be true, and from when on.
    expected_minor : int
        The limit then; proved by running the policy.
    otherwise_minor : int
        The limit on that day if nothing changes.
    by : date
        The earliest day.
    cost : int
        How hard it is, as the action file weighs it.
    offered : bool
        The limit would be offered: it rises only if the customer agrees.
    """

    codes: tuple[str, ...]
    changes: tuple[Change, ...]
    expected_minor: int
    otherwise_minor: int
    by: date
    cost: int
    offered: bool = False


@dataclass(frozen=True, slots=True)
class Advised:
    """Everything that can be advised, and what cannot.

    Parameters
    ----------
    advice : tuple of Advice
        At most three, the highest limit first.
    runs : int
        How often the reviews were run.
    not_computed : tuple of str
        Holders who alone know what would change their part of the score.
    activity_counts : bool
        Whether being more active could have any effect.
    waits_for : tuple of str
        Holders without whom no line is opened, whatever the customer does.
    actions : str
        Name of the action file.
    """

    advice: tuple[Advice, ...]
    runs: int
    not_computed: tuple[str, ...]
    activity_counts: bool
    waits_for: tuple[str, ...]
    actions: str


def advise(
    reviews: Reviews,
    actions: ActionSet,
    *,
    holders: Collection[str],
    card_codes: Collection[str],
) -> Advised:
    """Find what would raise a limit, or keep it from falling.

    Parameters
    ----------
    reviews : Reviews
        Of this customer; see `server.limits.answers.whatif`.
    actions : ActionSet
    holders : collection of str
        Who has parts of the score: what would change those is known only there.
    card_codes : collection of str
        Reason codes of the card in use.
    """
    waits, day = reviews.waits_for(), reviews.today()
    search = _Search(reviews, day + timedelta(days=actions.horizon_days))
    options = {} if waits else _options(actions, reviews, day)
    found = search.best(options, actions.together)
    return Advised(
        advice=_told(found, actions.most),
        runs=search.runs,
        not_computed=tuple(sorted(holders)),
        activity_counts=actions.activity_counts(card_codes),
        waits_for=waits,
        actions=actions.name,
    )


def holds(advice: Advice, reviews: Reviews) -> bool:
    """Return whether the policy still gives what an advice promises (I17)."""
    path = reviews.path(advice.changes, advice.by)
    return limit_on(path, advice.by) >= advice.expected_minor


def _options(
    actions: ActionSet, reviews: Reviews, day: date
) -> dict[str, tuple[tuple[Change, int], ...]]:
    """Return every step of every action that has any, smallest first.

    A change is seen after the action's delay, or from the day on which the past stops counting,
    where that is known and comes first.
    """
    facts, found = reviews.facts(), {}
    for action in actions.actions:
        if action.fact not in facts or action.fact in actions.immutable:
            continue
        settled = reviews.settles(action.fact)
        steps = action.options(facts[action.fact], day)
        if settled is not None:
            steps = tuple(
                (replace(change, since=min(change.since, settled)), cost) for change, cost in steps
            )
        if steps:
            found[action.code] = steps
    return found


class _Search:
    """Runs the reviews for one plan after another."""

    def __init__(self, reviews: Reviews, horizon: date) -> None:
        self.reviews, self.horizon = reviews, horizon
        self.usual = reviews.path((), horizon)
        self.runs = 1

    def best(
        self, options: Mapping[str, tuple[tuple[Change, int], ...]], together: int
    ) -> list[Advice]:
        """Return what helps, of every set of actions that helps at all.

        A set is first tried with its largest steps. Policies are monotone (I8, I9): where those
        give no more than nothing, or than one of the actions alone, no smaller ones do.
        """
        found: list[Advice] = []
        highest_of: dict[str, int] = {}
        for size in range(1, together + 1):
            for codes in combinations(options, size):
                most = tuple(options[code][-1] for code in codes)
                largest = self.run(codes, most)
                alone = max((highest_of.get(code, 0) for code in codes), default=0)
                if largest is None or (size > 1 and largest.expected_minor <= alone):
                    continue
                helps = self._helpful(codes, [*product(*(options[one] for one in codes))], largest)
                found += helps
                if size == 1:
                    highest_of[codes[0]] = max(advice.expected_minor for advice in helps)
        return found

    def _helpful(
        self, codes: tuple[str, ...], plans: Sequence[tuple[tuple[Change, int], ...]], most: Advice
    ) -> list[Advice]:
        """Return what the plans of a set of actions give that help, smallest steps first.

        Where the smallest steps give the limit of the largest ones on the same day, so do those
        between (I8, I9): they need not be run, for nobody is told of a plan that costs more and
        gives the same.
        """
        *lesser, _ = plans
        if not lesser:
            return [most]
        least = self.run(codes, lesser[0])
        ends = {(one.expected_minor, one.by) for one in (least, most) if one is not None}
        if least is not None and len(ends) == 1 and least.cost <= min(map(_cost, lesser)):
            return [least, most]
        tried = [least, *(self.run(codes, plan) for plan in lesser[1:]), most]
        return [advice for advice in tried if advice is not None]

    def run(self, codes: tuple[str, ...], plan: Sequence[tuple[Change, int]]) -> Advice | None:
        """Return the highest limit that a plan gives and doing nothing does not, or None."""
        self.runs += 1
        changes = tuple(change for change, _ in plan)
        begun = max(one.since for one in changes)
        path = self.reviews.path(changes, self.horizon)
        gains = [
            one for one in path if one.day >= begun and one.limit_minor > self.usually(one.day)
        ]
        if not gains:
            return None
        best = highest(gains)
        cost = _cost(plan)
        limit, by = best.limit_minor, best.day
        return Advice(codes, changes, limit, self.usually(by), by, cost, best.offered)

    def usually(self, day: date) -> int:
        """Return the limit on a day if nothing changes."""
        return limit_on(self.usual, day)


def _cost(plan: Sequence[tuple[Change, int]]) -> int:
    return sum(cost for _, cost in plan)


def _told(found: Sequence[Advice], most: int) -> tuple[Advice, ...]:
    """Keep the best of each set of actions, and a pair only where it gives more than its parts."""
    best: dict[tuple[str, ...], Advice] = {}
    for advice in sorted(found, key=_rank):
        best.setdefault(advice.codes, advice)
    kept = [
        advice
        for codes, advice in best.items()
        if len(codes) == 1
        or all(
            (part := best.get((code,))) is None or part.expected_minor < advice.expected_minor
            for code in codes
        )
    ]
    return tuple(sorted(kept, key=_rank)[:most])


def _rank(advice: Advice) -> tuple[int, date, int, tuple[str, ...]]:
    return -advice.expected_minor, advice.by, advice.cost, advice.codes


def to_avoid(rules: Iterable[Rule], texts: Texts) -> tuple[str, ...]:
    """Return what keeps a limit down, from the triggers in force (M91).

    Paying late is always among them; what nobody does on purpose (a score that falls) is not.

    Parameters
    ----------
    rules : iterable of Rule
        Of the line's policy.
    texts : Texts
    """
    told = [texts.say("avoid.B08")]
    for rule in rules:
        if f"avoid.{rule.code}" not in texts.sentences:
            continue
        for one in rule.enter:  # each of them is enough
            share = one.metric in SHARES
            enter = texts.percent(one.threshold) if share else _plain(one.threshold)
            told.append(texts.say(f"avoid.{rule.code}", enter=enter, days=one.days))
    return tuple(told)


def _plain(number: Decimal) -> str:
    return f"{number.normalize():f}"


def advice_view(
    advised: Advised,
    rules: Iterable[Rule],
    texts: Texts,
    money: Money,
    *,
    idle_days: int | None = None,
) -> dict[str, Any]:
    """Return advice with its sentences.

    Parameters
    ----------
    advised : Advised
    rules : iterable of Rule
        The triggers in force, for what to avoid.
    texts : Texts
    money : Money
    idle_days : int, optional
        After so many days without use the policy in force takes a line back.
    """
    say, causes = texts.say, list(to_avoid(rules, texts))
    if idle_days is not None:
        causes.append(say("avoid.I-IDLE", days=idle_days))
    notes = [say("advice.no_agent")]
    if advised.activity_counts:
        notes.insert(0, say("advice.ADV-ACTIVE"))
    else:
        notes.insert(0, say("advice.no_activity"))
    if advised.not_computed:
        who = texts.holders(advised.not_computed)
        notes.insert(0, say("advice.not_computed", holders=who))
    if not advised.advice:
        notes.insert(0, say("advice.none"))
    return {
        "advice": [_one_view(advice, texts, money) for advice in advised.advice],
        "avoid": say("advice.ADV-AVOID", causes=texts.listed(causes)),
        "notes": notes,
        "waits_for": list(advised.waits_for),
        "actions": advised.actions,
    }


def _one_view(advice: Advice, texts: Texts, money: Money) -> dict[str, Any]:
    def amount(minor: int) -> str:
        return texts.money(minor, money.currency, money.digits)

    def shown(change: Change) -> str:
        value, kind = change.value, FACTS[change.fact]
        if kind == "amount" and isinstance(value, int):
            return amount(value)
        if kind == "share":
            return texts.percent(Decimal(value))
        return texts.sentences.get(f"source.{value}", str(value))

    return {
        "code": advice.codes[0],
        "codes": list(advice.codes),
        "action": " ".join(
            texts.say(f"advice.{code}", value=shown(change))
            for code, change in zip(advice.codes, advice.changes, strict=True)
        ),
        "result": texts.say(
            "advice.result_offer" if advice.offered else "advice.result",
            limit=amount(advice.expected_minor),
            otherwise=amount(advice.otherwise_minor),
            day=texts.day(advice.by),
        ),
        "expected_limit_minor": advice.expected_minor,
        "otherwise_limit_minor": advice.otherwise_minor,
        "by": advice.by.isoformat(),
        "offered": advice.offered,
    }
