"""Phase `release`: what every party signs and keeps, what it refuses, and who is named."""

from __future__ import annotations

import json
import shutil
import stat
from dataclasses import replace

import pytest
from flwr.supercore.task_identity import TaskIdentity

from clients.card.builder import finish
from clients.card.parts import Part, encode
from clients.party import Party
from clients.releases import publish
from clients.releases.feeds import feed_rows
from clients.releases.kept import load_release
from clients.store import Store
from server import phases
from server.coordinator import Coordinator
from shared import transport
from shared.channel import queue_channels
from shared.errors import PartyLost, Refused, RunFailed
from shared.feed import open_feed, pseudonym
from shared.identity import Identity
from shared.instants import later
from shared.jobs import Run
from shared.release import pack_release, read_release, sign_manifest, verify_release
from tests.whole_runs import (
    COORDINATOR,
    HOLDERS,
    ThreadGrid,
    assert_nothing_half_written,
    build,
    change,
    column,
    train,
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A federation after one training: its file, the outcome, and the opened totals."""
    path = build(tmp_path_factory.mktemp("released"))
    totals = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("clients.card.builder.finish", keeping_totals(totals))
        outcome = train(path)
    return path, outcome, totals[0]


def keeping_totals(kept):
    def keeping(party, run, totals, *rest):
        kept.append(totals.tolist())
        return finish(party, run, totals, *rest)

    return keeping


@pytest.fixture
def again(trained, tmp_path):
    """Return a copy of the trained federation, and a function that releases its run once more."""
    path, outcome, _ = trained
    shutil.copytree(path.parent, tmp_path, dirs_exist_ok=True)
    file = tmp_path / path.name

    def release(tamper=None, **more):
        return play(file, outcome, tamper, **more)

    return file, release


def play(path, outcome, tamper=None, *, deadline=60.0):
    """Run phase `release` of a run that was scored; return the replies."""
    TaskIdentity.run_id = TaskIdentity.node_id = TaskIdentity.task_id = 1
    coordinator = Coordinator.load(path, outcome["run"])
    federation = coordinator.federation
    channels = queue_channels([*federation.holders, COORDINATOR], deadline=deadline)
    for channel in channels.values():
        carry = channel._carry
        channel._carry = lambda frame, carry=carry: pass_on(tamper, frame, carry)
    transport.use(channels[COORDINATOR].scoped)
    grid = ThreadGrid(channels, dict.fromkeys(federation.holders, path))
    run = Run(outcome["run"], 1, federation, outcome["contract"])
    nodes = {name: node for node, name in enumerate(federation.holders, start=1)}
    job = {"card": outcome["moments"][federation.builder]["card"]}
    return phases._phase(grid, coordinator, run, nodes, "release", phases._release, job)


def pass_on(tamper, frame, carry):
    frame = frame if tamper is None else tamper(frame)
    if frame is not None:
        carry(frame)


def now(folder, party="bank"):
    return Store(folder / party).now()


def journal(folder, party, kind):
    text = (folder / party / "journal.jsonl").read_text()
    return [line for line in map(json.loads, text.splitlines()) if line["kind"] == kind]


# What is left behind.


def test_every_party_keeps_the_same_release_and_anybody_can_verify_it(trained):
    path, outcome, _ = trained
    folders = [path.parent / party / "releases/scorecard-0001" for party in HOLDERS]
    files = {
        (folder / name).read_bytes()
        for folder in folders
        for name in ("manifest.json", "signatures.json")
    }
    assert len(files) == 2
    whole = load_release(path.parent / "payments" / "releases")
    federation = Coordinator.load(path, "x").federation
    verify_release(whole, federation, now=now(path.parent), newest=0, contract=outcome["contract"])
    assert set(whole.signatures) == set(HOLDERS)
    told = outcome["release"]["bank"]["release"]
    assert told == json.loads(json.dumps(pack_release(whole)))
    assert {reply["digest"] for reply in outcome["release"].values()} == {whole.manifest.digest()}
    assert [name for name, reply in outcome["release"].items() if "release" in reply] == ["bank"]
    assert_nothing_half_written(path.parent)


def test_the_manifest_states_card_worth_baselines_and_the_ledger_before_it(trained):
    path, outcome, _ = trained
    manifest = load_release(path.parent / "bank" / "releases").manifest
    worth = {row["holder"]: row["shapley"] for row in outcome["moments"]["bank"]["worth"]}
    assert manifest.evaluation["auc"] == outcome["score"]["bank"]["auc"]
    assert {"auc", "alone"} <= set(manifest.evaluation)
    for party, item in manifest.parties.items():
        lines = Store(path.parent / party).ledger()
        assert item.ledger_head == lines[item.ledger_lines - 1].digest
        after = [line.entry.what for line in lines[item.ledger_lines :]]
        assert after == ["own lines of the card", "score feed"]
        assert lines[-2].entry.binding == manifest.digest()
        assert item.worth == worth[party]
        means = sum(line.mean for line in manifest.card.of(party))
        assert abs(item.baseline_points - means) <= 0.5
        (signed,) = journal(path.parent, party, "release")
        assert (signed["counter"], signed["manifest"]) == (1, manifest.digest())


def test_the_means_of_the_lines_are_those_of_the_customers_behind_the_moments(trained):
    path, _, _ = trained
    party = Party.load(path, "payments")

    part = Part.from_mapping(party.store.load_value("first", "part"), "part.json")
    rows = party.store.load_array("first", "train_rows")
    codes = encode(part.plans, party.train, rows)
    card = load_release(party.releases).manifest.card
    assert card.rows == len(rows)
    for block, line in enumerate(card.of("payments")):
        assert line.mean == pytest.approx(part.points[block][codes[:, block]].mean(), abs=6e-4)
    assert card.baseline.values == pytest.approx(
        {
            code: sum(line.mean for line in card.lines if line.reason == code)
            for code in {line.reason for line in card.lines}
        }
    )


def test_the_feeds_of_all_parties_add_up_to_the_totals_that_were_opened(trained):
    path, outcome, totals = trained
    folder = path.parent
    federation = Coordinator.load(path, "x").federation
    manifest = load_release(folder / "bank" / "releases").manifest
    feeds = {
        party: open_feed(
            (folder / party / "feeds/scorecard-0001.feed").read_bytes(),
            federation,
            now=now(folder),
            release=manifest,
            party=party,
        )
        for party in HOLDERS
    }
    key = bytes.fromhex((folder / "bureau/pseudonym.key").read_text())
    bank = Party.load(path, "bank")
    ids = [bank.train.ids[row] for row in bank.store.load_array("first", "train_rows")]
    ids += [bank.test.ids[row] for row in bank.store.load_array("first", "test_rows")]
    names = [pseudonym(key, name) for name in ids]
    sums = [sum(feed.find(name).points for feed in feeds.values()) for name in names]
    assert sums == totals
    assert len(set(sums)) > 50
    for party, feed in feeds.items():
        own = Party.load(path, party)
        assert len(feed.rows) == len(own.train.ids) + len(own.test.ids)
        assert outcome["release"][party]["feed_customers"] == len(feed.rows)
        codes = {line.reason for line in manifest.card.of(party)}
        assert {code for row in feed.rows for code, _ in row.reasons} <= codes
        assert any(row.reasons for row in feed.rows)


def test_a_reason_is_how_far_the_own_lines_fall_below_their_mean(trained):
    path, _, _ = trained
    party = Party.load(path, "bank")

    part = Part.from_mapping(party.store.load_value("first", "part"), "part.json")
    manifest = load_release(party.releases).manifest
    lines = manifest.card.of("bank")
    codes = encode(part.plans, party.test, range(len(party.test.ids)))
    for row, own in zip(
        feed_rows((party.test,), manifest, "bank", part, bytes(32)), codes, strict=True
    ):
        below = {}
        for line, atom in zip(lines, own, strict=True):
            below[line.reason] = below.get(line.reason, 0) + line.mean - line.points[atom]
        lost = {code: int(cost + 0.5) for code, cost in below.items() if cost >= 0.5}
        order = sorted(lost.items(), key=lambda item: (-item[1], item[0]))
        assert list(row.reasons) == order[:4]


def test_the_pseudonym_key_is_the_owners_alone_and_the_same_everywhere(trained):
    path, _, _ = trained
    files = [path.parent / party / "pseudonym.key" for party in HOLDERS]
    assert len({file.read_text() for file in files}) == 1
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert not (path.parent / COORDINATOR / "pseudonym.key").exists()


def test_a_second_release_follows_the_first_and_customers_keep_their_pseudonyms(again):
    path, release = again
    folder = path.parent
    replies = release()
    second = replies["bank"]["release"]["manifest"]
    first = load_release(folder / "bank" / "releases", "scorecard-0001").manifest
    assert (second["name"], second["counter"]) == ("scorecard-0002", 2)
    assert second["parent"] == first.digest()
    feeds = [
        {line[:68] for line in (folder / f"bank/feeds/{name}.feed").read_bytes().split(b"\n")[1:]}
        for name in ("scorecard-0001", "scorecard-0002")
    ]
    assert feeds[0] == feeds[1]


def test_a_party_that_lost_its_key_gets_it_back(again):
    path, release = again
    file = path.parent / "bank" / "pseudonym.key"
    before = file.read_text()
    file.unlink()
    release()
    assert file.read_text() == before


def test_a_counter_that_any_party_signed_is_never_given_again(again):
    path, release = again
    Store(path.parent / "bureau").journal.sign_release(41, "0" * 64)
    assert release()["bank"]["release"]["manifest"]["counter"] == 42


def test_no_reply_says_where_a_party_keeps_its_files(trained):
    path, outcome, _ = trained
    said = json.dumps(outcome)
    assert outcome["run"] in said  # the control
    assert str(path.parent) not in said


def test_a_party_that_joins_late_or_lost_its_journal_signs_what_the_others_go_on_with(again):
    path, release = again
    for party in HOLDERS[:-1]:
        Store(path.parent / party).journal.sign_release(1500, "0" * 64)
    late = path.parent / HOLDERS[-1]
    shutil.rmtree(late / "releases")
    (late / "journal.jsonl").unlink()
    assert release()["bank"]["release"]["manifest"]["counter"] == 1501
    (late / "journal.jsonl").unlink()  # now it keeps the newest release
    assert release()["bank"]["release"]["manifest"]["counter"] == 1502


def test_a_party_that_missed_the_end_of_a_release_signs_the_next(again):
    """It signed the one that it does not keep: that is the parent."""
    path, release = again
    release()
    shutil.rmtree(path.parent / "payments/releases/scorecard-0002")
    third = release()["bank"]["release"]["manifest"]
    second = load_release(path.parent / "bank/releases", "scorecard-0002").manifest
    assert (third["counter"], third["parent"]) == (3, second.digest())


def test_the_customers_and_their_consent_are_as_the_party_says(again):
    path, release = again
    folder = path.parent
    everybody = column(folder / "bureau/test.parquet", "ID")
    (folder / "bureau/yes.txt").write_text("\n".join([*everybody[:7], "", "  nobody "]) + "\n")
    change(folder / "bureau/party.toml", customers="test.parquet", consents="yes.txt")
    change(folder / "payments/party.toml", customers="test.parquet")
    replies = release()
    assert replies["bureau"]["feed_customers"] == 7
    assert replies["payments"]["feed_customers"] == len(
        column(folder / "payments/test.parquet", "ID")
    )
    key = bytes.fromhex((folder / "bureau/pseudonym.key").read_text())
    raw = (folder / "bureau/feeds/scorecard-0002.feed").read_bytes()
    feed = open_feed(raw, Coordinator.load(path, "x").federation, now=now(folder))
    names = {row.pseudonym for row in feed.rows}
    assert names == {pseudonym(key, name) for name in everybody[:7]}


def test_the_coordinator_takes_no_part_and_no_frame_shows_the_key(again):
    path, release = again
    frames = []

    def watch(frame):
        frames.append(frame)
        return frame

    release(watch)
    ours = {frame.tag.rpartition("/")[2] for frame in frames if COORDINATOR in _ends(frame)}
    between = {frame.tag for frame in frames if COORDINATOR not in _ends(frame)}
    assert ours == {"hello"}
    assert any("pseudonym/share" in tag for tag in between)  # the control: they talked
    key = bytes.fromhex((path.parent / "bank/pseudonym.key").read_text())
    assert not any(key in frame.payload for frame in frames)


def _ends(frame):
    return frame.sender, frame.recipient


# What is refused.


def refused(again, check, *, party=None):
    """Release, expecting a refusal; return the error. Nothing is signed or left by halves."""
    path, release = again
    with pytest.raises(RunFailed) as caught:
        release()
    assert caught.value.reported == "release-refused"
    assert caught.value.exit_status == 4
    assert repr(check) in caught.value.message
    if party:
        assert caught.value.party == party
    for holder in HOLDERS:
        assert [file.name for file in (path.parent / holder / "releases").iterdir()] == [
            "scorecard-0001"
        ]
        assert not (path.parent / holder / "feeds/scorecard-0002.feed").exists()
    assert_nothing_half_written(path.parent)
    return caught.value


def drafted(monkeypatch, alter):
    """Let the builder draft another manifest."""
    draft = publish._draft
    monkeypatch.setattr(publish, "_draft", lambda *rest: alter(draft(*rest)))


def of_party(manifest, name, **changes):
    parties = {**manifest.parties, name: replace(manifest.parties[name], **changes)}
    return replace(manifest, parties=parties)


def lines_of(manifest, lines, **baselines):
    return replace(manifest, model=replace(manifest.card, lines=tuple(lines)))


def better_points(manifest):
    """Give the payments party's first line that counts one point more, and its baseline with it."""
    lines, done = [], False
    for line in manifest.card.lines:
        if line.owner == "payments" and any(line.points) and not done:
            points = (line.points[0] + 1, *line.points[1:])
            line, done = replace(line, points=points), True  # noqa: PLW2901
        lines.append(line)
    return lines_of(manifest, lines)


def one_line_more(manifest):
    line = next(line for line in manifest.card.lines if line.owner == "payments")
    extra = replace(line, points=(0,) * len(line.points), mean=0.0)
    return lines_of(manifest, [*manifest.card.lines, extra])


def other_reason(manifest):
    lines = list(manifest.card.lines)
    at = next(index for index, line in enumerate(lines) if line.owner == "payments")
    lines[at] = replace(lines[at], reason="OTHER")
    return lines_of(manifest, lines)


def longer(manifest):
    return replace(manifest, expires=later(manifest.expires, seconds=1))


def hours(number):
    def shifted(manifest):
        made, ends = (
            later(text, seconds=3600 * number) for text in (manifest.created, manifest.expires)
        )
        return replace(manifest, created=made, expires=ends)

    return shifted


DRAFTS = {
    "another ledger head": (
        lambda m: of_party(m, "payments", ledger_head="0" * 64),
        "ledger",
        "payments",
    ),
    "a ledger line less": (
        lambda m: of_party(m, "ecommerce", ledger_lines=m.parties["ecommerce"].ledger_lines - 1),
        "ledger",
        "ecommerce",
    ),
    "another key": (lambda m: of_party(m, "bureau", fingerprint="0" * 64), "federation", None),
    "another agreement": (lambda m: replace(m, agreement="0" * 64), "federation", None),
    "another federation": (lambda m: replace(m, federation="other"), "federation", None),
    "another run": (lambda m: replace(m, run="other"), "federation", None),
    "other points": (better_points, "card", None),
    "a line more": (one_line_more, "card", None),
    "another reason": (other_reason, "card", None),
    "another bad rate": (
        lambda m: replace(m, model=replace(m.card, bad_rate=m.card.bad_rate / 2)),
        "card",
        None,
    ),
    "a counter that was signed": (
        lambda m: replace(m, counter=1, name="scorecard-0001"),
        "counter",
        None,
    ),
    "another parent": (lambda m: replace(m, parent="0" * 64), "counter", None),
    "no parent": (lambda m: replace(m, parent=""), "counter", None),
    "another parent after a gap": (
        lambda m: replace(m, parent="0" * 64, counter=9, name="scorecard-0009"),
        "counter",
        None,
    ),
    "a counter that leaves no room for others": (
        lambda m: replace(m, counter=1_000_000_000, name="scorecard-1000000000"),
        "counter",
        None,
    ),
    "a counter just too high": (
        lambda m: replace(m, counter=100_002, name="scorecard-100002"),
        "counter",
        None,
    ),
    "a longer life": (longer, "expiry", None),
    "a future date": (hours(1), "clock", None),
    "a past date": (hours(-1), "clock", None),
    "another name": (lambda m: replace(m, name="scorecard-0009"), "form", None),
    "a wrong baseline": (lambda m: of_party(m, "bank", baseline_points=9999), "form", None),
}


@pytest.mark.parametrize("what", DRAFTS)
def test_no_party_signs_a_draft_with(what, again, monkeypatch):
    alter, check, party = DRAFTS[what]
    drafted(monkeypatch, alter)
    refused(again, check, party=party)
    for holder in HOLDERS:
        signed = journal(again[0].parent, holder, "release")
        if party is None or holder == party:
            assert [line["counter"] for line in signed] == [1]


def lying(monkeypatch, party, **said):
    """Let a party say other things of its releases than is true."""
    state = publish.state_of

    def lie(who):
        return state(who) | (said if who.name == party else {})

    monkeypatch.setattr(publish, "state_of", lie)


@pytest.mark.parametrize(
    "said",
    [
        {"signed": 999_999_999},
        {"signed": 1002},
        {"signed": 2, "counter": 2, "parent": "0" * 64},
        {"parent": "0" * 64},
    ],
)
def test_a_party_that_invents_releases_is_named_and_counters_go_on_without_it(
    again, monkeypatch, said
):
    path, release = again
    with monkeypatch.context() as patch:
        lying(patch, "ecommerce", **said)
        refused(again, "counter", party="ecommerce")
    for holder in HOLDERS:
        assert [line["counter"] for line in journal(path.parent, holder, "release")] == [1]
    assert release()["bank"]["release"]["manifest"]["counter"] == 2


def test_a_counter_within_the_room_for_failed_attempts_is_taken(again, monkeypatch):
    """The control: the neighbours inside the bounds, at the builder and at every party."""
    _, release = again
    with monkeypatch.context() as patch:
        lying(patch, "ecommerce", signed=1001)
        assert release()["bank"]["release"]["manifest"]["counter"] == 1002
    top = 1002 + 100_000
    drafted(monkeypatch, lambda m: replace(m, counter=top, name=f"scorecard-{top}"))
    assert release()["bank"]["release"]["manifest"]["counter"] == top


def test_a_run_that_is_played_again_cannot_replace_what_its_release_rests_on(again):
    """The coordinator chooses a run's name, and asks for its phases."""
    path, _ = again
    with pytest.raises(Refused, match="run first has begun already"):
        train(path, "first")
    (path.parent / "coordinator/runs/first/scorecard.json").unlink()  # of one that does not care
    kept = {file: file.read_bytes() for file in path.parent.glob("[!c]*/runs/first/*")}
    assert kept
    with pytest.raises(RunFailed, match="here already") as caught:
        train(path, "first")
    assert caught.value.reported == "refused"
    assert {file: file.read_bytes() for file in kept} == kept


def test_only_the_owner_can_tell_other_points_and_it_is_named(again, monkeypatch):
    """The other parties are shown the card that goes with the points; the owner has its part."""
    path, _ = again
    file = path.parent / "payments/runs/first/part.json"
    value = json.loads(file.read_text())
    block = next(block for block in value["blocks"] if any(block["points"]))
    block["points"][0] += 1
    file.write_text(json.dumps(value))
    error = refused(again, "card", party="payments")
    assert "other points than its part" in error.message


@pytest.mark.parametrize("seconds", [-3600, 3600])
def test_a_party_whose_clock_is_off_refuses_under_its_own_name(again, monkeypatch, seconds):
    true = Store.now
    monkeypatch.setattr(
        Store,
        "now",
        lambda self: later(true(self), seconds=seconds if self.home.name == "payments" else 0),
    )
    refused(again, "clock", party="payments")


def test_a_signature_by_another_key_is_laid_at_its_senders_door(again, monkeypatch):
    def other_key(identity, raw):
        if identity.name == "ecommerce":
            identity = Identity("ecommerce", bytes(32))
        return sign_manifest(identity, raw)

    monkeypatch.setattr(publish, "sign_manifest", other_key)
    refused(again, "signature", party="ecommerce")


def test_a_party_that_stops_before_it_signs_ends_the_phase_and_the_next_takes_a_new_counter(
    again, monkeypatch
):
    path, release = again

    def full(identity, raw):
        if identity.name == "payments":
            raise OSError("no space")
        return sign_manifest(identity, raw)

    with monkeypatch.context() as patch:
        patch.setattr(publish, "sign_manifest", full)
        with pytest.raises(RunFailed) as caught:
            release()
    assert caught.value.party == "payments"
    assert not list(path.parent.glob("*/releases/scorecard-0002"))
    assert_nothing_half_written(path.parent)
    manifest = release()["bank"]["release"]["manifest"]
    assert manifest["counter"] == 3
    first = load_release(path.parent / "bank" / "releases", "scorecard-0001").manifest
    assert manifest["parent"] == first.digest()  # of the release before, not of what failed


@pytest.mark.slow
@pytest.mark.parametrize(
    ("victim", "tag"),
    [
        ("bank", "release/complete"),
        ("payments", "pseudonym/proof"),
        ("payments", "pseudonym/share"),
        ("payments", "release/state"),
        ("payments", "release/signature"),
        ("bank", "release/draft"),
    ],
)
def test_a_party_that_falls_silent_is_lost_within_its_deadline(again, victim, tag):
    path, release = again
    heard = []

    def tamper(frame):
        if frame.sender == victim and tag in frame.tag:
            heard.append(frame.tag)
        return None if heard and frame.sender == victim else frame

    with pytest.raises(PartyLost, match="no answer within 4 s"):
        release(tamper, deadline=4.0)
    assert heard
    kept = {
        party for party in HOLDERS if (path.parent / party / "releases/scorecard-0002").exists()
    }
    assert kept <= ({"bank"} if tag == "release/complete" else set())
    assert_nothing_half_written(path.parent)


def test_a_quorum_below_all_does_not_let_a_run_end_without_a_party(again, monkeypatch):
    path, _ = again
    change(path, quorum=1)
    drafted(monkeypatch, lambda m: of_party(m, "payments", ledger_head="0" * 64))
    with pytest.raises(RunFailed, match="ledger"):
        again[1]()


@pytest.mark.parametrize("what", ["mode", "text", "other"])
def test_a_pseudonym_key_that_is_not_as_it_should_be_ends_the_phase_by_name(again, what):
    path, release = again
    file = path.parent / "bureau" / "pseudonym.key"
    if what == "mode":
        file.chmod(0o644)
    else:
        file.write_text("xyz\n" if what == "text" else "0" * 64 + "\n")
    with pytest.raises(RunFailed, match=r"pseudonym|keys") as caught:
        release()
    assert caught.value.reported == "refused"
    assert caught.value.party == "bureau"
    assert len(list(path.parent.glob("*/releases/*"))) == len(HOLDERS)


def test_a_table_for_the_feed_that_breaks_the_contract_shows_before_anything_starts(tmp_path):
    path = build(tmp_path)
    (tmp_path / "payments/customers.csv").write_text("ID,WALLET\n1,2\n")
    change(tmp_path / "payments/party.toml", customers="customers.csv")
    with pytest.raises(RunFailed) as caught:
        train(path)
    assert (caught.value.party, caught.value.reported) == ("payments", "data")
    assert not list(tmp_path.rglob("ledger.jsonl"))


def test_what_is_on_disk_is_what_was_signed_to_the_byte(trained):
    path, _, _ = trained
    folder = path.parent / "ecommerce/releases/scorecard-0001"
    files = [(folder / name).read_bytes() for name in ("manifest.json", "signatures.json")]
    whole = read_release(*files)
    assert whole.manifest.to_bytes() == files[0]
