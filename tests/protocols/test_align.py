"""Parties find their common customers in one order, and nobody learns an id from it."""

from __future__ import annotations

import hashlib
import threading
from itertools import pairwise

import gmpy2
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from shared.arrays import pack_array, pack_value, unpack_array, unpack_value
from shared.channel import Frame, queue_channels
from shared.errors import BadPeer, ConfigError, DataError, FloorBroken, PartyLost
from shared.groups import GROUPS
from shared.identity import Identity, Roster
from shared.protocols import align
from shared.protocols.align import AlignJob, align_coordinator, align_party
from shared.sealed import SealedChannel, Session

C = "coordinator"
NAMES = ("bank", "bureau", "payments", "shop", "telco", "u6", "u7", "u8", "u9", "x10")
P = 2**255 - 19


def job_for(parties, **changes):
    parties = tuple(sorted(parties))
    fields = {
        "run": "run-1",
        "parties": parties,
        "builder": parties[0],
        "coordinator": C,
        "group": "x25519",
        "max_ids": 5000,
        "min_common": 1,
    }
    return AlignJob(**(fields | changes))


def together(roles, channels):
    """Run a function a name over its channel; return what each returned or raised."""
    results = {}

    def run(name):
        try:
            results[name] = roles[name](channels[name])
        except Exception as error:  # noqa: BLE001 - the test looks at it
            results[name] = error
            channels[name].abort(str(error))

    threads = [threading.Thread(target=run, args=(name,)) for name in roles]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def roles_for(job, sets, **options):
    roles = {
        name: lambda channel, ids=ids: align_party(channel, job, ids, **options)
        for name, ids in sets.items()
    }
    return roles | {C: lambda channel: align_coordinator(channel, job)}


def tap(channels, change=lambda frame: frame):
    """Record every frame of a run; `change` may alter one on its way."""
    seen = []
    for channel in channels.values():
        carry = channel._carry

        def spy(frame, carry=carry):
            frame = change(frame)
            seen.append(frame)
            carry(frame)

        channel._carry = spy
    return seen


def aligned(sets, *, change=None, options=None, **changes):
    """Align sets; return the results by name and all frames that went over the channels."""
    job = job_for(sets, **changes)
    channels = queue_channels([*sets, C], deadline=10.0)
    seen = tap(channels, change) if change else tap(channels)
    return together(roles_for(job, sets, **(options or {})), channels), seen


def ids_of(first, size):
    return [f"train|customer-{number:06d}" for number in range(first, first + size)]


def altered(tag, sender, recipient, alter):
    """Return a change that applies `alter` to payloads of one tag between two names."""

    def change(frame):
        if (frame.tag, frame.sender, frame.recipient) == (tag, sender, recipient):
            return Frame(sender, recipient, tag, alter(frame.payload))
        return frame

    return change


# What comes out


@settings(deadline=None, max_examples=25)
@given(data=st.data(), n_parties=st.integers(2, 5), group=st.sampled_from(sorted(GROUPS)))
def test_all_parties_find_the_intersection_in_one_order(data, n_parties, group):
    universe = st.sampled_from([f"id-{number}-ü" for number in range(12)])
    sets = {
        name: data.draw(st.lists(universe, unique=True, min_size=1)) for name in NAMES[:n_parties]
    }
    expected = set.intersection(*map(set, sets.values()))
    results, _ = aligned(sets, group=group)
    if not expected:
        assert {type(result) for result in results.values()} == {FloorBroken}
        return
    orders = {
        name: [ids[i] for i in results[name].positions.tolist()] for name, ids in sets.items()
    }
    first = orders[NAMES[0]]
    assert set(first) == expected
    assert len(first) == len(expected)
    assert all(order == first for order in orders.values())
    assert len({results[name].check for name in sets}) == 1
    sizes = {name: len(ids) for name, ids in sets.items()}
    assert all(results[name].sizes == sizes for name in sets)
    assert results[C].sizes == sizes
    assert results[C].common == len(expected)


