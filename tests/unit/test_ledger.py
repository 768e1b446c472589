"""The ledger is a chain: what is changed, dropped or moved is found."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from shared.errors import BadPeer
from shared.ledger import Entry, append, line_from_mapping, openings, verify

ENTRY = Entry("2026-01-02T03:04:05Z", "r", "score", "points", "customer", "bank", 10, 10, "ab" * 32)


def chain(n):
    lines, last = [], None
    for i in range(n):
        last = append(last, replace(ENTRY, rows=i))
        lines.append(last)
    return lines


def test_an_untouched_chain_verifies_and_survives_json():
    lines = chain(4)
    again = [line_from_mapping(json.loads(json.dumps(line.to_mapping()))) for line in lines]
    assert verify(again) == lines[-1]
    assert verify([]) is None


@pytest.mark.parametrize(
    "harm",
    [
        lambda lines: [lines[0], *lines[2:]],
        lambda lines: lines[1:],
        lambda lines: [lines[1], lines[0], *lines[2:]],
        lambda lines: [replace(lines[0], entry=replace(ENTRY, rows=99)), *lines[1:]],
    ],
)
def test_a_harmed_chain_is_found(harm):
    with pytest.raises(BadPeer, match="line"):
        verify(harm(chain(4)))


def test_openings_are_counted_by_what_and_binding():
    lines = chain(3)
    assert openings(lines, what="points", binding="ab" * 32) == 3
    assert openings(lines, what="points", binding="cd" * 32) == 0


def test_a_malformed_line_is_refused():
    with pytest.raises(BadPeer):
        line_from_mapping({"sequence": 0})
