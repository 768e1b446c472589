"""A coordinator that cheats in the neural model's rounds is refused each time, by name.

Every row starts after two rounds of four banks that were played as agreed: the control of all rows
is that the very same coordinator, asking for what was agreed on, gets its sum. Two rows are played
again with the defence taken away, to show what it keeps from the coordinator.
"""

from __future__ import annotations

import importlib.util
import re
from dataclasses import replace

import numpy as np
import pytest

from clients import journal
from clients.neural import phases as neural
from clients.neural.data import learning
from clients.party import Party
from shared.arrays import pack_value
from shared.identity import Identity
from shared.neural import average
from shared.protocols.sum import sum_coordinator
from tests.attacks.cheating import FOUR, VICTIM, Cheat, copy, found, revealed

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None,
    reason="torch is not installed: pip install 'confide[neural]'",
)
OTHERS = tuple(name for name in FOUR if name != VICTIM)


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """Return a federation after two rounds, and the weights that each began from, and the next."""
    path = found(tmp_path_factory.mktemp("begun"))
    return path, Cheat(path).train(2)


# Equivocation: one thing to one party, another to the others.


def two_models(cheat, weights):
    return cheat.round(3, weights[2], to={VICTIM: {"weights": weights[2] + 0.01}})


def two_encodings(cheat, weights):
    edges = [[edge * 2.0 for edge in one] for one in cheat.encoding.to_mapping()]
    return cheat.round(3, weights[2], to={VICTIM: {"edges": edges}})


def two_cohorts(cheat, weights):
    return cheat.round(3, weights[2], to={"east": {"cohort": OTHERS}})


def steps_of_all_but_one_shrunk(cheat, weights):
    return cheat.round(3, weights[2], to={name: {"shrink": 1e-9} for name in OTHERS})


def a_pull_on_one(cheat, weights):
    return cheat.round(3, weights[2], to={VICTIM: {"pull": 1.0}})


# Replay.


def an_old_rounds_message(cheat, weights):
    return cheat.round(1, weights[0])


def the_last_round_from_another_model(cheat, weights):
    return cheat.round(2, weights[2])


def an_old_rounds_keys(cheat, weights):
    kept = []

    def replay(frame):
        if (frame.sender, frame.recipient) != (VICTIM, "north") or not frame.tag.endswith("/key"):
            return frame
        kept.append(frame.payload)
        return replace(frame, payload=kept[0])

    cheat.carry(replay)
    answers = cheat.round(3, weights[2])
    assert not answers.told  # the control: what is replayed was good once
    return cheat.round(4, weights[2] + answers.mean[:-1])


# The victim in two cohorts: the sums would differ by its update.


def without_the_victim(cheat, weights):
    return cheat.round(2, weights[1], cohort=OTHERS)


def without_the_victim_as_a_restart(cheat, weights):
    return cheat.round(2, weights[1], cohort=OTHERS, attempt=2)


def without_the_victim_as_if_undone(cheat, weights):
    return cheat.round(3, weights[1], cohort=OTHERS, shrink=0.5)


def without_the_victim_in_a_new_run(cheat, weights):
    return cheat.round(1, weights[0], cohort=OTHERS, run="second")


# Cohorts that are none.


def two_parties(cheat, weights):
    return cheat.round(3, weights[2], cohort=("north", VICTIM), part=None)


def a_stranger_in_place_of_a_party(cheat, weights):
    return cheat.round(3, weights[2], to={VICTIM: {"cohort": ("nobody", "north", VICTIM)}})


# Models and rounds that are over, or were never agreed on.


def a_stale_model(cheat, weights):
    return cheat.round(3, weights[0])


def a_round_left_out(cheat, weights):
    return cheat.round(4, weights[2])


def a_round_too_many(cheat, weights):
    return cheat.round(7, weights[2])


def steps_without_measure(cheat, weights):
    return cheat.round(3, weights[2], shrink=2.0)


# Keys.


def keys_of_two_parties_swapped(cheat, weights):
    hellos = {}

    def swap(frame):
        if frame.tag.endswith("/hello") and frame.recipient == "north":
            hellos[frame.sender] = frame
            if frame.sender in {"east", VICTIM}:
                pair = [hellos.get(name) for name in ("east", VICTIM)]
                if None in pair:
                    return None
                cheat.channels["north"]._inbox.put(replace(pair[0], payload=pair[1].payload))
                return replace(pair[1], payload=pair[0].payload)
        return frame

    cheat.carry(swap)
    return cheat.round(3, weights[2])