@pytest.mark.parametrize("n_parties", [2, 10])
def test_sets_larger_than_a_batch_and_of_unequal_sizes_align(monkeypatch, n_parties):
    monkeypatch.setattr(align, "BATCH", 16)
    sets = {name: ids_of(3 * k, 70 - 5 * k) for k, name in enumerate(NAMES[:n_parties])}
    results, seen = aligned(sets)
    expected = set.intersection(*map(set, sets.values()))
    for name, ids in sets.items():
        assert {ids[i] for i in results[name].positions} == expected
    assert max(len(f.payload) for f in seen if f.tag.startswith("align/list")) == 16 * 32


def test_the_alignment_runs_over_sealed_envelopes_and_a_relay_sees_no_point_of_it():
    sets = {name: ids_of(10 * k, 60) for k, name in enumerate(NAMES[:3])}
    job = job_for(sets)
    names = (*sorted(sets), C)
    people = {name: Identity(name, bytes([i + 1]) * 32) for i, name in enumerate(names)}
    roster = Roster({name: person.fingerprint for name, person in people.items()})
    session = Session("run-1", "align", 1, "a" * 64)
    transports = queue_channels(names, deadline=10.0)
    seen = tap(transports)
    inner = roles_for(job, sets)

    def sealed(name):
        return lambda transport: inner[name](
            SealedChannel.open(transport, people[name], roster, session)
        )

    results = together({name: sealed(name) for name in names}, transports)
    for name, ids in sets.items():
        assert {ids[i] for i in results[name].positions} == set(ids_of(20, 40))
    lists = [f for f in seen if f.tag.startswith("align/list") and f.recipient != C]
    assert len(lists) == 6
    assert all(len(f.payload) > 60 * 32 for f in lists)
    assert all(sides(f.payload[-60 * 32 :]) == {1, -1} for f in lists)


# What is refused


def test_ids_that_repeat_are_refused_before_anything_is_sent_and_counted_not_shown():
    sets = {"bank": [*ids_of(0, 5), *ids_of(0, 2)], "payments": ids_of(0, 5)}
    results, seen = aligned(sets)
    assert isinstance(results["bank"], DataError)
    assert "2 of 7 ids are repeats" in str(results["bank"])
    assert "customer-" not in str(results["bank"])
    assert [frame.tag for frame in seen if frame.sender == "bank"] == ["abort", "abort"]
    assert isinstance(results["payments"], PartyLost)


def test_empty_ids_and_too_many_ids_are_told_at_once():
    results, _ = aligned({"bank": ["", *ids_of(0, 9)], "payments": ids_of(0, 5)}, max_ids=9)
    assert "an id is empty" in str(results["bank"])
    assert "10 ids are more than the 9" in str(results["bank"])


def test_an_intersection_under_the_floor_ends_the_run_at_everybody_with_its_count():
    sets = {"bank": ids_of(0, 20), "payments": ids_of(15, 20)}
    results, seen = aligned(sets, min_common=6)
    assert {type(result) for result in results.values()} == {FloorBroken}
    assert all(
        "5 ids" in str(result) and "floor of 6" in str(result) for result in results.values()
    )
    assert not [frame for frame in seen if frame.tag == "align/positions"]
    passing, _ = aligned(sets, min_common=5)
    assert passing[C].common == 5


def test_an_empty_intersection_is_under_every_floor():
    results, _ = aligned({"bank": ids_of(0, 5), "payments": ids_of(9, 5)}, min_common=1)
    assert {type(result) for result in results.values()} == {FloorBroken}


def test_a_set_under_the_floor_ends_the_run_before_anything_is_masked():
    results, seen = aligned({"bank": ids_of(0, 20), "payments": ids_of(0, 3)}, min_common=6)
    assert all(
        isinstance(r, FloorBroken) and "'payments' has 3" in str(r) for r in results.values()
    )
    assert {frame.tag for frame in seen} <= {"align/size", "abort"}


