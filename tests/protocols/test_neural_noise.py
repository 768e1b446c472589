"""The neural model trained with noise: what leaves, what it costs, and what ends it."""

from __future__ import annotations

import importlib.util
import json
import math
import re
import shutil
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from flwr.app import Error, Message

from clients.neural import noise as neural_noise
from clients.neural.data import learning
from clients.noise.budget import Budget, Limit
from clients.party import Party
from clients.store import Store
from server.coordinator import Coordinator
from server.engines.local import DIED, PARTY_DIED
from server.neural import noise as coordinators
from server.neural.checkpoint import FILE
from shared.arrays import pack_array
from shared.errors import BadPeer, ConfigError, RunFailed
from shared.neural import noisy_edges
from shared.neural.layout import Layout
from shared.neural.noisy import Plan
from shared.neural.scores import LENGTH
from shared.privacy import noise
from shared.privacy.accounting import epsilon
from shared.privacy.audit import audit
from shared.sealed import SealedChannel
from tests.neural_kit import BANKS, build, folder_of, train
from tests.whole_runs import ThreadGrid, change

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec(name) is None, reason=f"{name} is not installed")
    for name in ("torch", "dp_accounting")
]
FOUR = ("east", *BANKS)
#: Every customer in every step, so that nothing but noise is left to chance.
NOISY = {"training_epsilon": 2.0, "rate": 1.0, "steps": 4}


class Killed(BaseException):
    """A process that is killed says nothing more."""


def noisy(folder, *, privacy=NOISY, **settings):
    path = build(folder, **({"customers": 900, "pieces": 4} | settings))
    agree(path, **privacy)
    warm(Plan.of(Coordinator.load(path, "x").federation))
    return path


@cache
def warm(plan):
    """Do once, and before threads wait for each other, what takes seconds the first time."""
    from shared.neural.net import build as network  # noqa: PLC0415
    from shared.privacy.sgd import clipped_sum  # noqa: PLC0415

    layout = Layout((False,), 2, 0)
    clipped_sum(network(layout, layout.initial(1)), np.ones((2, 1)), np.array([0, 1]), plan.clip)
    rounds = [replace(plan.steps, steps=plan.steps_in(one + 1)) for one in range(plan.rounds)]
    for used in ([plan.edges], [plan.edges, plan.steps], *([one] for one in rounds)):
        epsilon(used, 1e-5)


def agree(path, **settings):
    """Write the federation file's section on noise."""
    text = re.sub(r"(?ms)^\[privacy\]\n.*?(?=^\[|\Z)", "", path.read_text())
    lines = [f"{name} = {value}" for name, value in settings.items()]
    path.write_text("\n".join([text, "[privacy]", *lines, ""]))


def silent(monkeypatch):
    """Take all noise away: the control."""
    monkeypatch.setattr(
        noise.SharedNoise, "draw", lambda self, size, entropy=None: np.zeros(size, np.int64)
    )


def weights_of(path, run="first"):
    with np.load(folder_of(path, run) / FILE) as stored:
        return stored["weights"]


def opened(monkeypatch, then=lambda total, job: None):
    """Watch what the coordinator opens."""
    seen, real = [], coordinators.sum_coordinator

    def watched(channel, job, **kept):
        total = real(channel, job, **kept)
        then(total, job)
        seen.append((job.label, total))
        return total

    monkeypatch.setattr(coordinators, "sum_coordinator", watched)
    return seen


def in_the_clear(path):
    """DP-SGD without noise on pooled rows, after scripts/bench_privacy.py: the oracle."""
    from shared.neural.net import build as network  # noqa: PLC0415
    from shared.privacy.sgd import clipped_sum  # noqa: PLC0415

    federation = Coordinator.load(path, "clear").federation
    agreed, plan = federation.neural, Plan.of(federation)
    parties = [Party.load(path, bank) for bank in BANKS]
    features = parties[0].contract.of(BANKS[0])
    own = [learning(party)[0] for party in parties]
    total = sum(noisy_edges.own_counts(features, one.values) for one in own)
    deviation = plan.edges_noise(3, noisy_edges.sensitivity(features)).deviation
    encoding = noisy_edges.read(features, total, agreed.pieces, deviation)
    layout = Layout(encoding.monotone, agreed.hidden, agreed.blocks)
    rows = np.concatenate([encoding.apply(one.values) for one in own])
    label = np.concatenate([one.label for one in own])
    weights, speed = layout.initial(agreed.seed), np.zeros(layout.size)
    for step in range(plan.steps.steps):
        gradient = plan.clip.mean(
            clipped_sum(network(layout, weights), rows, label, plan.clip), len(label)
        )
        speed = 0.9 * speed + (1 - 0.9) * gradient
        fall = 0.5 * (1 + math.cos(math.pi * step / plan.steps.steps))
        weights = layout.project(weights - 3.0 * fall / plan.clip.norm * speed)
    return weights


