"""The decision log: what it shows, what it refuses by name, and what it does not give away."""

from __future__ import annotations

import errno
import hashlib
import hmac
import json
import os
import stat
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.prooflog import folder as folder_module
from server.prooflog.book import LogBook
from server.prooflog.export import export_consistency, export_decision, export_range, to_bytes
from server.prooflog.folder import (
    HEADS,
    LEAVES,
    LINE_BYTES,
    START,
    FileHeads,
    FileLeaves,
    linked,
    open_book,
    read_book,
)
from server.prooflog.heads import check_after, read_head, sign_head, verify_head
from server.prooflog.leaf import Opening, canonical, commitment, opens
from server.prooflog.merkle import EMPTY, Tree, leaf_hash, root_of
from server.prooflog.vault import OPENINGS, RECORDS, SLOT_BYTES
from server.prooflog.verify import verify_bytes, verify_together
from shared.errors import EnvironmentFault, LogBroken, NotFound, UsageError
from shared.identity import Identity
from shared.instants import later

KEY = Identity("log", hashlib.sha256(b"log key").digest())
STRANGER = Identity("log", hashlib.sha256(b"another").digest())
PIN = KEY.fingerprint
NOW, LATER, LATEST = "2026-03-01T08:00:00Z", "2026-03-01T09:00:00Z", "2026-03-01T10:00:00Z"


def decision(number):
    return {"kind": "test", "line": f"L{number}", "limit_minor": 10_000 * (number % 5)}


def records(start, end):
    return [canonical(decision(number)) for number in range(start, end)]


@pytest.fixture
def home(tmp_path):
    return tmp_path / "log"


@pytest.fixture
def grown(home):
    """Return a log of 13 leaves with heads over 6 and 13, and the heads."""
    with open_book(home) as book:
        book.add(records(0, 6))
        old = book.sign(KEY, NOW)
        book.add(records(6, 13))
        return book, old, book.sign(KEY, LATER)


def check_of(work, *arguments):
    with pytest.raises(LogBroken) as caught:
        work(*arguments)
    assert caught.value.message.split(": ")[0] == caught.value.check
    return caught.value.check


def signed(size, root, now=NOW, identity=KEY):
    return sign_head(identity, size, root, now)


def refused(value, pin=PIN):
    return check_of(verify_bytes, to_bytes(value), pin)


class _Kept:
    """Leaves and openings without files."""

    def __init__(self, size):
        self.tree, self.kept = Tree(), []
        for number in range(size):
            self.kept.append(
                Opening(hashlib.sha256(b"%d" % number).digest(), records(number, number + 1)[0])
            )
            self.tree.append(commitment(self.kept[-1]))
        self.leaves = self.openings = self
        self.node = self.tree.node

    def size(self):
        return len(self.tree)

    def leaf(self, index):
        return commitment(self.kept[index])

    def opening(self, index):
        return self.kept[index]


def _in_memory():
    book = _Kept(6)
    return book, signed(6, root_of(book, 6))


IN_MEMORY = _in_memory()


# The leaf: hiding, binding, deletion