@pytest.mark.parametrize("size", [5001, -1, 2**70, 5.5, "7", True, None])
def test_a_size_over_the_cap_or_out_of_reason_is_refused_by_name(size):
    say = altered("align/size", "payments", "bank", lambda _: pack_value({"ids": str(size)}))
    if not isinstance(size, int) or abs(size) < 2**53:
        say = altered("align/size", "payments", "bank", lambda _: pack_value({"ids": size}))
    results, _ = aligned({"bank": ids_of(0, 20), "payments": ids_of(0, 20)}, change=say)
    assert isinstance(results["bank"], BadPeer)
    assert results["bank"].party == "payments"


LOW_ORDER = (
    0,
    1,
    P - 1,
    0x00B8495F16056286FDB1329CEB8D09DA6AC49FF1FAE35616AEB8413B7C7AEBE0,
    0x57119FD0DD4E22D8868E1C58C45C44045BEF839C55B1D0B1248C50A3BC959C5F,
)


def side(point):
    u = int.from_bytes(point, "little") % P
    return int(gmpy2.legendre(u**3 + 486662 * u**2 + u, P))


def sides(points):
    """Return on which sides, curve (1) or twist (-1), the points of a list lie."""
    return {side(points[at : at + 32]) for at in range(0, len(points), 32)}


def twist_point():
    return next(u for u in range(2, 100) if side(u.to_bytes(32, "little")) == -1)


BAD_POINTS = {f"low order {u % 1000}": u.to_bytes(32, "little") for u in LOW_ORDER} | {
    "twist": twist_point().to_bytes(32, "little"),
    "not reduced": (P + 9).to_bytes(32, "little"),
}
BAD_LISTS = {
    name: lambda raw, point=point: raw[:64] + point + raw[96:] for name, point in BAD_POINTS.items()
}
BAD_LISTS |= {
    "cut short": lambda raw: raw[:-1],
    "a point missing": lambda raw: raw[:-32],
    "a point too many": lambda raw: raw + raw[:32],
    "empty": lambda raw: b"",
}


@pytest.mark.parametrize("alter", BAD_LISTS.values(), ids=list(BAD_LISTS))
@pytest.mark.parametrize("owner", ["bureau", "bank"])
def test_a_bad_list_is_refused_by_whom_it_reaches_and_its_sender_is_named(alter, owner):
    sets = dict.fromkeys(NAMES[:3], ids_of(0, 20))
    change = altered(f"align/list/{owner}", "bureau", "payments", alter)
    results, _ = aligned(sets, change=change)
    assert isinstance(results["payments"], BadPeer)
    assert results["payments"].party == "bureau"
    assert isinstance(results["bank"], PartyLost)


def test_an_off_curve_point_of_p256_is_refused_by_name():
    point = next(bytes([0] * 31 + [x]) for x in range(2, 100) if not is_x_of_p256(x))
    sets = dict.fromkeys(NAMES[:2], ids_of(0, 20))
    change = altered("align/list/bank", "bank", "bureau", lambda raw: point + raw[32:])
    results, _ = aligned(sets, change=change, group="p256")
    assert isinstance(results["bureau"], BadPeer)
    assert results["bureau"].party == "bank"


def is_x_of_p256(x):
    p = 2**256 - 2**224 + 2**192 + 2**96 - 1
    b = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
    return gmpy2.legendre(x**3 - 3 * x + b, p) == 1


@pytest.mark.parametrize(
    "alter", [lambda raw: raw[:-1], lambda raw: raw + raw[:16], lambda raw: raw[:-16]]
)
def test_the_coordinator_refuses_a_list_of_the_wrong_length_by_name(alter):
    change = altered("align/list/bank", "payments", C, alter)
    results, _ = aligned({"bank": ids_of(0, 9), "payments": ids_of(0, 9)}, change=change)
    assert isinstance(results[C], BadPeer)
    assert results[C].party == "payments"


