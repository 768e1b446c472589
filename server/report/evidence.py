"""The articles' questions answered from a replay, as one file that loads nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from server.limits.words.sentences import Texts
from server.replay.evidence import MACRO, MACRO_MONTHS, SCARCE, Evidence
from server.replay.figures import CAUSES, Figures
from server.replay.told import coming_back, months_of, summary
from server.report.page import csv_address, head_of
from server.web import charts
from server.web.charts import PERCENT, Bar, Chart, Series, Unit
from server.web.charts.units import COUNT
from server.web.drawing import named, words_of
from server.web.language import Language, texts_in
from server.web.render import environment

_MINOR: Final = 100
_MOST: Final = 6
# Months after the end of a published cut in which its effect on scores is read.
_LATER: Final = 3
_GROUPS: Final = {
    "all": "all",
    "hardly used it": "idle",
    "used half or more": "half",
    "used half or more, drew seldom": "seldom",
    "used half or more, drew often": "often",
}


@dataclass(frozen=True, slots=True)
class Section:
    """A question with its answer.

    Parameters
    ----------
    key : str
        Of the texts.
    told : mapping of str to str
        What the answer's sentence is filled with.
    charts : tuple of Chart
    """

    key: str
    told: Mapping[str, str]
    charts: tuple[Chart, ...]


def evidence_of(evidence: Evidence, wanted: Language, now: str, command: str) -> str:
    """Write the file.

    Parameters
    ----------
    evidence : Evidence
    wanted : {'en', 'zh'}
    now : str
        Instant.
    command : str
        That plays it again.
    """
    texts = texts_in(wanted)
    style, csp = head_of()
    rules = evidence.figures["rules"]
    return environment().get_template("report/evidence.html").render(
        t=texts.say,
        lang=wanted,
        csp=csp,
        style=style,
        csv=csv_address,
        day=texts.day(datetime.fromisoformat(now).date()),
        months=evidence.months,
        played={
            "people": f"{evidence.people:,}",
            "lines": f"{rules.lines:,}",
            "policy": evidence.policy,
            "line_policy": evidence.line_policy,
            "seed": str(evidence.seed),
        },
        sections=sections(evidence, texts),
        command=command,
    )  # fmt: skip


def sections(evidence: Evidence, texts: Texts) -> tuple[Section, ...]:
    """Return every question with its answer, in the order in which they stand."""
    figures = evidence.figures
    sums = {name: summary(one) for name, one in figures.items()}
    return (
        _low(figures["rules"], texts),
        _back(figures["rules"], sums["rules"], texts),
        _often(figures["rules"]),
        _macro(figures, texts),
        _capital(figures, sums, texts),
        _federation(sums, texts),
        _downturn(figures, sums, texts),
    )


def _low(figures: Figures, texts: Texts) -> Section:
    lowered = max(figures.months["lowered"].sum(), 1.0)
    found = sorted(
        (
            (number / lowered, code)
            for code, number in figures.causes.items()
            if code.startswith(CAUSES)
        ),
        reverse=True,
    )[:_MOST]
    rows = [
        Bar(named(texts, "cause", code), share, marked=at == 0)
        for at, (share, code) in enumerate(found)
    ]
    groups = [
        Bar(texts.say(f"evidence_group.{key}"), _whole(figures.groups[name]), marked=key == "all")
        for name, key in _GROUPS.items()
    ]
    names = [row.label for row in rows] + ["-", "-"]
    months = months_of(figures)
    return Section(
        "low",
        {
            "first": names[0],
            "second": names[1],
            "start": _money(months[0]["limit_minor"]),
            "end": _money(months[-1]["limit_minor"]),
            "left": PERCENT.told(_left(figures.groups["used half or more"])),
            "idle": PERCENT.told(_left(figures.groups["hardly used it"])),
        },
        (
            charts.bars(words_of(texts, "causes", "evidence_causes"), rows, PERCENT),
            charts.bars(words_of(texts, "kept", "evidence_kept"), groups, PERCENT),
        ),
    )


def _back(figures: Figures, told: Mapping[str, Any], texts: Texts) -> Section:
    by_reason = coming_back(figures)
    every = max(sum(one["cuts"] for one in by_reason), 1)
    reached, points = 0, [(0.0, 0.0)]
    for months, lines in sorted(figures.waited_whole.items()):
        reached += lines
        points.append((float(months), reached / every))
    median = told["median_months"]
    words = words_of(texts, "waits", "evidence_waits")
    series = [Series(texts.say("evidence_arm.rules"), tuple(points))]
    told_of = [one for one in by_reason if one["code"]][:_MOST]
    rows = [
        Bar(named(texts, "cause", one["code"]), one["restored"], marked=at == 0)
        for at, one in enumerate(told_of)
    ]
    reasons = charts.bars(words_of(texts, "reasons", "evidence_reasons"), rows, PERCENT)
    return Section(
        "back",
        {
            "restored": PERCENT.told(told["restored"]),
            "median": "-" if median is None else str(median),
        },
        (charts.lines(words, series, COUNT, PERCENT, low=0.0), reasons),
    )


def _often(figures: Figures) -> Section:
    often, seldom = (
        PERCENT.told(_whole(figures.groups[f"used half or more, drew {how}"]))
        for how in ("often", "seldom")
    )
    return Section("often", {"often": often, "seldom": seldom}, ())


def _macro(figures: Mapping[str, Figures], texts: Texts) -> Section:
    first, last = MACRO_MONTHS
    months = {name: months_of(figures[name]) for name in ("rules", "macro")}
    limits = {name: [one["limit_minor"] for one in found] for name, found in months.items()}
    at = min(last, len(limits["rules"])) - 1
    later = min(last + _LATER, len(limits["rules"]))
    return Section(
        "macro",
        {
            "multiplier": str(MACRO),
            "first": str(first),
            "last": str(last),
            "during": _money(limits["macro"][at]),
            "without": _money(limits["rules"][at]),
            "later": str(later),
            "score": charts.number(months["macro"][later - 1]["score"], 1),
            "score_without": charts.number(months["rules"][later - 1]["score"], 1),
            "after": _money(limits["macro"][-1]),
            "after_without": _money(limits["rules"][-1]),
        },
        (_by_month(texts, "macro", {"rules": limits["rules"], "macro": limits["macro"]}),),
    )


def _capital(
    figures: Mapping[str, Figures], sums: Mapping[str, Mapping[str, Any]], texts: Texts
) -> Section:
    limits = {
        "whole": [one["limit_minor"] for one in months_of(figures["rules"])],
        "scarce": [one["limit_minor"] for one in months_of(figures["scarce"])],
    }
    own, joint = sums["scarce"], sums["rules"]
    ratio = joint["profit_total_minor"] / (own["profit_total_minor"] or 1.0)
    return Section(
        "capital",
        {
            "share": PERCENT.told(float(SCARCE)),
            "scarce": _money(limits["scarce"][-1]),
            "whole": _money(limits["whole"][-1]),
            "unmet": _money(own["unmet_minor"]),
            "unmet_whole": _money(joint["unmet_minor"]),
            "ratio": charts.number(ratio, 2),
        },
        (_by_month(texts, "capital", limits),),
    )


def _federation(sums: Mapping[str, Mapping[str, Any]], texts: Texts) -> Section:
    every, bank = sums["rules"], sums["bank"]
    rows = [
        Bar(texts.say("evidence_arm.together"), every["approved"], marked=True),
        Bar(texts.say("evidence_arm.bank"), bank["approved"]),
    ]
    words = words_of(texts, "federation", "evidence_federation")
    return Section(
        "federation",
        {
            "together": PERCENT.told(every["approved"]),
            "alone": PERCENT.told(bank["approved"]),
            "lost": PERCENT.told(every["loss_rate"]),
            "lost_alone": PERCENT.told(bank["loss_rate"]),
            "profit": charts.number(every["profit_minor"] / _MINOR, 2),
            "profit_alone": charts.number(bank["profit_minor"] / _MINOR, 2),
        },
        (charts.bars(words, rows, PERCENT),),
    )


def _downturn(
    figures: Mapping[str, Figures], sums: Mapping[str, Mapping[str, Any]], texts: Texts
) -> Section:
    late = {
        name: [one["late"] for one in months_of(figures[name])] for name in ("rules", "downturn")
    }
    return Section(
        "downturn",
        {
            "late": PERCENT.told(sums["downturn"]["late"]),
            "late_calm": PERCENT.told(sums["rules"]["late"]),
            "lost": PERCENT.told(sums["downturn"]["loss_rate"]),
            "expected": PERCENT.told(sums["downturn"]["expected_loss_rate"]),
        },
        (_by_month(texts, "downturn", late, PERCENT),),
    )


def _by_month(
    texts: Texts, key: str, values: Mapping[str, list[float]], unit: Unit | None = None
) -> Chart:
    series = [
        Series(
            texts.say(f"evidence_arm.{name}"),
            tuple((float(month), value) for month, value in enumerate(one, start=1)),
        )
        for name, one in values.items()
    ]
    money = Unit(texts.say("evidence_unit.money"), 0, _MINOR)
    words = words_of(texts, key, f"evidence_{key}")
    return charts.lines(words, series, COUNT, unit or money, low=0.0)


def _whole(group: Mapping[str, float]) -> float:
    return group["whole"] / max(group["lines"], 1.0)


def _left(group: Mapping[str, float]) -> float:
    return group["last_minor"] / max(group["first_minor"], 1.0)


def _money(minor: float) -> str:
    return charts.number(minor / _MINOR)
