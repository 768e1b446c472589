"""A secure sum is exact, opens to one name only, and reveals nothing when anything is amiss."""

from __future__ import annotations

import queue
import threading
from collections import deque
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from shared.arrays import pack_array, unpack_array
from shared.channel import QueueChannel
from shared.errors import BadPeer, PartyLost, Refused
from shared.identity import Identity, Roster
from shared.masks import SEED_BYTES, Keystream
from shared.protocols import sum as secure_sum
from shared.protocols.sum import (
    SumJob,
    check_reveal,
    decode,
    encode,
    input_digests,
    sum_coordinator,
    sum_party,
)
from shared.protocols.sum_job import signed_residues
from shared.sealed import SealedChannel, Session

FOUR = ("bank", "bureau", "payments", "shop")
# A uniform vector fails below this once in a million; the draws of these tests are fixed anyway.
NOT_UNIFORM = 1e-6


class DiedError(Exception):
    """The process of a party is gone; it tells nobody."""


class MemoryJournal:
    """A party's reveals, as long as the test lasts."""

    def __init__(self):
        self.records = []

    def reveal(self, *record):
        check_reveal(self.records, *record)
        self.records.append(record)


def a_job(**changes):
    fields = {
        "run": "run-1",
        "label": "round-1",
        "attempt": 1,
        "cohort": FOUR,
        "opener": "bank",
        "coordinator": "coordinator",
        "kind": "moments",
        "model": "",
        "bits": 64,
        "length": 5,
        "scale": 0,
        "bound": 1 << 40,
    }
    return SumJob(**(fields | changes))


def fixed_entropy(name):
    return Keystream(name.encode().ljust(32, b"."), "entropy").read


class Inboxes:
    """Everybody's inbox; once all who are left wait in vain, time is up for all of them.

    So a missing message costs a test no time, and a busy machine loses nobody.
    """

    def __init__(self, names):
        self.frames = {name: deque() for name in names}
        self.present, self.waiting, self.timed_out = set(), set(), set()
        self.moved = threading.Condition()

    def carry(self, frame):
        with self.moved:
            self.frames[frame.recipient].append(frame)
            self.moved.notify_all()

    def leave(self, name):
        with self.moved:
            self.present.remove(name)
            self._look()

    def get(self, name):
        with self.moved:
            self.waiting.add(name)
            self._look()
            while not self.frames[name]:
                if name in self.timed_out:
                    self.timed_out.remove(name)
                    raise queue.Empty
                self.moved.wait(20)
            self.waiting.discard(name)
            self.timed_out.discard(name)
            return self.frames[name].popleft()

    def _look(self):
        if self.waiting >= self.present and not any(self.frames[name] for name in self.waiting):
            self.timed_out |= self.waiting
            self.waiting.clear()
            self.moved.notify_all()


@dataclass
class Inbox:
    """The inbox of one name, as a channel sees it."""

    inboxes: Inboxes
    name: str

    def get(self, timeout):
        return self.inboxes.get(self.name)