def test_one_value_twice_in_a_list_is_refused_by_name():
    change = altered("align/list/bank", "payments", C, lambda raw: raw[:16] + raw[:-16])
    results, _ = aligned({"bank": ids_of(0, 9), "payments": ids_of(0, 9)}, change=change)
    assert isinstance(results[C], BadPeer)
    assert results[C].party == "bank"
    assert isinstance(results["bank"], PartyLost)


def test_values_that_differ_only_in_trailing_zero_bytes_stay_apart():
    head = b"abcdefgh"
    values = [head + tail for tail in (bytes(8), bytes(7) + b"\1", b"\0" * 3 + b"\1" + bytes(4))]
    one = np.frombuffer(b"".join(values), "S16")
    two = np.frombuffer(b"".join(values[::-1][:2]), "S16")
    positions = align._intersect({"a": one, "b": two})
    assert [values[i] for i in positions["a"]] == [values[::-1][i] for i in positions["b"]]
    assert len(positions["a"]) == 2


def positions_altered(party, alter):
    def on_raw(raw):
        return pack_array(alter(unpack_array(raw, np.uint32, (None,), cap=5000).copy()))

    return altered("align/positions", C, party, on_raw)


def swap(positions):
    positions[[0, 1]] = positions[[1, 0]]
    return positions


SHIFTS = {
    "two swapped": swap,
    "rotated": lambda positions: np.roll(positions, 1),
    "another customer": lambda positions: np.append(positions[1:], absent(positions)),
}


def absent(positions):
    """Return a position that is not among the common ones."""
    return np.uint32(min(set(range(len(positions) + 1)) - set(positions.tolist())))


@pytest.mark.parametrize("alter", SHIFTS.values(), ids=list(SHIFTS))
@pytest.mark.parametrize("party", NAMES[:3])
def test_a_coordinator_that_moves_one_partys_positions_is_caught_and_the_party_named(alter, party):
    sets = {name: ids_of(k, 30) for k, name in enumerate(NAMES[:3])}
    results, _ = aligned(sets, change=positions_altered(party, alter))
    for name in sets:
        assert isinstance(results[name], BadPeer)
        assert results[name].party == party
        assert "order" in str(results[name])


def test_of_two_parties_the_one_that_is_not_the_builder_is_named():
    sets = {"bank": ids_of(0, 9), "payments": ids_of(0, 9)}
    results, _ = aligned(sets, change=positions_altered("bank", swap))
    assert all(isinstance(results[name], BadPeer) for name in sets)
    assert results["bank"].party == "payments"


@pytest.mark.parametrize(
    "alter",
    [
        lambda positions: np.append(positions[1:], positions[-1]),
        lambda positions: np.append(positions[1:], np.uint32(30)),
        lambda positions: positions[1:],
        lambda positions: positions.astype(np.uint64),
    ],
    ids=["one twice", "out of range", "one missing", "another type"],
)
def test_positions_that_cannot_be_are_refused_by_the_party_itself(alter):
    sets = {name: ids_of(k, 30) for k, name in enumerate(NAMES[:3])}
    results, _ = aligned(sets, change=positions_altered("bureau", alter))
    assert isinstance(results["bureau"], BadPeer)
    assert results["bureau"].party == C


@pytest.mark.parametrize("payload", [{"common": 31}, {"common": -1}, {"else": 3}, [3], "x"])
def test_a_count_of_common_ids_that_cannot_be_is_refused(payload):
    change = altered("align/common", C, "bank", lambda _: pack_value(payload))
    sets = {"bank": ids_of(0, 30), "payments": ids_of(0, 30)}
    results, _ = aligned(sets, change=change)
    assert isinstance(results["bank"], BadPeer)
    assert results["bank"].party == C


@pytest.mark.parametrize("payload", [{"astray": "bank"}, {"astray": ["mallory"]}, {"ok": True}])
def test_a_malformed_verdict_of_the_builder_is_refused(payload):
    change = altered("align/verdict", "bank", "payments", lambda _: pack_value(payload))
    sets = {"bank": ids_of(0, 30), "payments": ids_of(0, 30)}
    results, _ = aligned(sets, change=change)
    assert isinstance(results["payments"], BadPeer)
    assert results["payments"].party == "bank"