def test_a_leaf_opens_with_its_salt_and_record_and_with_no_other():
    salt, record = os.urandom(32), canonical(decision(1))
    leaf = commitment(Opening(salt, record))
    assert opens(Opening(salt, record), leaf)
    assert not opens(Opening(salt, canonical(decision(2))), leaf)
    for bit in range(256):
        other = bytearray(salt)
        other[bit // 8] ^= 1 << bit % 8
        assert not opens(Opening(bytes(other), record), leaf)
    for bit in range(8 * len(record)):
        other = bytearray(record)
        other[bit // 8] ^= 1 << bit % 8
        assert not opens(Opening(salt, bytes(other)), leaf)


def test_anybody_can_make_a_leaf_again_with_the_standard_library():
    record = canonical(decision(1))
    assert commitment(Opening(bytes(range(32)), record)) == hmac.digest(
        bytes(range(32)), record, "sha256"
    )


def test_a_salt_of_another_length_is_refused_since_hmac_would_pad_it():
    for length in (0, 31, 33, 64):
        with pytest.raises(UsageError):
            commitment(Opening(bytes(length), b"{}"))


def test_nothing_of_a_decision_can_be_guessed_from_its_leaf_without_the_salt(grown):
    """The attacker knows all but the limit, of which there are five."""
    book, _, _ = grown
    leaf, guesses = (
        book.leaves.leaf(7),
        [canonical(decision(7) | {"limit_minor": 10_000 * k}) for k in range(5)],
    )

    def guessed(target, hashed):
        return [guess for guess in guesses if hashed(guess) == target]

    # Positive control: the same attack on unsalted commitments finds the decision at once.
    unsalted = hashlib.sha256(canonical(decision(7))).digest()
    assert guessed(unsalted, lambda guess: hashlib.sha256(guess).digest()) == [guesses[2]]
    no_salt = commitment(Opening(bytes(32), canonical(decision(7))))
    assert guessed(no_salt, lambda guess: commitment(Opening(bytes(32), guess))) == [guesses[2]]
    # On the log's own leaf every way of hashing that needs no salt finds nothing.
    for hashed in (
        lambda guess: hashlib.sha256(guess).digest(),
        lambda guess: commitment(Opening(bytes(32), guess)),
        leaf_hash,
    ):
        assert guessed(leaf, hashed) == []
    # And with the salt, it does: the leaf is of that decision.
    salt = book.openings.opening(7).salt
    assert guessed(leaf, lambda guess: commitment(Opening(salt, guess))) == [guesses[2]]


def test_equal_decisions_have_leaves_that_do_not_tell(home):
    with open_book(home) as book:
        book.add(records(3, 4) * 50)
        assert len({book.leaves.leaf(index) for index in range(50)}) == 50


def test_deleting_a_customer_leaves_the_log_whole_and_the_decision_nowhere(home, grown):
    _, old, new = grown
    before = (home / LEAVES).read_bytes()
    salt = read_book(home).openings.opening(7).salt
    with open_book(home) as book:
        book.forget([7, 9])
    book = read_book(home)
    book.check(PIN)
    assert (home / LEAVES).read_bytes() == before
    assert book.openings.opening(7) is None
    assert book.openings.opening(8).record == canonical(decision(8))
    export = export_decision(book.leaves, book.openings, new, 7)
    assert export["opening"] is None
    found = verify_bytes(to_bytes(export), PIN)
    assert (found.first, found.count, dict(found.records)) == (7, 1, {})
    whole = verify_bytes(to_bytes(export_range(book.leaves, book.openings, new, 0, 13)), PIN)
    assert set(whole.records) == set(range(13)) - {7, 9}
    assert verify_bytes(to_bytes(export_consistency(book.leaves, old, new)), PIN)
    everything = b"".join(path.read_bytes() for path in home.iterdir())
    assert salt not in everything
    assert salt.hex().encode() not in everything


def test_no_record_stands_readable_on_the_disk(home, grown):
    everything = b"".join(path.read_bytes() for path in home.iterdir())
    assert b"limit_minor" not in everything
    assert b"L7" not in everything
    assert all(stat.S_IMODE((home / name).stat().st_mode) == 0o600 for name in (OPENINGS, RECORDS))
    opening = grown[0].openings.opening(7)
    assert b"limit_minor" in opening.record
    assert "limit_minor" not in repr(opening)
    assert opening.salt.hex() not in repr(opening)


def test_forgetting_a_leaf_that_is_not_there_destroys_nothing(home, grown):
    with open_book(home) as book:
        for wrong in ([3, 13], [-1, 3]):
            with pytest.raises(NotFound):
                book.forget(wrong)
        assert book.openings.opening(3) is not None


def test_a_store_that_commits_by_itself_is_logged_as_it_is(home):
    class Rows:
        """Decisions as a database has them: record, salt, and commitments made by itself."""

        def __init__(self):
            made = [Opening(os.urandom(32), record) for record in records(0, 9)]
            self.kept = dict(enumerate(made))

        def opening(self, index):
            return self.kept.get(index)

    home.mkdir()
    rows = Rows()
    book = LogBook(FileLeaves(home / LEAVES), rows, FileHeads(home / HEADS))
    book.leaves.append([hmac.digest(one.salt, one.record, "sha256") for one in rows.kept.values()])
    head = book.sign(KEY, NOW)
    del rows.kept[4]  # a customer who was deleted
    found = verify_bytes(to_bytes(export_range(book.leaves, book.openings, head, 0, 9)), PIN)
    assert set(found.records) == set(range(9)) - {4}


# Exports: each proves itself, and no changed bit does


def test_every_decision_of_the_log_proves_itself_under_both_heads(grown):
    book, old, new = grown
    for head in (old, new):
        for index in range(head.head.size):
            raw = to_bytes(export_decision(book.leaves, book.openings, head, index))
            found = verify_bytes(raw, PIN)
            assert found.records == {index: decision(index)}
            assert found.heads == (head.head,)


def test_no_export_with_a_changed_bit_verifies(grown):
    book, old, new = grown
    exports = [
        export_decision(book.leaves, book.openings, new, 5),
        export_range(book.leaves, book.openings, new, 4, 6),
        export_consistency(book.leaves, old, new),
        new.to_mapping(),
    ]
    for raw in map(to_bytes, exports):
        verify_bytes(raw, PIN)
        for at in range(len(raw)):
            # One bit of each byte, a different one from byte to byte; all eight of every 16th.
            for bit in range(8) if at % 16 == 0 else (at % 8,):
                changed = bytearray(raw)
                changed[at] ^= 1 << bit
                with pytest.raises(LogBroken):
                    verify_bytes(bytes(changed), PIN)


@settings(max_examples=60, deadline=None)
@given(bit=st.integers(0, 52))
def test_no_changed_bit_of_index_or_size_verifies(bit):
    """The path alone would let another size pass; the signature under the head does not."""
    book, head = IN_MEMORY
    export = export_decision(book.leaves, book.openings, head, 0)
    verify_bytes(to_bytes(export), PIN)
    index = {**export, "index": export["index"] ^ (1 << bit)}
    assert refused(index) in {"inclusion", "form"}
    size = {**export, "head": {**export["head"], "size": export["head"]["size"] ^ (1 << bit)}}
    assert refused(size) in {"signature", "form"}


def test_each_refusal_of_an_export_has_the_name_of_its_check(grown):
    book, _, new = grown
    one = export_decision(book.leaves, book.openings, new, 5)
    other = export_decision(book.leaves, book.openings, new, 6)
    assert refused({**one, "index": 4}) == "inclusion"
    assert refused({**one, "leaf": other["leaf"]}) == "inclusion"
    assert refused({**one, "path": one["path"][::-1]}) == "inclusion"
    assert refused({**one, "opening": other["opening"]}) == "opening"
    altered = {**one["opening"], "record": decision(5) | {"limit_minor": 1}}
    assert refused({**one, "opening": altered}) == "opening"
    assert refused({**one, "opening": {**one["opening"], "record": []}}) == "form"
    assert refused({**one, "opening": {"salt": one["opening"]["salt"]}}) == "form"
    assert refused(one, STRANGER.fingerprint) == "key"
    tree_root = root_of(book.leaves, 13)
    assert refused({**one, "head": signed(13, tree_root, identity=STRANGER).to_mapping()}) == "key"
    forged = replace(new, signature=STRANGER.sign("log-head", new.head.to_bytes()).hex())
    assert refused({**one, "head": forged.to_mapping()}) == "signature"
    purpose = replace(new, signature=KEY.sign("release", new.head.to_bytes()).hex())
    assert refused({**one, "head": purpose.to_mapping()}) == "signature"
    assert refused({**one, "head": signed(13, EMPTY).to_mapping()}) == "inclusion"
    assert refused({**one, "more": 1}) == "form"
    assert refused({"kind": "confide/log-other/1"}) == "form"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"null",
        b"{",
        b'{"kind":NaN}',
        b'{"a":1e999}',
        b'{"a":9007199254740992}',
        b'"\\ud800"',
        b"[" * 10**5,
    ],
)
def test_what_is_no_export_is_refused_by_its_form(raw):
    assert check_of(verify_bytes, raw, PIN) == "form"


