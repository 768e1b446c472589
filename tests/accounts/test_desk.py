"""The desk: rules with their texts, and the days of a place."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from server.accounts.desk import DECIDING, RuleText, open_desk, rule_texts, rulebook_of
from server.store import people
from shared.errors import ConfigError, EnvironmentFault, NotFound, UsageError
from tests.accounts.kit import Office


def line_text(office, old, new):
    text = office.rules.sources["line"].text
    assert text.count(old) == 1
    return RuleText.of(text.replace(old, new), "line.toml")


def at(*moment):
    return datetime(*moment, tzinfo=UTC)


def test_every_text_of_the_rules_is_kept_by_its_digest_once(office):
    digests = office.rules.digests()
    assert set(DECIDING) - {"overlays"} <= digests.keys()
    with office.store.read() as db:
        kept = people.texts_at(db, digests.values())
    assert kept == {one.digest: one.text for one in office.rules.sources.values()}
    Office(office.scene, office.store)
    with office.store.read() as db:
        assert people.texts_at(db, digests.values()) == kept


def test_a_policy_file_brings_the_files_beside_it_and_the_rest_is_embedded(tmp_path):
    embedded = rule_texts()
    (tmp_path / "mine.toml").write_text(embedded["policy"].text)
    other = embedded["line"].text.replace("every_days = 30", "every_days = 31")
    (tmp_path / "line_reference.toml").write_text(other)
    found = rule_texts(tmp_path / "mine.toml")
    assert rulebook_of(found).line.every_days == 31
    assert found["catalogue"] == embedded["catalogue"]
    with pytest.raises(EnvironmentFault):
        rule_texts(tmp_path / "none.toml")


def test_a_product_brings_its_own_step_and_the_stricter_temporary_rule(office):
    line = office.rules.line_policy("credit_loan_plus")
    assert line.quantum_minor == 100_000
    assert line.temporary_minor == office.rules.line.temporary_minor
    with pytest.raises(NotFound, match="no product"):
        office.rules.of("gold")


def test_days_in_a_place_with_summer_time_begin_an_hour_earlier_after_the_change(scene, store):
    office = Office(scene, store)
    assert office.desk.today(at(2026, 12, 31, 16, 0)) == date(2027, 1, 1)
    berlin = line_text(office, 'zone = "Asia/Shanghai"', 'zone = "Europe/Berlin"')
    desk = Office(scene, store, line=berlin).desk
    days = [
        (at(2026, 3, 28, 22, 59), date(2026, 3, 28)),
        (at(2026, 3, 28, 23, 0), date(2026, 3, 29)),
        (at(2026, 3, 29, 21, 59), date(2026, 3, 29)),
        (at(2026, 3, 29, 22, 0), date(2026, 3, 30)),
        (at(2026, 10, 25, 22, 59), date(2026, 10, 25)),
        (at(2026, 10, 25, 23, 0), date(2026, 10, 26)),
        (at(2028, 2, 28, 23, 30), date(2028, 2, 29)),
        (at(2028, 2, 29, 23, 0), date(2028, 3, 1)),
    ]
    assert [desk.today(moment) for moment, _ in days] == [day for _, day in days]
    with pytest.raises(UsageError, match="offset"):
        desk.today(datetime(2026, 1, 1))  # noqa: DTZ001 - that is the point


def test_a_review_on_the_29th_of_february_counts_its_days_from_there(scene, store):
    office = Office(scene, store)
    line = office.line()
    office.now = at(2028, 2, 28, 16, 30)
    done = office.decide(line, "review")
    assert done.record.ask.day == date(2028, 2, 29)
    assert done.line.domain["next_review_on"] == "2028-03-30"


def test_a_zone_that_is_not_known_here_is_named(scene, store):
    office = Office(scene, store)
    moon = line_text(office, 'zone = "Asia/Shanghai"', 'zone = "Moon/Base"')
    with pytest.raises((EnvironmentFault, ConfigError), match="Moon/Base"):
        Office(scene, store, line=moon)


def test_a_desk_opens_over_a_federations_folder_and_makes_the_store(scene, tmp_path):
    scene.reset()
    kit, url = scene.kit, f"sqlite:///{tmp_path}/limits.db"
    desk = open_desk(kit.folder, kit.federation, url, clock=lambda: scene.now, create=True)
    assert desk.home == kit.folder / "limits"
    assert desk.scores.feeds.shelf.release.name == scene.release.manifest.name
    desk.store.close()
