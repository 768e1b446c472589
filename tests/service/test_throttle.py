"""How often one caller may ask: as often as its bucket says, and nobody else pays for it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.api import throttle
from server.api.throttle import Rate, Rates, Throttle, load_rates
from shared.errors import ConfigError, TooMany


class Seconds:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def bucket(burst=3, per_minute=60):
    seconds = Seconds()
    return Throttle(Rates(limit=Rate(burst, per_minute)), seconds), seconds


def passes(limits, *who):
    try:
        limits.check("limit", *who)
    except TooMany:
        return False
    return True


def test_a_burst_is_let_through_and_then_one_at_a_time():
    limits, seconds = bucket()
    assert [passes(limits, "a") for _ in range(5)] == [True, True, True, False, False]
    seconds.now = 1.0
    assert [passes(limits, "a") for _ in range(2)] == [True, False]
    seconds.now = 1000.0  # a bucket never holds more than the burst
    assert [passes(limits, "a") for _ in range(4)] == [True, True, True, False]


def test_each_caller_and_each_thing_has_a_bucket_of_its_own():
    limits, _ = bucket(burst=1)
    assert passes(limits, "a", "x")
    assert not passes(limits, "a", "x")
    assert passes(limits, "a", "y")
    assert passes(limits, "b", "x")
    limits.check("score", "a", "x")


def test_after_the_seconds_that_are_told_it_works_and_not_much_before():
    limits, seconds = bucket(burst=1, per_minute=10)
    limits.check("limit", "a")
    with pytest.raises(TooMany) as caught:
        limits.check("limit", "a")
    assert caught.value.after == 6
    seconds.now = 5.9
    assert not passes(limits, "a")
    seconds.now = 6.0
    assert passes(limits, "a")


@settings(max_examples=60, deadline=None)
@given(
    burst=st.integers(1, 5),
    per_minute=st.integers(1, 120),
    steps=st.lists(st.floats(0, 20), max_size=40),
)
def test_no_stretch_of_time_lets_more_through_than_burst_and_rate(burst, per_minute, steps):
    limits, seconds = bucket(burst, per_minute)
    times = []
    for step in steps:
        seconds.now += step
        if passes(limits, "a"):
            times.append(seconds.now)
    for first in range(len(times)):
        for last in range(first, len(times)):
            spell = times[last] - times[first]
            assert last - first + 1 <= burst + spell * per_minute / 60 + 1e-6


def test_memory_is_bounded_whoever_asks(monkeypatch):
    monkeypatch.setattr(throttle, "_MOST_BUCKETS", 10)
    limits, _ = bucket(burst=1)
    for number in range(100):
        limits.check("limit", str(number))
    assert len(limits._buckets) == 10
    assert not passes(limits, "99")  # who asked last is remembered


def test_rates_come_from_a_file_or_are_the_defaults(tmp_path):
    assert load_rates(tmp_path) == Rates()
    (tmp_path / "throttle.toml").write_text("[what_if]\nburst = 2\nper_minute = 4\n")
    assert load_rates(tmp_path) == Rates(what_if=Rate(2, 4))


def test_every_finding_of_the_file_comes_at_once(tmp_path):
    text = "[what_if]\nburst = 0\nper_minute = 'x'\nmore = 1\n[other]\nburst = 1\n"
    (tmp_path / "throttle.toml").write_text(text + "[score]\nburst = 1\n")
    with pytest.raises(ConfigError) as caught:
        load_rates(tmp_path)
    text = "\n".join(caught.value.findings)
    for name in ("what_if.burst", "what_if.per_minute", "more", "other", "score.per_minute"):
        assert name in text
    (tmp_path / "throttle.toml").write_text("score = 1")
    with pytest.raises(ConfigError, match="score"):
        load_rates(tmp_path)