class Federation:
    """Everybody of a run inside this process, with all they sent on record."""

    def __init__(self, parties):
        names = (*parties, "coordinator")
        self.inboxes = Inboxes(names)
        self.people = {name: Identity(name, bytes([i + 1]) * 32) for i, name in enumerate(names)}
        self.roster = Roster({name: one.fingerprint for name, one in self.people.items()})
        self.transports = {
            name: QueueChannel(
                name, set(names) - {name}, Inbox(self.inboxes, name), self.inboxes.carry, deadline=1
            )
            for name in names
        }
        self.journals = {name: MemoryJournal() for name in parties}
        self.sent = []  # (sender, recipients, tag, plaintext), in the order of each sender
        session = Session("run-1", "moments", 1, "a" * 64)
        self.channels = self._each(
            {
                name: lambda name=name: SealedChannel.open(
                    self.transports[name], self.people[name], self.roster, session
                )
                for name in names
            }
        )
        for name in names:
            self._record(name)

    def _record(self, name):
        send_all = self.channels[name].send_all

        def recorded(to, tag, payload):
            self.sent.append((name, tuple(to), tag, payload))
            send_all(to, tag, payload)

        self.channels[name].send_all = recorded

    def _each(self, work):
        """Run everybody at once; return what each returned or raised."""
        outcome = {}
        self.inboxes.present = set(work)

        def run(name):
            try:
                outcome[name] = work[name]()
            except Exception as error:  # noqa: BLE001 - the test looks at it
                outcome[name] = error
            self.inboxes.leave(name)

        threads = [threading.Thread(target=run, args=(name,), name=name) for name in work]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return outcome

    def sum(self, job, inputs, *, jobs=None, entropy=fixed_entropy):
        """Run one job with everybody in it; `jobs` shows some names another one."""
        seen = dict.fromkeys((*job.cohort, job.coordinator), job) | (jobs or {})

        def party(name):
            return sum_party(
                self.channels[name],
                seen[name],
                inputs[name],
                journal=self.journals[name],
                entropy=entropy(name),
            )

        work = {name: (lambda name=name: party(name)) for name in job.cohort}
        work[job.coordinator] = lambda: sum_coordinator(
            self.channels[job.coordinator], seen[job.coordinator]
        )
        return self._each(work)

    def payloads(self, step):
        """Return sender -> plaintext of a step."""
        return {name: raw for name, _, tag, raw in self.sent if tag.endswith("/" + step)}

    def dies_before(self, name, step, *, after=0):
        """Let a party die when its `after`-th message of a step was sent."""
        transport = self.transports[name]
        send, count = transport.send, [0]

        def send_or_die(to, tag, payload):
            if tag.endswith("/" + step):
                if count[0] == after:
                    raise DiedError
                count[0] += 1
            send(to, tag, payload)

        transport.send = send_or_die

    def tamper(self, name, step, change, *, towards=None):
        """Let `name` send something else in a step, to some peers or to all."""
        send_all = self.channels[name].send_all

        def tampered(to, tag, payload):
            for peer in to:
                hit = tag.endswith("/" + step) and towards in (None, peer)
                send_all((peer,), tag, change(payload) if hit else payload)

        self.channels[name].send_all = tampered

    @property
    def nothing_revealed(self):
        return not self.payloads("seed") and not any(one.records for one in self.journals.values())


def integers(job, seed=b"i"):
    """Return an input within the bound for each party."""
    stream = Keystream(seed * 32, "inputs")
    span = np.uint64(2 * job.bound + 1)
    return {
        name: (stream.elements((job.length,), np.uint64) % span).astype(np.int64) - job.bound
        for name in job.cohort
    }


def assert_sum(outcome, job, inputs):
    """Check that the opener, and nobody else, holds the exact sum."""
    expected = np.sum([inputs[name] for name in job.cohort], axis=0)
    assert isinstance(outcome[job.opener], np.ndarray), outcome
    assert outcome[job.opener].dtype == np.int64
    assert outcome[job.opener].tolist() == expected.tolist()
    assert all(value is None for name, value in outcome.items() if name != job.opener), outcome


# What comes out.


@settings(max_examples=30, deadline=None)
@given(
    n_parties=st.integers(3, 6),
    bits=st.sampled_from([16, 64]),
    builder_opens=st.booleans(),
    length=st.integers(1, 40),
    data=st.data(),
)
def test_the_opener_gets_the_exact_sum_and_nobody_else_gets_anything(
    n_parties, bits, builder_opens, length, data
):
    cohort = tuple(sorted(f"party-{i}" for i in range(n_parties)))
    opener = data.draw(st.sampled_from(cohort)) if builder_opens else "coordinator"
    largest = ((1 << (bits - 1)) - 1) // n_parties
    bound = data.draw(st.integers(1, largest))
    job = a_job(cohort=cohort, opener=opener, bits=bits, length=length, bound=bound)
    numbers = st.lists(st.integers(-bound, bound), min_size=length, max_size=length)
    inputs = {name: np.array(data.draw(numbers), dtype=np.int64) for name in cohort}
    assert_sum(Federation(cohort).sum(job, inputs), job, inputs)


@pytest.mark.parametrize("bits", [16, 64])
@pytest.mark.parametrize("sign", [-1, 1])
def test_the_largest_inputs_a_job_allows_do_not_wrap(bits, sign):
    bound = ((1 << (bits - 1)) - 1) // 4
    job = a_job(bits=bits, bound=bound)
    inputs = dict.fromkeys(FOUR, np.full(5, sign * bound, dtype=np.int64))
    assert_sum(Federation(FOUR).sum(job, inputs), job, inputs)


@pytest.mark.parametrize("opener", ["bank", "coordinator"])
def test_a_weighted_mean_of_real_numbers_is_right_to_1e_12(opener):
    job = a_job(opener=opener, scale=38, bound=1 << 60, length=1001)
    weights = dict(zip(FOUR, (30_000, 12_345, 7, 99_991), strict=True))
    updates = {name: np.sin(np.arange(1000.0) * weights[name]) for name in FOUR}
    # The weight travels inside the masked vector, never in clear.
    inputs = {name: np.append(updates[name] * weights[name], weights[name]) for name in FOUR}
    outcome = Federation(FOUR).sum(job, inputs)
    total = outcome[opener]
    expected = sum(updates[name] * weights[name] for name in FOUR) / sum(weights.values())
    assert np.abs(total[:-1] / total[-1] - expected).max() < 1e-12


