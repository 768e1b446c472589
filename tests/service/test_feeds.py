"""Feeds come in signed, newer only, whole or not at all, and are looked up exactly."""

from __future__ import annotations

import errno
import os

import numpy as np
import pytest

from server.limits.caps.snapshot import Share
from server.releases import feeds as module
from server.releases import shelf
from server.releases.feeds import KEPT, Feeds
from server.releases.shelf import Index
from shared.errors import EnvironmentFault, FeedRefused
from shared.feed import FeedRow
from tests.service.kit import NOW, Kit, name_of, row

STALE = "2026-04-01T00:00:01Z"  # a feed as of 1 March counts for 30 days


@pytest.fixture
def feeds(kit):
    feeds = Feeds(kit.folder / "limits", kit.federation)
    feeds.use(kit.manifest(), NOW)
    return feeds


def refused(feeds, raw, now=NOW, **options):
    with pytest.raises(FeedRefused) as caught:
        feeds.accept(raw, now, **options)
    return caught.value.check


def look(feeds, kit, number, now=NOW):
    return feeds.shelf.find(name_of(number), kit.federation.holders, now)


def test_index_finds_every_customer_and_nobody_else():
    rows = [row("bank", number) for number in range(1000)]
    body = _body(rows)
    index = Index(body)
    assert len(index) == 1000
    for one in rows:
        assert index.find(bytes.fromhex(one.pseudonym)) == Share(one.points, one.reasons)
    assert index.find(bytes.fromhex(name_of(1001))) is None
    assert index.find(bytes(32)) is None
    assert index.find(b"\xff" * 32) is None


def test_index_tells_customers_apart_whose_names_begin_alike():
    names = ["ab" * 8 + f"{number:048x}" for number in range(5)] + ["ab" * 8 + "f" * 48]
    rows = [FeedRow(name, number, ()) for number, name in enumerate(names)]
    index = Index(_body(rows))
    for one in rows:
        assert index.find(bytes.fromhex(one.pseudonym)).points == one.points
    assert index.find(bytes.fromhex("ab" * 8 + "0" * 47 + "9")) is None


def test_index_names_every_customer_in_order():
    rows = [row("bank", number) for number in range(100)]
    rows.append(FeedRow("00" * 31 + "07", 1, ()))
    index = Index(_body(rows))
    assert list(index.names()) == sorted(one.pseudonym for one in rows)
    assert list(Index(b"").names()) == []


def test_index_of_an_empty_feed_finds_nobody():
    assert len(Index(b"")) == 0
    assert Index(b"").find(bytes(32)) is None


def test_index_over_several_chunks(monkeypatch):
    monkeypatch.setattr(shelf, "_CHUNK", 7)
    rows = [row("bank", number) for number in range(50)]
    index = Index(_body(rows))
    assert all(index.find(bytes.fromhex(one.pseudonym)).points == one.points for one in rows)
    assert index.size == 50 * 36


def _body(rows):
    lines = sorted(
        f'["{one.pseudonym}",{one.points},'
        + str([list(pair) for pair in one.reasons]).replace("'", '"').replace(" ", "")
        + "]\n"
        for one in rows
    )
    return "".join(lines).encode()


def test_feed_of_the_champion_is_used_at_once_and_after_a_restart(kit, feeds):
    for raw in kit.feeds().values():
        feeds.accept(raw, NOW)
    found = look(feeds, kit, 2)
    assert {party: share.points for party, share in found.shares.items()} == {
        "bank": 71,
        "bureau": 12,
        "ecommerce": 11,
        "payments": 25,
    }
    again = Feeds(kit.folder / "limits", kit.federation)
    again.use(kit.manifest(), NOW)
    assert look(again, kit, 2) == found