def test_without_its_noise_it_is_dp_sgd_on_pooled_rows_bit_for_bit(tmp_path, monkeypatch):
    path = noisy(tmp_path, rounds=1)
    silent(monkeypatch)
    outcome, _ = train(path)
    assert np.array_equal(weights_of(path), in_the_clear(path))
    assert outcome["rounds"][0]["loss"] is None


def test_noise_is_on_every_sum_that_is_opened_and_nothing_else_is_opened(tmp_path, monkeypatch):
    from shared.privacy import sgd  # noqa: PLC0415

    path = noisy(tmp_path)
    raw, real = [], sgd.dp_update

    def watched(*args, **kwargs):
        raw.append(real(*args, **kwargs))
        return raw[-1]

    monkeypatch.setattr(sgd, "dp_update", watched)
    seen = opened(monkeypatch)
    _, frames = train(path)
    plan = Plan.of(Coordinator.load(path, "x").federation)
    deviation = plan.step_noise(3).deviation
    steps = [total for label, total in seen if "/" in label]
    assert [label for label, _ in seen] == ["neural_edges"] + [
        f"neural_{number}/{step}" for number in (1, 2) for step in (1, 2)
    ]
    assert len(raw) == 3 * len(steps)
    sums = [sum(raw[3 * step : 3 * step + 3]) for step in range(len(steps))]
    for total, plain in zip(steps, sums, strict=True):
        assert np.std(total[:-1] - plain) == pytest.approx(deviation, rel=0.2)
    sent = b"".join(frame.payload for frame in frames)
    assert not any(pack_array(one)[-256:] in sent for one in (*raw, *sums))


