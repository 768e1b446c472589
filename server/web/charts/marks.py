"""SVG marks as text: only classes and presentation attributes, every word escaped."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Final
from xml.sax.saxutils import escape, quoteattr

WIDTH: Final = 360
"""Of every view box: a phone's width, so that text is no smaller than meant on one."""
SIZE: Final = 11
"""Of text, in units of the view box."""
SERIES: Final = 6
"""Looks that can be told apart; a seventh series begins again."""
DASHES: Final = ("", "6 3", "2 2", "8 3 2 3", "1 3", "12 3")
_NARROW: Final = frozenset("iljtfrI.,:;|'!()[]/ ·")
_WIDE: Final = frozenset("mwMW@%—…")
_CONTROL: Final = re.compile(r"[^\t\n\r\x20-\uD7FF\uE000-\uFFFD\U00010000-\U0010FFFF]")
_PATTERN: Final = re.compile(r"url\(#([a-z0-9-]+)-p(\d)\)")


def num(value: float) -> str:
    """Return a coordinate: one place after the point at most, never ``-0``."""
    told = f"{value:.1f}".removesuffix(".0")
    return "0" if told == "-0" else told


def tag(name: str, content: str = "", /, *, inner: str = "", **attributes: str) -> str:
    """Return an element.

    Parameters
    ----------
    name : str
    content : str
        Text within; it is escaped.
    inner : str
        SVG within, as it stands.
    **attributes : str
        Escaped; ``class_`` is ``class`` and underscores are dashes. Empty ones are left out.
    """
    told = "".join(
        f" {key.rstrip('_').replace('_', '-')}={quoteattr(clean(value))}"
        for key, value in attributes.items()
        if value
    )
    within = escape(clean(content)) + inner
    return f"<{name}{told}>{within}</{name}>" if within else f"<{name}{told}/>"


def clean(words: str) -> str:
    """Return words without the characters that XML cannot hold."""
    return _CONTROL.sub("\ufffd", words)


def text(
    x: float, y: float, words: str, *, size: float = SIZE, anchor: str = "", cls: str = ""
) -> str:
    """Return a line of text; `anchor` is empty (start), ``middle`` or ``end``."""
    if not words:
        return ""
    return tag(
        "text", words, x=num(x), y=num(y), font_size=num(size), text_anchor=anchor, class_=cls
    )


def width(words: str, size: float = SIZE) -> float:
    """Return about how wide a text is, rather too much than too little."""
    return size * sum(_em(one) for one in words)


def _em(one: str) -> float:
    if not one.isascii() and unicodedata.east_asian_width(one) in {"W", "F"}:
        return 1.0
    if one in _NARROW:
        return 0.42
    if one in _WIDE:
        return 1.0
    return 0.72 if one.isupper() else 0.64


def fit(words: str, room: float, size: float = SIZE) -> str:
    """Return a text cut to the room it has, with an ellipsis; the table holds it whole."""
    if width(words, size) <= room:
        return words
    while words and width(words + "…", size) > room:
        words = words[:-1]
    return words.rstrip() + "…" if words else ""


def wrap(words: str, room: float, size: float = SIZE, most: int = 6) -> tuple[str, ...]:
    """Return the lines of a text; scripts without spaces break anywhere."""
    lines, line = [], ""
    for part in re.findall(r"\s+|[^\s\u2e80-\uffef]+|[\u2e80-\uffef]", words):
        if line and width(line + part.rstrip(), size) > room:
            lines.append(line.rstrip())
            line = part.lstrip()
        else:
            line = line + part if line else part.lstrip()
    lines.append(line.rstrip())
    if len(lines) > most:
        lines = [*lines[: most - 1], " ".join(lines[most - 1 :])]
    return tuple(fit(one, room, size) for one in lines if one)


def rect(x: float, y: float, wide: float, high: float, *, cls: str = "", **more: str) -> str:
    """Return a rectangle; sides below nothing are nothing."""
    return tag(
        "rect",
        x=num(x),
        y=num(y),
        width=num(max(wide, 0)),
        height=num(max(high, 0)),
        class_=cls,
        **more,
    )


def filled(key: str, series: int, x: float, y: float, wide: float, high: float) -> str:
    """Return a bar in the look of a series (0 is the first), solid, the others in a pattern."""
    at = series % SERIES + 1
    if at == 1:
        return rect(x, y, wide, high, cls="ch-f1")
    return rect(x, y, wide, high, cls=f"ch-s{at}", fill=f"url(#{key}-p{at})")


def line(
    x1: float, y1: float, x2: float, y2: float, *, cls: str, thick: float = 1, dash: str = ""
) -> str:
    """Return a straight line."""
    ends = {"x1": num(x1), "y1": num(y1), "x2": num(x2), "y2": num(y2)}
    return tag("line", **ends, class_=cls, stroke_width=num(thick), stroke_dasharray=dash)


def path(points: Sequence[tuple[float, float]], *, cls: str, thick: float = 2, **more: str) -> str:
    """Return a broken line, or with ``fill`` or ``fill_opacity`` an area, through points."""
    if not points:
        return ""
    told = "M" + " L".join(f"{num(x)} {num(y)}" for x, y in points)
    more.setdefault("fill", "none")
    return tag("path", d=told, class_=cls, stroke_width=num(thick), stroke_linejoin="round", **more)


def marker(series: int, x: float, y: float, size: float = 3.5) -> str:
    """Return the marker of a series (0 is the first), about a point."""
    at = series % SERIES + 1
    cls = f"ch-f{at}"
    if at == 1:
        return tag("circle", cx=num(x), cy=num(y), r=num(size), class_=cls)
    s = size
    shapes = {
        2: [(x - s, y - s), (x + s, y - s), (x + s, y + s), (x - s, y + s)],
        3: [(x, y - s), (x + s, y + s), (x - s, y + s)],
        4: [(x, y - s), (x + s, y), (x, y + s), (x - s, y)],
        5: [(x - s, y - s), (x + s, y - s), (x, y + s)],
        6: [(x - s, y - s / 3), (x + s, y - s / 3), (x + s, y + s / 3), (x - s, y + s / 3)],
    }
    return tag("polygon", points=" ".join(f"{num(a)},{num(b)}" for a, b in shapes[at]), class_=cls)


def patterns(body: str) -> str:
    """Return the definitions of the patterns that a picture's marks refer to."""
    used = sorted(set(_PATTERN.findall(body)))
    return tag("defs", inner="".join(_pattern(key, int(at)) for key, at in used)) if used else ""


def _pattern(key: str, at: int) -> str:
    wash = rect(0, 0, 6, 6, cls=f"ch-f{at}", fill_opacity="0.18")
    strokes: dict[int, Iterable[tuple[float, float, float, float]]] = {
        2: [(0, 6, 6, 0)],
        3: [(3, 1.5, 3, 4.5)],
        4: [(0, 3, 6, 3)],
        5: [(0, 0, 6, 6), (0, 6, 6, 0)],
        6: [(3, 0, 3, 6)],
    }
    drawn = "".join(line(*ends, cls=f"ch-s{at}", thick=1.5) for ends in strokes[at])
    return tag(
        "pattern",
        inner=wash + drawn,
        id=f"{key}-p{at}",
        width="6",
        height="6",
        patternUnits="userSpaceOnUse",
    )
