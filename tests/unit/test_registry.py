"""The registry takes a release whole or not at all, and lets none back in."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest

from server.releases import registry as module
from server.releases.registry import Registry
from shared.errors import EnvironmentFault, NotFound, ReleaseRefused, UsageError
from shared.release import sign_manifest
from tests.service.kit import NOW, Kit
from tests.support import ROOT

LATER = "2026-04-01T08:00:00Z"
EXPIRED = "2026-09-30T08:00:00Z"  # a release of March counts for 180 days


@pytest.fixture
def kit(tmp_path):
    return Kit(tmp_path)


def take(kit, counter=1, now=NOW, **changes):
    return kit.registry.take(kit.release(counter, **changes), kit.federation, now)


def refused(kit, release=None, now=NOW, **options):
    with pytest.raises(ReleaseRefused) as caught:
        kit.registry.take(release or kit.release(), kit.federation, now, **options)
    return caught.value.check


def content(kit):
    return {
        path.relative_to(kit.registry.folder).as_posix(): path.read_bytes()
        for path in sorted(kit.registry.folder.rglob("*"))
        if path.is_file()
    }


def test_release_comes_in_as_a_challenger_and_is_read_back(kit):
    entry = take(kit)
    assert (entry.name, entry.state, entry.counter) == ("scorecard-0001", "challenger", 1)
    assert kit.registry.verified(entry.name, kit.federation, NOW) == kit.release()
    assert kit.registry.book().champion is None


def test_taking_the_same_release_again_changes_nothing(kit):
    take(kit)
    before = content(kit)
    take(kit, now=LATER)
    assert content(kit) == before


def test_each_refusal_has_the_name_of_its_check(kit, tmp_path):
    take(kit, 2)
    assert refused(kit, kit.release(1)) == "counter"
    assert refused(kit, kit.release(2, created="2026-03-01T12:00:01Z")) == "counter"
    assert refused(kit, kit.release(3), now=EXPIRED) == "expiry"
    assert refused(kit, kit.release(3, created=LATER)) == "clock"
    assert refused(kit, kit.sign(kit.manifest(3), ["bank", "bureau"])) == "quorum"
    assert refused(kit, kit.release(3), contract="0" * 64) == "contract"
    assert refused(kit, kit.release(3, federation="other")) == "federation"
    stranger = Kit(tmp_path / "stranger")
    stranger.people["bank"] = replace(stranger.people["bank"], secret=b"x" * 32)
    forged = kit.manifest(3)
    signatures = dict(kit.sign(forged).signatures)
    signatures["bank"] = sign_manifest(stranger.people["bank"], forged.to_bytes())
    assert refused(kit, replace(kit.sign(forged), signatures=signatures)) == "signature"
    assert [entry.name for entry in kit.registry.book().entries.values()] == ["scorecard-0002"]


def test_release_cannot_set_its_own_quorum(tmp_path):
    two = Kit(tmp_path / "two", quorum=2)
    release = two.sign(two.manifest(), ["bank", "bureau"])
    two.registry.take(release, two.federation, NOW)
    # Signed under a file that asks for two, read under one that asks for all.
    everybody = Kit(tmp_path / "all")
    assert refused(everybody, release) == "quorum"


def test_deleting_a_release_does_not_let_an_older_one_in(kit):
    take(kit, 2)
    shutil.rmtree(kit.registry.folder / "scorecard-0002")
    assert refused(kit, kit.release(1)) == "counter"
    with pytest.raises(ReleaseRefused) as caught:
        kit.registry.verified("scorecard-0002", kit.federation, NOW)
    assert caught.value.check == "form"


def test_deleting_the_registry_beside_releases_is_refused(kit):
    take(kit, 2)
    (kit.registry.folder / "registry.json").unlink()
    assert refused(kit, kit.release(1)) == "form"


@pytest.mark.parametrize("text", ["", "[]", '{"schema": 1}', '{"schema": 9}', "nonsense"])
def test_malformed_registry_is_refused(kit, text):
    take(kit)
    (kit.registry.folder / "registry.json").write_text(text)
    with pytest.raises(ReleaseRefused, match=r"registry\.json is malformed"):
        kit.registry.book()


@pytest.mark.parametrize("name", ["manifest.json", "signatures.json"])
def test_a_changed_byte_is_refused_on_every_read(kit, name):
    take(kit)
    path = kit.registry.folder / "scorecard-0001" / name
    good = path.read_bytes()
    for at in (3, len(good) // 2, len(good) - 20):
        path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        with pytest.raises(ReleaseRefused) as caught:
            kit.registry.verified("scorecard-0001", kit.federation, NOW)
        assert caught.value.check in {"form", "signature", "federation", "contract"}
    path.write_bytes(good)
    kit.registry.verified("scorecard-0001", kit.federation, NOW)


def test_an_older_signed_release_in_the_folder_of_a_newer_is_refused(kit):
    take(kit, 1)
    take(kit, 2)
    folder = kit.registry.folder
    shutil.rmtree(folder / "scorecard-0002")
    shutil.copytree(folder / "scorecard-0001", folder / "scorecard-0002")
    with pytest.raises(ReleaseRefused) as caught:
        kit.registry.verified("scorecard-0002", kit.federation, NOW)
    assert caught.value.check == "counter"


def test_another_signed_release_of_the_same_counter_is_refused(kit):
    take(kit, 1)
    other = kit.release(1, created="2026-03-01T13:00:00Z")
    folder = kit.registry.folder / "scorecard-0001"
    (folder / "manifest.json").write_bytes(other.manifest.to_bytes())
    (folder / "signatures.json").write_bytes(other.signatures_bytes())
    with pytest.raises(ReleaseRefused) as caught:
        kit.registry.verified("scorecard-0001", kit.federation, NOW)
    assert caught.value.check == "signature"


def test_promotion_and_rollback_keep_one_champion_and_the_history(kit):
    registry, federation = kit.registry, kit.federation
    take(kit, 1)
    take(kit, 2)
    registry.promote("scorecard-0001", federation, NOW, "first")
    registry.promote("scorecard-0002", federation, NOW, "better")
    states = {name: entry.state for name, entry in registry.book().entries.items()}
    assert states == {"scorecard-0001": "former", "scorecard-0002": "champion"}
    assert registry.rollback(federation, LATER, "too many complaints").name == "scorecard-0001"
    book = registry.book()
    assert book.champion.name == "scorecard-0001"
    assert book.entry("scorecard-0002").state == "challenger"
    assert [(change.action, change.release, change.was, change.now) for change in book.log] == [
        ("take", "scorecard-0001", "", "challenger"),
        ("take", "scorecard-0002", "", "challenger"),
        ("promote", "scorecard-0001", "challenger", "champion"),
        ("promote", "scorecard-0001", "champion", "former"),
        ("promote", "scorecard-0002", "challenger", "champion"),
        ("rollback", "scorecard-0002", "champion", "challenger"),
        ("rollback", "scorecard-0001", "former", "champion"),
    ]
    assert book.log[-1].reason == "too many complaints"
    assert book.log[-1].time == LATER
    with pytest.raises(UsageError, match="no former champion"):
        registry.rollback(federation, LATER, "again")


def test_rollback_to_an_expired_champion_is_refused(kit):
    take(kit, 1)
    kit.registry.promote("scorecard-0001", kit.federation, NOW, "first")
    kit.serve(2, created="2026-06-01T00:00:00Z", now="2026-06-02T00:00:00Z")
    with pytest.raises(ReleaseRefused) as caught:
        kit.registry.rollback(kit.federation, EXPIRED, "x")
    assert caught.value.check == "expiry"
    assert kit.registry.book().champion.name == "scorecard-0002"


def test_expired_or_tampered_challenger_is_not_promoted(kit):
    take(kit)
    with pytest.raises(ReleaseRefused) as caught:
        kit.registry.promote("scorecard-0001", kit.federation, EXPIRED, "x")
    assert caught.value.check == "expiry"
    assert kit.registry.book().champion is None


def test_retired_releases_stay_retired(kit):
    registry = kit.registry
    kit.serve(1)
    take(kit, 2)
    with pytest.raises(UsageError, match="serves"):
        registry.retire("scorecard-0001", NOW, "x")
    registry.promote("scorecard-0002", kit.federation, NOW, "x")
    registry.retire("scorecard-0001", NOW, "x")
    with pytest.raises(UsageError, match="no former champion"):
        registry.rollback(kit.federation, NOW, "x")
    for change in (
        lambda: registry.promote("scorecard-0001", kit.federation, NOW, "x"),
        lambda: registry.retire("scorecard-0001", NOW, "x"),
    ):
        with pytest.raises(UsageError, match="is retired"):
            change()
    with pytest.raises(UsageError, match="serves already"):
        registry.promote("scorecard-0002", kit.federation, NOW, "x")


def test_unknown_names_are_not_found(kit):
    take(kit)
    with pytest.raises(NotFound, match="scorecard-0001"):
        kit.registry.verified("scorecard-0009", kit.federation, NOW)
    for name in ("../scorecard-0001", "", "registry.json"):
        with pytest.raises(NotFound):
            kit.registry.promote(name, kit.federation, NOW, "x")


def test_full_disk_leaves_the_former_state(kit, monkeypatch):
    take(kit, 1)
    before = content(kit)
    write = module.write_atomic

    def full(path, raw, **options):
        raise EnvironmentFault(f"cannot write {path}: {os.strerror(errno.ENOSPC)}")

    for fails_at in ("manifest.json", "registry.json"):
        monkeypatch.setattr(
            module,
            "write_atomic",
            lambda path, raw, at=fails_at: (full if path.name == at else write)(path, raw),
        )
        with pytest.raises(EnvironmentFault, match="No space"):
            take(kit, 2)
        assert content(kit) == before
    monkeypatch.setattr(module, "write_atomic", write)
    assert take(kit, 2).name == "scorecard-0002"


def test_intake_that_was_killed_between_folder_and_registry_is_made_again(kit):
    take(kit, 1)
    shutil.copytree(kit.registry.folder / "scorecard-0001", kit.registry.folder / "scorecard-0002")
    assert take(kit, 2).state == "challenger"
    assert kit.registry.verified("scorecard-0002", kit.federation, NOW) == kit.release(2)


def test_second_change_at_once_is_refused(kit):
    take(kit)
    program = (
        "import sys, pathlib\n"
        "from shared.edge.files import exclusive\n"
        "with exclusive(pathlib.Path(sys.argv[1])):\n"
        "    print('held', flush=True); sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", program, str(kit.registry.folder)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    ) as holder:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(EnvironmentFault, match="another change of the registry"):
            take(kit, 2)
        holder.stdin.close()
    assert take(kit, 2).counter == 2


def test_stamp_changes_with_every_change_and_only_then(kit):
    empty = Registry(kit.folder / "none").stamp()
    take(kit)
    first = kit.registry.stamp()
    assert first == kit.registry.stamp() != empty
    kit.registry.promote("scorecard-0001", kit.federation, NOW, "x")
    assert kit.registry.stamp() != first


def test_counter_in_the_file_never_lies_below_a_release(kit):
    take(kit, 2)
    path = kit.registry.folder / "registry.json"
    value = json.loads(path.read_text()) | {"newest": 0}
    path.write_text(json.dumps(value))
    assert refused(kit, kit.release(1)) == "form"
