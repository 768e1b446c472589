"""The coordinator, who carries every frame, reads nothing but what it must know."""

from __future__ import annotations

import json
import os
import re
from collections import defaultdict

import numpy as np
import pytest
from scipy.stats import chi2

from shared.arrays import pack_array, unpack_array
from shared.jobs import COORDINATOR
from shared.scorecard.spread import MOST_GROUPS, Spread
from shared.sealed import _HEADER, _KEY, _WRAPPED
from tests.attacks.federations import play_all, small_world

# Of all statistics of one test together: how often it may fail with nothing wrong.
pytestmark = pytest.mark.slow

FALSE_ALARM = 1e-6
_SIGNATURE = 64


@pytest.fixture(scope="module")
def federation(whole):
    return whole[0]


@pytest.fixture(scope="module")
def sealed(whole):
    return whole[1]


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """Run the same without envelopes: what the checks below must catch."""
    return play_all(small_world(tmp_path_factory.mktemp("bare")), sealed=False)


def hidden(payload):
    """Return the bytes of an envelope that must look random: the wrapped key, the ciphertext.

    The X25519 point and the signature between them are field elements, whose top bits are not.
    """
    return payload[1 + _KEY : 1 + _KEY + _WRAPPED], payload[_HEADER:]


def chi_square(raw):
    """Return the chi-square statistic of bytes against the uniform distribution, 255 degrees."""
    counts = np.bincount(np.frombuffer(raw, np.uint8), minlength=256)
    return float(((counts - len(raw) / 256) ** 2).sum() / (len(raw) / 256))


def not_uniform(pools):
    """Return the pools, at least 5 bytes a value, whose bytes are too far from uniform."""
    large = {name: raw for name, raw in pools.items() if len(raw) >= 5 * 256}
    limit = chi2.isf(FALSE_ALARM / max(len(large), 1), 255)
    return {name: chi_square(raw) for name, raw in large.items() if chi_square(raw) > limit}


def pools_of(frames):
    """Gather the hidden bytes of frames by tag, each ciphertext once: several peers get the same.

    The last pool holds all.
    """
    pools = defaultdict(list)
    for tag, part in {(f.tag, part) for f in frames for part in hidden(f.payload)}:
        pools[tag].append(part)
    return {tag: b"".join(parts) for tag, parts in pools.items()} | {
        "all": b"".join({part for parts in pools.values() for part in parts})
    }


def windows(array, width, *, varied=1):
    """Return stretches of an array, of `varied` values or more, in the encodings it might have.

    A stretch of nearly all zeros may stand anywhere in a table of small counts.
    """
    starts = [
        start
        for start in np.linspace(0, len(array) - width, 3).astype(int)
        if len(np.unique(array[start : start + width])) >= varied
    ]
    types = ("u1", "<u2", "<i4", "<i8", "<f4", "<f8")
    return [
        np.ascontiguousarray(array[a : a + width]).astype(t).tobytes()
        for a in starts
        for t in types
    ]


