"""Every vector and invariant of the domain study has a test whose name says which one it is."""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest

from tests.support import ROOT

VECTORS = range(1, 41)
INVARIANTS = range(1, 21)
NAMED = re.compile(r"_([ti])(\d+)(?=_)")
DRAWN = {"given", "rule"}
"""What makes a test draw its cases: a property, or a rule of a state machine."""


@cache
def named():
    """Return which tests name what: (letter, number) to names, and those that draw their cases."""
    found, drawn = {}, set()
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if not isinstance(node, ast.FunctionDef) or not node.name.startswith("test_"):
                continue
            marks = {part.id for one in node.decorator_list for part in _names(one)}
            for letter, number in NAMED.findall(node.name):
                found.setdefault((letter, int(number)), []).append(node.name)
                if marks & DRAWN:
                    drawn.add((letter, int(number)))
    return found, drawn


def _names(node):
    return (part for part in ast.walk(node) if isinstance(part, ast.Name))


@pytest.mark.parametrize("number", VECTORS)
def test_every_vector_of_the_study_is_named_by_a_test(number):
    assert named()[0].get(("t", number)), f"no test names T{number:02}"


@pytest.mark.parametrize("number", INVARIANTS)
def test_every_invariant_of_the_study_is_named_by_a_property(number):
    assert ("i", number) in named()[1], f"no property names I{number}"


def test_control_what_no_test_names_is_not_found():
    found, drawn = named()
    assert ("t", 41) not in found
    assert ("i", 21) not in drawn