def test_a_group_key_of_the_wrong_length_is_refused():
    change = altered("align/key", "bank", "payments", lambda raw: raw[:-1])
    results, _ = aligned({"bank": ids_of(0, 9), "payments": ids_of(0, 9)}, change=change)
    assert isinstance(results["payments"], BadPeer)
    assert results["payments"].party == "bank"


def test_a_wrong_job_is_refused_with_all_its_findings():
    with pytest.raises(ConfigError) as caught:
        AlignJob("", ("b", "a"), "c", "a", "curve448", 0, 0)
    text = str(caught.value)
    for field in ("run", "parties", "builder", "coordinator", "group", "max_ids", "min_common"):
        assert f"{field}: " in text


@pytest.mark.parametrize("n_parties", [1, 11])
def test_one_party_or_eleven_are_refused(n_parties):
    with pytest.raises(ConfigError, match="2 to 10"):
        job_for([f"p{number:02d}" for number in range(n_parties)])


# What is seen


def lists_at(seen, recipient, owner=None):
    """Return the payloads of masked lists that came to a name."""
    return [
        frame.payload
        for frame in seen
        if frame.recipient == recipient
        and frame.tag.startswith("align/list/")
        and (owner is None or frame.tag == f"align/list/{owner}")
    ]


def short_values(payloads, width=16):
    return {raw[at : at + 16] for raw in payloads for at in range(0, len(raw), width)}


def dictionary_attack(values, candidates, domain):
    """Return which candidate ids a reader of 16-byte values recognises by hashing them all."""
    raw = [text.encode() for text in candidates]
    points = GROUPS["x25519"].hash_to_group(raw, domain)
    hit = set()
    for k, text in enumerate(raw):
        shapes = (points[32 * k : 32 * k + 16], hashlib.sha256(text).digest()[:16], text[:16])
        if values & set(shapes):
            hit.add(candidates[k])
    return hit


def test_the_coordinator_cannot_recognise_an_id_by_hashing_all_of_them():
    sets = {name: ids_of(100 * k, 400) for k, name in enumerate(NAMES[:3])}
    results, seen = aligned(sets)
    domain = job_for(sets).domain
    candidates = ids_of(0, 700)
    view = short_values(lists_at(seen, C))
    assert len(view) == 400 * 3 - 2 * results[C].common - len_of_pairs(sets)
    assert dictionary_attack(view, candidates, domain) == set()
    everything = b"".join(frame.payload for frame in seen)
    assert not [text for text in candidates if text.encode() in everything]
    hashed = GROUPS["x25519"].hash_to_group([text.encode() for text in sets["bank"]], domain)
    unmasked = short_values([hashed], 32)
    assert dictionary_attack(unmasked, candidates, domain) == set(sets["bank"])


def len_of_pairs(sets):
    """Ids in exactly two of three sets."""
    count = [sum(text in ids for ids in sets.values()) for text in set().union(*sets.values())]
    return count.count(2)


def test_nothing_the_coordinator_sees_links_two_runs_over_the_same_ids():
    sets = {"bank": ids_of(0, 300), "payments": ids_of(100, 300)}
    one, two = (aligned(sets)[1] for _ in range(2))
    assert not short_values(lists_at(one, C)) & short_values(lists_at(two, C))
    assert common_places(one, "bank") != common_places(two, "bank")
    three, four = (aligned(sets, options=STUCK)[1] for _ in range(2))
    assert short_values(lists_at(three, C)) == short_values(lists_at(four, C))
    assert common_places(three, "bank") == common_places(four, "bank")


#: A source of randomness that always says the same: what must not happen, as a control.
STUCK = {"rng": lambda size: (bytes(range(1, 256)) * size)[:size]}