def test_an_export_in_another_spelling_is_refused(grown):
    raw = to_bytes(grown[2].to_mapping())
    for other in (raw + b"\n", json.dumps(json.loads(raw)).encode(), raw.replace(b"{", b"{ ", 1)):
        assert check_of(verify_bytes, other, PIN) == "form"


@pytest.mark.parametrize(
    ("key", "wrong"),
    [
        ("size", -1),
        ("size", True),
        ("size", 13.5),
        ("size", "13"),
        ("root", "00"),
        ("root", "A" * 64),
        ("root", 5),
        ("time", "2026-03-01"),
        ("time", 5),
        ("signature", "0" * 127),
        ("public_key", None),
        ("kind", "confide/log-head/2"),
    ],
)
def test_a_malformed_head_is_refused_by_its_form(grown, key, wrong):
    assert check_of(read_head, {**grown[2].to_mapping(), key: wrong}) == "form"


def test_a_head_of_nothing_has_the_root_of_nothing():
    empty = signed(0, EMPTY)
    verify_head(read_head(empty.to_mapping()), PIN)
    assert check_of(read_head, signed(0, bytes(32)).to_mapping()) == "form"


def test_a_range_with_a_leaf_dropped_moved_or_added_is_refused(grown):
    book, _, new = grown
    export = export_range(book.leaves, None, new, 3, 9)
    assert verify_bytes(to_bytes(export), PIN).count == 6
    leaves = export["leaves"]
    for other in (
        leaves[:2] + leaves[3:],
        [leaves[1], leaves[0], *leaves[2:]],
        [*leaves, leaves[0]],
        leaves[:-1],
        [],
    ):
        assert refused({**export, "leaves": other}) == "range"
    assert refused({**export, "first": 2}) == "range"
    assert refused({**export, "beside": export["beside"][1:]}) == "range"
    opened = export_range(book.leaves, book.openings, new, 3, 9)
    swapped = [opened["openings"][1], opened["openings"][0], *opened["openings"][2:]]
    assert refused({**opened, "openings": swapped}) == "opening"
    assert refused({**opened, "openings": opened["openings"][1:]}) == "form"


