"""A party's part of the card as one query in ANSI SQL: CASE expressions over its own columns.

Missing is NULL, or one of the contract's codes for it. A category that the card does not know gives
NULL points. Where a database stores NaN, turn it into NULL first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from clients.card.parts import Part
from shared.contract import Contract, Feature
from shared.release import Manifest
from shared.scorecard.bins import Axis, Cells, Levels
from shared.scorecard.columns import BlockPlan
from shared.scorecard.summary import Summary

_NUMBER, _TEXT = "DOUBLE PRECISION", "VARCHAR(200)"


def part_sql(
    manifest: Manifest, party: str, part: Part, contract: Contract, table: str = "customers"
) -> str:
    """Return a query that gives every customer's points.

    Parameters
    ----------
    manifest : Manifest
    party : str
    part : Part
        The party's own, with its edges.
    contract : Contract
        Says which codes mean missing, and what the levels of a category are.
    table : str
        Where the party's columns stand under their names in the contract.

    Returns
    -------
    str
        Its result has the id, `points`, and the points of every line that has any.
    """
    counted = [
        (plan, points.tolist())
        for plan, points in zip(part.plans, part.points, strict=True)
        if points.any()
    ]
    features = {feature.name: feature for feature in contract.of(party)}
    needed = sorted({name for plan, _ in counted for name in _sources(plan)})
    plain = [f"{_clean(features[name])} AS {_name(name)}" for name in needed]
    summaries = [plan for plan, _ in counted if plan.summary]
    derived = [f"{_derived(plan)} AS {_name(plan.features[0])}" for plan in summaries]
    labels = [_name(" x ".join(plan.features)) for plan, _ in counted]
    lines = [
        f"{_line(plan, points, features)} AS {label}"
        for label, (plan, points) in zip(labels, counted, strict=True)
    ]
    key = _name(contract.id_column)
    total = f"{' + '.join(labels) or '0'} AS {_name('points')}"
    return (
        f"-- {manifest.name} ({manifest.digest()[:12]}), the part of {party}: each customer's\n"
        "-- points. More points, less risk. Missing is NULL. The edges are private to the party.\n"
        f"WITH plain AS (\n{_select(key, plain, _name(table))}\n),\n"
        f"derived AS (\n{_select('plain.*', derived, 'plain')}\n),\n"
        f"lines AS (\n{_select(key, lines, 'derived')}\n)\n"
        f"{_select(key, [total, *labels], 'lines')};\n"
    )


def _select(first: str, items: Iterable[str], source: str) -> str:
    return "SELECT\n  " + ",\n  ".join([first, *items]) + f"\nFROM {source}"


def _sources(plan: BlockPlan) -> tuple[str, ...]:
    return plan.summary.sources if plan.summary else plan.features


def _clean(feature: Feature) -> str:
    """Return a column of one type, NULL where it is missing."""
    category = feature.dtype == "category"
    value = f"CAST({_name(feature.name)} AS {_TEXT if category else _NUMBER})"
    codes = [_text(str(code)) for code in ("", *feature.missing)] if category else []
    if not category:
        codes = [_number(float(code)) for code in feature.missing]
    return (
        f"CASE WHEN {value} IN ({', '.join(codes)}) THEN NULL ELSE {value} END" if codes else value
    )


def _derived(plan: BlockPlan) -> str:
    """Return a summary; in SQL as here, whatever is computed with NULL is NULL."""
    summary = plan.summary
    assert summary is not None
    special = dict(plan.source_special)
    values = {name: _ordinary(name, special.get(name, ())) for name in summary.sources}
    result = _reduced(summary, [values[name] for name in summary.features])
    if summary.relation == "minus":
        return f"{result} - {values[summary.other]}"
    if summary.relation == "over":
        return f"{result} / NULLIF({values[summary.other]}, 0)"
    return result


def _ordinary(name: str, special: Sequence[float]) -> str:
    if not special:
        return _name(name)
    codes = ", ".join(map(_number, special))
    return f"(CASE WHEN {_name(name)} IN ({codes}) THEN NULL ELSE {_name(name)} END)"


def _reduced(summary: Summary, values: Sequence[str]) -> str:
    if summary.kind in {"sum", "mean"}:
        total = f"({' + '.join(values)})"
        return f"({total} / {len(values)}.0)" if summary.kind == "mean" else total
    sign = ">=" if summary.kind == "max" else "<="
    absent = " OR ".join(f"{value} IS NULL" for value in values)
    cases = [f"WHEN {absent} THEN NULL"]
    for value in values[:-1]:
        beats = " AND ".join(f"{value} {sign} {other}" for other in values if other != value)
        cases.append(f"WHEN {beats or '1 = 1'} THEN {value}")
    return f"(CASE {' '.join(cases)} ELSE {values[-1]} END)"


def _line(plan: BlockPlan, points: Sequence[int], features: dict[str, Feature]) -> str:
    results = [str(value) for value in points]
    if isinstance(plan.bins, Levels):
        return _levels(plan.bins, results, features[plan.bins.name].levels)
    if isinstance(plan.bins, Cells):
        return _cells(plan.bins, results)
    ordered = len(plan.bins.edges) + 1
    return _axis(plan.bins, results[:ordered], results[ordered:])


def _axis(axis: Axis, ordered: Sequence[str], apart: Sequence[str]) -> str:
    """Return the CASE that gives one result a bin; neighbours with one result share a branch."""
    name = _name(axis.name)
    home = ordered[axis.home_bin]
    missing = next(
        (text for text, codes in zip(apart, axis.apart, strict=True) if None in codes), home
    )
    cases = [f"WHEN {name} IS NULL THEN {missing}"]
    own = set()
    for text, codes in zip(apart, axis.apart, strict=True):
        numbers = [code for code in codes if code is not None]
        own |= set(numbers)
        if numbers:
            cases.append(f"WHEN {name} IN ({', '.join(map(_number, numbers))}) THEN {text}")
    rest = [_number(code) for code in axis.special if code not in own]
    if rest:
        cases.append(f"WHEN {name} IN ({', '.join(rest)}) THEN {home}")
    steps = zip(axis.edges, ordered, ordered[1:], strict=False)
    cases += [
        f"WHEN {name} <= {_number(edge)} THEN {here}"
        for edge, here, above in steps
        if here != above
    ]
    return f"CASE {' '.join(cases)} ELSE {ordered[-1]} END"


def _levels(levels: Levels, results: Sequence[str], texts: Sequence[str]) -> str:
    name = _name(levels.name)
    cases = [f"WHEN {name} IS NULL THEN {results[levels.missing]}"]
    cases += [
        f"WHEN {name} = {_text(text)} THEN {results[group]}"
        for text, group in zip(texts, levels.groups, strict=True)
    ]
    return f"CASE {' '.join(cases)} END"


def _cells(cells: Cells, results: Sequence[str]) -> str:
    """Return nested CASEs over the grid; a bin apart counts as the lowest step."""
    rows = []
    for bins in cells.grid().tolist():
        inner = [results[number] for number in bins]
        rows.append(
            inner[0]
            if len(set(inner)) == 1
            else _axis(cells.second, inner, inner[:1] * len(cells.second.apart))
        )
    return _axis(cells.first, rows, rows[:1] * len(cells.first.apart))


def _number(value: float) -> str:
    """Return the shortest decimal that is exactly this number."""
    return (
        str(int(value)) if float(value).is_integer() and abs(value) < 2**53 else repr(float(value))
    )


def _name(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
