"""The portfolio's charts, out of what was counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Final

from server.accounts.portfolios import BudgetView, Counted
from server.limits.words.sentences import Texts
from server.monitor.rolls import Roll
from server.web.charts import (
    PERCENT,
    Bar,
    Chart,
    Series,
    Unit,
    Words,
    bars,
    empty,
    failed,
    funnel,
    lines,
    loading,
    stacked,
    too_few,
)
from server.web.drawing import named, words_of
from server.web.portfolio.counting import Progress

_PER: Final = 1000
"""Units that a bound gives way by, for a shadow price to be read."""


def charts_of(
    counted: Counted | None, texts: Texts, money: Unit, progress: Progress
) -> dict[str, Chart]:
    """Return the charts of what was counted, by key; in their place what is to be said instead.

    Parameters
    ----------
    counted : Counted, optional
    texts : Texts
    money : Unit
    progress : Progress
        Of the count under way.
    """
    keys = ("commitments", "trend", "buckets", "rolls")
    if counted is None:
        return {key: instead(key, texts, progress) for key in keys}
    return {
        "commitments": _commitments(counted, texts, money),
        "trend": _trend(counted, texts, money),
        "buckets": _buckets(counted, texts, money),
        "rolls": _rolls(counted, texts),
    }


def instead(key: str, texts: Texts, progress: Progress) -> Chart:
    """Return what stands where nothing was counted yet: it is on its way, it failed, or nothing."""
    words = words_of(texts, key)
    made = {"running": loading, "failed": failed, "idle": empty}[progress.state]
    return made(words, ())


def prices(budget: BudgetView, texts: Texts, money: Unit) -> Chart:
    """Draw what one more unit of each bound of the allocation would bring in a year."""
    words = words_of(texts, "prices")
    found: Mapping[str, float] = {} if budget.run is None else budget.run.result["shadow_prices"]
    rows = [
        Bar(bound_of(name, texts), price, marked=price > 1e-9)
        for name, price in sorted(found.items(), key=lambda one: (-one[1], one[0]))
    ]
    return bars(words, rows[:10], Unit(money.text, 2, 1 / _PER))


def bound_of(name: str, texts: Texts) -> str:
    """Return what a bound of the allocation is called: ``partner lake``, ``concentration ...``."""
    kind, _, about = name.partition(" ")
    plain = named(texts, "bound", kind)
    return f"{plain} {segment_of(about, texts)}" if about else plain


def segment_of(name: str, texts: Texts) -> str:
    """Return a segment's product and grade in words, or a name as it is."""
    product, _, grade = name.partition("/")
    told = named(texts, "product", product)
    return f"{told}, {named(texts, 'grade', grade)}" if grade else told


def stages(counts: Mapping[str, int], texts: Texts) -> Chart:
    """Draw how many cut limits were watched, rose and came back."""
    names = ("cut", "observed", "rising", "restored")
    rows = [(texts.say(f"stage.{name}"), counts[name]) for name in names]
    return funnel(words_of(texts, "funnel"), rows)


def _commitments(counted: Counted, texts: Texts, money: Unit) -> Chart:
    whole = counted.whole
    free = max(0, whole.limit_minor - whole.owed_minor - whole.held_minor)
    parts = (("owed", whole.owed_minor), ("held", whole.held_minor), ("free", free))
    told = [(texts.say(f"portfolio.{name}"), float(amount)) for name, amount in parts]
    return stacked(words_of(texts, "commitments"), told, money)


def _trend(counted: Counted, texts: Texts, money: Unit) -> Chart:
    last = counted.trend[-1][0]
    limits = tuple((float((day - last).days), float(limit)) for day, limit, _ in counted.trend)
    owed = tuple((float((day - last).days), float(part)) for day, _, part in counted.trend)
    series = [
        Series(texts.say("portfolio.limits"), limits),
        Series(texts.say("portfolio.owed"), owed),
    ]
    days = Unit(texts.say("portfolio.days"))
    return lines(words_of(texts, "trend"), series, days, money, low=0.0)


def _buckets(counted: Counted, texts: Texts, money: Unit) -> Chart:
    words = words_of(texts, "buckets")
    late = [one for one in counted.buckets if one != "C"]
    if not counted.whole.lines:
        return empty(words, ())
    rows = [
        Bar(bucket_of(one, texts), float(counted.bucket_owed_minor.get(one, 0))) for one in late
    ]
    if not any(one.value for one in rows):
        return empty(_instead_of(words, texts, "portfolio.nothing_late"), ())
    return bars(words, rows, money)


def _rolls(counted: Counted, texts: Texts) -> Chart:
    words = words_of(texts, "rolls")
    if not counted.rolls:
        return empty(words, ())
    told = [(pair, rate) for pair, rate in counted.rolls[-1].rates.items() if rate is not None]
    if not told:
        return too_few(words, ())
    if not any(rate for _, rate in told):
        return empty(_instead_of(words, texts, "portfolio.nothing_rolls"), ())
    return bars(words, [Bar(pair_of(pair, texts), rate) for pair, rate in told], PERCENT)


def _instead_of(words: Words, texts: Texts, key: str) -> Words:
    """Return the words of a chart that is empty because all is well."""
    return replace(words, told=replace(words.told, empty=texts.say(key)))


def bucket_of(name: str, texts: Texts) -> str:
    """Return what a bucket is called: ``30-59 days late``."""
    if name == "C":
        return texts.say("portfolio.on_time")
    return texts.say("portfolio.late", days=name)


def pair_of(pair: tuple[str, str], texts: Texts) -> str:
    """Return from which bucket to which something rolls."""
    return texts.say(
        "portfolio.pair", before=bucket_of(pair[0], texts), after=bucket_of(pair[1], texts)
    )


def roll_rows(rolls: tuple[Roll, ...]) -> tuple[Roll, ...]:
    """Return the rates that a page tells in its table: of the last year, newest first."""
    return rolls[-12:][::-1]


def bounds_of(names: Sequence[str], texts: Texts) -> list[str]:
    """Return what bounds are called."""
    return [bound_of(one, texts) for one in names]


def share(part: int, whole: int) -> Decimal:
    """Return a share of an amount, for a page to tell in percent."""
    return Decimal(part) / Decimal(whole) if whole else Decimal(0)