def test_residues_and_signed_integers_are_the_same_input():
    job = a_job(bits=16, bound=4000)
    signed = np.array([-4000, -1, 0, 1, 4000], dtype=np.int64)
    residues = encode(signed, job)
    assert residues.dtype == np.uint16
    assert encode(residues, job).tolist() == residues.tolist()
    assert decode(residues, job).tolist() == signed.tolist()
    assert input_digests(signed, job) == input_digests(residues, job)


def test_the_parties_of_a_larger_session_that_are_not_in_the_cohort_are_left_out():
    job = a_job(cohort=("bank", "payments", "shop"))
    inputs = integers(job)
    federation = Federation(FOUR)
    assert_sum(federation.sum(job, inputs), job, inputs)
    assert "bureau" not in {name for _, to, _, _ in federation.sent for name in to}


# What a job may not be.


def test_two_parties_are_refused_with_the_number():
    with pytest.raises(Refused, match="cohort of 2"):
        a_job(cohort=("bank", "shop"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cohort": ("shop", "payments", "bank")}, "sorted"),
        ({"cohort": ("bank", "bank", "shop")}, "each party once"),
        ({"opener": "mallory"}, "mallory"),
        ({"coordinator": "shop"}, "coordinator"),
        ({"bits": 24}, "16, 32 or 64"),
        ({"bits": 0}, "16, 32 or 64"),
        ({"bits": 16, "bound": 8192}, "wrap"),
        ({"bound": 1 << 61}, "wrap"),
        ({"bound": 0}, "bound"),
        ({"length": 0}, "length"),
        ({"scale": -1}, "scale"),
        ({"bits": 16, "bound": 9, "scale": 2}, "scale"),
        ({"attempt": 0}, "attempt"),
        ({"label": "x" * 129}, "label"),
    ],
)
def test_a_job_that_cannot_be_is_refused_by_field(changes, message):
    with pytest.raises(Refused, match=message):
        a_job(**changes)


def test_the_largest_bounds_that_cannot_wrap_are_allowed():
    assert a_job(bits=16, bound=8191).limit == 32764
    assert a_job(bound=(1 << 61) - 1).limit < 1 << 63


def test_every_field_changes_the_digest():
    job = a_job(bits=16, bound=9)
    others = [
        {"run": "run-2"},
        {"label": "round-2"},
        {"attempt": 2},
        {"cohort": FOUR[:3]},
        {"opener": "shop"},
        {"coordinator": "hub"},
        {"kind": "points"},
        {"model": "b" * 64},
        {"bits": 64},
        {"length": 6},
        {"bound": 10},
    ]
    digests = {replace(job, **change).digest for change in others}
    digests |= {job.digest, a_job(bound=9, scale=1).digest}
    assert len(digests) == len(others) + 2


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros(4, dtype=np.int64), "shape"),
        (np.array([0, 0, 0, 0, (1 << 40) + 1]), "bound"),
        (np.array([0, 0, 0, 0, -(1 << 40) - 1]), "bound"),
        (np.full(5, np.iinfo(np.int64).min), "bound"),
        (np.array([0, 0, 0, 0, np.nan]), "finite"),
        (np.array([0, 0, 0, 0, 2.0**41]), "within"),
        (np.zeros(5, dtype=np.float32), "float32"),
        (np.zeros(5, dtype=np.uint16), "uint16"),
    ],
)
def test_an_input_outside_the_job_is_refused_before_anything_is_sent(values, message):
    federation = Federation(FOUR)
    job = a_job()
    with pytest.raises(Refused, match=message):
        sum_party(federation.channels["bank"], job, values, journal=federation.journals["bank"])
    assert federation.sent == []


def test_real_numbers_have_no_place_in_the_16_bit_ring():
    with pytest.raises(Refused, match="float64"):
        encode(np.zeros(5), a_job(bits=16, bound=9))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cohort": (*FOUR, "zoo")}, "zoo"),
        ({"coordinator": "hub"}, "hub"),
        ({"run": "run-0"}, "run-0"),
        ({"cohort": ("bureau", "payments", "shop"), "opener": "shop"}, "bank"),
    ],
)
def test_a_job_for_others_is_refused_before_anything_is_sent(changes, message):
    federation = Federation(FOUR)
    with pytest.raises(Refused, match=message):
        sum_party(
            federation.channels["bank"],
            a_job(**changes),
            np.zeros(5, dtype=np.int64),
            journal=federation.journals["bank"],
        )
    with pytest.raises(Refused):
        sum_coordinator(federation.channels["bank"], a_job())
    assert federation.sent == []