def test_what_the_head_does_not_cover_is_not_exported(grown):
    book, old, _ = grown
    for wrong in (
        lambda: export_decision(book.leaves, book.openings, old, 6),
        lambda: export_decision(book.leaves, book.openings, old, -1),
        lambda: export_range(book.leaves, None, old, 3, 7),
        lambda: export_range(book.leaves, None, old, 3, 3),
    ):
        with pytest.raises(UsageError, match="the head covers 6 leaves"):
            wrong()


# Histories: forks, shrunk logs, heads that extend nothing


def other_log(tmp_path, start, sizes):
    """Return a log of other decisions under the same key, and its heads."""
    with open_book(tmp_path / "other") as book:
        heads, done = [], 0
        for size, now in zip(sizes, (NOW, LATER), strict=False):
            book.add(records(start + done, start + size))
            heads.append(book.sign(KEY, now))
            done = size
        return book, heads


def verified(head):
    return verify_bytes(to_bytes(head.to_mapping()), PIN)


def test_two_heads_of_one_size_and_other_roots_are_a_fork(grown, tmp_path):
    _, old, new = grown
    _, (forked,) = other_log(tmp_path, 100, [13])
    assert check_of(verify_together, [verified(new), verified(forked)]) == "fork"
    assert check_of(check_after, new.head, forked.head) == "fork"
    verify_together([verified(new), verified(new), verified(old)])


def test_a_later_head_with_fewer_leaves_is_a_log_that_shrank(grown):
    book, _, new = grown
    shrunk = signed(12, root_of(book.leaves, 12), LATEST)
    assert check_of(verify_together, [verified(new), verified(shrunk)]) == "shrunk"
    assert check_of(check_after, new.head, shrunk.head) == "shrunk"


