"""Reading a picture back: where its marks and words stand."""

from __future__ import annotations

import re
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from server.web.charts.marks import width

SVG = "{http://www.w3.org/2000/svg}"
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


@dataclass(frozen=True, slots=True)
class Placed:
    """A text and its box."""

    words: str
    left: float
    top: float
    right: float
    bottom: float

    def touches(self, other: Placed) -> bool:
        """Whether both would be drawn over each other."""
        return (
            min(self.right, other.right) - max(self.left, other.left) > 0.5
            and min(self.bottom, other.bottom) - max(self.top, other.top) > 0.5
        )


def root_of(svg):
    return ET.fromstring(svg)


def box_of(svg):
    """Return left, top, right and bottom of the view box."""
    left, top, wide, high = (float(one) for one in root_of(svg).get("viewBox").split())
    return left, top, left + wide, top + high


def texts_of(svg):
    """Return the words of a picture with the boxes they fill, as wide as charts take them."""
    found = []
    for one in root_of(svg).iter(f"{SVG}text"):
        x, y, size = (float(one.get(name)) for name in ("x", "y", "font-size"))
        wide = width(one.text, size)
        left = x - {"": 0.0, "middle": wide / 2, "end": wide}[one.get("text-anchor", "")]
        found.append(Placed(one.text, left, y - 0.8 * size, left + wide, y + 0.2 * size))
    return found


def points_of(svg):
    """Return every point of every mark outside the patterns."""
    root = root_of(svg)
    for defs in root.findall(f"{SVG}defs"):
        root.remove(defs)
    found = []
    for one in root.iter():
        kind = one.tag.removeprefix(SVG)
        if kind == "path":
            flat = [float(n) for n in NUMBER.findall(one.get("d"))]
            found += list(zip(flat[::2], flat[1::2], strict=True))
        elif kind == "polygon":
            flat = [float(n) for n in NUMBER.findall(one.get("points"))]
            found += list(zip(flat[::2], flat[1::2], strict=True))
        elif kind == "line":
            found += [(float(one.get(f"x{at}")), float(one.get(f"y{at}"))) for at in "12"]
        elif kind == "rect":
            x, y, wide, high = (float(one.get(n)) for n in ("x", "y", "width", "height"))
            found += [(x, y), (x + wide, y + high)]
        elif kind == "circle":
            x, y, r = (float(one.get(name)) for name in ("cx", "cy", "r"))
            found += [(x - r, y - r), (x + r, y + r)]
    return found


def curve_of(svg, cls):
    """Return the points of the first line of a class that is no area."""
    for one in root_of(svg).iter(f"{SVG}path"):
        if one.get("class") == cls and one.get("fill") == "none":
            flat = [float(n) for n in NUMBER.findall(one.get("d"))]
            return list(zip(flat[::2], flat[1::2], strict=True))
    raise AssertionError(f"no line of class {cls}")


def fits(svg):
    """Fail where a mark or a word leaves the picture, or two words stand over each other."""
    left, top, right, bottom = box_of(svg)
    for x, y in points_of(svg):
        assert left - 0.1 <= x <= right + 0.1, (x, y)
        assert top - 0.1 <= y <= bottom + 0.1, (x, y)
    texts = texts_of(svg)
    for at, one in enumerate(texts):
        assert left <= one.left, one
        assert one.right <= right, one
        assert top <= one.top, one
        assert one.bottom <= bottom, one
        for other in texts[at + 1 :]:
            assert not one.touches(other), (one, other)
