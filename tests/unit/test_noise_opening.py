"""What a party pays and writes down before anything with noise leaves it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from clients.noise.opening import Opening, budget_of, release
from clients.store import Store
from shared.errors import BudgetSpent, Refused
from shared.privacy.noise import SharedNoise
from shared.protocols.sum_job import FreshInputs

NOISE = SharedNoise(3, 1, 100, 2.0)
OPENING = Opening("moments", "counts", "bank", 1000, 5, "ab" * 32)
RUN = SimpleNamespace(name="first")


def party(home, epsilon=10.0):
    """Return as much of a party as a release asks for."""
    return SimpleNamespace(
        settings=SimpleNamespace(privacy_epsilon=epsilon, privacy_delta=1e-5),
        federation=SimpleNamespace(privacy=SimpleNamespace(delta=1e-5)),
        store=Store(home),
    )


def crash(*_, **__):
    raise MemoryError


def paid_and_told(one):
    paid = [line.what for line in budget_of(one).lines()]
    return paid, [line.entry.what for line in one.store.ledger()]


def test_a_release_is_paid_then_told_then_drawn(tmp_path, monkeypatch):
    pytest.importorskip("dp_accounting")
    one = party(tmp_path)
    with monkeypatch.context() as dying:
        dying.setattr(Store, "record", crash)
        with pytest.raises(MemoryError):
            release(one, RUN, NOISE, OPENING)
    assert paid_and_told(one) == (["counts"], [])
    with monkeypatch.context() as dying:
        dying.setattr(SharedNoise, "draw", crash)
        with pytest.raises(MemoryError):
            release(one, RUN, NOISE, OPENING)
    assert paid_and_told(one) == (["counts"] * 2, ["counts"])
    assert release(one, RUN, NOISE, OPENING).shape == (5,)
    assert paid_and_told(one) == (["counts"] * 3, ["counts"] * 2)


@pytest.mark.parametrize("epsilon", [0.0, 0.01])
def test_what_cannot_be_paid_is_neither_told_nor_drawn(tmp_path, monkeypatch, epsilon):
    pytest.importorskip("dp_accounting")
    one = party(tmp_path, epsilon)
    monkeypatch.setattr(SharedNoise, "draw", crash)
    with pytest.raises(BudgetSpent):
        release(one, RUN, NOISE, OPENING)
    assert not list(tmp_path.iterdir())


def test_a_noisy_input_may_go_into_a_smaller_cohort_where_an_exact_one_may_not(tmp_path):
    journal = Store(tmp_path).journal
    for fresh in (FreshInputs(), journal):
        fresh.reveal("11" * 32, "22" * 32, ("a", "b", "c", "d"))
    FreshInputs().reveal("33" * 32, "22" * 32, ("a", "b", "c"))
    with pytest.raises(Refused, match="already revealed"):  # the control
        journal.reveal("33" * 32, "22" * 32, ("a", "b", "c"))
