"""A budget refuses when it is spent, and no crash gives anything back; a ledger is worked out."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest

from clients.noise.budget import Budget, Limit
from clients.store import Store
from shared.errors import BadPeer, BudgetSpent, UsageError
from shared.ledger import Entry, Noise, append, line_from_mapping, verify
from shared.privacy.accounting import UNIT, Mechanism, epsilon
from shared.privacy.audit import audit, details, noise_of
from shared.privacy.noise import SharedNoise

ROOT = Path(__file__).resolve().parents[2]
LIMIT = Limit(1.0, 1e-5)
RELEASE = Mechanism(6.0)  # epsilon .6


def budget(path, limit=LIMIT):
    return Budget(path / "budget.jsonl", limit, lambda: "2026-01-02T03:04:05Z")


def test_a_budget_adds_up_over_runs_and_refuses_when_it_is_spent(tmp_path):
    first = budget(tmp_path).spend("one", "moments", "ab", RELEASE)
    second = budget(tmp_path).spend("two", "moments", "cd", RELEASE)
    assert first < second <= LIMIT.epsilon
    assert second == epsilon([RELEASE, RELEASE], LIMIT.delta) == budget(tmp_path).epsilon()
    before = (tmp_path / "budget.jsonl").read_bytes()
    with pytest.raises(BudgetSpent, match="of 1 allowed"):
        budget(tmp_path).spend("three", "moments", "ef", RELEASE)
    assert (tmp_path / "budget.jsonl").read_bytes() == before
    budget(tmp_path, Limit(2.0, 1e-5)).spend("three", "moments", "ef", RELEASE)
    assert [line.run for line in budget(tmp_path).lines()] == ["one", "two", "three"]


def test_the_same_release_asked_for_again_costs_again(tmp_path):
    once = budget(tmp_path).spend("one", "moments", "ab", RELEASE)
    assert budget(tmp_path).spend("one", "moments", "ab", RELEASE) > once


def test_what_is_left_says_how_much_noise_the_next_release_needs(tmp_path):
    budget(tmp_path).spend("one", "moments", "ab", RELEASE)
    least = budget(tmp_path).multiplier_left()
    budget(tmp_path).spend("two", "moments", "cd", Mechanism(least))
    with pytest.raises(BudgetSpent):
        budget(tmp_path).spend("three", "moments", "ef", Mechanism(60.0))


@pytest.mark.parametrize("when", ["after the write", "during the write"])
def test_a_kill_between_write_and_use_gives_nothing_back(tmp_path, when):
    code = f"""
        import os, signal
        from pathlib import Path
        from clients.noise.budget import Budget, Limit
        from shared.privacy.accounting import Mechanism
        path = Path({str(tmp_path)!r})
        if {when!r} == "during the write":
            os.fsync = lambda handle: os.kill(os.getpid(), signal.SIGKILL)
        Budget(path / "budget.jsonl", Limit(1.0, 1e-5)).spend("r", "m", "ab", Mechanism(4.0))
        os.kill(os.getpid(), signal.SIGKILL)
        (path / "used").touch()
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
        timeout=120,
    )
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "used").exists()
    assert [line.mechanism for line in budget(tmp_path).lines()] == [Mechanism(4.0)]
    with pytest.raises(BudgetSpent):
        budget(tmp_path).spend("r", "m", "ab", Mechanism(4.0))


def test_half_a_line_of_a_crash_is_dropped_and_a_damaged_one_is_refused(tmp_path):
    budget(tmp_path).spend("one", "moments", "ab", Mechanism(30.0))
    path = tmp_path / "budget.jsonl"
    path.write_bytes(path.read_bytes() + b'{"kind": "privacy", "mult')
    budget(tmp_path).spend("two", "moments", "cd", Mechanism(30.0))
    assert len(budget(tmp_path).lines()) == 2
    value = json.loads(path.read_text().splitlines()[0])
    path.write_text(json.dumps({**value, "multiplier": -1}) + "\n")
    with pytest.raises(BadPeer, match="no spending"):
        budget(tmp_path).lines()


@pytest.mark.parametrize("wrong", [(0.0, 1e-5), (float("inf"), 1e-5), (1.0, 0.0), (1.0, 1.0)])
def test_a_limit_that_limits_nothing_is_refused(wrong):
    with pytest.raises(UsageError):
        Limit(*wrong)


NOISE = noise_of(SharedNoise(3, 1, 494, 6.0), 1e-5)


def record(store, what, recipient, **more):
    store.record(
        "r",
        "moments",
        what,
        unit=UNIT,
        recipient=recipient,
        rows=10,
        values=5,
        binding="ab",
        **more,
    )


def test_a_ledger_says_unit_recipient_and_epsilon_and_comes_to_the_truth(tmp_path):
    store = Store(tmp_path)
    record(store, "moments", "bank", **details(NOISE))
    record(store, "edges", "all banks", **details(replace(NOISE, multiplier=20.0)))
    record(store, "overlap", "bank")
    lines = store.ledger()
    assert lines[0].entry.noise == NOISE
    assert lines[0].entry.epsilon == pytest.approx(0.6, abs=0.05)
    found = audit(lines, 1e-5)
    assert found.epsilon == epsilon([Mechanism(6.0), Mechanism(20.0)], 1e-5)
    assert (found.with_noise, found.without, found.whole) == (2, 1, False)
    assert dict(found.by_recipient)["bank"] < found.epsilon
    assert audit(lines[:2], 1e-5).whole


def test_an_epsilon_that_the_noise_does_not_cost_is_found(tmp_path):
    store = Store(tmp_path)
    record(store, "moments", "bank", **{**details(NOISE), "epsilon": 0.1})
    with pytest.raises(BadPeer, match=r"line 0 \(moments\) says epsilon 0\.1"):
        audit(store.ledger(), 1e-5)


def test_noise_that_the_accounting_does_not_know_is_refused(tmp_path):
    store = Store(tmp_path)
    record(store, "moments", "bank", epsilon=0.1, noise=replace(NOISE, mechanism="laplace"))
    with pytest.raises(BadPeer, match="laplace"):
        audit(store.ledger(), 1e-5)


def test_epsilon_and_noise_stand_together_or_not_at_all():
    fields = ("t", "r", "p", "w", "u", "b", 1, 1, "ab")
    with pytest.raises(UsageError, match="belong together"):
        Entry(*fields, epsilon=0.1)
    with pytest.raises(UsageError, match="belong together"):
        Entry(*fields, noise=NOISE)


def test_a_line_of_before_there_was_noise_still_verifies():
    plain = append(None, Entry("t", "r", "p", "w", "u", "b", 1, 1, "ab"))
    assert set(plain.to_mapping()["entry"]) == {
        "time", "run", "phase", "what", "unit", "recipient", "rows", "values", "binding", "epsilon"
    }  # fmt: skip
    noisy = append(plain, Entry("t", "r", "p", "w", "u", "b", 1, 1, "ab", 0.6, NOISE))
    again = [line_from_mapping(json.loads(json.dumps(one.to_mapping()))) for one in (plain, noisy)]
    assert verify(again) == noisy
    assert isinstance(again[1].entry.noise, Noise)
    with pytest.raises(BadPeer, match="malformed"):
        line_from_mapping({**noisy.to_mapping(), "entry": {"noise": {"multiplier": 1.0}}})
