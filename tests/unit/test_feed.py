"""A score feed counts only when every check says so, and the check that fails is named."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import FeedRefused, UsageError
from shared.feed import FeedRow, open_feed, open_header, pack_feed, pseudonym, pseudonyms
from shared.feed_lines import LINE_BYTES, MAX_POINTS, line_of
from tests.depth import depth
from tests.releases import NOW, PEOPLE, federation, manifest, signed

KEY = bytes(range(32))
RELEASE = signed(manifest()).manifest
TODAY = NOW[:10]
NAMES = sorted(pseudonyms(KEY, (f"C{number}" for number in range(5))))
ROWS = (
    FeedRow(NAMES[0], 30, ()),
    FeedRow(NAMES[1], -40, (("LIMIT", 13), ("USED", 32))[::-1]),
    FeedRow(NAMES[2], 0, (("LIMIT", 13),)),
    FeedRow(NAMES[3], -10, (("USED", 32),)),
    FeedRow(NAMES[4], 30, ()),
)


def pack(rows=ROWS, *, party="bank", agreed=None, release=RELEASE, as_of=TODAY, created=NOW):
    return pack_feed(
        PEOPLE[party],
        rows,
        federation=agreed or federation(),
        release=release,
        as_of=as_of,
        created=created,
    )


def opened(raw, agreed=None, *, now=NOW, **more):
    return open_feed(raw, agreed or federation(), now=now, **more)


GOOD = pack()


def resigned(raw, body=None, *, by="bank", **changes):
    """Return a feed with another header or body, signed anew by `by`'s key."""
    first, _, old = raw.partition(b"\n")
    header = json.loads(first)["header"]
    if body is not None:
        header |= {"body": hashlib.sha256(body).hexdigest(), "customers": body.count(b"\n")}
    header |= changes
    person = PEOPLE[by]
    line = {
        "header": header,
        "public_key": person.public_key.hex(),
        "signature": person.sign("feed", rfc8785.dumps(header)).hex(),
    }
    return rfc8785.dumps(line) + b"\n" + (old if body is None else body)


def lines():
    return GOOD.partition(b"\n")[2].splitlines(keepends=True)


def test_a_good_feed_gives_back_its_rows():
    feed = opened(GOOD, newest=TODAY, release=RELEASE, party="bank")
    assert tuple(feed.rows) == ROWS
    assert len(feed.rows) == feed.header.customers == 5
    assert (feed.header.party, feed.header.release) == ("bank", "scorecard-0001")
    assert feed.header.expires == "2026-03-31T00:00:00Z"
    assert feed.header.manifest == RELEASE.digest()
    assert opened(resigned(GOOD)).header == feed.header  # the tool of the tests below


def test_a_customer_is_found_by_pseudonym_and_nobody_else_is():
    feed = opened(GOOD)
    for row in ROWS:
        assert feed.find(row.pseudonym) == row
    for stranger in (pseudonym(KEY, "nobody"), "", "0" * 64, "f" * 64, "g"):
        assert feed.find(stranger) is None


def test_the_order_of_the_rows_does_not_matter_and_equal_feeds_are_equal_bytes():
    assert pack(ROWS[::-1]) == GOOD


def test_lines_are_checked_across_the_borders_of_what_is_looked_at_together(monkeypatch):
    monkeypatch.setattr("shared.feed_lines._CHUNK", 2)
    assert tuple(opened(GOOD).rows) == ROWS
    rows = lines()
    for swapped in ([0, 2, 1, 3, 4], [1, 0, 2, 3, 4], [0, 1, 1, 2, 3], [0, 1, 2, 3, 3]):
        with pytest.raises(FeedRefused, match="twice, or its lines"):
            opened(resigned(GOOD, b"".join(rows[at] for at in swapped)))


def test_a_feed_of_nobody_is_a_feed():
    feed = opened(pack(()), release=RELEASE)
    assert (len(feed.rows), list(feed.rows), feed.find("0" * 64)) == (0, [], None)


