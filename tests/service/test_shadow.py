"""The challenger in shadow: noted with every decision, and never deciding one."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import sqlalchemy as sa

from server.accounts.desk import text_of as text
from server.accounts.nightly import review_due
from server.accounts.recording import read_record, replay
from server.accounts.shadow import NAMES, Shade
from server.limits.caps.snapshot import Scorer, Share
from server.limits.caps.whole import WholeScorer, scorer_of
from server.releases.registry import Registry
from server.store.tables import RECORDS
from shared.challenger.compare import Pairs, compare
from shared.challenger.verdict import Verdict
from shared.contract import EVERY
from shared.errors import DataError
from shared.feed import FeedRow
from tests import networks
from tests.networks import manifest, signed
from tests.service.desk_kit import Office, empty_store, good
from tests.service.kit import NOW, baselines, card, name_of

ME = good(0)


@pytest.fixture
def office(tmp_path):
    (tmp_path / "limits.db").write_bytes(empty_store())
    made = Office(tmp_path / "federation", f"sqlite:///{tmp_path}/limits.db", customers=90)
    yield made
    made.close()


def challenge(office, counter=2, *, points=None, evaluation=None, parties=("bank", "bureau")):
    """Take a network and a feed of it from two banks; return its manifest."""
    kit = office.kit
    draft = manifest(kit, counter, evaluation=evaluation)
    kit.registry.take(signed(kit, draft), kit.federation, NOW)
    office.scores.refresh()
    for party in parties:
        rows = [
            FeedRow(name_of(number), (points or told)(number), (("ENQUIRIES", 7),))
            for number in range(90)
        ]
        office.scores.feeds.accept(kit.feed(party, rows, draft), office.clock.text(), party=party)
    office.scores.follow()
    return draft


def told(number):
    return 100 if number % 3 == 2 else 40


def records(office):
    with office.store.read() as db:
        found = db.execute(sa.select(RECORDS.c.record)).scalars().all()
    return [read_record(bytes(one)) for one in found]


def test_a_decision_notes_what_the_challenger_says_and_is_what_it_was_without(office):
    office.line(ME)
    before = records(office)
    draft = challenge(office)
    other = good(1)
    office.line(other)
    (now,) = [one for one in records(office) if one.about["customer"] == other]
    (then,) = before
    assert now.about["model"] == "scorecard-0001"
    shade = Shade.read(now.about)
    assert shade is not None
    assert shade.release == draft.name
    assert shade.rating == WholeScorer(draft.model).rating(100)
    assert shade.reasons == ("S-ENQUIRIES",)
    assert shade.rating.score != now.grounds.snapshot.rating.score
    # Two customers with the same points: with and without a challenger the outcome is the same.
    assert now.grounds.snapshot == then.grounds.snapshot
    assert now.outcome.caps == then.outcome.caps
    assert now.outcome.after.effective_limit_minor == then.outcome.after.effective_limit_minor
    assert Shade.read(then.about) is None
    assert not set(NAMES) & set(then.about)


def test_a_record_with_a_shadow_replays_bit_for_bit(office):
    challenge(office)
    office.line(ME)
    (record,) = records(office)
    assert Shade.read(record.about)
    texts = {one.digest: one.text for one in office.desk.rules.sources.values()}
    assert replay(record.to_bytes(), texts) == record.outcome


def test_a_review_at_night_notes_it_and_a_stale_challenger_is_silent(office):
    draft = challenge(office)
    office.line(ME)
    office.line(good(1))
    when = {"as_of": "2026-04-01", "created": text(office.later(days=31))}
    for party, raw in office.kit.feeds(9, **when).items():
        office.scores.feeds.accept(raw, office.clock.text(), party=party)
    fresh = [FeedRow(ME, 40, ())]
    raw = office.kit.feed("payments", fresh, draft, **when)
    office.scores.feeds.accept(raw, office.clock.text(), party="payments")
    office.scores.follow()
    review_due(office.desk)
    found = {
        one.about["customer"]: Shade.read(one.about)
        for one in records(office)
        if one.ask.purpose == "review"
    }
    assert found[ME].rating.points == 40
    assert found[good(1)] is None


def test_a_challenger_without_feeds_or_that_does_not_verify_changes_nothing(office):
    challenge(office, parties=())
    office.line(ME)
    path = office.kit.folder / "releases/neural-0002/weights.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    office.scores.shadow.load(office.scores.registry, office.clock.text())
    assert "weights" in office.scores.shadow.refusal
    office.line(good(1))
    assert [Shade.read(one.about) for one in records(office)] == [None, None]
    answer = office.get("auditor", "/v1/monitoring/challenger").json()
    assert "weights" in answer["refused"]
    assert (answer["challenger"], answer["limits"]) == (None, None)


def test_only_holders_that_the_customer_allows_are_looked_at(office):
    challenge(office, parties=("bank",))
    now = office.clock.text()
    assert office.scores.shadow.score(ME, now) is not None
    assert office.scores.shadow.score(ME, now, ("bureau",)) is None
    assert office.scores.shadow.score("0" * 64, now) is None
    assert office.scores.shadow.score(ME, "2027-03-02T08:00:00Z") is None


def test_the_newest_challenger_is_the_one_in_shadow_and_no_champion_is(office):
    challenge(office)
    newer = challenge(office, 3)
    assert office.scores.shadow.release == newer
    office.kit.registry.retire(newer.name, NOW, "no")
    office.scores.refresh()
    assert office.scores.shadow.release.name == "neural-0002"


# Watching.


def test_both_models_are_told_beside_each_other_once_enough_people_are_seen(office):
    challenge(office)
    for number in range(30):
        office.line(good(number))
    few = office.get("auditor", "/v1/monitoring/challenger").json()
    assert (few["champion"], few["challenger"]) == ("scorecard-0001", "neural-0002")
    assert few["people"] is None
    assert few["limits"] is few["grades"] is few["reasons"] is few["outcomes"] is None
    object.__setattr__(office.desk.rules.monitoring, "floor", 10)
    try:
        seen = office.get("auditor", "/v1/monitoring/challenger").json()
    finally:
        object.__setattr__(office.desk.rules.monitoring, "floor", 50)
    assert seen["people"] == 30
    limits = seen["limits"]
    assert limits["same"] + limits["higher"] + limits["lower"] == 30
    assert limits["champion_minor"] > 0
    assert few["swap"] is None
    cells = seen["swap"].values()
    assert sum(cell["people"] for cell in cells) == 30
    for side in ("old", "new"):
        model = {"old": "champion", "new": "challenger"}[side]
        assert sum(cell[f"{side}_minor"] for cell in cells) == limits[f"{model}_minor"]
    assert sum(sum(row.values()) for row in seen["grades"].values()) == 30
    assert 0 <= seen["reasons"]["overlap"] <= 1
    assert ME not in json.dumps(seen)


# A network that serves.


def compared():
    rng = np.random.default_rng(1)
    label = (rng.random(2000) < 0.3).astype(np.int64)
    truth = label + rng.normal(size=2000)
    prob = [1 / (1 + np.exp(-gain * truth - rng.normal(size=2000))) for gain in (1.0, 1.6)]
    return compare(Pairs.of_rows(label, *prob), np.random.default_rng(0), replicates=10)


def test_a_promoted_network_serves_scores_limits_and_reasons(office):
    registry = Registry(office.kit.folder / "releases")
    champion = registry.book().champion.digest
    verdict = Verdict(champion, "", compared())
    evaluation = {"auc": 0.8, "against": verdict.to_mapping()}
    draft = challenge(office, evaluation=evaluation, points=lambda _: 300)
    registry.promote(draft.name, office.kit.federation, NOW, "better")
    office.scores.refresh()
    answer = office.get(ME, f"/v1/customers/{ME}/score")
    assert answer.status_code == 200, answer.text
    score = answer.json()
    assert score["model"]["name"] == "neural-0002"
    assert score["points"] == 300
    assert score["missing"] == []
    assert [one["party"] for one in score["holders"]] == ["bank"]
    assert [one["code"] for one in score["reasons"]] == ["S-ENQUIRIES"]
    model = office.get(ME, "/v1/model").json()
    assert (model["kind"], model["points_kept"]) == ("neural", None)
    assert model["parameters"] == draft.model.parameters
    office.line(ME)
    (record,) = records(office)
    assert record.about["model"] == "neural-0002"
    assert Shade.read(record.about) is None  # the card that served before is no challenger


def test_of_two_banks_the_lower_score_counts_with_its_reasons():
    scorer = WholeScorer(networks.network("c" * 64))
    shares = {"one": Share(80, (("A", 3),)), "two": Share(-20, (("B", 9),))}
    found = scorer.snapshot(shares, {"three": "no feed"})
    assert found.points == {"two": -20}
    assert [reason.code for reason in found.reasons] == ["S-B"]
    assert found.at_best == found.rating == scorer.rating(-20)
    assert not found.missing
    assert found.hears("two")
    assert not found.hears("one")
    with pytest.raises(DataError, match="no holder"):
        scorer.snapshot({}, {"one": "stale"})
    with pytest.raises(DataError):
        scorer.snapshot({"one": Share(9000)}, {})


def test_a_card_of_several_banks_is_scored_whole_by_any_of_them():
    alike = replace(card(), lines=tuple(replace(line, owner=EVERY) for line in card().lines))
    scorer = scorer_of(alike, {"one": 66, "two": 66})
    found = scorer.snapshot({"two": Share(119)}, {"one": "unknown customer"})
    assert (found.rating.points, found.missing) == (119, {})
    assert isinstance(scorer_of(card(), baselines()), Scorer)
    with pytest.raises(DataError):
        scorer.snapshot({"two": Share(120)}, {})
