"""Plans that are not run would have told nothing else: against a search that runs every one."""

from __future__ import annotations

from datetime import timedelta
from itertools import combinations, product

import pytest
from hypothesis import given, settings

from server.limits.answers import advice as searched
from server.limits.answers.whatif import PolicyReviews
from tests.depth import depth
from tests.property import test_advice_property as scenes


def exhaustive(reviews):
    """Try every plan of every set of actions, and tell the best."""
    day = reviews.today()
    search = searched._Search(reviews, day + timedelta(days=scenes.ACTIONS.horizon_days))
    options = {} if reviews.waits_for() else searched._options(scenes.ACTIONS, reviews, day)
    found = []
    for size in range(1, scenes.ACTIONS.together + 1):
        for codes in combinations(options, size):
            plans = product(*(options[code] for code in codes))
            found += [search.run(codes, plan) for plan in plans]
    helps = [one for one in found if one is not None]
    return searched._told(helps, scenes.ACTIONS.most), search.runs


def advised(reviews):
    return searched.advise(reviews, scenes.ACTIONS, holders=(), card_codes=())


@settings(max_examples=depth(40, 400), deadline=None)
@given(scenes.policies(), scenes.present | scenes.outages, scenes.customers())
def test_of_the_caps_nothing_better_is_missed(policy, snapshot, inputs):
    reviews = PolicyReviews(policy, scenes.PACK, snapshot, inputs)
    assert advised(reviews).advice == exhaustive(reviews)[0]


@pytest.mark.slow
@settings(max_examples=depth(25, 100), deadline=None)
@given(scenes.histories())
def test_of_a_line_with_a_past_nothing_better_is_missed(reviews):
    found, runs = exhaustive(reviews)
    told = advised(reviews)
    assert told.advice == found
    assert told.runs <= runs + 1
