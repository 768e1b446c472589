"""A secure sum in stages: the same protocol, played again from its start over what has arrived."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import BadPeer
from shared.neural.average import mean_job, mean_of, weigh
from shared.protocols.sum import sum_coordinator, sum_party
from shared.sections import Neural
from shared.simulated import MAX_COHORT, Simulation, deal, draw, holder_of
from shared.staged import Post, entropy_of, pack_posts, play, unpack_posts

COORDINATOR = "coordinator"
JOB = Simulation("run", "/f", "/t", "c", 10, 1.0, 1.0, "ab" * 32, Neural())


class Journal:
    def __init__(self):
        self.reveals = []

    def reveal(self, job_digest, input_digest, cohort):
        self.reveals.append((job_digest, input_digest, cohort))


def run_in_stages(inputs, *, tamper=lambda post: post):
    """Exchange posts, stage by stage; return the opened sum, the journals and all posts."""
    names = tuple(sorted(inputs))
    length = len(next(iter(inputs.values()))) - 1
    job = mean_job("run", "phase", names, COORDINATOR, model="m", length=length)
    journals = {name: Journal() for name in names}
    boxes = {name: [] for name in (*names, COORDINATOR)}
    sent, posted, done = dict.fromkeys(boxes, 0), [], {}

    def protocol(name):
        if name == COORDINATOR:
            return lambda channel: sum_coordinator(channel, job)
        entropy = entropy_of(name.encode().ljust(32, b"\0"))
        return lambda channel: sum_party(
            channel, job, inputs[name], journal=journals[name], entropy=entropy
        )

    for _ in range(5):
        fresh = []
        for name, box in boxes.items():
            if name in done:
                continue
            made = play(JOB.member(name, names, "phase"), box, sent[name], protocol(name))
            sent[name] = made.sent
            fresh += made.posts
            if made.done:
                done[name] = made.value
        for post in map(tamper, unpack_posts(pack_posts(fresh))):
            posted.append(post)
            for name in post.to:
                boxes[name].append(post)
    return done, journals, posted


def some_inputs(count, length, seed=0):
    rng = np.random.default_rng(seed)
    return {
        holder_of(i): weigh(rng.normal(size=length), int(rng.integers(1, 50))) for i in range(count)
    }


@settings(max_examples=6, deadline=None)
@given(st.integers(3, 7), st.integers(1, 9), st.integers(0, 5))
def test_the_opened_mean_is_the_weighted_mean_of_the_inputs(count, length, seed):
    inputs = some_inputs(count, length, seed)
    done, journals, _ = run_in_stages(inputs)
    assert set(done) == {*inputs, COORDINATOR}
    mean, n_examples = mean_of(done[COORDINATOR])
    whole = np.sum(list(inputs.values()), axis=0)
    assert n_examples == round(whole[-1])
    np.testing.assert_allclose(mean, whole[:-1] / whole[-1], atol=1e-6)
    assert all(len(journal.reveals) == 2 for journal in journals.values())  # by model, by values


def test_nothing_is_sent_twice_and_no_input_is_sent_in_clear():
    inputs = some_inputs(4, 6)
    _, _, posted = run_in_stages(inputs)
    assert len({(p.sender, p.to, p.tag) for p in posted}) == len(posted)
    masked = [post for post in posted if post.tag.endswith("/masked")]
    assert len(masked) == 4
    for post in masked:
        # These inputs are small: in clear, no element would come near the ring's middle.
        ring = np.frombuffer(post.payload[-8 * 7 :], dtype="<u8")
        assert (np.abs(ring.view(np.int64).astype(float)) > 2.0**50).all()


def test_a_changed_key_or_commitment_stops_the_sum_by_name():
    for step in ("key", "commitment"):

        def tamper(post, step=step):
            if post.sender == holder_of(1) and post.tag.endswith(f"/{step}"):
                wrong = post.payload[:-1] + bytes([post.payload[-1] ^ 1])
                return Post(post.sender, post.to, post.tag, wrong)
            return post

        with pytest.raises(BadPeer, match="is not valid"):
            run_in_stages(some_inputs(3, 4), tamper=tamper)


@given(st.binary(max_size=64))
def test_posts_come_back_and_what_is_none_is_refused(payload):
    posts = [Post("a", ("b", "c"), "t/1", payload), Post("b", (), "", b"")]
    raw = pack_posts(posts)
    assert unpack_posts(raw) == posts
    for wrong in (raw[:-1] if payload else raw + b"x", raw[:3]):
        with pytest.raises(BadPeer):
            unpack_posts(wrong)


@settings(max_examples=25)
@given(st.integers(3, 2000))
def test_cohorts_take_everybody_once_and_are_never_too_small_or_too_large(count):
    dealt = deal(holder_of(place) for place in range(count))
    assert sorted(name for one in dealt for name in one) == [holder_of(i) for i in range(count)]
    sizes = [len(one) for one in dealt]
    assert min(sizes) >= 3
    assert max(sizes) <= MAX_COHORT
    assert max(sizes) - min(sizes) <= 1


def test_the_draw_is_repeatable_differs_by_phase_and_has_the_agreed_size():
    job = Simulation("run", "/f", "/t", "c", 100, 0.1, 1.0, "ab" * 32, Neural())
    assert draw(job, "neural_1") == draw(job, "neural_1")
    assert draw(job, "neural_1") != draw(job, "neural_2")
    assert len(set(draw(job, "neural_1"))) == 10
    assert job.sampled == 10