def test_each_refusal_has_the_name_of_its_check_and_keeps_the_feed_in_use(kit, feeds):
    good = kit.feeds()["bank"]
    feeds.accept(good, NOW)
    changed = good[:-10] + b"x" + good[-9:]
    assert refused(feeds, b"nonsense") == "form"
    assert refused(feeds, b"") == "form"
    assert refused(feeds, changed) == "form"
    assert refused(feeds, good, party="bureau") == "party"
    stranger = Kit(kit.folder / "other", parties=("bank", "zebra"))
    assert refused(feeds, stranger.feeds()["zebra"]) == "party"
    assert refused(feeds, kit.feeds(as_of="2026-02-28")["bank"]) == "as-of"
    assert refused(feeds, kit.feeds(as_of="2026-03-04")["bank"]) == "clock"
    assert refused(feeds, kit.feeds()["bureau"], now=STALE) == "expiry"
    other = kit.manifest(created="2026-03-01T12:00:01Z")
    assert refused(feeds, kit.feeds(manifest=other)["bureau"]) == "release"
    swapped = dict(kit.people)
    kit.people["bureau"] = swapped["payments"].__class__("bureau", b"q" * 32)
    assert refused(feeds, kit.feeds()["bureau"]) == "signature"
    assert list(feeds.shelf.in_use) == ["bank"]
    assert look(feeds, kit, 1).shares["bank"].points == 35


def test_newest_date_is_remembered_when_the_file_is_gone(kit, feeds):
    feeds.accept(kit.feeds(as_of="2026-03-02")["bank"], NOW)
    (kit.folder / "limits/feeds/bank/scorecard-0001.feed").unlink()
    again = Feeds(kit.folder / "limits", kit.federation)
    again.use(kit.manifest(), NOW)
    assert refused(again, kit.feeds()["bank"]) == "as-of"


def test_dates_of_the_feed_in_use_count_when_the_file_of_dates_is_gone(kit, feeds):
    feeds.accept(kit.feeds(as_of="2026-03-02")["bank"], NOW)
    (kit.folder / "limits/feeds/newest.json").unlink()
    assert refused(feeds, kit.feeds()["bank"]) == "as-of"


def test_malformed_file_of_dates_is_told_of(kit, feeds):
    feeds.accept(kit.feeds()["bank"], NOW)
    (kit.folder / "limits/feeds/newest.json").write_text("{")
    with pytest.raises(EnvironmentFault, match=r"newest\.json is malformed"):
        feeds.accept(kit.feeds()["bank"], NOW)


def test_same_feed_twice_changes_nothing(kit, feeds):
    raw = kit.feeds()["bank"]
    assert feeds.accept(raw, NOW)[1]
    assert not feeds.accept(raw, NOW)[1]


def test_feed_of_a_later_release_waits_until_it_serves(kit, feeds):
    later = kit.manifest(2)
    for raw in (*kit.feeds().values(), *kit.feeds(manifest=later, parties=["bank"]).values()):
        feeds.accept(raw, NOW)
    assert feeds.shelf.in_use["bank"].header.release == "scorecard-0001"
    feeds.use(later, NOW)
    assert list(feeds.shelf.in_use) == ["bank"]
    assert feeds.shelf.in_use["bank"].header.release == "scorecard-0002"
    assert look(feeds, kit, 0).missing["bureau"] == "no feed"


def test_kept_feed_that_does_not_fit_its_release_is_left_out_and_told_of(kit, feeds):
    other = kit.manifest(2, created="2026-03-01T12:00:01Z")
    feeds.accept(kit.feeds(manifest=other)["bank"], NOW)
    feeds.use(kit.manifest(2), NOW)
    assert not feeds.shelf.in_use
    assert "release" in feeds.shelf.refused["bank"]
    feeds.accept(kit.feeds(manifest=kit.manifest(2), as_of="2026-03-02")["bank"], NOW)
    assert not feeds.shelf.refused


def test_file_that_was_changed_on_disk_is_not_used(kit, feeds):
    feeds.accept(kit.feeds()["bank"], NOW)
    path = kit.folder / "limits/feeds/bank/scorecard-0001.feed"
    path.write_bytes(path.read_bytes().replace(b'",71,', b'",70,'))
    feeds.use(kit.manifest(), NOW)
    assert "not those that were signed" in feeds.shelf.refused["bank"]


def test_stale_feed_counts_as_missing_and_its_customers_stay_known(kit, feeds):
    feeds.accept(kit.feeds()["bank"], NOW)
    assert look(feeds, kit, 0, NOW).shares
    found = look(feeds, kit, 0, STALE)
    assert (found.shares, found.missing["bank"], found.known) == ({}, "stale", True)
    again = Feeds(kit.folder / "limits", kit.federation)
    again.use(kit.manifest(), STALE)
    assert look(again, kit, 0, STALE) == found
    assert not look(again, kit, 9, STALE).known