def test_a_history_that_is_no_extension_is_refused(grown, tmp_path):
    book, old, new = grown
    export = export_consistency(book.leaves, old, new)
    assert len(verify_bytes(to_bytes(export), PIN).heads) == 2
    other, (_, longer) = other_log(tmp_path, 50, [6, 13])
    assert refused({**export, "new": longer.to_mapping()}) == "extension"
    theirs = export_consistency(other.leaves, old, longer)
    assert refused(theirs) == "extension"
    assert refused({**export, "path": export["path"][1:]}) == "extension"
    assert refused({**export, "old": export["new"], "new": export["old"]}) == "shrunk"
    late = signed(6, bytes.fromhex(old.head.root), LATEST)
    assert refused({**export, "old": late.to_mapping()}) == "clock"


def test_heads_are_linked_only_by_histories_that_lead_from_one_to_the_other(grown):
    book, old, new = grown
    third = signed(10, root_of(book.leaves, 10), "2026-03-01T08:30:00Z")
    heads = [verified(one) for one in (old, third, new)]
    step = {
        (a.head.size, b.head.size): verify_bytes(
            to_bytes(export_consistency(book.leaves, a, b)), PIN
        )
        for a, b in ((old, third), (third, new), (old, new))
    }
    assert verify_together(heads[:1])
    assert not verify_together(heads)
    assert not verify_together([*heads, step[6, 13]])
    assert verify_together([*heads, step[6, 10], step[10, 13]])
    assert verify_together([*heads, step[6, 13], step[10, 13]])


def test_a_head_is_not_signed_after_a_fork_a_loss_or_a_clock_that_went_back(grown):
    _, _, new = grown
    root = bytes.fromhex(new.head.root)
    assert sign_head(KEY, 13, root, LATEST, new).head.time == LATEST
    assert check_of(sign_head, KEY, 13, bytes(32), LATEST, new) == "fork"
    assert check_of(sign_head, KEY, 12, root, LATEST, new) == "shrunk"
    assert check_of(sign_head, KEY, 14, root, NOW, new) == "clock"
    assert check_of(sign_head, STRANGER, 14, root, LATEST, new) == "key"


def test_the_log_refuses_to_sign_what_does_not_extend_its_newest_head(home, grown):
    with open_book(home) as book:
        assert check_of(book.sign, KEY, NOW) == "clock"
        assert check_of(book.sign, STRANGER, LATEST) == "key"
        assert book.sign(KEY, LATEST).head.size == 13  # nothing new: the time alone
        assert len(book.heads.heads()) == 3


def test_the_log_refuses_a_head_that_it_does_not_extend(grown, tmp_path):
    book, old, new = grown
    assert book.check_extends(old.head) == new
    assert book.check_extends(new.head) == new
    _, (other_old, other_new) = other_log(tmp_path, 70, [6, 13])
    assert check_of(book.check_extends, other_old.head) == "extension"
    assert check_of(book.check_extends, other_new.head) == "fork"
    assert check_of(book.check_extends, signed(14, bytes(32)).head) == "shrunk"


# Files: what was confirmed stays, what was torn goes, what was changed is named


def test_a_log_comes_back_from_its_files_as_it_was(home, grown):
    was, old, new = grown
    book = read_book(home)
    book.check(PIN)
    assert book.heads.heads() == (old, new)
    assert [book.leaves.leaf(at) for at in range(13)] == [was.leaves.leaf(at) for at in range(13)]
    assert root_of(book.leaves, 13) == root_of(was.leaves, 13)
    with open_book(home) as again:
        assert again.add(records(13, 20)) == range(13, 20)
        again.sign(KEY, LATEST)
    read_book(home).check(PIN)


@settings(max_examples=25, deadline=None)
@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("add"), st.integers(1, 5)),
            st.tuples(st.just("sign"), st.just(0)),
            st.tuples(st.just("forget"), st.integers(0, 40)),
            st.tuples(st.just("tear"), st.integers(1, LINE_BYTES - 1)),
        ),
        max_size=15,
    )
)
def test_i4_decisions_are_only_ever_added_and_chain_and_roots_recompute(steps):
    with tempfile.TemporaryDirectory() as temporary:
        home, known, gone, heads, time = Path(temporary) / "log", [], set(), [], 0
        for step, number in steps:
            with open_book(home) as book:  # each step in a process of its own
                size = len(known)
                if step == "add":
                    known += records(size, size + number)
                    assert book.add(known[size:]) == range(size, len(known))
                elif step == "sign":
                    heads.append(book.sign(KEY, later(NOW, seconds=time)))
                    time += 1
                elif step == "forget" and known:
                    book.forget([number % size])
                    gone.add(number % size)
            if step == "tear":
                whole = (home / LEAVES).read_bytes()[: LINE_BYTES * len(known)] if known else b""
                (home / LEAVES).write_bytes(whole + b"a" * number)
        with open_book(home) as book:
            book.check(PIN)
            assert list(book.heads.heads()) == heads
            _recompute(book, home, known, gone)
            for old in heads:
                export = export_consistency(book.leaves, old, heads[-1])
                assert verify_bytes(to_bytes(export), PIN).heads[0] == old.head


