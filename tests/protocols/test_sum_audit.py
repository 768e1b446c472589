"""Updates are committed to under signatures, and a party can be held to what it put in."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace

import numpy as np
import pytest

from clients.audits import openings as audits
from clients.audits.commands import opening
from clients.neural.data import learning
from clients.party import Party
from clients.store import Store
from server.audits import Record, audit, read_records
from server.coordinator import load_federation
from server.neural import means as neural_means
from shared.config import PartyFile
from shared.errors import BadPeer, ConfigError, DataError, NotFound, Refused
from shared.neural.audit import check_update
from shared.protocols import sum as secure_sum
from shared.protocols.sum_commit import PURPOSE, Commitment
from tests.neural_kit import BANKS, build, folder_of, train
from tests.whole_runs import change

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None,
    reason="torch is not installed: pip install 'confide[neural]'",
)
PHASES = ("neural_1", "neural_2", "neural_edges", "neural_evaluate", "neural_mean")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    path = build(tmp_path_factory.mktemp("audited"), customers=900)
    train(path)
    return path


def records_of(path, run="first"):
    return read_records(sorted(folder_of(path, run).glob("audit-*.json")))


def openings_of(path, tmp_path, bank, phase="", run="first"):
    out = tmp_path / f"{bank}.json"
    opening(run, bank, path, phase, "the regulator", out)
    return read_records([out])


@pytest.fixture
def one(trained, tmp_path):
    """Return the federation, what the coordinator kept, and what south opens of round 1."""
    agreed, _ = load_federation(trained)
    (opened,) = openings_of(trained, tmp_path, "south", "neural_1")
    return agreed, records_of(trained), opened


def checked(agreed, kept, *opened, whole=False):
    return audit(agreed, "first", kept, opened, whole=whole)


def refused(one, opened, match, party="south"):
    with pytest.raises(BadPeer, match=match) as caught:
        checked(one[0], one[1], opened)
    assert caught.value.party == party


def other(opened, **changes):
    return replace(opened, opening=replace(opened.opening, **changes))


def test_every_update_of_a_run_opens_to_what_was_signed_and_added(trained, tmp_path):
    agreed, _ = load_federation(trained)
    kept = records_of(trained)
    assert sorted(record.phase for record in kept) == sorted(PHASES)
    opened = [one for bank in BANKS for one in openings_of(trained, tmp_path, bank)]
    found = checked(agreed, kept, *opened, whole=True)
    findings = found.in_order
    assert (found.not_opened, found.sums, found.sums_unchecked) == ((), len(PHASES), 0)
    assert len(findings) == len(PHASES) * len(BANKS)
    rounds = [one for one in findings if one.phase.startswith("neural_1")]
    assert all(0 < one.length <= agreed.neural.clip for one in rounds)
    for bank in BANKS:
        own, _ = learning(Party.load(trained, bank))
        assert {one.customers for one in rounds if one.party == bank} == {len(own)}
    assert all(one.length is None for one in findings if one.phase == "neural_edges")


def test_all_parties_and_the_coordinator_hold_the_same_signed_commitments(trained):
    signed = {record.evidence.view: record.evidence for record in records_of(trained)}
    for bank in BANKS:
        kept = read_records(sorted((trained.parent / bank / "runs").glob("*/audit-*.json")))
        assert {record.evidence.view: record.evidence for record in kept} == signed
        assert all(record.opening.party == bank for record in kept)


def test_what_is_kept_at_the_coordinator_opens_nothing(trained):
    for path in folder_of(trained).glob("audit-*.json"):
        value = json.loads(path.read_text())
        assert set(value) == {"contract", "phase", "evidence", "opened"}
    # The same input under another salt is another commitment: a guess cannot be tested.
    record = records_of(trained)[0]
    residues = np.zeros(record.evidence.job.length, dtype=np.uint64)
    two = {
        secure_sum.commit_input(record.evidence.job, bytes([salt]) * 32, residues)
        for salt in range(2)
    }
    assert len(two) == 2


def test_an_altered_update_is_refused_by_the_party_s_name(one):
    assert checked(*one).in_order[0].party == "south"  # the control
    residues = one[2].opening.residues.copy()
    residues[0] += np.uint64(1)
    refused(one, other(one[2], residues=residues), "not the input that it committed to")


def test_an_update_of_another_round_or_party_is_refused(one, trained, tmp_path):
    (later,) = openings_of(trained, tmp_path, "south", "neural_2")
    wrong = other(one[2], residues=later.opening.residues, salt=later.opening.salt)
    refused(one, wrong, "not the input that it committed to")
    (theirs,) = openings_of(trained, tmp_path, "west", "neural_1")
    wrong = replace(one[2], opening=replace(theirs.opening, party="south"))
    refused(one, wrong, "not the input that it committed to")
    refused(one, other(one[2], party="nobody"), "put nothing into the sum", party="nobody")


def test_other_seeds_than_those_of_its_masks_are_refused(one):
    opening = one[2].opening
    refused(one, other(one[2], self_seed=bytes(32)), "not those of its masks")
    refused(one, other(one[2], pair_seeds={}), "not those of its masks")
    lies = {peer: bytes(32) for peer in opening.pair_seeds}
    refused(one, other(one[2], pair_seeds=lies), "not the one it masked")


def test_an_opening_of_another_length_or_ring_is_refused(one):
    residues = one[2].opening.residues
    for wrong in (residues[:-1], residues.astype(np.uint16)):
        refused(one, other(one[2], residues=wrong), "something else than an input")


def test_a_second_commitment_that_a_party_signs_afterwards_does_not_help_it(one, trained):
    evidence, opening = one[2].evidence, one[2].opening
    residues = opening.residues.copy()
    residues[0] += np.uint64(1)
    before, _ = Commitment.read(evidence.signed["south"], "south")
    again = replace(before, input=secure_sum.commit_input(evidence.job, opening.salt, residues))
    message = bytes.fromhex(evidence.job.digest) + again.message
    key = Party.load(trained, "south").identity
    signature = key.sign(PURPOSE, evidence.session.context(message=message.hex()))
    signed = dict(evidence.signed) | {"south": again.message + signature}
    lie = replace(
        one[2],
        evidence=replace(evidence, signed=signed),
        opening=replace(opening, residues=residues),
    )
    assert lie.evidence.commitments(one[0].roster)  # the signature itself is a good one
    refused(one, lie, "not the input that it committed to")


def test_a_sum_that_nobody_else_kept_is_refused(one):
    agreed, kept, opened = one
    left = [record for record in kept if record.phase != "neural_1"]
    refused((agreed, left), opened, "that nobody else kept")


def test_a_forged_or_missing_commitment_in_the_record_names_its_party(one):
    agreed, kept, opened = one
    (record,) = [record for record in kept if record.phase == "neural_1"]
    signed = dict(record.evidence.signed)
    signed["west"] = (
        bytes([signed["west"][0]]) + bytes([signed["west"][1] ^ 1]) + signed["west"][2:]
    )
    forged = replace(record, evidence=replace(record.evidence, signed=signed))
    refused((agreed, [forged]), opened, "'west' for 'sum commitment'", party="")
    del signed["west"]
    cut = replace(record, evidence=replace(record.evidence, signed=signed))
    refused((agreed, [cut]), opened, "commitment is missing", party="west")


def test_a_key_that_the_federation_does_not_pin_is_refused(one):
    agreed, kept, opened = one
    (record,) = [record for record in kept if record.phase == "neural_1"]
    keys = dict(record.evidence.keys) | {"south": record.evidence.keys["west"]}
    wrong = replace(record, evidence=replace(record.evidence, keys=keys))
    refused((agreed, [wrong]), opened, "'south'.*pin", party="")


def test_the_sum_is_checked_when_all_have_opened_and_a_missing_party_is_named(
    one, trained, tmp_path
):
    agreed, kept, _ = one
    opened = [
        openings_of(trained, tmp_path, bank, "neural_1")[0] for bank in BANKS if bank != "west"
    ]
    found = checked(agreed, kept, *opened)
    assert (found.not_opened, found.sums, found.sums_unchecked) == (("west",), 0, 1)
    with pytest.raises(Refused, match="has not opened its input") as caught:
        checked(agreed, kept, *opened, whole=True)
    assert caught.value.party == "west"
    opened += openings_of(trained, tmp_path, "west", "neural_1")
    checked(agreed, kept, *opened, whole=True)
    lies = [replace(record, opened="0" * 64) for record in kept]
    with pytest.raises(BadPeer, match="not the sum of the inputs") as lied:
        checked(agreed, lies, *opened)
    assert lied.value.party == "coordinator"


def test_a_party_that_masks_another_input_than_it_commits_to_is_found_out_alone(
    tmp_path, monkeypatch
):
    honest = secure_sum.commit_input

    def lying(job, salt, residues):
        return honest(job, salt, np.zeros_like(residues))

    monkeypatch.setattr(secure_sum, "commit_input", lying)
    path = build(tmp_path / "lying", customers=600, rounds=1)
    train(path)  # the training itself cannot know
    agreed, _ = load_federation(path)
    (opened,) = openings_of(path, tmp_path, "south", "neural_1")
    both = (agreed, records_of(path))
    refused(both, opened, "not the input that it committed to")
    zeros = np.zeros_like(opened.opening.residues)
    refused(both, other(opened, residues=zeros), "not the one it masked")


def test_an_update_longer_than_the_clip_or_of_no_whole_customers_is_refused():
    values = np.append(np.full(4, 5.0) * 100, [30.0, 100.0])
    assert check_update(values, clip=10.0, party="south") == (10.0, 100)
    for wrong, match in (
        (np.append(np.full(4, 5.1) * 100, [30.0, 100.0]), "it was not clipped"),
        (np.append(values[:-1], 99.5), "counts 99.5 customers"),
        (np.append(values[:-1], 0.0), "counts 0 customers"),
    ):
        with pytest.raises(BadPeer, match=match) as caught:
            check_update(wrong, clip=10.0, party="south")
        assert caught.value.party == "south"


def test_another_federation_file_or_run_is_refused(one):
    agreed, kept, opened = one
    loose = replace(agreed, neural=replace(agreed.neural, clip=100.0))
    with pytest.raises(Refused, match="agreed on with another federation file"):
        checked(loose, kept, opened)
    with pytest.raises(Refused, match="not of second"):
        audit(agreed, "second", kept, [opened], whole=False)
    with pytest.raises(NotFound, match="no opening"):
        checked(agreed, kept, *kept)


def test_what_opens_an_update_is_kept_for_the_days_that_the_party_says(tmp_path):
    path = build(tmp_path / "short", customers=600, rounds=1)
    change(path.parent / "west" / "party.toml", audit_days=0)
    train(path)
    with pytest.raises(NotFound, match="audit_days = 0") as caught:
        audits.hand_out(Party.load(path, "west"), "first", to="x")
    assert caught.value.party == "west"
    south = Party.load(path, "south")
    kept = sorted((path.parent / "south" / "runs" / "first").glob("audit-*.json"))
    assert len(kept) == 4
    for days, left in ((89, 4), (90, 0)):
        now = f"{np.datetime64(south.store.now()[:10]) + days}T12:00:00Z"
        audits.forget(replace(south, store=Store(south.store.home, now=lambda now=now: now)))
        assert len(list(kept[0].parent.glob("audit-*.json"))) == left


def test_handing_out_an_update_is_a_line_of_the_ledger(trained, tmp_path):
    for _ in range(2):  # the same to the same once more tells nothing new
        openings_of(trained, tmp_path, "north", "neural_2")
    told = [
        line
        for line in Party.load(trained, "north").store.ledger()
        if line.entry.phase == "neural_2" and "audit" in line.entry.what
    ]
    (line,) = told
    assert line.entry.what == "own input of a sum, opened for an audit"
    assert line.entry.recipient == "the regulator"
    assert line.entry.rows == len(learning(Party.load(trained, "north"))[0])
    assert oct((tmp_path / "north.json").stat().st_mode & 0o777) == "0o600"


def test_the_command_tells_who_is_in_order_and_who_has_not_opened(trained, tmp_path, confide):
    for bank in ("north", "south"):
        openings_of(trained, tmp_path, bank, "neural_1")
    files = [tmp_path / f"{bank}.json" for bank in ("north", "south")]
    status, out, err = confide("model", "audit", "first", *files, "-f", trained)
    assert status == 0, err
    assert out.count("in order") == 2
    assert "not opened by west" in out
    status, out, _ = confide("model", "audit", "first", *files, "-f", trained, "--format", "json")
    assert json.loads(out)["data"]["not_opened"] == ["west"]
    status, _, err = confide("model", "audit", "first", *files, "-f", trained, "--all")
    assert status == 4
    assert "west" in err
    # Another party's own copy serves as well as the coordinator's, and one's own does not.
    for record, status in (("north", 0), ("south", 4)):
        words = ("--record", tmp_path / f"{record}.json")
        found, _, err = confide("model", "audit", "first", files[1], "-f", trained, *words)
        assert found == status, err
    assert "held against its own record" in err


def test_a_sum_that_was_given_up_is_in_order_and_is_told_apart(tmp_path, monkeypatch):
    path = build(tmp_path / "given_up", customers=600, rounds=1)
    real = neural_means.sum_coordinator

    class Killed(BaseException):
        """The coordinator's process is gone."""

    def dying(channel, job, *, keep):
        def until_revealed(evidence, opened):
            if opened and job.label == "neural_1":
                raise Killed
            keep(evidence, opened)

        return real(channel, job, keep=until_revealed)

    with monkeypatch.context() as patch:
        patch.setattr(neural_means, "sum_coordinator", dying)
        with pytest.raises(Killed):
            train(path)
    train(path, resume=True)
    agreed, _ = load_federation(path)
    opened = [one for bank in BANKS for one in openings_of(path, tmp_path, bank, "neural_1")]
    assert len(opened) == 2 * len(BANKS)
    found = checked(agreed, records_of(path), *opened, whole=True)
    assert (len(found.in_order), found.sums, found.sums_unchecked) == (6, 1, 1)
    given_up = [record for record in records_of(path) if not record.opened]
    with pytest.raises(Refused, match="opened none"):
        checked(
            agreed,
            given_up,
            *[o for o in opened if o.evidence.view == given_up[0].evidence.view],
            whole=True,
        )


