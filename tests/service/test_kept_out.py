"""A release that scores by what the law keeps out does not serve, from that law's day on."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from server.accounts.scores import LimitService, load_policy
from server.limits.rules.pack_rows import Duty, Origin
from server.releases.book import MOST_SLOTS, Trial
from shared.errors import ReleaseRefused
from tests.service.kit import NOW, Kit, name_of, row

RULE = "financial data only"
SINCE = date(2026, 3, 5)
BEFORE, AFTER = NOW, "2026-03-05T08:00:00Z"


@pytest.fixture
def kit(tmp_path):
    kit = Kit(tmp_path)
    kit.serve()
    return kit


def service(kit, clock, *topics):
    policy, pack = load_policy(None)
    duty = Duty("financial_data_only", SINCE, Origin("in force", True, RULE, "here"), topics)
    made = LimitService(kit.folder, kit.federation, policy, replace(pack, duties=(duty,)), clock)
    made.refresh()
    for party, raw in kit.feeds(40).items():
        made.feeds.accept(raw, BEFORE, party=party, keep=False)
    return made


def test_it_serves_until_that_day_and_names_holder_topic_and_rule_from_then_on(kit):
    now = [BEFORE]
    found = service(kit, lambda: now[0], "RETURNS", "TRAVEL")
    assert found.score(name_of(2)).snapshot.rating.score > 0
    now[0] = AFTER
    with pytest.raises(ReleaseRefused) as caught:
        found.score(name_of(2))
    assert caught.value.check == "law"
    assert "RETURNS of ecommerce; financial data only" in str(caught.value)
    assert "TRAVEL" not in str(caught.value)


def test_it_is_not_loaded_where_the_day_has_come(kit):
    policy, pack = load_policy(None)
    duty = Duty("x", SINCE, Origin("in force", True, RULE, "here"), ("RETURNS",))
    packed = replace(pack, duties=(duty,))
    with pytest.raises(ReleaseRefused, match="RETURNS of ecommerce"):
        LimitService(kit.folder, kit.federation, policy, packed, lambda: AFTER).start()
    draft = replace(pack, duties=(replace(duty, origin=replace(duty.origin, status="draft")),))
    LimitService(kit.folder, kit.federation, policy, draft, lambda: AFTER).start()


def test_a_card_without_such_topics_serves(kit):
    found = service(kit, lambda: AFTER, "TRAVEL")
    assert found.score(name_of(2)).snapshot.rating.score > 0


def test_a_challenger_on_trial_that_it_keeps_out_decides_for_nobody(kit):
    """The champion is older, and does without."""
    whole = kit.manifest(2)
    lines = tuple(
        replace(line, reason="TRAVEL") if line.reason == "RETURNS" else line
        for line in whole.model.lines
    )
    means = {line.reason: line.mean for line in lines}
    model = replace(whole.model, lines=lines, baseline=replace(whole.model.baseline, values=means))
    draft = replace(whole, model=model)
    kit.registry.take(kit.sign(draft), kit.federation, NOW)
    kit.registry.try_out(Trial(draft.name, MOST_SLOTS, "all"), kit.federation, NOW, "test")
    now = [BEFORE]
    found = service(kit, lambda: now[0], "TRAVEL")
    for party in kit.federation.holders:
        rows = [row(party, number)._replace(reasons=()) for number in range(40)]
        raw = kit.feed(party, rows, draft)
        found.shadow.feeds.accept(raw, BEFORE, party=party, keep=False)
    people = map(name_of, range(40))
    one = next(name for name in people if found.shadow.decides(name, BEFORE) is not None)
    assert found.score(one).release.name == draft.name
    now[0] = AFTER
    assert found.score(one).release.name == "scorecard-0001"
