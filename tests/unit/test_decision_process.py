"""The best policy of a small process: the study's vector, and two ways that must agree."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.replay.decision_process import policy_iteration, value_iteration
from shared.errors import UsageError

# Domain study T32, matrices of its section 8: four states, four limits.
_TEXT = """
.2 .798 .001 .001  .001 .1 .2 .699  .099 .001 .8 .1  .001 .001 .898 .1
.2 .001 .001 .798  .001 .2 .798 .001  .001 .4 .1 .499  .1 .2 .001 .699
.001 .1 .001 .898  .798 .2 .001 .001  .001 .001 .001 .997  .001 .2 .5 .299
.2 .001 .001 .798  .1 .001 .299 .6  .001 .1 .001 .898  .001 .001 .1 .898
"""
CHANCES = np.array([float(one) for one in _TEXT.split()]).reshape(4, 4, 4)
REWARDS = np.array([[0, 0, 0.9, 0.1], [0, 0.8, 0, 0.2], [0.1, 0, 0.7, 0.2], [0, 0, 0, 1]])
VALUE = [194.323621, 193.958706, 194.171482, 194.444581]


@pytest.mark.parametrize("method", [value_iteration, policy_iteration])
def test_t32_gives_the_policy_and_the_values_of_the_study(method):
    best = method(CHANCES, REWARDS, 0.995)
    assert best.policy.tolist() == [2, 1, 2, 3]
    np.testing.assert_allclose(best.value, VALUE, atol=1e-6)
    assert best.rounds < (10_000 if method is value_iteration else 6)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 5), st.integers(1, 4), st.floats(0.1, 0.97), st.integers(0, 2**32 - 1))
def test_both_ways_agree_and_no_single_change_is_better(states, actions, discount, seed):
    rng = np.random.default_rng(seed)
    chances = rng.dirichlet(np.ones(states), (actions, states))
    rewards = rng.normal(size=(states, actions))
    one = value_iteration(chances, rewards, discount)
    other = policy_iteration(chances, rewards, discount)
    np.testing.assert_allclose(one.value, other.value, atol=1e-6)
    worth = rewards + discount * (chances @ other.value).T
    assert (worth <= other.value[:, None] + 1e-6).all()


def test_what_is_no_process_is_refused():
    with pytest.raises(UsageError, match=r"shape \(4, 4, 4\)"):
        value_iteration(CHANCES[:2], REWARDS, 0.9)
    with pytest.raises(UsageError, match="distribution"):
        policy_iteration(CHANCES * 0.9, REWARDS, 0.9)
    for discount in (0.0, 1.0):
        with pytest.raises(UsageError, match="between 0 and 1"):
            value_iteration(CHANCES, REWARDS, discount)