def common_places(seen, name):
    """Return the places of common ids in a party's shuffled list, as the coordinator knows them."""
    raw = next(f.payload for f in seen if f.tag == "align/positions" and f.recipient == name)
    return set(unpack_array(raw, np.uint32, (None,), cap=5000).tolist())


def test_the_coordinator_does_not_see_where_in_a_partys_file_the_common_ids_stand():
    sets = {"bank": ids_of(0, 300), "payments": ids_of(100, 300)}
    results, seen = aligned(sets)
    in_file = set(results["bank"].positions.tolist())
    assert in_file == set(range(100, 300))
    assert common_places(seen, "bank") != in_file


def test_an_id_is_another_point_in_another_run_even_under_the_same_exponents():
    sets = {"bank": ids_of(0, 50), "payments": ids_of(0, 50)}
    views = [
        short_values(lists_at(aligned(sets, options=STUCK, run=run)[1], C))
        for run in ("run-1", "run-2", "run-1")
    ]
    assert not views[0] & views[1]
    assert views[0] == views[2]


def uniform(raw):
    counts = np.bincount(np.frombuffer(raw, np.uint8), minlength=256)
    return chisquare(counts).pvalue > 1e-6


def test_what_the_coordinator_sees_is_uniform_bytes():
    _, seen = aligned({"bank": ids_of(0, 1500), "payments": ids_of(1400, 1500)})
    view = b"".join(lists_at(seen, C))
    assert len(view) == 3000 * 16
    assert uniform(view)
    assert not uniform("".join(ids_of(0, 1500)).encode())


@pytest.mark.parametrize("name", NAMES[:3])
def test_every_masked_value_lies_on_the_curve_so_its_side_tells_nothing(name):
    sets = {each: ids_of(0, 100) for each in NAMES[:3]}
    _, seen = aligned(sets)
    received = lists_at(seen, name)
    assert len(received) == 2
    assert set().union(*map(sides, received)) == {1}
    exchange = X25519PrivateKey.generate().exchange
    blind = [hashlib.sha256(text.encode()).digest() for text in sets[name]]
    masked = b"".join(exchange(X25519PublicKey.from_public_bytes(point)) for point in blind)
    assert sides(masked) == {1, -1}


@pytest.mark.parametrize("n_parties", [2, 3, 5])
def test_no_owner_receives_its_own_list_fully_masked(n_parties):
    sets = {name: ids_of(0, 50) for name in NAMES[:n_parties]}
    _, seen = aligned(sets)
    for name in sets:
        final = short_values(lists_at(seen, C, name))
        assert len(final) == 50
        assert final <= short_values(lists_at(seen, C))
        assert not final & short_values(lists_at(seen, name), 32)
        assert not lists_at(seen, name, name)


@pytest.mark.parametrize("n_parties", [2, 3, 5])
def test_everybody_is_last_exactly_once_and_lists_go_round_in_order(n_parties):
    names = NAMES[:n_parties]
    _, seen = aligned({name: ids_of(0, 20) for name in names})
    for place, owner in enumerate(names):
        way = [names[(place + hop) % n_parties] for hop in range(n_parties)]
        hops = {
            (frame.sender, frame.recipient) for frame in seen if frame.tag == f"align/list/{owner}"
        }
        assert hops == {*pairwise(way), (way[-1], C)}


def test_the_coordinator_never_gets_the_group_key_or_the_check_of_the_order():
    results, seen = aligned({name: ids_of(0, 20) for name in NAMES[:3]})
    tags = {frame.tag for frame in seen if frame.recipient == C}
    assert tags == {"align/size", *(f"align/list/{name}" for name in NAMES[:3])}
    key = next(frame.payload for frame in seen if frame.tag == "align/key")
    to_coordinator = b"".join(frame.payload for frame in seen if frame.recipient == C)
    assert key not in to_coordinator
    assert results["bank"].check not in to_coordinator
    verdicts = [unpack_value(f.payload) for f in seen if f.tag == "align/verdict"]
    assert verdicts == [{"astray": []}] * 2