def test_full_disk_leaves_the_feed_before_in_use(kit, feeds, monkeypatch):
    feeds.accept(kit.feeds()["bank"], NOW)
    before = feeds.shelf

    def full(path, raw):
        raise EnvironmentFault(f"cannot write {path}: {os.strerror(errno.ENOSPC)}")

    monkeypatch.setattr(module, "write_atomic", full)
    with pytest.raises(EnvironmentFault, match="No space"):
        feeds.accept(kit.feeds(as_of="2026-03-02")["bank"], NOW)
    assert feeds.shelf is before


def test_crash_between_two_files_lets_no_older_feed_in(kit, feeds, monkeypatch):
    feeds.accept(kit.feeds(as_of="2026-02-27")["bank"], NOW)
    newest = kit.feeds(as_of="2026-03-02")["bank"]
    write, calls = module.write_atomic, []

    def crash(path, raw, **_):
        calls.append(path)
        if len(calls) == 2:
            raise KeyboardInterrupt
        write(path, raw)

    monkeypatch.setattr(module, "write_atomic", crash)
    with pytest.raises(KeyboardInterrupt):
        feeds.accept(newest, NOW)
    monkeypatch.undo()
    again = Feeds(kit.folder / "limits", kit.federation)
    again.use(kit.manifest(), NOW)
    assert refused(again, kit.feeds(as_of="2026-03-01")["bank"]) == "as-of"
    again.accept(newest, NOW)
    assert again.shelf.in_use["bank"].header.as_of == "2026-03-02"


def test_only_a_few_releases_feeds_are_kept_and_the_champions_always(kit, feeds):
    for counter in range(1, KEPT + 5):
        feeds.accept(kit.feeds(manifest=kit.manifest(counter))["bank"], NOW)
    names = sorted(path.stem for path in (kit.folder / "limits/feeds/bank").glob("*.feed"))
    assert len(names) == KEPT
    assert names[0] == "scorecard-0001"
    assert names[-1] == f"scorecard-{KEPT + 4:04d}"


@pytest.mark.parametrize("name", ["../../x-0001", "x", "scorecard-1", "a/b-0001", ""])
def test_release_names_are_no_paths(kit, feeds, name):
    manifest = kit.manifest()
    raw = kit.feeds(manifest=manifest.__class__(**_fields(manifest, name=name)))["bank"]
    before = _files(kit)
    assert refused(feeds, raw) == "release"
    assert _files(kit) == before


def _files(kit):
    return sorted(path for path in kit.folder.rglob("*") if path.is_file())


def _fields(manifest, **changes):
    return {name: getattr(manifest, name) for name in manifest.__slots__} | changes


def test_lookup_is_exact_over_many_random_names():
    rng = np.random.default_rng(5)
    names = sorted({rng.bytes(32).hex() for _ in range(2000)})
    rows = [FeedRow(name, number % 50, ()) for number, name in enumerate(names[::2])]
    index = Index(_body(rows))
    for number, name in enumerate(names):
        found = index.find(bytes.fromhex(name))
        assert (found is not None) == (number % 2 == 0)


def test_a_feed_that_another_process_took_is_followed(kit, feeds):
    other = Feeds(kit.folder / "limits", kit.federation)
    other.use(kit.manifest(), NOW)
    assert not other.changed()
    feeds.accept(kit.feeds()["bank"], NOW)
    assert not feeds.changed()  # its own it knows
    assert other.changed()
    assert not look(other, kit, 1).shares
    other.follow(NOW)
    assert set(look(other, kit, 1).shares) == {"bank"}
    assert not other.changed()


def test_two_processes_hold_feeds_to_the_same_dates(kit, feeds):
    other = Feeds(kit.folder / "limits", kit.federation)
    other.use(kit.manifest(), NOW)
    feeds.accept(kit.feeds(as_of="2026-03-02")["bank"], NOW)
    # The other has not looked since, and refuses the older one all the same.
    assert refused(other, kit.feeds(as_of="2026-03-01")["bank"]) == "as-of"
