"""The Merkle tree of RFC 6962 against the published vectors, and against a naive reading of it."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from server.prooflog.merkle import (
    EMPTY,
    Tree,
    around,
    consistency,
    extends,
    grown,
    includes,
    inclusion,
    leaf_hash,
    root_around,
    root_of,
)
from shared.errors import UsageError
from tests.depth import depth

#: Domain study, section 8: the leaves and roots of the Certificate Transparency reference.
LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]

sizes = st.integers(1, 300)


def tree_of(entries):
    tree = Tree()
    for entry in entries:
        tree.append(entry)
    return tree


def numbered(size):
    return tree_of(b"leaf %d" % number for number in range(size))


GROWN, FULL = numbered(300), numbered(321)


def naive_root(entries):
    """Return MTH(D[n]) as section 2.1 of RFC 6962 defines it, word for word."""
    if not entries:
        return hashlib.sha256(b"").digest()
    if len(entries) == 1:
        return hashlib.sha256(b"\x00" + entries[0]).digest()
    split = 1
    while split * 2 < len(entries):
        split *= 2
    left, right = naive_root(entries[:split]), naive_root(entries[split:])
    return hashlib.sha256(b"\x01" + left + right).digest()


def naive_path(index, entries):
    """Return PATH(m, D[n]) as section 2.1.1 defines it."""
    if len(entries) == 1:
        return []
    split = 1
    while split * 2 < len(entries):
        split *= 2
    if index < split:
        return [*naive_path(index, entries[:split]), naive_root(entries[split:])]
    return [*naive_path(index - split, entries[split:]), naive_root(entries[:split])]


def naive_proof(old, entries, whole=True):
    """Return SUBPROOF(m, D[n], b) as section 2.1.2 defines it."""
    if old == len(entries):
        return [] if whole else [naive_root(entries)]
    split = 1
    while split * 2 < len(entries):
        split *= 2
    if old <= split:
        return [*naive_proof(old, entries[:split], whole), naive_root(entries[split:])]
    return [*naive_proof(old - split, entries[split:], whole=False), naive_root(entries[:split])]


def flips(content):
    """Yield the content with each of its bits changed."""
    for bit in range(8 * len(content)):
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        yield bytes(changed)


def flipped(draw, content):
    bit = draw(st.integers(0, 8 * len(content) - 1))
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@pytest.mark.parametrize("size", range(9))
def test_t30_root_of_each_size(size):
    assert root_of(tree_of(LEAVES[:size]), size).hex() == ROOTS[size]


def test_t30_a_grown_tree_knows_the_root_of_every_size_before():
    tree = tree_of(LEAVES)
    assert [root_of(tree, size).hex() for size in range(9)] == ROOTS


def test_t31_path_of_leaf_0_of_8():
    path = inclusion(tree_of(LEAVES), 0, 8)
    assert [one.hex()[:8] for one in path] == ["96a296d2", "5f083f0a", "6b47aaf2"]
    assert includes(leaf_hash(LEAVES[0]), 0, 8, path, bytes.fromhex(ROOTS[8]))


@pytest.mark.parametrize("size", [*range(1, 18), 33, 64, 100])
def test_paths_and_proofs_are_those_of_the_standard(size):
    entries = [b"leaf %d" % number for number in range(size)]
    assert root_of(GROWN, size) == naive_root(entries)
    for index in range(size):
        assert inclusion(GROWN, index, size) == naive_path(index, entries)
        assert consistency(GROWN, index + 1, size) == naive_proof(index + 1, entries)


def test_every_leaf_of_every_size_to_70_is_included_and_every_size_extends_every_other():
    for size in range(1, 71):
        root = root_of(GROWN, size)
        for index in range(size):
            path = inclusion(GROWN, index, size)
            assert includes(leaf_hash(b"leaf %d" % index), index, size, path, root)
        for old in range(size + 1):
            proof = consistency(GROWN, old, size)
            assert extends(old, size, proof, root_of(GROWN, old), root)


@settings(max_examples=60, deadline=None)
@given(parts=st.lists(st.integers(0, 40), max_size=8))
def test_leaves_that_come_in_groups_make_the_tree_that_they_make_one_by_one(parts):
    tree, size = Tree(), 0
    for part in parts:
        tree.extend(b"leaf %d" % number for number in range(size, size + part))
        size += part
        assert len(tree) == size
        assert root_of(tree, size) == root_of(FULL, size)
    for level in range(size.bit_length()):
        for index in range(size >> level):
            assert tree.node(level, index) == FULL.node(level, index)


def test_appending_keeps_one_hash_for_each_complete_subtree():
    tree = Tree()
    kept = 0
    for number in range(200):
        new = grown(tree, number, leaf_hash(b"%d" % number))
        assert len(new) <= number.bit_length() + 1  # O(log n) at worst, two on average
        kept += len(new)
        tree.append(b"%d" % number)
        for level, found in enumerate(new):
            assert tree.node(level, number >> level) == found
    assert kept == sum(200 >> level for level in range(8))


@settings(max_examples=depth(75, 150), deadline=None)
@given(data=st.data(), size=sizes)
def test_an_inclusion_proof_verifies_and_no_changed_bit_does(data, size):
    index = data.draw(st.integers(0, size - 1))
    leaf, root = leaf_hash(b"leaf %d" % index), root_of(GROWN, size)
    path = inclusion(GROWN, index, size)
    assert includes(leaf, index, size, path, root)
    assert not includes(flipped(data.draw, leaf), index, size, path, root)
    assert not includes(leaf, index, size, path, flipped(data.draw, root))
    for bit in range(10):  # 300 leaves have 9; the tenth leads out of the tree
        assert not includes(leaf, index ^ (1 << bit), size, path, root)
    for at in range(len(path)):
        changed = [*path[:at], flipped(data.draw, path[at]), *path[at + 1 :]]
        assert not includes(leaf, index, size, changed, root)
        assert not includes(leaf, index, size, path[:at] + path[at + 1 :], root)
    assert not includes(leaf, index, size, [*path, root], root)
    assert not includes(leaf, index, size, [root, *path], root)
    assert not includes(leaf, -1, size, path, root)


@settings(max_examples=depth(75, 150), deadline=None)
@given(data=st.data(), new=sizes)
def test_a_consistency_proof_verifies_and_no_changed_bit_does(data, new):
    old = data.draw(st.integers(0, new))
    before, after = root_of(GROWN, old), root_of(GROWN, new)
    proof = consistency(GROWN, old, new)
    assert extends(old, new, proof, before, after)
    assert not extends(old, new, proof, flipped(data.draw, before), after)
    if old:  # the empty tree is a beginning of all
        assert not extends(old, new, proof, before, flipped(data.draw, after))
    for at in range(len(proof)):
        changed = [*proof[:at], flipped(data.draw, proof[at]), *proof[at + 1 :]]
        assert not extends(old, new, changed, before, after)
        assert not extends(old, new, proof[:at] + proof[at + 1 :], before, after)
    assert not extends(old, new, [*proof, after], before, after)
    assert not extends(new + 1, new, proof, before, after)


def test_every_bit_of_one_proof_of_each_kind():
    path, leaf, root = inclusion(GROWN, 5, 13), leaf_hash(b"leaf 5"), root_of(GROWN, 13)
    assert not any(includes(one, 5, 13, path, root) for one in flips(leaf))
    assert not any(includes(leaf, 5, 13, path, one) for one in flips(root))
    for at in range(len(path)):
        for one in flips(path[at]):
            assert not includes(leaf, 5, 13, [*path[:at], one, *path[at + 1 :]], root)
    proof, before = consistency(GROWN, 6, 13), root_of(GROWN, 6)
    assert not any(extends(6, 13, proof, one, root) for one in flips(before))
    assert not any(extends(6, 13, proof, before, one) for one in flips(root))
    for at in range(len(proof)):
        for one in flips(proof[at]):
            assert not extends(6, 13, [*proof[:at], one, *proof[at + 1 :]], before, root)


def test_a_path_alone_does_not_bind_the_size_which_is_why_heads_are_signed():
    root, path = root_of(GROWN, 6), inclusion(GROWN, 0, 6)
    assert includes(leaf_hash(b"leaf 0"), 0, 6, path, root)
    assert includes(leaf_hash(b"leaf 0"), 0, 7, path, root)
    assert not includes(leaf_hash(b"leaf 0"), 0, 9, path, root)


@settings(max_examples=depth(60, 80), deadline=None)
@given(data=st.data(), size=st.integers(2, 60))
def test_a_log_that_changed_dropped_or_moved_an_old_leaf_extends_nothing(data, size):
    entries = [b"leaf %d" % number for number in range(size)]
    old = data.draw(st.integers(1, size - 1))
    at = data.draw(st.integers(0, old - 1))
    to = data.draw(st.integers(0, old - 1))
    kind = data.draw(st.sampled_from(["change", "drop", "move"]))
    other = list(entries)
    if kind == "change":
        other[at] += b"!"
    else:
        taken = other.pop(at)
        if kind == "move":
            assume(at != to)
            other.insert(to, taken)
    tree, new = tree_of(other), len(other)
    assume(old <= new)
    before = root_of(GROWN, old)
    assert not extends(old, new, consistency(tree, old, new), before, root_of(tree, new))


@settings(max_examples=depth(60, 120), deadline=None)
@given(data=st.data(), size=st.integers(1, 80))
def test_a_range_gives_the_root_and_no_other_range_does(data, size):
    first = data.draw(st.integers(0, size - 1))
    last = data.draw(st.integers(first + 1, size))
    leaves = [leaf_hash(b"leaf %d" % number) for number in range(first, last)]
    beside, root = around(GROWN, first, last, size), root_of(GROWN, size)
    assert root_around(leaves, first, size, beside) == root
    assert len(beside) <= 2 * size.bit_length()

    def gives(leaves, first, beside):
        try:
            return root_around(leaves, first, size, beside) == root
        except ValueError:
            return False

    at = data.draw(st.integers(0, len(leaves) - 1))
    dropped = leaves[:at] + leaves[at + 1 :]
    assert not gives(dropped, first, beside)
    assert not gives(dropped, first + 1, beside)
    assert not gives([*leaves, leaves[at]], first, beside)
    changed = [*leaves[:at], flipped(data.draw, leaves[at]), *leaves[at + 1 :]]
    assert not gives(changed, first, beside)
    if len(leaves) > 1:
        assert not gives(leaves[::-1], first, beside)
    assert not gives(leaves, first + 1, beside)
    assert not gives(leaves, first, [*beside, root])
    if beside:
        assert not gives(leaves, first, beside[1:])
        assert not gives(leaves, first, [flipped(data.draw, beside[0]), *beside[1:]])


def test_what_a_tree_does_not_have_is_refused():
    for wrong in (
        lambda: inclusion(GROWN, 7, 7),
        lambda: inclusion(GROWN, -1, 7),
        lambda: consistency(GROWN, 8, 7),
        lambda: around(GROWN, 3, 3, 7),
        lambda: around(GROWN, 3, 8, 7),
    ):
        with pytest.raises(UsageError):
            wrong()


def test_the_empty_tree_is_a_beginning_of_every_tree_but_not_under_another_root():
    root = root_of(GROWN, 5)
    assert extends(0, 5, [], EMPTY, root)
    assert not extends(0, 5, [], root, root)
    assert not extends(0, 5, [root], EMPTY, root)
    assert extends(0, 0, [], EMPTY, EMPTY)