def test_without_noise_the_coordinator_would_hold_the_very_sum_of_updates(tmp_path, monkeypatch):
    # The positive control of the test above.
    from shared.privacy import sgd  # noqa: PLC0415

    path = noisy(tmp_path, rounds=1, privacy=NOISY | {"steps": 1})
    raw, real = [], sgd.dp_update

    def watched(*args, **kwargs):
        raw.append(real(*args, **kwargs))
        return raw[-1]

    monkeypatch.setattr(sgd, "dp_update", watched)
    silent(monkeypatch)
    seen = opened(monkeypatch)
    train(path)
    assert np.array_equal(dict(seen)["neural_1/1"][:-1], sum(raw))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Three banks after a noisy training of two rounds: the federation file and the outcome."""
    path = noisy(tmp_path_factory.mktemp("noisy"), customers=1500)
    outcome, _ = train(path)
    return path, outcome


def test_the_ledgers_epsilon_works_out_to_the_target(trained):
    path, _ = trained
    builder = Coordinator.load(path, "x").federation.builder
    for bank in BANKS:
        lines = Store(path.parent / bank).ledger()
        told = audit(lines, 1e-5)
        assert 1.95 < told.epsilon <= 2.0
        assert told.with_noise == 3  # edges, and two rounds of two steps
        bare = [line.entry.phase for line in lines if line.entry.noise is None]
        assert told.without == len(bare)
        # Verdicts and metrics are of customers that nobody trains on; the release's lines are not.
        verdicts = ["neural_check_1", "neural_check_2"] if bank == builder else []
        figures = ["neural_release"] if bank == builder else []
        released = ["neural_mean", "neural_points", *figures, "release", "release"]
        assert bare == [*verdicts, "neural_evaluate", *released]
        noises = [line.entry.noise for line in lines if line.entry.noise is not None]
        assert [one.steps for one in noises] == [1, 2, 2]
        assert {(one.parties, one.colluders, one.delta) for one in noises} == {(3, 1, 1e-5)}
        spent = Budget(path.parent / bank / "budget.jsonl", Limit(10.0, 1e-5))
        assert spent.epsilon() == pytest.approx(told.epsilon)


def test_nothing_of_what_a_party_keeps_is_told_and_no_loss(trained):
    path, outcome = trained
    assert outcome["test_kept"] is None
    assert [one["loss"] for one in outcome["rounds"]] == [None, None]
    assert outcome["privacy"]["epsilon"] == 2.0
    lines = [line.entry for line in Store(path.parent / "north").ledger()]
    (metrics,) = [line for line in lines if line.phase == "neural_evaluate"]
    assert metrics.values == LENGTH + 1


def test_a_second_training_that_passes_a_partys_budget_is_refused_before_anything_leaves(trained):
    path, _ = trained
    for bank in BANKS:
        change(path.parent / bank / "party.toml", privacy_epsilon=2.5)
    files = [*path.parent.glob("*/ledger.jsonl"), *path.parent.glob("*/budget.jsonl")]
    before = [file.read_bytes() for file in files]
    with pytest.raises(RunFailed, match=r"of 2\.5 allowed") as caught:
        train(path, "second")
    assert caught.value.reported == "budget-spent"
    assert [file.read_bytes() for file in files] == before
    assert len(files) == 6


@pytest.mark.parametrize(
    ("allowed", "why"), [(1.5, "of 1.5 allowed"), (0.0, "allows no noisy release")]
)
def test_a_party_that_allows_less_is_named_and_nobody_pays(tmp_path, allowed, why):
    path = noisy(tmp_path, customers=600)
    change(tmp_path / "south" / "party.toml", privacy_epsilon=allowed)
    with pytest.raises(RunFailed, match=why) as caught:
        train(path)
    assert (caught.value.party, caught.value.reported) == ("south", "budget-spent")
    assert not list(tmp_path.rglob("budget.jsonl"))
    assert not list(tmp_path.rglob("ledger.jsonl"))


@pytest.mark.slow
def test_a_round_that_is_played_again_is_paid_again_and_counts_once(tmp_path, monkeypatch):
    silent(monkeypatch)
    whole = noisy(tmp_path / "whole")
    train(whole)
    path = noisy(tmp_path / "killed")

    def dying(total, job):
        if job.label == "neural_2/2":
            raise Killed

    with monkeypatch.context() as patch:
        opened(patch, dying)
        with pytest.raises(Killed):
            train(path)
    outcome, _ = train(path, resume=True)
    assert [one["round"] for one in outcome["rounds"]] == [1, 2]
    assert np.array_equal(weights_of(path), weights_of(whole))
    spent = Budget(path.parent / "north" / "budget.jsonl", Limit(10.0, 1e-5))
    assert [line.mechanism.steps for line in spent.lines()] == [1, 4, 2]
    told = audit(Store(path.parent / "north").ledger(), 1e-5)
    assert told.epsilon > 2.0
    assert spent.epsilon() == pytest.approx(told.epsilon)


def test_a_round_that_can_not_be_paid_again_is_refused_by_name(tmp_path, monkeypatch):
    path = noisy(tmp_path)
    change(tmp_path / "west" / "party.toml", privacy_epsilon=2.0)

    def dying(total, job):
        if job.label == "neural_2/2":
            raise Killed

    with monkeypatch.context() as patch:
        opened(patch, dying)
        with pytest.raises(Killed):
            train(path)
    before = (tmp_path / "west" / "ledger.jsonl").read_bytes()
    with pytest.raises(RunFailed, match="of 2 allowed") as caught:
        train(path, resume=True)
    assert caught.value.party == "west"
    assert (tmp_path / "west" / "ledger.jsonl").read_bytes() == before


class Mortal(ThreadGrid):
    """Threads that may be killed while they play."""

    def _answer(self, party, message, name):
        try:
            super()._answer(party, message, name)
        except Killed:
            self._channels[party].abort(DIED)
            error = Error(PARTY_DIED, f"{party}: {DIED}")
            self._arrived[name] = Message(error, reply_to=message)


@pytest.mark.slow
def test_survivors_go_on_with_noise_sized_for_them_and_pay_for_the_round_again(
    tmp_path, monkeypatch
):
    path = noisy(tmp_path, banks=FOUR, customers=1200, min_parties=3)
    real = neural_noise.sum_party

    def dying(channel, job, *args, **kwargs):
        if (channel.me, job.label) == ("south", "neural_1/2"):
            raise Killed
        return real(channel, job, *args, **kwargs)

    monkeypatch.setattr(neural_noise, "sum_party", dying)
    outcome, _ = train(path, grid=Mortal)
    assert outcome["parties"] == ["east", "north", "west"]
    assert [one["round"] for one in outcome["rounds"]] == [1, 2]
    lines = [line.entry for line in Store(tmp_path / "north").ledger()]
    noises = [line.noise for line in lines if line.noise is not None]
    assert [(one.parties, one.steps) for one in noises] == [(4, 1), (4, 2), (3, 2), (3, 2)]
    assert len({one.multiplier for one in noises[1:]}) == 1
    spent = Budget(tmp_path / "north" / "budget.jsonl", Limit(10.0, 1e-5))
    assert [line.mechanism.steps for line in spent.lines()] == [1, 4, 2]


@pytest.mark.parametrize(
    "setting",
    [
        {"training_epsilon": 3.0},
        pytest.param({"rate": 0.5}, marks=pytest.mark.slow),
        pytest.param({"steps": 9}, marks=pytest.mark.slow),
    ],
)
def test_a_coordinator_that_agreed_on_something_else_is_refused(tmp_path, setting):
    path = noisy(tmp_path / "out", customers=600)
    honest = path.with_name("honest.toml")
    shutil.copy(path, honest)
    agree(path, **(NOISY | setting))
    Plan.of(Coordinator.load(path, "x").federation)

    class Parties(ThreadGrid):
        def __init__(self, channels, files, dies):
            super().__init__(channels, dict.fromkeys(files, honest), dies)

    with pytest.raises((RunFailed, BadPeer), match=r"(?i)another contract|agreed|works on"):
        train(path, grid=Parties)
    assert not list(tmp_path.rglob("ledger.jsonl"))


@pytest.mark.parametrize(
    ("lie", "message"),
    [(lambda sent: sent + 1e-9, "another job"), (lambda sent: sent * np.nan, "none of a network")],
)
def test_weights_after_a_step_that_are_not_everybodys_or_no_networks_end_the_round(
    tmp_path, monkeypatch, lie, message
):
    path = noisy(tmp_path, customers=600, rounds=1)
    real = SealedChannel.send_all

    def lying(self, to, tag, payload):
        to = tuple(to)
        if tag.startswith("noise/") and self.me == "coordinator":
            weights = np.frombuffer(payload[-8 * size_of(payload) :], "<f8")
            real(self, to[:1], tag, pack_array(lie(weights)))
            to = to[1:]
        real(self, to, tag, payload)

    monkeypatch.setattr(SealedChannel, "send_all", lying)
    with pytest.raises((RunFailed, BadPeer), match=message):
        train(path)


def size_of(payload):
    return int.from_bytes(payload[2:10], "little")


def test_a_share_that_no_noise_gives_ends_the_round(tmp_path, monkeypatch):
    path = noisy(tmp_path, customers=600, rounds=1)
    real = noise.SharedNoise.draw
    monkeypatch.setattr(
        noise.SharedNoise, "draw", lambda self, size, entropy: real(self, size, entropy) + (1 << 34)
    )
    with pytest.raises(BadPeer, match="longer than clipped gradients and noise"):
        train(path)


def test_the_noise_is_the_partys_own_solution_and_no_setting_of_a_message(tmp_path, monkeypatch):
    path = noisy(tmp_path, customers=600, rounds=1)

    class Asking(ThreadGrid):
        def push_messages(self, messages):
            told = []
            for message in messages:
                record = message.content["job"]
                value = json.loads(bytes(record["value"]))
                value |= {"rate": 0.01, "steps": 1, "multiplier": 0.1, "epsilon": 99.0}
                record["value"] = json.dumps(value).encode()
                told.append(message)
            return super().push_messages(told)

    train(path, grid=Asking)
    plan = Plan.of(Coordinator.load(path, "x").federation)
    lines = [line.entry.noise for line in Store(tmp_path / "north").ledger()]
    assert [one.multiplier for one in lines if one] == [
        plan.edges.multiplier,
        plan.steps.multiplier,
    ]


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["fedprox", "fedadam"])
def test_other_strategies_act_on_noisy_rounds(tmp_path, strategy):
    path = noisy(tmp_path, strategy=strategy, pull=1.0)
    outcome, _ = train(path)
    assert len(outcome["rounds"]) == 2


def test_rounds_share_out_all_steps_and_never_have_none(tmp_path):
    path = noisy(tmp_path, customers=600, rounds=3, privacy=NOISY | {"steps": 8})
    plan = Plan.of(Coordinator.load(path, "x").federation)
    assert [plan.steps_in(number) for number in (1, 2, 3)] == [2, 3, 3]
    agree(path, **(NOISY | {"steps": 2}))
    with pytest.raises(ConfigError, match=r"privacy\.steps"):
        train(path)