# Equivocation: someone shows different things to different parties.


@pytest.mark.parametrize(
    "other",
    [{"opener": "coordinator"}, {"model": "c" * 64}, {"cohort": ("bank", "bureau", "shop")}],
    ids=["another opener", "another model", "another cohort"],
)
def test_a_coordinator_that_shows_one_party_another_job_is_refused_by_all(other):
    federation = Federation(FOUR)
    job = a_job()
    outcome = federation.sum(job, integers(job), jobs={"shop": a_job(**other)})
    assert isinstance(outcome["bank"], BadPeer)
    assert outcome["bank"].party == "shop"
    assert "another job" in str(outcome["bank"])
    assert isinstance(outcome["shop"], BadPeer)
    assert all(isinstance(outcome[name], (BadPeer, PartyLost)) for name in outcome), outcome
    assert federation.nothing_revealed


def test_a_peer_that_signs_another_job_towards_one_party_stops_everybody():
    federation = Federation(FOUR)
    job, other = a_job(), a_job(opener="shop")
    shop = federation.channels["shop"]

    def re_signed(payload):
        message = bytes.fromhex(other.digest) + payload[32:64]
        return message + shop.sign("sum key", message)

    federation.tamper("shop", "key", re_signed, towards="payments")
    outcome = federation.sum(job, integers(job))
    assert isinstance(outcome["payments"], BadPeer)
    assert outcome["payments"].party == "shop"
    assert isinstance(outcome["bank"], PartyLost)
    assert outcome["bank"].party == "payments"
    assert federation.nothing_revealed


def test_a_peer_that_shows_two_keys_stops_everybody():
    federation = Federation(FOUR)
    job = a_job()
    shop = federation.channels["shop"]

    def other_key(payload):
        message = payload[:32] + (9).to_bytes(32, "little")
        return message + shop.sign("sum key", message)

    federation.tamper("shop", "key", other_key, towards="payments")
    outcome = federation.sum(job, integers(job))
    assert all(isinstance(outcome[name], BadPeer) for name in ("bank", "bureau", "payments"))
    assert "saw other keys" in str(outcome["bank"])
    assert isinstance(outcome["coordinator"], BadPeer)
    assert federation.nothing_revealed


@pytest.mark.parametrize(
    ("step", "flip"), [("key", 40), ("key", 100), ("commitment", 70), ("commitment", 120)]
)
def test_a_message_whose_signature_is_of_something_else_is_refused(step, flip):
    federation = Federation(FOUR)
    job = a_job()
    federation.tamper(
        "shop", step, lambda raw: raw[:flip] + bytes([raw[flip] ^ 1]) + raw[flip + 1 :]
    )
    outcome = federation.sum(job, integers(job))
    assert isinstance(outcome["bank"], BadPeer)
    assert f"'shop' for 'sum {step}'" in str(outcome["bank"])
    assert federation.nothing_revealed


@pytest.mark.parametrize("step", ["key", "commitment"])
def test_a_message_that_is_cut_short_is_refused_by_name(step):
    federation = Federation(FOUR)
    job = a_job()
    federation.tamper("shop", step, lambda raw: raw[:-1])
    outcome = federation.sum(job, integers(job))
    assert isinstance(outcome["bank"], BadPeer)
    assert outcome["bank"].party == "shop"
    assert federation.nothing_revealed


def test_a_commitment_of_an_earlier_attempt_is_refused():
    federation = Federation(FOUR)
    job = a_job()
    inputs = integers(job)
    federation.sum(job, inputs)
    old = federation.payloads("commitment")["shop"]
    federation.sent.clear()
    federation.tamper("shop", "commitment", lambda _: old)
    outcome = federation.sum(replace(job, attempt=2), inputs)
    assert isinstance(outcome["bank"], BadPeer)
    assert not federation.payloads("seed")


@pytest.mark.parametrize(
    "point",
    [
        bytes(32),
        (1).to_bytes(32, "little"),
        bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    ],
    ids=["order 4", "order 1", "order 8"],
)
def test_a_key_of_low_order_is_refused_by_name(point):
    federation = Federation(FOUR)
    job = a_job()
    shop = federation.channels["shop"]

    def low_order(payload):
        message = payload[:32] + point
        return message + shop.sign("sum key", message)

    federation.tamper("shop", "key", low_order)
    outcome = federation.sum(job, integers(job))
    for name in ("bank", "bureau", "payments"):
        assert isinstance(outcome[name], BadPeer)
        assert outcome[name].party == "shop"
    assert federation.nothing_revealed


