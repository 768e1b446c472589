"""Scores: one whole number a customer is opened, at the builder, and not too often."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from clients.journal import Journal
from shared.errors import BudgetSpent, Refused
from shared.protocols.score import (
    MAX_POINTS,
    ScoreJob,
    add_points,
    assist,
    check_two_parties,
    digests,
)
from shared.sealed import Session
from tests.support import COORDINATOR, run_parties

NAMES = ("bank", "bureau", "ecommerce", "payments", "telecom")
N = 400


def job_of(n_parties, **changed):
    job = ScoreJob(
        run="run",
        attempt=1,
        holders=NAMES[:n_parties],
        builder="bank",
        coordinator=COORDINATOR,
        n_rows=N,
        card="c" * 64,
    )
    return replace(job, **changed)


def points_of(job, seed=0):
    rng = np.random.default_rng(seed)
    return {name: rng.integers(-400, 400, job.n_rows) for name in job.holders}


def customers_of(points, people="the same people"):
    ids = [f"{people} {row}" for row in range(len(points))]
    return digests(ids, points)


def play(folder, job, points, **how):
    def party(name, channel):
        journal = Journal(folder / f"{name}.jsonl")
        return add_points(
            channel, job, points[name], customers=customers_of(points[name]), journal=journal
        )

    roles = {name: partial(party, name) for name in job.holders}
    return run_parties(roles | {COORDINATOR: lambda channel: assist(channel, job)}, **how)


@pytest.mark.parametrize("n_parties", [3, 4, 5])
def test_the_builder_has_the_exact_sums_and_nobody_else_has_anything(tmp_path, n_parties):
    job = job_of(n_parties)
    points = points_of(job)
    run = play(tmp_path, job, points)
    np.testing.assert_array_equal(run.value("bank"), sum(points.values()))
    assert [run.value(name) for name in job.holders[1:]] == [None] * (n_parties - 1)


def test_the_largest_points_of_ten_parties_fit_the_ring(tmp_path):
    job = job_of(5)
    for sign in (1, -1):
        points = {name: np.full(N, sign * MAX_POINTS) for name in job.holders}
        run = play(tmp_path, replace(job, card=f"{sign:064d}"), points)
        np.testing.assert_array_equal(run.value("bank"), np.full(N, sign * 5 * MAX_POINTS))
    assert 10 * MAX_POINTS < 2**15


def test_two_parties_are_refused_unless_they_accept_it(tmp_path):
    job = job_of(2)
    run = play(tmp_path, job, points_of(job))
    assert all(isinstance(run.results[name], Refused) for name in job.holders)
    assert not [frame for frame in run.frames if frame.tag.startswith("score")]
    assert not list(tmp_path.iterdir())
    accepted = replace(job, two_party_scores="accept")
    points = points_of(job)
    run = play(tmp_path, accepted, points)
    np.testing.assert_array_equal(run.value("bank"), sum(points.values()))
    assert run.value("bureau") is None
    check_two_parties(job_of(3))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda points: points + MAX_POINTS + 400,
        lambda points: points - MAX_POINTS - 400,
        lambda points: points[:-1],
        lambda points: points[:, None],
    ],
)
def test_points_out_of_range_or_of_another_length_do_not_leave(tmp_path, spoil):
    job = job_of(3)
    points = points_of(job)
    points["bureau"] = spoil(points["bureau"])
    run = play(tmp_path, job, points, deadline=1.0)
    assert isinstance(run.results["bureau"], Refused)
    assert "bank" in run.errors
    assert not (tmp_path / "bureau.jsonl").exists()
    sent = [frame for frame in run.frames if frame.sender == "bureau" and "sum" in frame.tag]
    assert not sent


def test_openings_of_other_points_are_counted_and_refused_after_the_allowed_number(tmp_path):
    job = job_of(3, openings=2)
    for seed in range(2):
        play(tmp_path, replace(job, card=f"{seed:064d}"), points_of(job, seed)).value("bank")
    run = play(tmp_path, replace(job, card="2" * 64), points_of(job, 2), deadline=1.0)
    assert all(isinstance(run.results[name], BudgetSpent) for name in job.holders)
    assert "2 different cards were opened" in str(run.results["bank"])
    assert not [frame for frame in run.frames if "sum" in frame.tag]


def test_the_same_points_of_the_same_customers_are_not_counted_again(tmp_path):
    job = job_of(3, openings=1)
    for run in ("one", "two", "three"):
        session = Session(run, "test", 1, "0" * 64)
        again = replace(job, run=run)
        play(tmp_path, again, points_of(job), session=session).value("bank")


def test_a_digest_of_customers_forgets_their_order_and_nothing_else():
    ids, points = ["a", "b", "c"], np.array([1, 2, 3])
    assert digests(ids, points) == digests(["c", "a", "b"], np.array([3, 1, 2]))
    assert digests(ids, points)[0] == digests(ids, points + 1)[0]
    assert digests(ids, points)[1] != digests(ids, points[::-1])[1]
    assert digests(["a", "bc"], points[:2])[0] != digests(["ab", "c"], points[:2])[0]
