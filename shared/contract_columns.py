"""A party's raw columns held against the contract: clean arrays, or every finding at once.

A person who must repair a file should not have to run the check once per mistake, so all findings
come in one `DataError`. A finding names a column, a rule and a count, never a row, a value of a
row or an id; only the unknown level of a category is quoted, since levels are public names.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from shared.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from shared.contract import Contract, Feature

Purpose: TypeAlias = Literal["train", "score"]

#: Integers up to here are exact in float64, the type of all checked columns.
MAX_INTEGER = 2**53

#: More unknown levels than this in one column means a wrong column, whose content is not quoted.
MAX_QUOTED_LEVELS = 5

#: Words for a missing number in a column that was read as text.
_NO_NUMBER = frozenset({"", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "#N/A"})

#: Texts of this shape may be names of levels; long ones and runs of digits may be ids.
_QUOTABLE = re.compile(r"(?!.*\d{4}).{1,32}")


@dataclass(frozen=True, slots=True)
class Columns:
    """Checked columns of one party.

    Parameters
    ----------
    ids : tuple of str, length n
        Normalised ids, all different, in the order of the file.
    values : mapping of str to ndarray of float64, shape (n,)
        One array per feature in contract order; NaN is missing. A category holds the index of
        its level, special codes stay as they are.
    label : ndarray of uint8, shape (n,), or None
        1 is default; None where the party has no label or it was not asked for.
    notes : tuple of str
        What is worth knowing but no error, such as columns that were passed over.
    """

    ids: tuple[str, ...]
    values: Mapping[str, NDArray[np.float64]]
    label: NDArray[np.uint8] | None = None
    notes: tuple[str, ...] = field(default=(), compare=False)


def normalise_id(raw: str) -> str:
    """Return the one spelling of an id that all parties compare: NFKC, then trimmed.

    Case is kept: whether two ids that differ in case are one customer is not for us to guess.
    """
    if raw.isascii():
        return raw.strip()
    return unicodedata.normalize("NFKC", raw).strip()


def check_columns(
    contract: Contract,
    owner: str,
    columns: Mapping[str, NDArray[Any]],
    *,
    with_label: bool,
    source: str,
    purpose: Purpose = "train",
) -> Columns:
    """Hold raw columns against the contract.

    Parameters
    ----------
    contract : Contract
        What was agreed.
    owner : str
        Party whose columns these are.
    columns : mapping of str to ndarray, shape (n,)
        Raw columns by name: numbers, texts, or objects with None and NaN for missing.
    with_label : bool
        Whether the label is asked for.
    source : str
        Name of the file or table, for messages.
    purpose : {"train", "score"}
        When scoring, a constant column and a single class are no findings.

    Returns
    -------
    Columns
        Clean arrays in contract order.

    Raises
    ------
    DataError
        With all findings, each `column: what is wrong, with a count`.
    """
    wanted = [contract.id_column, *(feature.name for feature in contract.of(owner))]
    if with_label:
        wanted.append(contract.label_column)
    checker = _Checker([], purpose)
    present = {name: array for name, array in columns.items() if name in wanted}
    if not checker.shapes(wanted, present):
        raise DataError(source, checker.findings, hint=f"contract {contract.name}, party {owner}")
    absent: NDArray[Any] = np.empty(0, dtype=object)
    ids = checker.ids(contract.id_column, present.get(contract.id_column, absent))
    values = {
        feature.name: checker.feature(feature, present[feature.name])
        for feature in contract.of(owner)
        if feature.name in present
    }
    label = None
    if with_label and contract.label_column in present:
        label = checker.label(contract, present[contract.label_column])
    if checker.findings:
        raise DataError(source, checker.findings, hint=f"contract {contract.name}, party {owner}")
    known = {*wanted, contract.label_column} if contract.holds_label(owner) else set(wanted)
    extra = [name for name in columns if name not in known]
    notes = (f"columns not in the contract, passed over: {', '.join(extra)}",) if extra else ()
    return Columns(ids, values, label, notes)


@dataclass(frozen=True, slots=True)
class _Checker:
    """Checks one column after the other and gathers what is wrong in `findings`."""

    findings: list[str]
    purpose: Purpose

    def shapes(self, wanted: Sequence[str], present: Mapping[str, NDArray[Any]]) -> bool:
        """Return whether the columns that are there can be checked one by one."""
        self.findings.extend(
            f"{name}: column is missing" for name in dict.fromkeys(wanted) if name not in present
        )
        lengths = {array.shape for array in present.values()}
        if any(len(shape) != 1 for shape in lengths) or len(lengths) > 1:
            self.findings.append("columns must be flat and of one length")
            return False
        if lengths == {(0,)}:
            self.findings.append("table holds no rows")
            return False
        return bool(present)

    def ids(self, name: str, raw: NDArray[Any]) -> tuple[str, ...]:
        if raw.dtype.kind not in "OUTiu":
            self.findings.append(f"{name}: ids must be texts or integers, not {_type(raw)}")
            return ()
        texts = [value if type(value) is str else _text(value) for value in raw.tolist()]
        ids = [normalise_id(text) for text in texts]
        empty = sum(not text for text in ids)
        if empty:
            self._say(name, "empty id", empty, "row")
        spelled = {text for text, normal in zip(texts, ids, strict=True) if normal}
        distinct = set(ids) - {""}
        if len(spelled) < len(ids) - empty:
            self._say(name, "id repeated", len(ids) - empty - len(spelled), "row")
        if len(distinct) < len(spelled):
            rule = "one customer in two spellings, equal after Unicode NFKC and trimming"
            self._say(name, rule, len(spelled) - len(distinct), "id")
        return tuple(ids)

    def feature(self, feature: Feature, raw: NDArray[Any]) -> NDArray[np.float64]:
        before = len(self.findings)
        if feature.dtype == "category":
            values = self._levels(feature, raw)
        else:
            values = self._numbers(feature.name, raw)
            for code in feature.missing:
                values[values == code] = np.nan
            self._range(feature, values)
        if self.purpose == "train" and len(self.findings) == before and _constant(values):
            self.findings.append(f"{feature.name}: constant column, it cannot tell customers apart")
        return values

    def label(self, contract: Contract, raw: NDArray[Any]) -> NDArray[np.uint8]:
        name, positive = contract.label_column, contract.positive
        before = len(self.findings)
        values: NDArray[Any]
        if isinstance(positive, str):
            values = np.array([_text(value) for value in raw.tolist()])
            missing = values == ""
        else:
            values = self._numbers(name, raw)
            missing = np.isnan(values)
        label: NDArray[np.uint8] = np.equal(values, positive).astype(np.uint8)
        if len(self.findings) == before:
            self._count(name, missing, "missing")
            self._outcomes(contract, set(values[~missing].tolist()) - {positive})
            if self.purpose == "train" and label.min() == label.max():
                self.findings.append(f"{name}: one class only, there is nothing to learn")
        return label

    def _outcomes(self, contract: Contract, others: set[float | str]) -> None:
        name, positive = contract.label_column, contract.positive
        if positive in {0, 1}:
            if others - {1 - int(positive)}:
                self.findings.append(f"{name}: label must be 0 or 1, it holds other values")
        elif len(others) > 1:
            rule = f"label may hold one value besides {positive!r}, it holds {len(others):,}"
            self.findings.append(f"{name}: {rule}")

    def _numbers(self, name: str, raw: NDArray[Any]) -> NDArray[np.float64]:
        if raw.dtype.kind in "biuf":
            if raw.dtype.kind in "iu" and raw.size:
                self._count(name, (raw > MAX_INTEGER) | (raw < -MAX_INTEGER), "beyond 2^53")
            values = raw.astype(np.float64)
        elif raw.dtype.kind in "OUT":
            values = self._texts(name, raw)
        else:
            self.findings.append(f"{name}: wrong type {_type(raw)}, must be a number")
            return np.full(raw.shape, np.nan)
        self._count(name, np.isinf(values), "infinite")
        return values

    def _texts(self, name: str, raw: NDArray[Any]) -> NDArray[np.float64]:
        values = np.full(raw.shape, np.nan)
        bad = texts = 0
        for row, value in enumerate(raw.tolist()):
            if _is_null(value) or (isinstance(value, str) and value in _NO_NUMBER):
                continue
            texts += isinstance(value, str)
            try:
                values[row] = float(value)
            except (TypeError, ValueError):
                bad += 1
        if bad:
            self._say(name, "not a number", bad)
        elif texts:
            self.findings.append(f"{name}: wrong type, numbers are stored as text")
        return values

    def _levels(self, feature: Feature, raw: NDArray[Any]) -> NDArray[np.float64]:
        if raw.dtype.kind not in "OUTiufb":
            self.findings.append(f"{feature.name}: wrong type {_type(raw)}, must be a text")
            return np.full(raw.shape, np.nan)
        known = {level: float(code) for code, level in enumerate(feature.levels)}
        known.update(dict.fromkeys(map(str, feature.missing), np.nan))
        known[""] = np.nan
        cells = raw.tolist()
        if bool in set(map(type, cells)):  # False and 0 are one key of a dictionary
            cells = [_text(cell) for cell in cells]
        codes = {cell: known.get(_text(cell), -1.0) for cell in set(cells)}
        values = np.array([codes[cell] for cell in cells], dtype=np.float64)
        strange = {_text(cell) for cell, code in codes.items() if code < 0}
        if strange:
            self._unknown_levels(feature, strange, int((values < 0).sum()))
        return values

    def _unknown_levels(self, feature: Feature, unknown: set[str], count: int) -> None:
        public = all(_QUOTABLE.fullmatch(level) for level in unknown)
        if public and len(unknown) <= MAX_QUOTED_LEVELS:
            levels = ", ".join(repr(level) for level in sorted(unknown))
            text = f"unknown level {levels}" if len(unknown) == 1 else f"unknown levels {levels}"
        else:
            text = f"unknown levels, {len(unknown):,} of them; is this the right column?"
        self._say(feature.name, text, count)

    def _range(self, feature: Feature, values: NDArray[np.float64]) -> None:
        plain = ~np.isnan(values) & ~np.isin(values, feature.special)
        if feature.dtype == "integer":
            whole = np.floor(values) == values
            self._count(feature.name, ~np.isnan(values) & ~whole, "not an integer")
        low = -np.inf if feature.low is None else feature.low
        high = np.inf if feature.high is None else feature.high
        outside = plain & np.isfinite(values) & ((values < low) | (values > high))
        self._count(feature.name, outside, f"outside [{low:g}, {high:g}]")

    def _count(self, name: str, bad: NDArray[np.bool_], rule: str) -> None:
        if bad.any():
            self._say(name, rule, int(bad.sum()))

    def _say(self, name: str, rule: str, count: int, noun: str = "value") -> None:
        self.findings.append(f"{name}: {rule} ({count:,} {noun}{'s' * (count > 1)})")


def _is_null(value: object) -> bool:
    return value is None or (isinstance(value, float) and value != value)  # noqa: PLR0124


def _text(value: object) -> str:
    """Spell a cell as people do: null is empty, three is 3 and not 3.0, truth is true."""
    if _is_null(value):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _type(raw: NDArray[Any]) -> str:
    return "list or struct" if raw.dtype.kind == "V" else raw.dtype.name


def _constant(values: NDArray[np.float64]) -> bool:
    known = values[~np.isnan(values)]
    if not known.size:
        return True
    return known.size == values.size and bool((known == known[0]).all())
