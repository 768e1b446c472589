"""Blind products equal plain products, and show nobody more than the builder's tables."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.arrays import pack_value
from shared.errors import BadPeer, FloorBroken, PartyLost, Refused
from shared.protocols import products
from shared.protocols.products import OneHot, ProductJob, check_floors, deal, multiply
from shared.protocols.products_job import CHUNK_ROWS
from shared.sealed import SealedChannel
from tests.support import COORDINATOR, MemoryJournal, run_parties


def matrix(n_rows, sizes, seed, order="o"):
    rng = np.random.default_rng(seed)
    codes = np.column_stack([rng.integers(0, size, n_rows) for size in sizes])
    return OneHot(codes, tuple(sizes), b"bins of " + str(seed).encode(), order)


@pytest.mark.parametrize("rows", [0, 1, CHUNK_ROWS, CHUNK_ROWS + 1])
def test_a_matrix_is_the_same_in_whatever_width_its_bins_are_held(rows):
    """A party holds them in two bytes; the seed that a dealer gave is bound to their numbers."""
    wide = matrix(rows, (3, 2), 1)
    slim = replace(wide, codes=wide.codes.astype(np.int16))
    prefix = pack_value({"sizes": [3, 2]})
    whole = hashlib.sha256(prefix + wide.codes.astype("<i8").tobytes()).hexdigest()
    assert slim.columns_digest == wide.columns_digest == whole
    np.testing.assert_array_equal(slim.own_table(), wide.own_table())
    np.testing.assert_array_equal(slim.margins, wide.margins)


def play(mine, job=None, *, tamper=None, minimum=0, rank=1e9, journals=None, dealer=deal):
    names = tuple(sorted(mine))
    job = job or ProductJob(
        "r", "moments", 1, names, names[0], COORDINATOR, len(next(iter(mine.values())).codes)
    )
    journals = journals or {name: MemoryJournal() for name in names}

    def holder(name, channel):
        return multiply(
            channel, job, mine[name], minimum=minimum, max_rank_share=rank, journal=journals[name]
        )

    roles = {name: partial(holder, name) for name in names}
    roles[COORDINATOR] = lambda channel: dealer(channel, job)
    return run_parties(roles, tamper=tamper, deadline=2.0)


def plain(a, b):
    n = len(a.codes)
    return (a.dense(0, n).T @ b.dense(0, n)).astype(np.int64)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    n_holders=st.integers(2, 5),
    n_rows=st.sampled_from([1, 7, 4096, 4097, 9000]),
    only=st.booleans(),
    seed=st.integers(0, 99),
)
def test_blind_tables_equal_plain_tables_as_integers(n_holders, n_rows, only, seed):
    rng = np.random.default_rng(seed)
    mine = {
        f"p{i}": matrix(n_rows, rng.integers(1, 5, rng.integers(1, 4)).tolist(), seed + i)
        for i in range(n_holders)
    }
    names = tuple(sorted(mine))
    builder = names[seed % n_holders]
    job = ProductJob("r", "moments", 1, names, builder, COORDINATOR, n_rows, with_builder_only=only)
    run = play(mine, job)
    opened = run.value(builder)
    for name in names:
        assert (opened.own[name] == plain(mine[name], mine[name])).all()
        assert opened.descriptions[name] == mine[name].description
        assert name == builder or run.results[name] is None
    assert set(opened.cross) == set(job.pairs)
    for (a, b), table in opened.cross.items():
        assert (table == plain(mine[a], mine[b])).all()


def test_a_wide_ring_takes_over_where_sixteen_bits_would_wrap():
    n = 65_536
    mine = {name: OneHot(np.zeros((n, 1), np.int64), (1,), b"", "o") for name in ("a", "b")}
    assert play(mine).value("a").cross["a", "b"][0, 0] == n


def plaintexts(monkeypatch):
    """Record what is sent before it is sealed, by (sender, recipients, tag)."""
    seen = []
    original = SealedChannel.send_all

    def spy(self, to, tag, payload):
        to = tuple(to)
        seen.append((self.me, to, tag, payload))
        original(self, to, tag, payload)

    monkeypatch.setattr(SealedChannel, "send_all", spy)
    return seen


def chi_square(raw):
    counts = np.bincount(np.frombuffer(raw, np.uint8), minlength=256)
    expected = len(raw) / 256
    return float(((counts - expected) ** 2 / expected).sum())


def uniform(raw):
    """255 degrees of freedom: beyond 380 has a chance of one in a million."""
    return chi_square(raw) < 380


def test_masked_rows_and_shares_are_uniform_and_the_plain_rows_are_not(monkeypatch):
    seen = plaintexts(monkeypatch)
    mine = {name: matrix(5000, [4, 3], i) for i, name in enumerate("abc")}
    play(mine).value("a")
    masked = b"".join(p for _, _, tag, p in seen if tag == "products/masked" and len(p) > 5000)
    assert uniform(masked[18:])
    for sender, to, tag, _ in seen:
        if tag.startswith("products/share"):
            assert to == ("a",), "shares go to the builder only"
            assert sender != COORDINATOR
    shares = [p for _, _, tag, p in seen if tag == "products/share/b/c"]
    table = plain(mine["b"], mine["c"]).astype(np.uint16)
    assert len(shares) == 2
    assert all(
        (np.frombuffer(p[18:], np.uint16).reshape(table.shape) != table).any() for p in shares
    )
    assert not uniform(mine["a"].dense(0, 5000).astype(np.uint16).tobytes())


def test_the_coordinator_receives_sizes_and_nothing_of_rows(monkeypatch):
    seen = plaintexts(monkeypatch)
    mine = {name: matrix(300, [4, 3], i) for i, name in enumerate("abc")}
    play(mine).value("a")
    to_dealer = [(tag, payload) for _, to, tag, payload in seen if COORDINATOR in to]
    assert {tag for tag, _ in to_dealer} == {"products/announce"}
    assert all(len(payload) < 200 for _, payload in to_dealer)


def test_two_attempts_share_no_masked_row(monkeypatch):
    seen = plaintexts(monkeypatch)
    mine = {name: matrix(300, [4, 3], i) for i, name in enumerate("ab")}
    play(mine).value("a")
    play(mine).value("a")
    masked = [p for s, _, tag, p in seen if tag == "products/masked" and s == "b"]
    assert len(masked) == 2
    assert masked[0] != masked[1]


def test_a_wrong_dealer_share_names_the_pair_and_the_dealer():
    mine = {name: matrix(300, [4, 3], i) for i, name in enumerate("abc")}

    def crooked(channel, job):
        genuine = channel.send

        def send(to, tag, payload):
            if tag == "products/correction/b":
                payload = payload[:-2] + bytes([payload[-2] ^ 1]) + payload[-1:]
            genuine(to, tag, payload)

        channel.send = send
        deal(channel, job)

    error = play(mine, dealer=crooked).results["a"]
    assert isinstance(error, BadPeer)
    assert "between b and c" in str(error)
    assert COORDINATOR in str(error)


def test_margins_that_do_not_open_their_commitment_name_the_party(monkeypatch):
    mine = {name: matrix(300, [4, 3], i) for i, name in enumerate("abc")}
    genuine = products.hand_over

    def lie(channel, job, own, salt, shares):
        if channel.me == "b":
            own = replace(own, description=b"other bins")
        genuine(channel, job, own, salt, shares)

    monkeypatch.setattr(products, "hand_over", lie)
    error = play(mine).results["a"]
    assert isinstance(error, BadPeer)
    assert error.party == "b"


def test_misaligned_rows_are_refused_by_name_before_anything_is_masked():
    mine = {"a": matrix(300, [4], 0), "b": matrix(300, [4], 1), "c": matrix(300, [4], 2, "other")}
    run = play(mine)
    assert isinstance(run.results["a"], BadPeer)
    assert run.results["a"].party == "c"
    assert not [frame for frame in run.frames if frame.tag == "products/masked"]


def test_a_dealt_seed_used_twice_is_refused(monkeypatch):
    seeds = iter([b"\x07" * 32, b"\x08" * 32] * 2)
    journals = {name: MemoryJournal() for name in "ab"}

    def lazy(channel, job):
        deal(channel, job, entropy=lambda _: next(seeds))

    first = {name: matrix(300, [4], i) for i, name in enumerate("ab")}
    play(first, journals=journals, dealer=lazy).value("a")
    second = {name: matrix(300, [4], i + 5) for i, name in enumerate("ab")}
    run = play(second, journals=journals, dealer=lazy)
    assert isinstance(run.results["a"], (Refused, PartyLost))
    assert any(type(error) is Refused for error in run.errors.values())
    assert not [frame for frame in run.frames if frame.tag == "products/masked"]


def test_floors_are_checked_before_anything_is_sent():
    small = OneHot(np.r_[np.zeros(290, int), np.ones(10, int)][:, None], (2,), b"", "o")
    run = play({"a": matrix(300, [2], 0), "b": small}, minimum=100)
    assert isinstance(run.results["b"], FloorBroken)
    assert not [f for f in run.frames if f.sender == "b" and f.tag.startswith("products")]
    check_floors(small, 10)
    with pytest.raises(FloorBroken):
        check_floors(small, 11)


def test_a_builder_with_too_many_columns_is_refused_by_the_others():
    mine = {"a": matrix(400, [5, 5], 0), "b": matrix(400, [2], 1)}
    run = play(mine, rank=0.01)
    assert isinstance(run.results["b"], FloorBroken)
    assert "a brings columns of rank 9" in str(run.results["b"])
    assert play({"a": matrix(400, [2, 2], 0), "b": matrix(400, [9], 1)}, rank=0.01).value("a")


@pytest.mark.parametrize("tag", ["products/announce", "products/masked", "products/own"])
def test_a_party_that_falls_silent_is_named(tag):
    mine = {name: matrix(300, [4], i) for i, name in enumerate("abc")}
    run = play(mine, tamper=lambda f: None if (f.sender, f.tag) == ("b", tag) else f)
    assert isinstance(run.results["a"], PartyLost)
    assert any(error.party == "b" for error in run.errors.values())


def test_a_job_without_its_builder_or_with_one_holder_is_refused():
    for holders, builder in ((("a",), "a"), (("a", "b"), "c"), (("b", "a"), "a")):
        with pytest.raises(Refused):
            ProductJob("r", "m", 1, holders, builder, COORDINATOR, 10)