def _recompute(book, home, known, gone):
    chain, tree = START, Tree()
    lines = (home / LEAVES).read_bytes()[: LINE_BYTES * len(known)] if known else b""
    for index, record in enumerate(known):
        leaf, opening = book.leaves.leaf(index), book.openings.opening(index)
        chain = linked(chain, leaf)
        line = lines[index * LINE_BYTES : (index + 1) * LINE_BYTES]
        assert line == f"{leaf.hex()} {chain.hex()}\n".encode()
        assert (opening is None) == (index in gone)
        if opening is not None:
            assert opening.record == record
            assert opens(opening, leaf)
        tree.append(leaf)
    assert book.leaves.size() == len(known)
    assert root_of(book.leaves, len(known)) == root_of(tree, len(known))


def test_a_torn_last_line_is_dropped_wherever_it_tore(home, grown):
    path = home / LEAVES
    whole = path.read_bytes()
    with open_book(home) as book:
        book.add(records(13, 14))
    line = path.read_bytes()[len(whole) :]
    assert len(line) == LINE_BYTES
    for cut in range(1, LINE_BYTES):
        path.write_bytes(whole + line[:cut])
        assert read_book(home).leaves.size() == 13
    with open_book(home) as book:
        assert book.add(records(20, 21)) == range(13, 14)
        assert book.openings.opening(13).record == canonical(decision(20))
    assert path.read_bytes()[: len(whole)] == whole
    book = read_book(home)
    book.check(PIN)
    assert book.leaves.size() == 14


def test_a_torn_line_of_heads_is_dropped(home, grown):
    _, old, new = grown
    path = home / HEADS
    path.write_bytes(path.read_bytes() + b'{"kind":"confide/log-he')
    assert read_book(home).heads.heads() == (old, new)
    with open_book(home) as book:
        third = book.sign(KEY, LATEST)
    assert read_book(home).heads.heads() == (old, new, third)


def test_every_changed_byte_of_the_leaves_is_named(home, grown):
    path = home / LEAVES
    whole = path.read_bytes()
    for at in range(0, len(whole), 7):
        changed = bytearray(whole)
        changed[at] ^= 1 << at % 8
        path.write_bytes(bytes(changed))
        with pytest.raises(LogBroken) as caught:
            read_book(home).check(PIN)
        assert caught.value.check == "chain"


@pytest.mark.parametrize("kind", ["drop", "swap", "double", "rewrite", "shrink", "empty"])
def test_a_dropped_moved_or_rewritten_line_is_named(home, grown, kind):
    path = home / LEAVES
    lines = path.read_bytes().splitlines(keepends=True)
    if kind == "drop":
        del lines[4]
    elif kind == "swap":
        lines[4], lines[5] = lines[5], lines[4]
    elif kind == "double":
        lines.insert(4, lines[4])
    elif kind == "rewrite":  # by somebody who knows how the chain is made
        chain, leaves = START, [bytes.fromhex(line[:64].decode()) for line in lines]
        leaves[4], leaves[5] = leaves[5], leaves[4]
        lines = []
        for leaf in leaves:
            chain = linked(chain, leaf)
            lines.append(f"{leaf.hex()} {chain.hex()}\n".encode())
    else:
        lines = lines[: 8 if kind == "shrink" else 0]
    path.write_bytes(b"".join(lines))
    expected = {"rewrite": "root", "shrink": "shrunk", "empty": "shrunk"}.get(kind, "chain")
    assert check_of(lambda: read_book(home).check(PIN)) == expected

    def write():
        with open_book(home):
            pytest.fail("a broken log must not be written in")

    assert check_of(write) == expected