def a_key_of_its_own_under_the_victims_name(cheat, weights):
    mine = Identity(VICTIM, bytes([7]) * 32)

    def forge(frame):
        if not frame.tag.endswith("/hello") or frame.sender != VICTIM:
            return frame
        session = cheat.run.session(average.round_phase(3))
        key = bytes(range(32)).hex()
        hello = {"agreement": session.agreement, "identity": mine.public_key.hex(), "key": key}
        hello["signature"] = mine.sign("hello", session.context(name=VICTIM, key=key)).hex()
        return replace(frame, payload=pack_value(hello))

    cheat.carry(forge)
    return cheat.round(3, weights[2])


def commitments_that_nobody_made(cheat, weights):
    def show_others(channel, job):
        send_all = channel.send_all

        def changed(to, tag, payload):
            send_all(to, tag, bytes(len(payload)) if tag.endswith("/commitments") else payload)

        channel.send_all = changed
        return sum_coordinator(channel, job)

    return cheat.round(3, weights[2], part=show_others)


# Weights.


def weights_that_are_no_numbers(cheat, weights):
    return cheat.round(3, weights[2] * np.nan)


def weights_beyond_all_measure(cheat, weights):
    return cheat.round(3, weights[2] + 1e9)


def weights_of_another_network(cheat, weights):
    return cheat.round(3, weights[2][:-1])


def edges_that_are_none(cheat, weights):
    return cheat.round(3, weights[2], edges=[[1.0, 0.0]])


# Questions about models of its own.


def a_verdict_on_a_round_never_trained(cheat, weights):
    return ask_verdict(cheat, 3, weights[2], weights[1])


def verdicts_on_models_of_its_own(cheat, weights):
    for step in (0.1, 0.2):
        assert not ask_verdict(cheat, 2, weights[2] + step, weights[1]).told  # the control
    return ask_verdict(cheat, 2, weights[2] + 0.3, weights[1])


def ask_verdict(cheat, number, fresh, best):
    job = {"round": number, "edges": cheat.encoding.to_mapping()}
    builder = cheat.run.federation.builder
    return cheat.query("evaluate.neural_check", job, np.concatenate([fresh, best]), [builder])


def metrics_of_a_second_model(cheat, weights):
    for name in FOUR:
        Party.load(cheat.path, name).store.save_value("first", "neural", {"digest": "of another"})
    job = {"edges": cheat.encoding.to_mapping()}
    return cheat.evaluate(job, weights[1])


ATTACKS = [
    (two_models, "bad-peer: works on another job"),
    (two_encodings, "bad-peer: works on another job"),
    (two_cohorts, "bad-peer: works on another job"),
    (steps_of_all_but_one_shrunk, "bad-peer: it asks for steps of 1e-09"),
    (a_pull_on_one, "bad-peer: it asks for steps that were not agreed on"),
    (an_old_rounds_message, "refused: round 1 of run first is asked for after round 2"),
    (the_last_round_from_another_model, "refused: round 2 of run first has begun here from ano"),
    (an_old_rounds_keys, "bad-peer: .*signature"),
    (without_the_victim, "refused: .*already revealed in the cohort"),
    (without_the_victim_as_a_restart, "refused: .*already revealed in the cohort"),
    (without_the_victim_as_if_undone, "refused: .*already revealed in the cohort"),
    (without_the_victim_in_a_new_run, "refused: .*already revealed in the cohort"),
    (two_parties, "refused: 2 parties: a round takes at least 3"),
    (a_stranger_in_place_of_a_party, "bad-peer: names a cohort that is not of this federation"),
    (a_stale_model, "refused: round 3 of run first begins from a model of an earlier round"),
    (a_round_left_out, "refused: round 4 of run first is asked for after round 2"),
    (a_round_too_many, "bad-peer: it asks for round 7 of 6"),
    (steps_without_measure, "bad-peer: it asks for steps that were not agreed on"),
    (keys_of_two_parties_swapped, "bad-peer: .*(signature|identity|key)"),
    (a_key_of_its_own_under_the_victims_name, "bad-peer: .*(signature|identity|key)"),
    (commitments_that_nobody_made, "bad-peer: holds other commitments than"),
    (weights_that_are_no_numbers, "bad-peer: the weights are not finite"),
    (weights_beyond_all_measure, "bad-peer: a weight is beyond"),
    (weights_of_another_network, "bad-peer: the weights do not fit"),
    (edges_that_are_none, "bad-peer: an encoding does not fit"),
    (a_verdict_on_a_round_never_trained, "refused: a verdict on round 3 .* has not been trained"),
    (verdicts_on_models_of_its_own, "budget-spent: round 2 of run first was judged on 2 models"),
    (metrics_of_a_second_model, "bad-peer: this run has ended with another model"),
]


