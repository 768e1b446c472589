"""A scorecard's run that is interrupted anywhere goes on to the very card, and nothing twice.

A death is one at an exact step: whoever reaches it takes its last breath there, with the files as
they are at that moment. The engine is threads; what is on disk is the product's own.
"""

from __future__ import annotations

import json
import shutil
import threading
from collections import Counter

import pytest

from clients import join
from clients.lines import read_lines
from clients.releases.kept import release_names
from clients.store import Store
from server.checkpoint import Checkpoint
from shared.errors import EnvironmentFault, NotFound, PartyLost, Refused, RunFailed
from shared.sealed import SealedChannel
from tests import banks, whole_runs
from tests.depth import in_depth
from tests.whole_runs import ThreadGrid, assert_nothing_half_written, change, edit, train

THREE = ("bank", "bureau", "payments")
COLUMNS = ("align", "moments", "score", "release")


class Death(BaseException):
    """The end of a process: nothing of its own code sees it."""


class MortalGrid(ThreadGrid):
    """Threads that may die; the others hear of it, as of a closed pipe."""

    def __init__(self, channels, files, dies):
        super().__init__(channels, files, dies)
        self.threads = []
        MortalGrid.last = self

    def _answer(self, party, message, name):
        self.threads.append(threading.current_thread())
        try:
            super()._answer(party, message, name)
        except Death:
            self._dies = lambda who, _: who == party
            super()._answer(party, message, name)

    def all_gone(self):
        for thread in list(self.threads):
            thread.join(30)
            assert not thread.is_alive()


class Deaths:
    """Lets somebody die at the given step, once."""

    def __init__(self, monkeypatch):
        self.step, self.hit = None, threading.Event()
        self.seen = Counter()
        self._watch(monkeypatch, SealedChannel, "send_all", lambda ch, _, tag, *__: (ch.me, tag))
        self._watch(monkeypatch, Store, "record", lambda s, _, phase, *__: (s.home.name, phase))
        self._watch(
            monkeypatch,
            join,
            "keep_ended",
            lambda party, _, phase, *__: (party.name, f"ended {phase}"),
            also="clients.app.keep_ended",
        )
        self._watch(
            monkeypatch,
            Checkpoint,
            "count",
            lambda kept, _, phase, *__: ("coordinator", f"count {phase}"),
        )

    def _watch(self, monkeypatch, owner, name, step, also=""):
        plain = getattr(owner, name)

        def watched(*given, **named):
            who, what = step(*given, *([named["phase"]] if "phase" in named else []))
            before, after = (who, f"before {what}"), (who, f"after {what}")
            self.seen[who, what] += 1
            self._die(*before)
            result = plain(*given, **named)
            self._die(*after)
            return result

        monkeypatch.setattr(owner, name, watched)
        if also:
            monkeypatch.setattr(also, watched)

    def _die(self, who, what):
        if self.step == (who, what) and not self.hit.is_set():
            self.hit.set()
            raise Death

    def at(self, path, who, what, run="first", *, resume=False, dies=lambda *_: False):
        """Train until the death; return what the coordinator said of it, if it lived."""
        self.step = (who, what)
        self.hit.clear()
        said = None
        try:
            train(path, run, grid=MortalGrid, resume=resume, dies=dies)
        except Death:
            assert who == "coordinator"
            for channel in MortalGrid.last._channels.values():
                channel.abort("the coordinator is gone")
        except (PartyLost, RunFailed, Refused) as error:
            said = error
        assert self.hit.is_set(), f"nobody came to {what}"
        MortalGrid.last.all_gone()
        self.step = None
        return said


@pytest.fixture
def deaths(monkeypatch):
    return Deaths(monkeypatch)


def card_of(path, builder, run="first"):
    value = json.loads((path.parent / builder / "runs" / run / "card.json").read_text())
    del value["run"]
    return value


def same_card(path, builder, card, run="first"):
    """The very card; of its evaluation the last digits go by the order of sums, as in any run."""
    mine, theirs = card_of(path, builder, run), dict(card)
    ours, others = (dict(flat(one.pop("evaluation"))) for one in (mine, theirs))
    assert mine == theirs
    assert ours == pytest.approx(others, rel=1e-9)


def flat(value, name=""):
    if isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in pairs:
            yield from flat(inner, f"{name}/{key}")
    else:
        yield name, value


def lines(path, party, kind):
    return [one for one in read_lines(path.parent / party / "journal.jsonl") if one["kind"] == kind]


