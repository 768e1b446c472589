"""The lines of a score feed: one a customer, sorted, and one text for one content.

::

    ["<pseudonym>",41,[["PAY_STATUS",12],["LIMIT_USED",3]]]

A feed of a million customers is read in seconds: lines stay bytes, and a customer's is found among
them and read when asked for.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from shared.challenger.network import Network
from shared.scorecard.card import Card
from shared.scorecard.reasons import MOST_REASONS

MAX_POINTS = 10_000
"""No part of a card has more points than this, above or below zero."""

_PSEUDONYM = 64  # hex digits
_HEAD = 2  # '["' before a pseudonym
_CODE = 100  # bytes of a reason's code
_CHUNK = 65_536  # lines whose pseudonyms are looked at together: memory stays flat
_IS_DIGIT = np.isin(np.arange(256), list(b"0123456789abcdef"))
_WHOLE = re.compile(rb"0|-?[1-9][0-9]{0,5}")
# One text for one content: a code has no character that JSON would escape, a number no zero ahead.
_ONE_REASON = rb'\["([ !#-\[\]-~\x80-\xff]{1,%d})",([1-9][0-9]{0,5})\]' % _CODE
_REASON = re.compile(_ONE_REASON)
_REASONS = re.compile(rb"\[(?:%b(?:,%b){0,%d})?\]\]" % (_ONE_REASON, _ONE_REASON, MOST_REASONS - 1))


class FeedRow(NamedTuple):
    """One customer.

    Parameters
    ----------
    pseudonym : str
        64 hex digits.
    points : int
        The party's part of the customer's points.
    reasons : tuple of (str, int)
        Public reason code and whole points below the mean, the costliest first; at most four.
    """

    pseudonym: str
    points: int
    reasons: tuple[tuple[str, int], ...]


class FeedRows:
    """The customers of a feed in the order of their pseudonyms, read line by line when asked for.

    Parameters
    ----------
    body : bytes
        The lines.
    ends : ndarray of int64, shape (n,)
        Where each line's newline stands.
    """

    __slots__ = ("_body", "_ends", "_starts")

    def __init__(self, body: bytes, ends: NDArray[np.int64]) -> None:
        self._body = body
        self._ends = ends
        self._starts = np.concatenate([[0], ends[:-1] + 1]) if len(ends) else ends

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> FeedRow:
        line = self._body[self._starts[index] : self._ends[index]]
        name, points, reasons = json.loads(line)
        return FeedRow(name, points, tuple((code, cost) for code, cost in reasons))

    def __iter__(self) -> Iterator[FeedRow]:
        return (self[index] for index in range(len(self)))

    def find(self, pseudonym: str) -> FeedRow | None:
        """Return a customer's row, or None."""
        wanted = pseudonym.encode()
        index = bisect_left(range(len(self)), wanted, key=self._name)
        found = index < len(self) and self._name(index) == wanted
        return self[index] if found else None

    def _name(self, index: int) -> bytes:
        start = int(self._starts[index]) + _HEAD
        return self._body[start : start + _PSEUDONYM]


def line_of(row: FeedRow) -> str:
    """Return a customer's line."""
    reasons = ",".join(f'["{code}",{cost}]' for code, cost in row.reasons)
    return f'["{row.pseudonym}",{row.points},[{reasons}]]\n'


_DEAREST = (("x" * _CODE, MAX_POINTS),) * MOST_REASONS
LINE_BYTES = len(line_of(FeedRow("0" * _PSEUDONYM, -MAX_POINTS, _DEAREST)))
"""No line is longer."""


def check_lines(body: bytes, customers: int) -> tuple[set[bytes], NDArray[np.int64]]:
    """Check every line of a feed.

    Customers share their points and their reasons, so each of these is read once.

    Parameters
    ----------
    body : bytes
    customers : int
        How many there must be.

    Returns
    -------
    tails : set of bytes
        The different lines after their pseudonyms.
    ends : ndarray of int64, shape (customers,)
        Where each line's newline stands.

    Raises
    ------
    ValueError
        Says what is wrong, without a line of it.
    """
    whole = np.frombuffer(body, dtype=np.uint8)
    ends = np.flatnonzero(whole == ord("\n")).astype(np.int64)
    starts = np.concatenate([[0], ends + 1])[: len(ends)]
    least = _HEAD + _PSEUDONYM + len('",0,[]]')
    if len(ends) != customers or (int(ends[-1]) + 1 if len(ends) else 0) != len(body):
        raise ValueError("it has not as many lines as its header says")
    if len(ends) and int((ends - starts).min()) < least:
        raise ValueError("a line is malformed")
    _check_names(whole, starts)
    if not _is_text(body):
        raise ValueError("it is no text in UTF-8")
    cut = _HEAD + _PSEUDONYM + 2
    bounds = zip((starts + cut).tolist(), ends.tolist(), strict=True)
    tails = {body[start:end] for start, end in bounds}
    parts = [tail.partition(b",") for tail in tails]
    good = all(map(_points_fit, {points for points, _, _ in parts})) and all(
        map(_reasons_fit, {reasons for _, _, reasons in parts})
    )
    if not good:
        raise ValueError("a line is malformed, or its points are out of bounds")
    return tails, ends


def _check_names(whole: NDArray[np.uint8], starts: NDArray[np.int64]) -> None:
    """Check that every line begins with a pseudonym, and that these rise."""
    last = b""
    columns = np.arange(_HEAD + _PSEUDONYM + 2)
    for at in range(0, len(starts), _CHUNK):
        head = whole[starts[at : at + _CHUNK, None] + columns]
        names = np.ascontiguousarray(head[:, _HEAD : _HEAD + _PSEUDONYM])
        framed = head[:, [0, 1, -2, -1]] == np.frombuffer(b'["",', dtype=np.uint8)
        if not (framed.all() and _IS_DIGIT[names].all()):
            raise ValueError("a line is malformed")
        order = names.view(f"S{_PSEUDONYM}").ravel()
        if order[0] <= last or (order[1:] <= order[:-1]).any():
            raise ValueError("a customer stands there twice, or its lines are not sorted")
        last = order[-1]


def _is_text(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def _points_fit(text: bytes) -> bool:
    return bool(_WHOLE.fullmatch(text)) and abs(int(text)) <= MAX_POINTS


def _reasons_fit(text: bytes) -> bool:
    """Return whether a line's reasons are as `line_of` writes them, in order and within bounds."""
    if not _REASONS.fullmatch(text):
        return False
    costs = [(-int(cost), code) for code, cost in _REASON.findall(text)]
    different = len({code for _, code in costs}) == len(costs)
    return different and costs == sorted(costs) and all(-cost <= MAX_POINTS for cost, _ in costs)


def check_tails(tails: set[bytes], model: Card | Network, party: str) -> None:
    """Check points and reasons of `check_lines` against a party's own part of the model.

    Raises
    ------
    ValueError
        Says what is wrong.
    """
    (low, high), codes = model.span(party), model.codes(party)
    for tail in tails:
        points, reasons = json.loads(b"[" + tail)
        if not low <= points <= high:
            raise ValueError("points are out of the bounds of its part of the model")
        if not {code for code, _ in reasons} <= codes:
            raise ValueError("a reason is none of its part of the model")