def test_heads_that_were_exchanged_are_named(home, grown):
    path = home / HEADS
    whole = path.read_bytes()
    first, second = whole.splitlines(keepends=True)
    for content, check in (
        (second + first, "shrunk"),
        (whole.replace(b'"size":6', b'"size":5'), "signature"),
        (b"{}\n" + whole, "form"),
        (b"nonsense\n" + whole, "form"),
        (whole.replace(PIN.encode(), STRANGER.fingerprint.encode()), "key"),
    ):
        path.write_bytes(content)
        assert check_of(lambda: read_book(home).check(PIN)) == check


def test_a_changed_salt_or_record_is_named_when_it_is_asked_for(home, grown):
    for name, at in ((OPENINGS, 5 * SLOT_BYTES), (OPENINGS, 6 * SLOT_BYTES - 9), (RECORDS, 5 * 70)):
        path = home / name
        whole = path.read_bytes()
        changed = bytearray(whole)
        changed[at] ^= 1
        path.write_bytes(bytes(changed))
        found = [index for index in range(13) if _broken_opening(home, index)]
        assert len(found) == 1
        read_book(home).check(PIN)  # the log itself is whole
        path.write_bytes(whole)
    path = home / OPENINGS
    path.write_bytes(path.read_bytes()[: 12 * SLOT_BYTES + 20])
    assert check_of(read_book(home).openings.opening, 12) == "opening"


def _broken_opening(home, index):
    try:
        read_book(home).openings.opening(index)
    except LogBroken as error:
        return error.check == "opening"
    return False


def test_a_second_writer_waits_and_a_reader_does_not(home):
    with open_book(home) as book:
        book.add(records(0, 3))
        with (
            pytest.raises(EnvironmentFault, match="another writer of the decision log"),
            open_book(home),
        ):
            pytest.fail("two writers")
        reader = read_book(home)
        assert reader.leaves.size() == 3
        book.add(records(3, 5))
        # A reader that has fallen behind cannot write over what came since.
        with pytest.raises(EnvironmentFault, match="has grown meanwhile"):
            reader.leaves.append([bytes(32)])
    assert read_book(home).leaves.size() == 5


@pytest.mark.parametrize("failing", ["pwrite", "fsync"])
def test_a_full_disk_logs_nothing_and_the_next_decision_is_logged(
    home, grown, monkeypatch, failing
):
    before = (home / LEAVES).read_bytes()
    real = getattr(os, failing)

    def full(handle, *arguments):
        if Path(f"/proc/self/fd/{handle}").readlink().name == LEAVES:
            if failing == "pwrite":  # half of it goes to the disk first
                real(handle, arguments[0][: LINE_BYTES + 3], arguments[1])
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(handle, *arguments)

    with open_book(home) as book:
        with monkeypatch.context() as patch:
            patch.setattr(folder_module.os, failing, full)
            with pytest.raises(EnvironmentFault, match="No space left"):
                book.add(records(20, 22))
        assert (home / LEAVES).read_bytes() == before
        assert book.leaves.size() == 13
        assert book.add(records(13, 15)) == range(13, 15)
        book.sign(KEY, LATEST)
    book = read_book(home)
    book.check(PIN)
    assert book.openings.opening(14).record == canonical(decision(14))


def test_a_folder_that_is_not_there_is_named(home):
    with pytest.raises(EnvironmentFault, match="there is no decision log"):
        read_book(home)
    with open_book(home) as book, pytest.raises(NotFound, match="no signed head"):
        book.newest()


def test_a_record_that_json_cannot_carry_exactly_is_not_logged():
    for wrong in ({"a": 2**53}, {"a": float("nan")}, {"a": b"x"}, {"a": "\ud800"}):
        with pytest.raises(UsageError):
            canonical(wrong)


def test_a_head_is_read_back_as_it_was_written(grown):
    head = grown[2]
    assert read_head(json.loads(to_bytes(head.to_mapping()))) == head