def nothing_twice(path, parties, builder, outcome):
    """One card, one release, one key; no seed for two tables, no input in two cohorts."""
    assert len(list(path.parent.glob(f"{builder}/runs/*/card.json"))) == 1
    names = {name: release_names(path.parent / name / "releases") for name in parties}
    assert all(one == names[builder] for one in names.values())
    assert len(names[builder]) == 1
    assert len({(path.parent / name / "pseudonym.key").read_text() for name in parties}) == 1
    for name in parties:
        seeds = Counter(line["seed"] for line in lines(path, name, "seed"))
        assert max(seeds.values(), default=1) == 1
        assert len({line["binding"] for line in lines(path, name, "moments")}) <= 1
        opened = lines(path, name, "scores")
        assert len({(line["of"], line["points"]) for line in opened}) == len(opened)
        assert len({line["of"] for line in opened}) == len(opened)
        cohorts = {}
        for line in lines(path, name, "reveal"):
            assert cohorts.setdefault(line["input"], line["cohort"]) == line["cohort"]
        told = Counter(opening(line.entry) for line in Store(path.parent / name).ledger())
        assert max(told.values()) == 1
    assert outcome["release"][builder]["name"] == names[builder][0]
    assert_nothing_half_written(path.parent)


def opening(entry):
    return entry.run, entry.phase, entry.what, entry.recipient, entry.binding


@pytest.fixture(scope="module")
def columns(tmp_path_factory):
    """Three holders of columns, and the card of a run that nobody disturbed."""
    path = whole_runs.build(tmp_path_factory.mktemp("columns"), parties=THREE, customers=420)
    calm = copy(path, tmp_path_factory.mktemp("calm"))
    train(calm)
    return path, card_of(calm, "bank")


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    """Three banks, a platform and a bureau, and the card of a run that nobody disturbed."""
    path, _ = banks.build(
        tmp_path_factory.mktemp("banks"),
        banks=banks.BANKS[:3],
        columns=("platform", "bureau"),
        sizes=(180, 190, 185),
        builder_rank=0.5,
    )
    calm = copy(path, tmp_path_factory.mktemp("calm"))
    train(calm)
    return path, card_of(calm, "east")


def copy(path, folder):
    return shutil.copytree(path.parent, folder / "it") / path.name


#: Who dies, and where: inside each phase, at its end at a party, and at the coordinator before and
#: after it has written down that the phase has ended.
DEATHS = [
    *(("payments", f"before ended {phase}") for phase in COLUMNS),
    *(("bank", f"after ended {phase}") for phase in COLUMNS),
    *(("coordinator", f"before count {phase}") for phase in COLUMNS),
    *(("coordinator", f"after count {phase}") for phase in COLUMNS),
    ("payments", "before moments"),
    ("payments", "before score"),
    ("payments", "after score"),
    ("payments", "before release"),
    ("bank", "after score/part"),
    ("bureau", "after release/signature"),
    ("bank", "after release/complete"),
    ("bank", "before pseudonym/proof"),
]
#: Some of them in every run of the tests, more of them among the slow ones, the rest in depth.
FAST = {
    ("coordinator", "before count moments"),
    ("payments", "before ended moments"),
    ("payments", "after score"),
    ("bank", "after release/complete"),
}
SLOW = {
    ("payments", "before ended align"),
    ("bank", "after ended moments"),
    ("coordinator", "before count score"),
    ("coordinator", "after count release"),
    ("bureau", "after release/signature"),
    ("bank", "before pseudonym/proof"),
}


def cases(found, fast, slow):
    marks = dict.fromkeys(found, (pytest.mark.slow, in_depth))
    marks |= dict.fromkeys(slow, pytest.mark.slow) | dict.fromkeys(fast, ())
    return [pytest.param(*one, id="-".join(one), marks=marks[one]) for one in found]


@pytest.mark.parametrize(("who", "what"), cases(DEATHS, FAST, SLOW))
def test_a_run_of_columns_goes_on_from_any_death_to_the_very_card(
    columns, tmp_path, deaths, who, what
):
    path, card = copy(columns[0], tmp_path), columns[1]
    deaths.at(path, who, what)
    outcome = train(path, resume=True)
    same_card(path, "bank", card)
    nothing_twice(path, THREE, "bank", outcome)


#: The same where several banks count together with a platform.
BANK_DEATHS = [
    ("platform", "before ended align"),
    ("coordinator", "before count bins"),
    ("south", "before ended bins"),
    ("coordinator", "after count bins"),
    ("platform", "before ended moments"),
    ("north", "before moments"),
    ("coordinator", "before count moments"),
    ("south", "after sum/points/1/masked"),
    ("coordinator", "after count score"),
    ("east", "after release/complete"),
]