def cut(raw):
    first, _, body = raw.partition(b"\n")
    return first + b"\n" + body[: body.rindex(b"\n", 0, -1) + 1]


def body_of(*, line=0, old=b"", new=b""):
    rows = lines()
    assert old in rows[line]
    rows[line] = rows[line].replace(old, new)
    return b"".join(rows)


def long_body():
    """Return reasons in number beyond four."""
    codes = ",".join(f'["A{number}",9]' for number in range(5))
    return b"".join(lines()[:1]).replace(b"[]", f"[{codes}]".encode())


OTHER = replace(federation(), name="another")
LATE = "2026-03-31T00:00:00Z"  # 30 days after the as-of date began

REFUSED = {
    "by a party that is not listed": (resigned(GOOD, party="stranger", by="stranger"), {}, "party"),
    "of another party than the address says": (GOOD, {"party": "bureau"}, "party"),
    "by another party's key": (resigned(GOOD, by="bureau"), {}, "signature"),
    "with a signature for another header": (
        GOOD.replace(b'"customers":5', b'"customers":4'),
        {},
        "signature",
    ),
    "of another federation": (GOOD, {"agreed": OTHER}, "release"),
    "of another release": (GOOD, {"release": manifest(counter=2)}, "release"),
    "of another manifest of that name": (GOOD, {"release": manifest(run="other")}, "release"),
    "made in the future": (GOOD, {"now": "2026-03-01T11:54:59Z"}, "clock"),
    "as of tomorrow": (resigned(GOOD, as_of="2026-03-02"), {}, "clock"),
    "expired": (GOOD, {"now": LATE}, "expiry"),
    "that claims a longer life than agreed": (
        resigned(GOOD, expires="2026-03-31T00:00:01Z"),
        {},
        "expiry",
    ),
    "that ended before it began": (resigned(GOOD, expires="2026-02-28T00:00:00Z"), {}, "expiry"),
    "older than the one in use": (pack(as_of="2026-02-28"), {"newest": TODAY}, "as-of"),
    "of the same day but made before it": (
        GOOD,
        {"newest": TODAY, "made": "2026-03-01T12:00:01Z"},
        "as-of",
    ),
    "with a line less than was signed": (cut(GOOD), {}, "form"),
    "with a line that was changed": (GOOD.replace(b",30,[]", b",31,[]", 1), {}, "form"),
    "with more customers than it says": (resigned(GOOD, customers=4), {}, "form"),
    "with fewer than none": (resigned(GOOD, customers=-1), {}, "form"),
    "with a customer twice": (resigned(GOOD, lines()[0] * 2), {}, "form"),
    "with a customer twice with other points": (
        resigned(GOOD, lines()[0] + lines()[0].replace(b",30,", b",31,")),
        {},
        "form",
    ),
    "whose lines are not sorted": (resigned(GOOD, b"".join(lines()[::-1])), {}, "form"),
    "with a pseudonym in capitals": (
        resigned(GOOD, body_of(old=NAMES[0].encode(), new=NAMES[0].upper().encode())),
        {},
        "form",
    ),
    "with a short pseudonym": (resigned(GOOD, body_of(old=NAMES[0][:1].encode())), {}, "form"),
    "with points in quotes": (resigned(GOOD, body_of(old=b",30,", new=b',"30",')), {}, "form"),
    "with points and a fraction": (resigned(GOOD, body_of(old=b",30,", new=b",30.0,")), {}, "form"),
    "with a zero ahead": (resigned(GOOD, body_of(old=b",30,", new=b",030,")), {}, "form"),
    "with minus zero": (resigned(GOOD, body_of(line=2, old=b",0,", new=b",-0,")), {}, "form"),
    "with a blank": (resigned(GOOD, body_of(old=b",30,", new=b", 30,")), {}, "form"),
    "with points beyond all bounds": (
        resigned(GOOD, body_of(old=b",30,", new=b",10001,")),
        {},
        "form",
    ),
    "with points that the card cannot give": (
        resigned(GOOD, body_of(old=b",30,", new=b",31,")),
        {"release": RELEASE},
        "form",
    ),
    "with five reasons": (resigned(GOOD, long_body()), {}, "form"),
    "with a reason that costs nothing": (
        resigned(GOOD, body_of(line=2, old=b"13", new=b"0")),
        {},
        "form",
    ),
    "with a reason that gains": (resigned(GOOD, body_of(line=2, old=b"13", new=b"-1")), {}, "form"),
    "with the cheaper reason first": (
        resigned(GOOD, body_of(line=1, old=b'"USED",32', new=b'"USED",3')),
        {},
        "form",
    ),
    "with a reason twice": (resigned(GOOD, body_of(line=1, old=b"LIMIT", new=b"USED")), {}, "form"),
    "with a reason of another party": (
        resigned(GOOD, body_of(line=2, old=b"LIMIT", new=b"ASKED")),
        {"release": RELEASE},
        "form",
    ),
    "with a code that JSON would escape": (
        resigned(GOOD, body_of(line=2, old=b"LIMIT", new=b'LI\\"T')),
        {},
        "form",
    ),
    "that is no text": (resigned(GOOD, body_of(line=2, old=b"LIMIT", new=b"\xff")), {}, "form"),
    "without its last newline": (resigned(GOOD, b"".join(lines())[:-1], customers=5), {}, "form"),
    "with something after its last line": (
        resigned(GOOD, b"".join(lines()) + b"x", customers=5),
        {},
        "form",
    ),
    "of another schema": (resigned(GOOD, schema=2), {}, "form"),
    "with a date that is none": (resigned(GOOD, as_of="2026-02-30"), {}, "form"),
    "with a time that is none": (resigned(GOOD, created="now"), {}, "form"),
    "with a digest that is none": (resigned(GOOD, manifest="0"), {}, "form"),
    "with true for a number": (resigned(GOOD, customers=True), {}, "form"),
    "with more in its header": (resigned(GOOD, remark="x"), {}, "form"),
    "with blanks in its header": (GOOD.replace(b'{"header":', b'{ "header":', 1), {}, "form"),
    "with more customers than the federation allows": (
        GOOD,
        {"agreed": replace(federation(), protocol=replace(federation().protocol, max_ids=4))},
        "form",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_feed_is_refused_by_the_name_of_its_check(what):
    raw, more, check = REFUSED[what]
    more = dict(more)
    with pytest.raises(FeedRefused) as caught:
        opened(raw, more.pop("agreed", None), **more)
    assert caught.value.check == check
    assert repr(check) in caught.value.message
    assert caught.value.exit_status == 4
    assert not any(name in str(caught.value) for name in NAMES)


_ORDER = list(REFUSED)
#: Faults of the lines below the first, which alone cannot tell them.
FAULTS_BELOW = set(
    _ORDER[_ORDER.index("with a line less than was signed") : _ORDER.index("of another schema")]
) - {"with fewer than none"}


@pytest.mark.parametrize("what", REFUSED)
def test_the_first_line_alone_is_refused_unless_the_fault_is_in_the_others(what):
    raw, more, check = REFUSED[what]
    more, first = dict(more), raw.partition(b"\n")[0]
    agreed, now = more.pop("agreed", federation()), more.pop("now", NOW)
    if what in FAULTS_BELOW:
        assert open_header(first, agreed, now=now, **more).party == "bank"
        return
    with pytest.raises(FeedRefused) as caught:
        open_header(first, agreed, now=now, **more)
    assert caught.value.check == check


def test_a_line_is_never_longer_than_is_read():
    codes = ["é" * 49 + mark + mark for mark in "ABCD"]  # 100 bytes each
    longest = FeedRow(NAMES[0], -MAX_POINTS, tuple((code, MAX_POINTS) for code in codes))
    assert len(line_of(longest).encode()) == LINE_BYTES
    feed = opened(pack([longest]))
    assert feed.header.most_bytes == LINE_BYTES
    for codes_too_long in (("x" * 101,), ("é" * 50 + "x",)):
        with pytest.raises(UsageError):
            pack([longest._replace(reasons=tuple((code, 1) for code in codes_too_long))])


def test_its_neighbours_inside_the_bounds_pass():
    opened(GOOD, now="2026-03-01T11:55:00Z")  # a clock 300 s slow
    opened(GOOD, now="2026-03-30T23:59:59Z")
    opened(pack(as_of="2026-02-28"), newest="2026-02-28")
    opened(GOOD, newest=TODAY, made=NOW)
    opened(resigned(GOOD, body_of(old=b",30,", new=b",10000,")))
    opened(resigned(GOOD, body_of(old=b",30,", new=b",-10000,")))


@pytest.mark.parametrize(
    "raw",
    [b"", b"\n", b"{}\n", b"[]\n", b"x" * 5000 + b"\n", b"\xff\n", b"null\n", b"[" * 4000 + b"\n"],
)
def test_bytes_that_are_no_feed_are_refused(raw):
    with pytest.raises(FeedRefused) as caught:
        opened(raw)
    assert caught.value.check == "form"


@settings(max_examples=depth(200, 400), deadline=None)
@given(data=st.data())
def test_no_single_byte_of_a_feed_can_be_changed(data):
    raw = bytearray(GOOD)
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] = data.draw(st.integers(0, 255).filter(lambda byte: byte != raw[at]))
    with pytest.raises(FeedRefused):
        opened(bytes(raw))


@settings(max_examples=depth(60, 100), deadline=None)
@given(
    st.dictionaries(
        st.integers(0, 10_000),
        st.tuples(
            st.integers(-10_000, 10_000),
            st.dictionaries(
                st.text("ABC_ 9$é", min_size=1, max_size=8), st.integers(1, 10_000), max_size=4
            ),
        ),
        max_size=20,
    )
)
def test_what_was_packed_is_what_is_opened(content):
    rows = [
        FeedRow(
            pseudonym(KEY, str(number)),
            points,
            tuple(sorted(reasons.items(), key=lambda item: (-item[1], item[0].encode()))),
        )
        for number, (points, reasons) in content.items()
    ]
    assert tuple(opened(pack(rows)).rows) == tuple(sorted(rows))


@pytest.mark.parametrize(
    "rows",
    [
        (ROWS[0], ROWS[0]),
        (ROWS[0]._replace(pseudonym="C1"),),
        (ROWS[0]._replace(points=10_001),),
        (ROWS[0]._replace(points=1.5),),
        (ROWS[0]._replace(reasons=(("A", 1), ("B", 2))),),
        (ROWS[0]._replace(reasons=(('A"', 1),)),),
        (ROWS[0]._replace(reasons=(("A\n", 1),)),),
    ],
)
def test_what_cannot_stand_in_a_feed_is_not_packed(rows):
    with pytest.raises(UsageError):
        pack(rows)


# Pseudonyms.


def test_a_pseudonym_is_an_hmac_of_the_normalised_id():
    code = pseudonym(KEY, "  \uff211 ")
    assert code == pseudonym(KEY, "A1")
    assert code != pseudonym(KEY, "A2") != pseudonym(KEY[::-1], "A2")
    assert len(code) == 64
    assert pseudonyms(KEY, ["A1", "A2"]) == [code, pseudonym(KEY, "A2")]


def test_the_header_says_what_it_must():
    header = asdict(opened(GOOD).header)
    assert header["body"] == hashlib.sha256(b"".join(lines())).hexdigest()
    assert header["created"] == NOW
    assert header["schema"] == 1