@pytest.mark.parametrize(
    "text", ["[]", "{}", "no JSON", '{"contract": "a", "phase": "b", "evidence": {}}']
)
def test_a_file_that_is_no_record_is_refused_by_name(tmp_path, text):
    (tmp_path / "it.json").write_text(text)
    with pytest.raises(DataError, match=r"it\.json"):
        read_records([tmp_path / "it.json"])


def test_records_and_openings_survive_json(one):
    value = one[2]
    mapping = {
        "contract": value.contract,
        "phase": value.phase,
        "evidence": value.evidence.to_mapping(),
        "opening": value.opening.to_mapping(),
    }
    again = Record.from_mapping(json.loads(json.dumps(mapping)), "x")
    assert again.evidence == value.evidence
    assert np.array_equal(again.opening.residues, value.opening.residues)
    assert "salt" not in repr(value.opening)
    for name in ("salt", "input", "pair_seeds"):
        broken = json.loads(json.dumps(mapping))
        broken["opening"][name] = "no"
        with pytest.raises(DataError):
            Record.from_mapping(broken, "x")


def test_the_days_are_a_setting_with_a_lower_end():
    assert PartyFile().audit_days == 90
    with pytest.raises(ConfigError, match="audit_days"):
        PartyFile.from_mapping({"audit_days": -1}, "party.toml")
