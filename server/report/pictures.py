"""The pictures of a report, out of its figures; the README has some of the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

from server.limits.words.sentences import Texts
from server.report.figures import Costs, Phase, Ranking, Reach, Results
from server.report.scored import Scored
from server.web import charts, drawing
from server.web.charts import FIGURE, PERCENT, Bar, Chart, Series, Unit, Words
from shared.metrics import Interval

CURVES: Final = ("roc", "gap", "scores", "calibration", "gains", "lift")
"""Pictures that take counts by score; `gap` is the KS curve."""
_MB: Final = 1e6
_STEP: Final = 10.0
_LEVEL: Final = 0.95


@dataclass(frozen=True, slots=True)
class Pictures:
    """The pictures of a report by its sections, each in the order in which they stand.

    Parameters
    ----------
    ranking, worth, points, ranks, costs : tuple of Chart
        How well it ranks; whose columns that is owed to; how points become chances; curves over
        the score; what the run took.
    """

    ranking: tuple[Chart, ...]
    worth: tuple[Chart, ...]
    points: tuple[Chart, ...]
    ranks: tuple[Chart, ...]
    costs: tuple[Chart, ...]

    def every(self) -> tuple[Chart, ...]:
        """Return all of them."""
        return tuple(chain(self.ranking, self.worth, self.points, self.ranks, self.costs))


def draw(results: Results, costs: Costs | None, texts: Texts) -> Pictures:
    """Draw whatever there are figures for.

    Parameters
    ----------
    results : Results
    costs : Costs or None
    texts : Texts
        Of the pages, in the language of the report.
    """
    return Pictures(
        ranking=rankings(results.alone, results.together, texts),
        worth=tuple(worths(results.worth, texts)),
        points=tuple(_points(results, texts)),
        ranks=() if results.scored is None else curves(results.scored, results.together, texts),
        costs=() if costs is None else tuple(_costs(costs, texts)),
    )


def rankings(
    alone: Sequence[Ranking], together: Ranking, texts: Texts, oracle: Ranking | None = None
) -> tuple[Chart, ...]:
    """Draw AUC and KS of each holder alone, of all together, and of the oracle if there is one.

    Parameters
    ----------
    alone : sequence of Ranking
    together : Ranking
    texts : Texts
    oracle : Ranking, optional
        Of a model that was allowed to see the pooled rows; its name is shown.
    """
    every = texts.say("report_word.together")
    found = []
    for key, start in (("auc", 0.5), ("ks", 0.0)):
        rows = [bar for one in alone if (bar := _ranked(named(one.name, texts), one, key))]
        last = _ranked(every, together, key)
        best = None if oracle is None else _ranked(oracle.name, oracle, key)
        if rows and last is not None:
            words = words_of(texts, f"report_{key}")
            # A holder alone may rank no better than chance: its bar then begins further left.
            least = min(one.value if one.low is None else one.low for one in rows)
            floor = min(start, least)
            found.append(charts.holders(words, rows, last, best, unit=FIGURE, start=floor))
    return tuple(found)


def worths(shares: Sequence[tuple[str, float]], texts: Texts) -> list[Chart]:
    """Draw each holder's share of what the card explains."""
    rows = [Bar(named(name, texts), share) for name, share in shares]
    return [charts.worth(words_of(texts, "report_worth"), rows)] if rows else []


def curves(scored: Scored, whole: Ranking, texts: Texts) -> tuple[Chart, ...]:
    """Draw how a score ranks and how true its probabilities are, in the order of `CURVES`.

    Parameters
    ----------
    scored : Scored
    whole : Ranking
        AUC and KS of the same customers: from their own scores, not from groups of them.
    texts : Texts
    """
    words, bins = {name: words_of(texts, f"report_{name}") for name in CURVES}, scored.bins
    return (
        charts.roc(words["roc"], bins, auc=_interval(whole)),
        charts.ks_curve(words["gap"], bins, ks=whole.ks),
        charts.score_distribution(words["scores"], scored.told, per=_STEP),
        charts.calibration(words["calibration"], scored.tenths),
        charts.gains(words["gains"], bins),
        charts.lift(words["lift"], bins),
    )


def seconds(phases: Sequence[Phase], texts: Texts) -> Chart:
    """Draw how long each phase took."""
    rows = [Bar(texts.say(f"report_phase.{one.name}"), one.seconds) for one in phases]
    unit = Unit(texts.say("report_unit.seconds"), 1)
    return charts.bars(words_of(texts, "report_seconds"), rows, unit)


def traffic(phases: Sequence[Phase], texts: Texts) -> Chart:
    """Draw what each party sent in all phases."""
    parties = sorted({who for one in phases for who in one.sent})
    rows = [
        Bar(named(who, texts), float(sum(one.sent.get(who, 0) for one in phases)))
        for who in parties
    ]
    return charts.bars(words_of(texts, "report_traffic"), rows, Unit("MB", 1, _MB))


def words_of(texts: Texts, table: str) -> Words:
    """Return the words of a chart from a table of the texts; its key is the table's name."""
    return drawing.words_of(texts, table.replace("_", "-"), table)


def named(party: str, texts: Texts) -> str:
    """Return a party as people know it; nobody by name is all banks with the same columns."""
    return texts.holders([party]) if party else texts.say("report_word.banks")


def _points(results: Results, texts: Texts) -> list[Chart]:
    found = []
    if results.reach:
        rows = [Bar(_reason(one, texts), float(one.points)) for one in results.reach]
        unit = Unit(texts.say("report_unit.points"))
        found.append(charts.bars(words_of(texts, "report_reach"), rows, unit))
    if len(results.curve) > 1:
        series = [Series(texts.say("report_curve.y"), results.curve)]
        unit = Unit(texts.say("report_unit.points"))
        words = words_of(texts, "report_curve")
        found.append(charts.lines(words, series, unit, PERCENT, low=0.0))
    return found


def _costs(costs: Costs, texts: Texts) -> list[Chart]:
    found = []
    if costs.phases:
        found += [seconds(costs.phases, texts), traffic(costs.phases, texts)]
    if costs.peaks:
        rows = [Bar(named(who, texts), peak) for who, peak in sorted(costs.peaks.items())]
        found.append(charts.bars(words_of(texts, "report_memory"), rows, Unit("MiB")))
    if costs.rounds:
        points = tuple((float(number), loss) for number, loss, _ in costs.rounds)
        words = words_of(texts, "report_rounds")
        found.append(charts.lines(words, [Series(words.y, points)], Unit(), FIGURE))
    return found


def _ranked(label: str, one: Ranking, key: str) -> Bar | None:
    value = one.auc if key == "auc" else one.ks
    span = one.auc_interval if key == "auc" else one.ks_interval
    if value is None:
        return None
    low, high = (None, None) if span is None else span
    return Bar(label, value, low, high)


def _interval(one: Ranking) -> Interval | None:
    if one.auc is None or one.auc_interval is None:
        return None
    return Interval(one.auc, *one.auc_interval, _LEVEL)


def _reason(one: Reach, texts: Texts) -> str:
    """Return a reason as people know it, and who holds it."""
    topic = texts.sentences.get(f"topic.{one.code}", one.code)
    return texts.say("report_word.reason", topic=topic, holder=named(one.owner, texts))
