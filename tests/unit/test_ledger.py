"""The ledger is a chain: what is changed, dropped or moved is found."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from shared.errors import BadPeer
from shared.ledger import Entry, Noise, append, has_line, line_from_mapping, verify

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


def test_the_very_same_opening_has_its_line_whenever_it_comes_again():
    again = replace(ENTRY, rows=1, time="2026-03-04T05:06:07Z")
    assert has_line(chain(3), again)
    assert not has_line(chain(1), again)
    assert not has_line([], again)


@pytest.mark.parametrize("field", ["run", "phase", "what", "unit", "recipient", "binding"])
def test_an_opening_that_differs_in_anything_but_time_has_no_line_yet(field):
    assert not has_line(chain(3), replace(ENTRY, rows=1, **{field: "cd" * 32}))


def test_an_opening_under_noise_is_told_each_time():
    noise = Noise("gaussian", 2.0, 9, 1.0, 1, 1e-5, 1, 4)
    noisy = replace(ENTRY, epsilon=1.0, noise=noise)
    assert not has_line([append(None, noisy)], noisy)


def test_a_malformed_line_is_refused():
    with pytest.raises(BadPeer):
        line_from_mapping({"sequence": 0})
