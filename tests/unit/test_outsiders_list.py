"""The threat model's outsider's list names a test for each line, and each is there."""

from __future__ import annotations

import re

from tests.support import ROOT

PAGE = ROOT / "docs" / "threat-model.md"
SUITE = ROOT / "tests" / "e2e" / "test_outsider.py"


def lines():
    section = PAGE.read_text().split("## The outsider's list")[1].split("\n## ")[0]
    return [line for line in section.splitlines() if line.startswith("| ")][1:]


def test_every_line_names_a_test_that_is_there_and_every_test_has_a_line():
    tests = set(re.findall(r"(?m)^def (test_\w+)", SUITE.read_text()))
    named = set()
    assert len(lines()) > 20
    for line in lines():
        found = re.findall(r"`(tests/\S+\.py|test_\w+)(?:\.\.\.)?`", line.rsplit("| ", 1)[-1])
        assert found, line
        for name in found:
            if name.startswith("tests/"):
                assert (ROOT / name).exists(), line
                continue
            held = {test for test in tests if test.startswith(name)}
            assert len(held) == 1, name
            named |= held
    assert tests - named == {"test_the_federation_is_as_well_as_before_and_trains"}