@pytest.mark.parametrize(
    ("who", "what"),
    cases(
        BANK_DEATHS,
        {("south", "before ended bins")},
        {("coordinator", "before count moments"), ("south", "after sum/points/1/masked")},
    ),
)
def test_a_run_of_banks_goes_on_from_any_death_to_the_very_card(
    several, tmp_path, deaths, who, what
):
    path, card = copy(several[0], tmp_path), several[1]
    deaths.at(path, who, what)
    outcome = train(path, resume=True)
    assert outcome["lost"] == {}
    same_card(path, "east", card)
    nothing_twice(path, (*banks.BANKS[:3], "bureau", "platform"), "east", outcome)


def test_a_run_that_is_interrupted_again_and_again_ends_and_its_phases_are_played_once(
    columns, tmp_path, deaths
):
    """Nothing is played again that had ended: a party opens as often as its ledger has lines."""
    path, card = copy(columns[0], tmp_path), columns[1]
    deaths.at(path, "coordinator", "before count align")
    for phase in ("align", "moments", "score"):
        deaths.at(path, "coordinator", f"after count {phase}", resume=True)
    deaths.at(path, "coordinator", "before count release", resume=True)
    outcome = train(path, resume=True)
    again = train(path, resume=True)  # nothing is left to do
    assert again["release"] == json.loads(json.dumps(outcome["release"]))
    same_card(path, "bank", card)
    nothing_twice(path, THREE, "bank", outcome)
    for party in THREE:
        told = Counter(line.entry.phase for line in Store(path.parent / party).ledger())
        assert told.total() == 7
        assert told == {phase: deaths.seen[party, phase] for phase in told}


@pytest.fixture(scope="module")
def four(tmp_path_factory):
    path, _ = banks.build(tmp_path_factory.mktemp("four"), sizes=(160, 170, 180, 175))
    calm = copy(path, tmp_path_factory.mktemp("calm"))
    train(calm)
    return path, card_of(calm, "east")


@pytest.mark.slow
def test_a_bank_without_which_the_survivors_may_not_go_on_is_counted_on_again(
    four, tmp_path, deaths
):
    path, card = copy(four[0], tmp_path), four[1]
    said = deaths.at(path, "south", "before sum/moments/1/seed")
    assert "already revealed in the cohort" in said.message
    outcome = train(path, resume=True)
    assert outcome["lost"] == {}
    same_card(path, "east", card)
    nothing_twice(path, banks.BANKS, "east", outcome)


@pytest.mark.slow
def test_a_bank_that_was_lost_before_the_end_stays_out_of_what_goes_on(four, tmp_path, deaths):
    path = copy(four[0], tmp_path)

    def dies(party, kind):
        return (party, kind) == ("south", "train.moments")

    deaths.at(path, "coordinator", "after count moments", dies=dies)
    outcome = train(path, resume=True)
    assert outcome["lost"] == {"south": "moments"}
    left = tuple(bank for bank in banks.BANKS if bank != "south")
    assert sorted(outcome["release"]) == list(left)
    nothing_twice(path, left, "east", outcome)


@pytest.mark.slow
def test_moments_of_another_sample_are_refused_by_the_journal_and_by_name(tmp_path, deaths):
    path = whole_runs.build(tmp_path, parties=THREE, customers=2600, sample_cap=1000)
    deaths.at(path, "payments", "before ended moments")
    with pytest.raises(RunFailed, match="over other customers or other bins left") as caught:
        train(path, resume=True)
    assert caught.value.party in THREE
    assert caught.value.reported == "refused"
    assert all(len(lines(path, name, "moments")) == 1 for name in THREE)


# With noise.


@pytest.fixture(scope="module")
def noisy(tmp_path_factory):
    pytest.importorskip("dp_accounting", reason="pip install 'confide[privacy]'")
    folder = tmp_path_factory.mktemp("noisy")
    return whole_runs.build(folder, parties=THREE, customers=420, moments_epsilon=8.0)


def paid(path, party):
    return [line["what"] for line in read_lines(path.parent / party / "budget.jsonl")]


def test_noise_that_was_drawn_in_a_phase_that_ended_everywhere_is_neither_drawn_nor_paid_again(
    noisy, tmp_path, deaths
):
    path = copy(noisy, tmp_path)
    deaths.at(path, "coordinator", "before count moments")
    before = {party: paid(path, party) for party in THREE}
    assert [len(lines) for lines in before.values()] == [0, 2, 2]
    draft = (path.parent / "bank/runs/first/draft.json").read_bytes()
    outcome = train(path, resume=True)
    assert {party: paid(path, party) for party in THREE} == before
    assert (path.parent / "bank/runs/first/draft.json").read_bytes() == draft
    nothing_twice(path, THREE, "bank", outcome)