@pytest.fixture(scope="module")
def needles(federation, sealed):
    """Return what must not be found, by kind: bytes that no accident makes."""
    del sealed  # it must have run: the plans follow from the alignment
    found = defaultdict(list)
    for name, party in federation.parties.items():
        found["ids"] += [key.encode() for key in party.train.ids[:: len(party.train.ids) // 25]]
        found["column names"] += [key.encode() for key in party.train.values]
        codes = federation.codes(name)
        for block, plan in enumerate(federation.plans(name)[:10]):
            edges = plan.to_mapping().get("axis", {}).get("edges", [])
            long = [edge for edge in edges if len(json.dumps(edge)) >= 7]
            found["edges"] += [json.dumps(edge).encode() for edge in long]
            found["edges"] += [np.float64(edge).tobytes() for edge in long]
            if plan.n_atoms >= 8:
                found["bins of customers"] += windows(codes[:, block], 24, varied=5)
            counts = np.bincount(codes[:, block], minlength=plan.n_atoms)
            if plan.n_atoms >= 5:
                found["counts"] += windows(counts, 5)
                found["counts"].append(json.dumps(counts.tolist(), separators=(",", ":")).encode())
    bank = federation.parties[federation.builder]
    rows = bank.store.load_array(federation.run.name, "train_rows")
    label = bank.train.label[rows].astype(int)
    found["labels"] += windows(label, 128)
    # All zeros may stand anywhere in a table of counts; so may any four bytes in ciphertext.
    return {
        kind: sorted({raw for raw in raws if len(raw) >= 5 and len(set(raw)) > 1})
        for kind, raws in found.items()
    }


def spotted(wanted, payloads):
    """Return the kinds of needles that occur in payloads."""
    hay = b"\xff".join({bytes(raw) for raw in payloads})
    return {kind for kind, raws in wanted.items() if any(raw in hay for raw in raws)}


def test_every_frame_is_a_hello_or_an_envelope(sealed):
    for frame in sealed.frames:
        if frame.tag == "hello":
            assert set(json.loads(frame.payload)) == {"agreement", "identity", "key", "signature"}
            assert len(frame.payload) < 500
        else:
            assert frame.payload[0] == 1
            assert len(frame.payload) >= _HEADER + 16
    assert sum(frame.tag == "hello" for frame in sealed.frames) == 3 * 5 * 4


def test_tags_name_steps_and_parties_and_nothing_else(sealed, federation):
    members = "|".join(federation.parties)
    allowed = re.compile(
        rf"hello|align/(size|common|positions|key|order|verdict|list/({members}))"
        rf"|toss/(commit|reveal)|products/(announce|seed|masked|description|margins|own)"
        rf"|products/correction/({members})|products/share/({members})/({members})"
        rf"|score/part|sum/scores/\d+/(key|masked|commitment|commitments|seed|total)"
    )
    assert {f.tag for f in sealed.frames if not allowed.fullmatch(f.tag)} == set()


def test_ciphertext_is_uniform_over_bytes(sealed):
    pools = pools_of(frame for frame in sealed.frames if frame.tag != "hello")
    assert len(pools["all"]) > 1 << 20
    assert not_uniform(pools) == {}


def test_without_envelopes_the_same_bytes_are_far_from_uniform(bare):
    pools = pools_of(bare.frames)
    caught = not_uniform(pools)
    assert {"all", "products/own", "products/description", "align/positions"} <= set(caught)


def test_one_leaking_tag_among_many_is_noticed(sealed):
    frames = [frame for frame in sealed.frames if frame.tag != "hello"]
    pools = pools_of(frames)
    leaky = bytearray(pools["products/masked"])
    leaky[::50] = bytes(len(leaky[::50]))
    assert set(not_uniform(pools | {"products/masked": bytes(leaky)})) == {"products/masked"}


def test_no_frame_holds_anything_of_a_row_or_a_column(sealed, needles):
    assert spotted(needles, (frame.payload for frame in sealed.frames)) == set()


def test_without_envelopes_names_and_counts_are_found_but_no_row(bare, needles):
    # The two federations share data and plans, so the needles are the same but for the row order.
    assert spotted(needles, (frame.payload for frame in bare.frames)) == {
        "column names",
        "counts",
    }


@pytest.mark.parametrize(
    "kind", ["ids", "column names", "edges", "bins of customers", "counts", "labels"]
)
def test_whatever_kind_leaks_is_found(sealed, needles, kind):
    assert len(needles[kind]) >= 5
    frames = [frame.payload for frame in sealed.frames if len(frame.payload) < 1 << 12][:100]
    for raw in needles[kind][:: max(1, len(needles[kind]) // 5)]:
        leaky = frames[-1][:300] + raw + frames[-1][300:]
        assert spotted(needles, [*frames[:-1], leaky]) >= {kind}


def test_what_parties_open_holds_no_id_edge_label_or_bin_of_a_customer(sealed, needles):
    assert spotted(needles, (item.payload for item in sealed.opened)) == {
        "column names",
        "counts",
    }


def test_what_is_sealed_to_the_coordinator_is_sizes_masked_values_and_commitments(
    sealed, federation
):
    job = sealed.results["align"][federation.builder]
    uniform = defaultdict(list)
    for item in sealed.seen_by(COORDINATOR):
        kind, raw = item.tag, item.payload
        if kind == "align/size":
            assert set(json.loads(raw)) == {"ids"}
        elif kind.startswith("align/list/"):
            owner = federation.parties[kind.rpartition("/")[2]]
            assert len(raw) == 16 * (len(owner.train.ids) + len(owner.test.ids))
            uniform[kind].append(raw)
        elif kind == "products/announce":
            announced = json.loads(raw)
            assert set(announced) == {"sizes", "order", "commitment"}
            assert all(len(announced[key]) == 64 for key in ("order", "commitment"))
        elif kind == "sum/scores/1/masked":
            points = unpack_array(raw, np.uint16, (job["n_train"] + job["n_test"],), cap=1 << 20)
            uniform["points"].append(points.tobytes())
        else:
            assert (kind, len(raw)) == ("sum/scores/1/commitment", 4 * 32 + _SIGNATURE)
    assert len(uniform["points"]) == len(federation.parties)
    assert len(uniform) == len(federation.parties) + 1
    assert not_uniform({kind: b"".join(parts) for kind, parts in uniform.items()}) == {}


def test_points_that_are_not_masked_are_noticed(federation):
    points = np.random.default_rng(0).integers(-200, 200, 3000).astype(np.uint16)
    raw = unpack_array(pack_array(points), np.uint16, (3000,), cap=3000).tobytes()
    assert set(not_uniform({"points": raw, "noise": os.urandom(6000)})) == {"points"}


def test_what_the_coordinator_reads_holds_no_needle(sealed, needles):
    payloads = [item.payload for item in sealed.seen_by(COORDINATOR)]
    assert spotted(needles, payloads) == set()


def test_replies_to_the_coordinator_hold_no_list_of_customers(sealed):
    lengths = [0]

    def measure(value):
        if isinstance(value, dict):
            for name, one in value.items():
                if name == "by_points":  # told in the release: groups, none of them small
                    assert len(Spread.from_mapping(one).goods) <= MOST_GROUPS
                else:
                    measure(one)
        elif isinstance(value, (list, tuple, np.ndarray)):
            lengths.append(len(value))
            for one in value:
                measure(one)

    measure(sealed.results)
    assert max(lengths) <= 10