# What does not belong together.


def test_a_masked_vector_other_than_the_committed_one_is_named_and_nobody_reveals():
    federation = Federation(FOUR)
    job = a_job()
    federation.tamper("shop", "masked", lambda raw: raw[:-1] + bytes([raw[-1] ^ 1]))
    outcome = federation.sum(job, integers(job))
    assert isinstance(outcome["coordinator"], BadPeer)
    assert outcome["coordinator"].party == "shop"
    assert federation.nothing_revealed


def test_a_coordinator_that_holds_other_commitments_gets_no_seed():
    federation = Federation(FOUR)
    job = a_job(opener="coordinator")
    federation.tamper("coordinator", "commitments", lambda raw: raw[:-1] + bytes([raw[-1] ^ 1]))
    outcome = federation.sum(job, integers(job))
    for name in FOUR:
        assert isinstance(outcome[name], BadPeer)
        assert outcome[name].party == "coordinator"
    assert federation.nothing_revealed


@pytest.mark.parametrize("opener", ["bank", "coordinator"])
@pytest.mark.parametrize("seed", [bytes(32), b"short"])
def test_a_seed_other_than_the_committed_one_is_named(opener, seed):
    federation = Federation(FOUR)
    job = a_job(opener=opener)
    federation.tamper("shop", "seed", lambda _: seed)
    outcome = federation.sum(job, integers(job))
    assert isinstance(outcome[opener], BadPeer)
    assert outcome[opener].party == "shop"


def test_a_sum_out_of_range_is_refused_because_someone_spoilt_it(monkeypatch):
    federation = Federation(FOUR)
    job = a_job()
    honest = secure_sum.encode

    def poisoned(values, of):
        mine = threading.current_thread().name == "shop"
        return np.full(5, 1 << 45, dtype=np.uint64) if mine else honest(values, of)

    monkeypatch.setattr(secure_sum, "encode", poisoned)
    outcome = federation.sum(job, integers(job))
    assert isinstance(outcome["bank"], BadPeer)
    assert "4 times its bound" in str(outcome["bank"])


def test_a_total_of_the_wrong_shape_is_refused_by_the_builder():
    federation = Federation(FOUR)
    job = a_job()
    federation.tamper(
        "coordinator", "total", lambda _: pack_array(np.zeros(job.length + 1, dtype=np.uint64))
    )
    assert isinstance(federation.sum(job, integers(job))["bank"], BadPeer)


# Death and restart.


@pytest.mark.parametrize("opener", ["bank", "coordinator"])
@pytest.mark.parametrize("step", ["key", "masked", "commitment"])
def test_a_party_that_dies_before_the_reveal_is_named_and_nobody_reveals(opener, step):
    federation = Federation(FOUR)
    job = a_job(opener=opener)
    federation.dies_before("shop", step)
    outcome = federation.sum(job, integers(job))
    assert isinstance(outcome["shop"], DiedError)
    for name in ("bank", "bureau", "payments"):
        assert isinstance(outcome[name], PartyLost), outcome
        assert outcome[name].party == "shop"
    assert isinstance(outcome["coordinator"], PartyLost)
    assert federation.nothing_revealed


@pytest.mark.parametrize(("step", "after"), [("key", 1), ("key", 2), ("commitment", 1)])
def test_a_party_that_dies_half_way_through_a_step_leaves_nothing_revealed(step, after):
    federation = Federation(FOUR)
    job = a_job()
    federation.dies_before("shop", step, after=after)
    outcome = federation.sum(job, integers(job))
    lost = {outcome[name].party for name in FOUR[:3] if isinstance(outcome[name], PartyLost)}
    assert "shop" in lost
    assert all(isinstance(value, (PartyLost, DiedError)) for value in outcome.values()), outcome
    assert federation.nothing_revealed


def test_a_party_whose_commitment_reached_the_peers_but_not_the_coordinator_stops_the_reveal():
    federation = Federation(FOUR)
    job = a_job()
    federation.dies_before("shop", "commitment", after=3)
    outcome = federation.sum(job, integers(job))
    assert isinstance(outcome["coordinator"], PartyLost)
    assert outcome["coordinator"].party == "shop"
    assert federation.nothing_revealed


@pytest.mark.parametrize("step", ["commitments", "total"])
def test_a_coordinator_that_dies_is_named(step):
    federation = Federation(FOUR)
    job = a_job()
    federation.dies_before("coordinator", step)
    outcome = federation.sum(job, integers(job))
    assert isinstance(outcome["bank"], PartyLost)
    assert outcome["bank"].party == "coordinator"
    assert federation.nothing_revealed == (step == "commitments")