def test_noise_that_was_drawn_in_a_phase_that_broke_off_ends_the_run_by_the_name_of_who_paid(
    noisy, tmp_path, deaths
):
    path = copy(noisy, tmp_path)
    deaths.at(path, "payments", "before ended moments")
    before = {party: paid(path, party) for party in THREE}
    for _ in range(2):
        with pytest.raises(Refused, match="no noise is drawn twice") as caught:
            train(path, resume=True)
        assert caught.value.party in {"bureau", "payments"}
        assert "start a new run" in caught.value.hint
    assert {party: paid(path, party) for party in THREE} == before
    for party in THREE:
        change(path.parent / party / "party.toml", privacy_epsilon=30.0)
    train(path, "second")  # the control


def test_a_phase_with_noise_that_nobody_had_paid_for_yet_is_played_again(noisy, tmp_path, deaths):
    path = copy(noisy, tmp_path)
    deaths.at(path, "payments", "before ended align")
    outcome = train(path, resume=True)
    assert [len(paid(path, party)) for party in THREE] == [0, 2, 2]
    nothing_twice(path, THREE, "bank", outcome)


# What was changed in between, and what is damaged.


@pytest.fixture(scope="module")
def scored(columns, tmp_path_factory):
    """A run of which phase `score` has ended."""
    with pytest.MonkeyPatch.context() as patch:
        path = copy(columns[0], tmp_path_factory.mktemp("scored"))
        Deaths(patch).at(path, "coordinator", "after count score")
    return path


def first_row_moved(table):
    return {name: column[::-1] for name, column in table.items()}


CHANGES = {
    "its train.parquet": lambda home: edit(home / "train.parquet", first_row_moved),
    "its test.parquet": lambda home: edit(home / "test.parquet", first_row_moved),
    "its party.toml": lambda home: change(home / "party.toml", further_moments="accept"),
}


@pytest.mark.parametrize("what", list(CHANGES))
def test_a_party_that_changed_something_since_is_named_with_it(scored, tmp_path, what):
    path = copy(scored, tmp_path)
    CHANGES[what](path.parent / "bureau")
    with pytest.raises(RunFailed, match=f"{what} changed since run first began") as caught:
        train(path, resume=True)
    assert (caught.value.party, caught.value.reported) == ("bureau", "refused")
    assert "put back what was there" in caught.value.hint


def test_another_agreement_or_key_is_refused_and_the_old_one_goes_on(scored, tmp_path):
    path = copy(scored, tmp_path)
    agreed = path.read_text()
    change(path, base_score=700)
    with pytest.raises(
        (Refused, RunFailed), match=r"federation file (or contract were )?changed since"
    ):
        train(path, resume=True)
    path.write_text(agreed)
    pin = Checkpoint.load(whole_runs.Coordinator.load(path, "first")).keys["bureau"]
    path.write_text(agreed.replace(pin, "0" * len(pin)))
    with pytest.raises(Refused, match="its key in the federation file was changed") as caught:
        train(path, resume=True)
    assert caught.value.party == "bureau"
    path.write_text(agreed)
    nothing_twice(path, THREE, "bank", train(path, resume=True))


def test_a_checkpoint_that_is_damaged_or_not_there_is_refused_before_anything_starts(
    scored, tmp_path
):
    path = copy(scored, tmp_path)
    file = path.parent / "coordinator/runs/first/scorecard.json"
    whole = file.read_text()
    for damage in (whole.replace('"attempt": 1', '"attempt": 0', 1), whole[:-20], "[]"):
        assert damage != whole
        file.write_text(damage)
        with pytest.raises(EnvironmentFault, match=r"scorecard\.json is damaged"):
            train(path, resume=True)
    with pytest.raises(NotFound, match="has nothing to go on with"):
        train(path, "another", resume=True)


def test_a_party_without_the_run_is_named(scored, tmp_path):
    path = copy(scored, tmp_path)
    shutil.rmtree(path.parent / "payments/runs/first")
    with pytest.raises(RunFailed, match=r"began\.json is not there") as caught:
        train(path, resume=True)
    assert caught.value.party == "payments"


def test_a_message_of_an_attempt_before_the_run_went_on_is_refused(scored, tmp_path):
    """It may have lain in a queue of Flower's."""
    path = copy(scored, tmp_path)
    party = join.Party.load(path, "bureau")
    run = join.Run("first", 1, party.federation, party.contract.digest())
    join.refuse_older(party, run)
    train(path, resume=True)
    with pytest.raises(Refused, match="has gone on since"):
        join.refuse_older(party, run)
