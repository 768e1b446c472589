"""Reads and lints the policy of a line's life: all findings of a file at once.

Some checks are what invariants rest on, so a policy that would break one is refused here:
thresholds that leave no gap (no hysteresis), a dwell longer than it takes to cost a step (who
borrows more could fare better), a cool-down shorter than the dwell (a state could flip back), a
memory of the limit shorter than the cool-down (a cut could cause the next one).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from types import MappingProxyType
from typing import Any, Final, cast

from server.limits.basis.tables import Tables, parse_decimal_toml
from server.limits.rules.line_policy import (
    METRICS,
    Arrears,
    Condition,
    Effect,
    Inactivity,
    LinePolicy,
    Overlay,
    Rule,
)
from server.limits.rules.policy import Policy

_YEARS: Final = 3660
_SECTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "review": ("every_days",),
    "observation": ("clean_reviews", "dwell_days", "always"),
    "step_down": ("reviews", "share", "floor_share"),
    "cut": ("most_share",),
    "restoration": ("step_share", "clean_reviews", "cool_down_days"),
    "increase": ("most_share", "months_between", "days_after_opening", "offer_days", "pause_at"),
    "utilisation": ("memory_days",),
    "temporary": ("most_minor", "most_days", "purposes"),
    "inactivity": ("after_days", "share", "floor_share"),
    "delinquency": (
        "zone",
        "grace_days",
        "reduce_from",
        "freeze_from",
        "default_from",
        "buckets",
        "cure_days",
        "default_cure_days",
        "forbearance_months",
    ),
}
_TOP: Final = ("id", "version", "effective_from", "quantum_minor", "triggers", "overlay")
_RULE: Final = (
    "code",
    "effect",
    "enter",
    "exit",
    "reviews",
    "min_days",
    "steps_down",
    "least_minor",
)
_WITHOUT_WINDOW: Final = frozenset({"score_drop", "score_recovery"})
_ZONE: Final = re.compile(r"[A-Za-z_]+(/[A-Za-z0-9_+-]+)*")


class _Section:
    """Typed reads from one section."""

    def __init__(self, tables: Tables, top: Mapping[str, Any], name: str) -> None:
        self.tables, self.name = tables, name
        self.table = tables.table(name, top.get(name, {}))
        tables.unknown(name, self.table, list(_SECTIONS[name]))

    def whole(self, key: str, low: int = 0, high: int = _YEARS) -> int:
        return self.tables.whole(self.table, key, self.name, low=low, high=high)

    def share(self, key: str, *, above_zero: bool = True) -> Any:
        return self.tables.number(self.table, key, self.name, high=1, above_zero=above_zero)

    def names(self, key: str) -> tuple[str, ...]:
        return _names(self.tables, self.table, key, self.name)


def parse_line_policy(text: str, source: str) -> LinePolicy:
    """Read and lint the text of a line policy.

    Parameters
    ----------
    text, source : str
        The file's text and name.

    Raises
    ------
    ConfigError
        With all findings, each with its path.
    """
    tables, top = Tables(source), parse_decimal_toml(text, source)
    tables.unknown("", top, [*_TOP, *_SECTIONS])
    section = {name: _Section(tables, top, name) for name in _SECTIONS}
    watch, down, up = section["observation"], section["step_down"], section["restoration"]
    more, passing = section["increase"], section["temporary"]
    policy = LinePolicy(
        id=tables.words(top, "id"),
        version=tables.words(top, "version"),
        effective_from=tables.day(top, "effective_from"),
        quantum_minor=tables.amount(top, "quantum_minor", low=1),
        every_days=section["review"].whole("every_days", 1, 366),
        clean_reviews=watch.whole("clean_reviews", 1, 24),
        dwell_days=watch.whole("dwell_days"),
        always=watch.names("always"),
        down_reviews=down.whole("reviews", 1, 24),
        down_share=down.share("share"),
        floor_share=down.share("floor_share", above_zero=False),
        cut_share=section["cut"].share("most_share"),
        up_share=up.share("step_share"),
        up_clean_reviews=up.whole("clean_reviews", 1, 24),
        cool_down_days=up.whole("cool_down_days"),
        increase_share=more.share("most_share"),
        months_between=more.whole("months_between", 0, 120),
        days_after_opening=more.whole("days_after_opening"),
        offer_days=more.whole("offer_days", 1),
        pause_at=more.share("pause_at"),
        memory_days=section["utilisation"].whole("memory_days"),
        temporary_minor=tables.amount(passing.table, "most_minor", "temporary"),
        temporary_days=passing.whole("most_days", 1),
        temporary_purposes=passing.names("purposes"),
        inactivity=_inactivity(section["inactivity"]) if "inactivity" in top else None,
        arrears=_arrears(section["delinquency"]),
        rules=_rules(tables, top),
        overlays=_overlays(tables, top),
    )
    _check_time(tables, policy)
    tables.finish()
    return policy


def check_with_limits(line: LinePolicy, limits: Policy) -> None:
    """Check that the policy of a line's life fits the limit policy.

    Raises
    ------
    ConfigError
        If their quanta differ: a limit would be no whole number of steps.
    """
    tables = Tables(f"line policy {line.name}")
    rule = f"must be {limits.quantum_minor}, as in policy {limits.name}"
    tables.check(
        line.quantum_minor == limits.quantum_minor, "quantum_minor", rule, line.quantum_minor
    )
    tables.finish()


def _check_time(tables: Tables, policy: LinePolicy) -> None:
    """Note spans that would break an invariant; see the head of this module."""
    dwell, cool = policy.dwell_days, policy.cool_down_days
    rule = "must be at most step_down.reviews x review.every_days"
    most = policy.down_reviews * policy.every_days
    tables.check(dwell <= most, "observation.dwell_days", rule, dwell)
    rule = "must be at least observation.dwell_days"
    tables.check(cool >= dwell, "restoration.cool_down_days", rule, cool)
    cure = policy.arrears.cure_days
    tables.check(cure >= dwell, "delinquency.cure_days", rule, cure)
    for rule_of in policy.rules.values():
        if rule_of.effect == "observe":
            where = f"triggers.{rule_of.code}.min_days"
            tables.check(rule_of.min_days >= dwell, where, rule, rule_of.min_days)
    rule = "must be at least restoration.cool_down_days"
    tables.check(policy.memory_days >= cool, "utilisation.memory_days", rule, policy.memory_days)
    for code in policy.always:
        known = ", ".join(policy.rules)
        tables.check(code in policy.rules, "observation.always", f"must name {known}", code)
        waits = policy.rules[code].exit if code in policy.rules else ()
        plain = all(one.metric != "score_recovery" for one in waits)
        tables.check(plain, "observation.always", "a recovery needs an open window", code)


def _inactivity(section: _Section) -> Inactivity:
    return Inactivity(
        after_days=section.whole("after_days", 30),
        share=section.share("share"),
        floor_share=section.share("floor_share", above_zero=False),
    )


def _arrears(section: _Section) -> Arrears:
    tables = section.tables
    zone = tables.words(section.table, "zone", "delinquency")
    good = bool(_ZONE.fullmatch(zone))
    tables.check(good, "delinquency.zone", "must be a place such as Asia/Shanghai", zone)
    edges = section.table.get("buckets")
    good = isinstance(edges, list) and all(type(edge) is int and edge > 0 for edge in edges)
    good = good and bool(edges) and all(a < b for a, b in pairwise(cast("list[int]", edges)))
    tables.check(good, "delinquency.buckets", "must be rising whole numbers above 0", edges)
    result = Arrears(
        zone=zone,
        grace_days=section.whole("grace_days", 0, 30),
        reduce_from=section.whole("reduce_from", 1),
        freeze_from=section.whole("freeze_from", 1),
        default_from=section.whole("default_from", 1),
        buckets=tuple(cast("list[int]", edges)) if good else (1,),
        cure_days=section.whole("cure_days", 1),
        default_cure_days=section.whole("default_cure_days", 1),
        forbearance_months=section.whole("forbearance_months", 0, 120),
    )
    days = (result.grace_days, result.reduce_from, result.freeze_from, result.default_from)
    rising = all(a < b for a, b in pairwise(days))
    tables.check(rising, "delinquency", "grace, reduce, freeze and default must rise", list(days))
    rule, cure = "must be at least cure_days", result.default_cure_days
    tables.check(cure >= result.cure_days, "delinquency.default_cure_days", rule, cure)
    return result


def _rules(tables: Tables, top: Mapping[str, Any]) -> Mapping[str, Rule]:
    rules: dict[str, Rule] = {}
    for path, row in tables.rows(top, "triggers"):
        tables.unknown(path, row, list(_RULE))
        rule = _rule(tables, path, row)
        tables.check(rule.code not in rules, f"{path}.code", "must differ", rule.code)
        rules[rule.code] = rule
    tables.check(bool(rules), "triggers", "must hold one rule or more", [])
    return MappingProxyType(rules)


def _rule(tables: Tables, path: str, row: Mapping[str, Any]) -> Rule:
    effect, steps = row.get("effect"), row.get("steps_down", False)
    good = effect in {"observe", "hold", "freeze"}
    tables.check(good, f"{path}.effect", "must be 'observe', 'hold' or 'freeze'", effect)
    tables.check(type(steps) is bool, f"{path}.steps_down", "must be true or false", steps)
    least = tables.amount(row, "least_minor", path) if "least_minor" in row else 0
    enter = _conditions(tables, path, row, "enter")
    tables.check(bool(enter), f"{path}.enter", "must hold a condition or more", [])
    leave = _conditions(tables, path, row, "exit")
    tables.check(
        bool(leave) or effect == "freeze", f"{path}.exit", "must hold a condition or more", []
    )
    for one in enter:
        for other in leave:
            same = (one.metric, one.days) == (other.metric, other.days)
            gap = not same or other.threshold < one.threshold
            rule = "must lie below enter: without a gap a line could flap"
            tables.check(gap, f"{path}.exit", rule, str(other.threshold))
    return Rule(
        code=tables.words(row, "code", path),
        effect=cast("Effect", effect) if good else "hold",
        enter=enter,
        exit=leave,
        reviews=tables.whole(row, "reviews", path, low=1, high=24),
        min_days=tables.whole(row, "min_days", path, low=0, high=_YEARS),
        steps_down=steps is True,
        least_minor=least,
    )


def _conditions(
    tables: Tables, path: str, row: Mapping[str, Any], key: str
) -> tuple[Condition, ...]:
    found, value = [], row.get(key)
    good = isinstance(value, list) and all(isinstance(one, Mapping) for one in value)
    tables.check(good, f"{path}.{key}", "must be an array of tables", value)
    for place, one in enumerate(cast("list[Mapping[str, Any]]", value) if good else [], start=1):
        found.append(_condition(tables, f"{path}.{key}[{place}]", one))
    return tuple(found)


def _condition(tables: Tables, path: str, one: Mapping[str, Any]) -> Condition:
    tables.unknown(path, one, ["metric", "days", "over_days", "at_least", "at_most"])
    metric = tables.words(one, "metric", path)
    tables.check(metric in METRICS, f"{path}.metric", f"must be of {', '.join(METRICS)}", metric)
    windowed, surge = metric not in _WITHOUT_WINDOW, metric == "spend_surge"
    days = tables.whole(one, "days", path, low=1, high=_YEARS) if windowed else 0
    over = tables.whole(one, "over_days", path, low=days + 1, high=_YEARS) if surge else 0
    rising = "at_least" in one
    tables.check(rising != ("at_most" in one), path, "give at_least or at_most", dict(one))
    threshold = tables.number(one, "at_least" if rising else "at_most", path, high=10**6)
    return Condition(metric, days, over, threshold, rising)


def _overlays(tables: Tables, top: Mapping[str, Any]) -> tuple[Overlay, ...]:
    rows = []
    known = ["scenario", "since", "until", "multiplier", "approved_by", "approved_on", "note"]
    for path, row in tables.rows(top, "overlay"):
        tables.unknown(path, row, known)
        overlay = Overlay(
            scenario=tables.words(row, "scenario", path),
            since=tables.day(row, "since", path),
            until=tables.day(row, "until", path),
            multiplier=tables.number(row, "multiplier", path, high=1, above_zero=True),
            approved_by=_names(tables, row, "approved_by", path),
            approved_on=tables.day(row, "approved_on", path),
            note=tables.words(row, "note", path),
        )
        people = len(set(overlay.approved_by))
        tables.check(people >= 2, f"{path}.approved_by", "must name two people", people)
        early = overlay.approved_on <= overlay.since
        rule = "must not be after since"
        tables.check(early, f"{path}.approved_on", rule, str(overlay.approved_on))
        tables.check(
            overlay.since <= overlay.until, f"{path}.until", "must not be before since", None
        )
        rows.append(overlay)
    apart = all(one.until < other.since for one, other in pairwise(rows))
    tables.check(apart, "overlay", "rows must rise by date and not overlap", len(rows))
    return tuple(rows)


def _names(tables: Tables, table: Mapping[str, Any], key: str, path: str) -> tuple[str, ...]:
    value = table.get(key)
    good = isinstance(value, list) and all(isinstance(one, str) and one for one in value)
    tables.check(good, f"{path}.{key}", "must be an array of names", value)
    return tuple(cast("list[str]", value)) if good else ()