@pytest.mark.parametrize("opener", ["bank", "coordinator"])
def test_a_party_that_dies_instead_of_revealing_is_named_and_the_sum_stays_closed(opener):
    federation = Federation(FOUR)
    job = a_job(opener=opener)
    inputs = integers(job)
    federation.dies_before("shop", "seed")
    outcome = federation.sum(job, inputs)
    assert isinstance(outcome[opener], PartyLost)
    assert outcome[opener].party == "shop"
    # The others did reveal: without the lost party these inputs cannot be summed any more.
    federation.transports["shop"].send = type(federation.transports["shop"]).send.__get__(
        federation.transports["shop"]
    )
    federation.sent.clear()
    shrunk = federation.sum(job.restarted(FOUR[:3]), inputs)
    assert all(isinstance(shrunk[name], Refused) for name in FOUR[:3]), shrunk
    assert not federation.payloads("seed")


@pytest.mark.parametrize("step", ["key", "masked", "commitment"])
def test_the_survivors_restart_before_any_reveal_with_a_fresh_attempt(step):
    federation = Federation(FOUR)
    job = a_job(model="m" * 64)
    inputs = integers(job)
    federation.dies_before("shop", step)
    federation.sum(job, inputs)
    again = job.restarted(("payments", "bank", "bureau"))
    assert (again.attempt, again.cohort) == (2, ("bank", "bureau", "payments"))
    assert_sum(federation.sum(again, inputs), again, inputs)


def test_a_restart_of_too_few_or_without_the_opener_is_refused():
    with pytest.raises(Refused, match="cohort of 2"):
        a_job().restarted(("bank", "shop"))
    with pytest.raises(Refused, match="'bank'"):
        a_job().restarted(("bureau", "payments", "shop"))


# One input, one cohort.


def test_after_a_reveal_the_same_input_goes_into_the_same_cohort_only():
    federation = Federation(FOUR)
    job = a_job()
    inputs = integers(job)
    assert_sum(federation.sum(job, inputs), job, inputs)
    same = replace(job, attempt=2)
    assert_sum(federation.sum(same, inputs), same, inputs)

    federation.sent.clear()
    smaller = federation.sum(replace(job, attempt=3, cohort=FOUR[:3]), inputs)
    for name in FOUR[:3]:
        assert isinstance(smaller[name], Refused), smaller
        assert "already revealed" in str(smaller[name])
    assert not federation.payloads("seed")

    new = integers(job, seed=b"n")
    fresh = replace(job, attempt=4, cohort=FOUR[:3])
    assert_sum(federation.sum(fresh, new), fresh, new)


def check_later(first, second):
    """Reveal an input in one job, then another in a second one."""
    journal = MemoryJournal()
    for values, job in (first, second):
        for digest in input_digests(values, job):
            journal.reveal(job.digest, digest, job.cohort)


def test_a_larger_cohort_would_tell_as_much_as_a_smaller_one():
    values = np.arange(5)
    with pytest.raises(Refused, match="bank, bureau, payments"):
        check_later((values, a_job(cohort=FOUR[:3])), (values, a_job()))


def test_an_input_is_known_again_at_another_scale_and_in_another_ring():
    real = np.array([0.5, -0.25, 0.0, 1.0, 3.0])
    fine, coarse = a_job(scale=30), a_job(scale=20, cohort=FOUR[:3])
    assert encode(real, fine).tolist() != encode(real, coarse).tolist()
    with pytest.raises(Refused):
        check_later((real, fine), (np.where(real == 0.0, -0.0, real), coarse))
    whole = np.array([1, -2, 3, -4, 5])
    wide, narrow = a_job(), a_job(bits=16, bound=9, cohort=FOUR[:3])
    with pytest.raises(Refused):
        check_later((encode(whole, wide), wide), (encode(whole, narrow), narrow))


def test_an_update_trained_again_from_the_same_model_is_no_new_input():
    first = a_job(kind="update", model="m" * 64)
    smaller = replace(first, cohort=FOUR[:3])
    values, retrained = np.arange(5), np.arange(5) + 1
    with pytest.raises(Refused):
        check_later((values, first), (retrained, smaller))
    check_later((values, first), (retrained, first))
    check_later((values, first), (retrained, replace(smaller, model="n" * 64)))
    check_later((values, first), (retrained, replace(smaller, kind="metrics")))


