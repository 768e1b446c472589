"""A challenger that decides for its share of the customers, the same ones as long as it lasts."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import sqlalchemy as sa

from server.accounts.recording import read_record, replay
from server.accounts.shadow import Shade
from server.monitor.champion import slot
from server.releases.book import MOST_SLOTS, Trial
from server.store.tables import RECORDS
from shared.errors import NotFound, ReleaseRefused, UsageError
from tests.networks import manifest, signed
from tests.service.desk_kit import Office, empty_store, good
from tests.service.kit import NOW

CHAMPION, CHALLENGER = "scorecard-0001", "scorecard-0002"
SALT = "spring"
PEOPLE = [good(number) for number in range(12)]
TRIED = [one for one in PEOPLE if slot(one, SALT) < MOST_SLOTS]


@pytest.fixture
def office(tmp_path):
    """A service with a challenger in shadow, and everybody's feeds of both."""
    (tmp_path / "limits.db").write_bytes(empty_store())
    made = Office(tmp_path / "federation", f"sqlite:///{tmp_path}/limits.db", customers=90)
    kit = made.kit
    kit.registry.take(kit.release(2), kit.federation, NOW)
    made.scores.refresh()
    feed(made, kit.manifest(2))
    yield made
    made.close()


def feed(office, draft, parties=None):
    for party, raw in office.kit.feeds(90, draft, parties).items():
        office.scores.feeds.accept(raw, office.clock.text(), party=party)
    office.scores.follow()


def tries(office, slots=MOST_SLOTS, salt=SALT, release=CHALLENGER):
    trial = Trial(release, slots, salt)
    office.kit.registry.try_out(trial, office.kit.federation, NOW, "a tenth")
    office.scores.refresh()


def decided(office, people):
    """Open lines; return which model decided for whom, and who was noted beside it."""
    for one in people:
        office.line(one)
    with office.store.read() as db:
        raw = db.execute(sa.select(RECORDS.c.record)).scalars().all()
    found = {}
    for one in map(bytes, raw):
        record = read_record(one)
        if record.ask.purpose == "open":
            shade = Shade.read(record.about)
            found[record.about["customer"]] = record.about["model"], shade and shade.release
            texts = {rule.digest: rule.text for rule in office.desk.rules.sources.values()}
            assert replay(one, texts) == record.outcome
    return found


def test_it_decides_for_its_share_alone_and_is_noted_for_the_others(office):
    assert 0 < len(TRIED) < len(PEOPLE)
    tries(office)
    found = decided(office, PEOPLE)
    for one in PEOPLE:
        assert found[one] == ((CHALLENGER, None) if one in TRIED else (CHAMPION, CHALLENGER))
        told = office.get("alice", f"/v1/customers/{one}/score").json()
        assert told["model"]["name"] == found[one][0]
    assert office.get("auditor", "/v1/monitoring/challenger").json()["slots"] == MOST_SLOTS
    # Only decisions of the champion compare the two.
    noted = [shade for _, shade in found.values() if shade]
    assert len(noted) == len(PEOPLE) - len(TRIED)


def test_it_ends_by_word_by_promotion_and_by_retirement(office):
    registry, federation = office.kit.registry, office.kit.federation
    tries(office)
    registry.end_trial(CHALLENGER, NOW, "enough")
    office.scores.refresh()
    assert decided(office, TRIED[:1])[TRIED[0]] == (CHAMPION, CHALLENGER)
    with pytest.raises(UsageError, match="decides for nobody"):
        registry.end_trial(CHALLENGER, NOW, "again")
    tries(office)
    registry.promote(CHALLENGER, federation, NOW, "good")
    assert registry.book().trial is None
    registry.rollback(federation, NOW, "not so good")  # a challenger again, but not tried
    assert registry.book().trial is None
    tries(office)
    registry.retire(CHALLENGER, NOW, "bad")
    assert registry.book().trial is None
    assert [one.reason for one in registry.book().log if one.action == "trial"] == [
        "a tenth; for 5000 of 10,000 customers, salt 'spring'",
        "enough; for nobody",
        *["a tenth; for 5000 of 10,000 customers, salt 'spring'"] * 2,
    ]


def test_where_a_holder_is_missing_or_it_does_not_verify_the_champion_decides(office):
    tries(office)
    shelf = office.scores.shadow.feeds.shelf
    others = {name: one for name, one in shelf.in_use.items() if name != "bureau"}
    office.scores.shadow.feeds._shelf = replace(shelf, in_use=others)
    assert decided(office, TRIED[:1])[TRIED[0]][0] == CHAMPION
    path = office.kit.folder / "releases" / CHALLENGER / "manifest.json"
    path.write_bytes(path.read_bytes()[:-2])
    office.scores.shadow.load(office.scores.registry, office.clock.text())
    assert office.scores.shadow.refusal
    assert office.scores.shadow.slots == 0
    assert decided(office, TRIED[1:2])[TRIED[1]] == (CHAMPION, None)


@pytest.mark.parametrize(
    ("trial", "kind", "why"),
    [
        (Trial(CHALLENGER, 0, SALT), UsageError, "1 to 5000 of 10,000"),
        (Trial(CHALLENGER, MOST_SLOTS + 1, SALT), UsageError, "1 to 5000 of 10,000"),
        (Trial(CHALLENGER, 10, ""), UsageError, "a salt is"),
        (Trial(CHALLENGER, 10, "a b"), UsageError, "a salt is"),
        (Trial(CHAMPION, 10, SALT), UsageError, "is no challenger"),
        (Trial("scorecard-0009", 10, SALT), NotFound, "no release"),
    ],
)
def test_what_cannot_be_tried_is_refused_and_changes_nothing(office, trial, kind, why):
    before = office.kit.registry.book()
    with pytest.raises(kind, match=why):
        office.kit.registry.try_out(trial, office.kit.federation, NOW, "no")
    assert office.kit.registry.book() == before


def test_another_kind_of_model_needs_the_comparison_that_it_needs_to_serve(office):
    draft = manifest(office.kit, 3)
    office.kit.registry.take(signed(office.kit, draft), office.kit.federation, NOW)
    with pytest.raises(ReleaseRefused) as caught:
        tries(office, release=draft.name)
    assert caught.value.check == "comparison"
    assert office.kit.registry.book().trial is None


def test_a_registry_of_before_has_no_trial_and_a_damaged_one_is_refused(office):
    path = office.kit.registry.folder / "registry.json"
    tries(office)
    whole = json.loads(path.read_text())
    assert office.kit.registry.book().trial == Trial(CHALLENGER, MOST_SLOTS, SALT)
    path.write_text(json.dumps({name: whole[name] for name in whole if name != "trial"}))
    assert office.kit.registry.book().trial is None
    for wrong in (
        {"release": CHAMPION, "slots": 10, "salt": SALT},
        {"release": CHALLENGER, "slots": 9_999, "salt": SALT},
        {"release": CHALLENGER, "slots": "10", "salt": SALT},
        {"release": CHALLENGER, "slots": 10},
    ):
        path.write_text(json.dumps({**whole, "trial": wrong}))
        with pytest.raises(ReleaseRefused) as caught:
            office.kit.registry.book()
        assert caught.value.check == "form"