@pytest.mark.parametrize(
    ("attack", "refusal"), ATTACKS, ids=lambda one: getattr(one, "__name__", "")
)
def test_a_coordinator_that_cheats_is_refused_by_name_and_nothing_is_opened(
    begun, tmp_path, attack, refusal
):
    path, weights = begun
    path = copy(path, tmp_path / "tried")
    before = rounds_revealed(path)
    answers = attack(Cheat(path), weights)
    assert answers.opened is None
    matching = [told for told in answers.told if re.search(refusal, told)]
    assert matching, answers.told
    # What a row itself plays as agreed, as its control, is whole: a note of every party.
    fresh = rounds_revealed(path) - before
    assert len(fresh) in {0, 2 * len(FOUR)}
    assert (attack is an_old_rounds_keys) == bool(fresh)


def rounds_revealed(path):
    return {(line["home"], line["input"], tuple(line["cohort"])) for line in revealed(path)}


def test_the_same_round_asked_for_again_opens_the_same_numbers_and_no_more(begun, tmp_path):
    path, weights = begun
    cheat = Cheat(copy(path, tmp_path / "tried"))
    twice = [cheat.round(2, weights[1]).opened for _ in range(2)]
    assert np.array_equal(*twice)
    assert np.array_equal(
        cheat.layout.project(weights[1] + average.mean_of(twice[0])[0][:-1]), weights[2]
    )


# With the defence taken away.


def own_update(cheat, weights, number):
    """Return what the victim hands in, as nobody but it should know: update and loss."""
    from shared.neural.train import train  # noqa: PLC0415 - an extra

    party = Party.load(cheat.path, VICTIM)
    own, _ = learning(party)
    recipe = neural._recipe(party, f"{VICTIM}/{number}")
    inputs = cheat.encoding.apply(own.values)
    trained, loss = train(cheat.layout, weights, inputs, own.label, recipe)
    clip = party.federation.neural.clip
    return np.append(average.clipped(trained - weights, clip), loss), len(own)


def test_two_cohorts_give_the_victims_update_where_the_journal_says_nothing(
    begun, tmp_path, monkeypatch
):
    path, weights = begun
    cheat = Cheat(copy(path, tmp_path / "tried"))
    whole = cheat.round(2, weights[1])
    monkeypatch.setattr(journal, "check_reveal", lambda *_: None)
    less = without_the_victim(cheat, weights)
    update, size = own_update(cheat, weights[1], 2)
    assert np.abs((whole.opened - less.opened)[:-1] / size - update).max() < 1e-6
    assert (whole.opened - less.opened)[-1] == size


def test_steps_of_the_coordinators_choice_give_the_victims_update(begun, tmp_path, monkeypatch):
    class Any:
        def __ne__(self, other):
            return False

        __hash__ = None

    path, weights = begun
    cheat = Cheat(copy(path, tmp_path / "tried"))
    monkeypatch.setattr(average, "shrunk", lambda undone: Any())
    opened = steps_of_all_but_one_shrunk(cheat, weights).opened
    update, size = own_update(cheat, weights[2], 3)
    found = opened[:-2] / size
    assert np.corrcoef(found, update[:-1])[0, 1] > 0.999999
    # The control of the control: as agreed, the sum is not the victim's.
    plain = cheat.round(3, weights[2]).opened[:-2] / size
    assert np.linalg.norm(plain - update[:-1]) > 0.5 * np.linalg.norm(update[:-1])