def test_no_seed_leaves_when_the_journal_cannot_write():
    federation = Federation(FOUR)
    job = a_job(opener="coordinator")

    class FullDisk:
        def reveal(self, *record):
            raise OSError(28, "No space left on device")

    federation.journals = dict.fromkeys(FOUR, FullDisk())
    outcome = federation.sum(job, integers(job))
    assert all(isinstance(outcome[name], OSError) for name in FOUR)
    assert not federation.payloads("seed")


def test_the_note_is_written_before_the_seed_leaves():
    federation = Federation(FOUR)
    job = a_job(opener="coordinator")
    inputs = integers(job)
    seen = {}

    class Watching:
        def __init__(self, name):
            self.name = name

        def reveal(self, *record):
            seen[self.name] = (record, self.name in federation.payloads("seed"))

    federation.journals = {name: Watching(name) for name in FOUR}
    assert_sum(federation.sum(job, inputs), job, inputs)
    for name in FOUR:
        (digest,) = input_digests(inputs[name], job)
        assert seen[name] == ((job.digest, digest, FOUR), False)


# What the others see.


def uniformity(residues):
    """Return the p-value of the bytes of a vector being uniform."""
    counts = np.bincount(np.frombuffer(residues.tobytes(), dtype=np.uint8), minlength=256)
    return chisquare(counts).pvalue


@pytest.fixture(params=[16, 64])
def sizeable(request):
    """Return a job and telling inputs: small numbers whose plain bytes are far from uniform."""
    job = a_job(bits=request.param, length=8000, bound=2000, opener="coordinator")
    return job, integers(job)


def masked_vectors(federation, job):
    return {
        name: unpack_array(raw, job.dtype, (job.length,), cap=job.length)
        for name, raw in federation.payloads("masked").items()
    }


def test_every_masked_vector_is_uniform_and_no_other_payload_holds_the_input(sizeable):
    job, inputs = sizeable
    federation = Federation(FOUR)
    assert_sum(federation.sum(job, inputs), job, inputs)
    vectors = masked_vectors(federation, job)
    assert sorted(vectors) == list(FOUR)
    assert all(uniformity(one) > NOT_UNIFORM for one in vectors.values())
    steps = {tag.rsplit("/", 1)[1]: len(raw) for _, _, tag, raw in federation.sent}
    del steps["masked"]
    assert steps == {"key": 128, "commitment": 192, "commitments": 4 * 192, "seed": 32}


def test_the_uniformity_test_fails_on_plain_vectors(sizeable, monkeypatch):
    job, inputs = sizeable
    monkeypatch.setattr(Keystream, "elements", lambda _, shape, dtype: np.zeros(shape, dtype))
    federation = Federation(FOUR)
    assert_sum(federation.sum(job, inputs), job, inputs)
    assert all(uniformity(one) < NOT_UNIFORM for one in masked_vectors(federation, job).values())


def test_without_one_self_mask_seed_the_sum_stays_uniform(sizeable):
    job, inputs = sizeable
    federation = Federation(FOUR)
    federation.sum(job, inputs)
    seeds = federation.payloads("seed")
    total = np.sum(list(masked_vectors(federation, job).values()), axis=0, dtype=job.dtype)
    for name in FOUR[:3]:
        total -= Keystream(seeds[name], "sum/self").elements((job.length,), job.dtype)
    assert uniformity(total) > NOT_UNIFORM
    total -= Keystream(seeds["shop"], "sum/self").elements((job.length,), job.dtype)
    assert uniformity(total) < NOT_UNIFORM  # the positive control: the last seed opens it


@pytest.fixture
def pair_seeds(monkeypatch):
    """Record every pairwise seed: (me, peer) -> seed."""
    seeds = {}
    derive = secure_sum._pair_seed

    def recorded(secret, key, job, me, peer):
        seeds[me, peer] = derive(secret, key, job, me, peer)
        return seeds[me, peer]

    monkeypatch.setattr(secure_sum, "_pair_seed", recorded)
    return seeds


def test_a_coordinator_with_all_but_two_parties_learns_the_sum_of_the_two_only(
    sizeable, pair_seeds
):
    job, inputs = sizeable
    federation = Federation(FOUR)
    federation.sum(job, inputs)
    vectors, selves = masked_vectors(federation, job), federation.payloads("seed")
    honest, corrupt = ("bank", "shop"), ("bureau", "payments")
    residual = {}
    for name in honest:
        # The coordinator subtracts every mask that it or its two friends know.
        left = vectors[name] - Keystream(selves[name], "sum/self").elements(
            (job.length,), job.dtype
        )
        for friend in corrupt:
            stream = Keystream(pair_seeds[friend, name], "sum/pair").elements(
                (job.length,), job.dtype
            )
            left = left - stream if name < friend else left + stream
        residual[name] = left
        assert uniformity(left) > NOT_UNIFORM
    both = signed_residues(residual["bank"] + residual["shop"])
    assert both.tolist() == (inputs["bank"] + inputs["shop"]).tolist()
    # Any other two inputs with this sum explain the view as well, with a mask as uniform.
    shift = Keystream(b"z" * 32, "shift").elements((job.length,), job.dtype) % job.dtype(500)
    true_mask = residual["bank"] - inputs["bank"].astype(job.dtype)
    other_mask = true_mask - shift
    assert uniformity(other_mask) > NOT_UNIFORM
    assert ((inputs["bank"].astype(job.dtype) + shift) + other_mask == residual["bank"]).all()
    assert ((inputs["shop"].astype(job.dtype) - shift) - other_mask == residual["shop"]).all()


def both(first, second, frame):
    first(frame)
    second(frame)


def test_seeds_leave_sealed_and_to_the_opener_alone():
    for opener in ("bureau", "coordinator"):
        federation = Federation(FOUR)
        carried = []
        for transport in federation.transports.values():
            transport._carry = partial(both, carried.append, transport._carry)
        job = a_job(opener=opener)
        inputs = integers(job)
        assert_sum(federation.sum(job, inputs), job, inputs)
        reveals = {name: to for name, to, tag, _ in federation.sent if tag.endswith("/seed")}
        assert reveals == {name: (opener,) for name in FOUR if name != opener}
        on_the_wire = b"".join(frame.payload for frame in carried)
        plain = [raw for _, _, _, raw in federation.sent]
        assert len(plain) >= 15
        assert not any(raw in on_the_wire for raw in plain)
        assert sum(map(len, plain)) < len(on_the_wire)


def test_a_pairwise_seed_is_bound_to_the_job_and_alike_at_both_ends():
    job = a_job()
    mine, theirs = (X25519PrivateKey.from_private_bytes(bytes([i]) * 32) for i in (1, 2))
    points = [key.public_key().public_bytes_raw() for key in (mine, theirs)]
    seed = secure_sum._pair_seed(mine, points[1], job, "shop", "bank")
    assert seed == secure_sum._pair_seed(theirs, points[0], job, "bank", "shop")
    info = b"mask" + b"\x00\x04bank" + b"shop"
    hkdf = HKDF(hashes.SHA256(), 32, salt=bytes.fromhex(job.digest), info=info)
    assert seed == hkdf.derive(mine.exchange(theirs.public_key()))
    assert seed != secure_sum._pair_seed(mine, points[1], replace(job, attempt=2), "shop", "bank")
    assert seed != secure_sum._pair_seed(mine, points[1], job, "shop", "bureau")


def stuck_bits(secrets):
    """Return how many of the 256 bits never change between secrets."""
    bits = np.unpackbits(np.frombuffer(b"".join(secrets), dtype=np.uint8).reshape(len(secrets), 32))
    bits = bits.reshape(len(secrets), 256)
    return int((bits.min(axis=0) == bits.max(axis=0)).sum())


def test_every_seed_has_256_bits_that_move_and_no_two_are_alike(pair_seeds):
    parties = tuple(f"party-{i}" for i in range(6))
    federation = Federation(parties)
    selves, pairs = [], []
    for attempt in range(1, 11):
        job = a_job(cohort=parties, opener="coordinator", attempt=attempt)
        inputs = integers(job)
        # The real entropy of the product: nothing is handed in.
        work = {
            name: lambda name=name, job=job, inputs=inputs: sum_party(
                federation.channels[name], job, inputs[name], journal=federation.journals[name]
            )
            for name in parties
        }
        work["coordinator"] = lambda job=job: sum_coordinator(
            federation.channels["coordinator"], job
        )
        assert_sum(federation._each(work), job, inputs)
        selves += federation.payloads("seed").values()
        both_ends = [pair_seeds[a, b] == pair_seeds[b, a] for a, b in pair_seeds]
        assert all(both_ends)
        pairs += [pair_seeds[a, b] for a, b in pair_seeds if a < b]
    assert SEED_BYTES == 32
    assert {len(seed) for seed in selves + pairs} == {32}
    assert len(set(selves + pairs)) == 10 * (6 + 15)
    assert stuck_bits(selves) == stuck_bits(pairs) == 0


def test_the_look_at_stuck_bits_finds_keys_that_are_text():
    text = [bytes(byte & 0x7F for byte in fixed_entropy(str(i))(32)) for i in range(60)]
    assert stuck_bits(text) == 32
