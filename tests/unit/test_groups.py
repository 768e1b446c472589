"""Points are on their curve, masks commute, and nothing off the curve is ever masked."""

from __future__ import annotations

import hashlib
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import gmpy2
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import BadPeer
from shared.groups import CHUNK, DEFAULT_GROUP, GROUPS, POINT_BYTES, mask_ids, remask

P = 2**255 - 19
IDS = [f"customer-{number}".encode() for number in range(200)]
every_group = pytest.mark.parametrize("group", GROUPS.values(), ids=list(GROUPS))

#: The u coordinates of order 1, 2, 4 and 8 on Curve25519 and its twist, canonical and not.
LOW_ORDER = {
    "zero": 0,
    "one": 1,
    "minus one": P - 1,
    "order 8, first": 0x00B8495F16056286FDB1329CEB8D09DA6AC49FF1FAE35616AEB8413B7C7AEBE0,
    "order 8, second": 0x57119FD0DD4E22D8868E1C58C45C44045BEF839C55B1D0B1248C50A3BC959C5F,
    "zero, not reduced": P,
    "one, not reduced": P + 1,
}


def split(points):
    return [points[at : at + POINT_BYTES] for at in range(0, len(points), POINT_BYTES)]


def side(point):
    """Legendre symbol of u^3 + A u^2 + u: 1 on the curve, -1 on the twist."""
    u = int.from_bytes(point, "little") % P
    return gmpy2.legendre(u**3 + 486662 * u**2 + u, P)


def off_curve(group):
    """Return a canonical x coordinate that no point of the curve has."""
    if group.name == "x25519":
        u = next(u for u in range(2, 100) if side(u.to_bytes(32, "little")) == -1)
        return u.to_bytes(32, "little")
    p = 2**256 - 2**224 + 2**192 + 2**96 - 1
    b = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
    x = next(x for x in range(2, 100) if gmpy2.legendre(x**3 - 3 * x + b, p) == -1)
    return x.to_bytes(32, "big")


def test_x25519_multiplies_its_base_point_as_rfc_7748_says():
    alice = bytes.fromhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")
    public = bytes.fromhex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")
    assert GROUPS["x25519"].mask((9).to_bytes(32, "little"), alice) == public


def test_p256_doubles_its_base_point_as_published():
    base = bytes.fromhex("6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296")
    double = bytes.fromhex("7cf27b188d034f7e8a52380304b51ac3c08969e277f21b35a60b48fc47669978")
    assert GROUPS["p256"].mask(base, (2).to_bytes(32, "big")) == double


@every_group
@settings(deadline=None, max_examples=20)
@given(ids=st.lists(st.binary(max_size=60), min_size=1, max_size=5))
def test_masks_commute(group, ids):
    first, second = group.fresh_exponent(), group.fresh_exponent()
    points = group.hash_to_group(ids, b"run")
    one = group.mask(group.mask(points, first), second)
    assert one == group.mask(group.mask(points, second), first)
    assert one != group.mask(points, first)
    assert len(one) == POINT_BYTES * len(ids)


@every_group
def test_an_id_always_hashes_to_the_same_point_and_others_elsewhere(group):
    points = split(group.hash_to_group(IDS, b"run"))
    assert split(group.hash_to_group(IDS[::-1], b"run"))[::-1] == points
    assert len(set(points)) == len(IDS)


@every_group
def test_another_domain_gives_unrelated_points(group):
    one, two = (set(split(group.hash_to_group(IDS, domain))) for domain in (b"run-1", b"run-2"))
    assert not one & two


def test_hashed_and_masked_points_are_all_on_the_curve_while_blind_hashing_shows_both_sides():
    group = GROUPS["x25519"]
    hashed = group.hash_to_group(IDS, b"run")
    masked = group.mask(hashed, group.fresh_exponent())
    assert {side(point) for point in split(hashed) + split(masked)} == {1}
    exchange = X25519PrivateKey.generate().exchange
    blind = [hashlib.sha256(text).digest() for text in IDS]
    masked_blind = [exchange(X25519PublicKey.from_public_bytes(point)) for point in blind]
    assert {side(point) for point in masked_blind} == {1, -1}
    clear = [point[:31] + bytes([point[31] & 127]) for point in blind]
    assert [side(point) for point in masked_blind] == [side(point) for point in clear]


@pytest.mark.parametrize("u", LOW_ORDER.values(), ids=list(LOW_ORDER))
@pytest.mark.parametrize("own", [False, True])
def test_a_point_of_low_order_is_refused_even_where_the_curve_is_not_checked(u, own):
    group = GROUPS["x25519"]
    points = group.hash_to_group(IDS[:3], b"run") + u.to_bytes(32, "little")
    with pytest.raises(BadPeer, match="x25519"):
        group.mask(points, group.fresh_exponent(), own=own)


@every_group
def test_a_point_off_the_curve_is_refused(group):
    points = group.hash_to_group(IDS[:3], b"run")
    assert group.mask(points, group.fresh_exponent())
    with pytest.raises(BadPeer, match=f"not on the curve {group.name}"):
        group.mask(points + off_curve(group), group.fresh_exponent())


def test_a_second_spelling_of_a_point_is_refused_though_x25519_itself_accepts_it():
    group, exponent = GROUPS["x25519"], b"\x11" * 32
    points = split(group.hash_to_group(IDS, b"run"))
    topped = [point[:31] + bytes([point[31] | 128]) for point in points]
    twins = [(P + 9).to_bytes(32, "little"), *(point for point in topped if side(point) == 1)]
    assert len(twins) > 10
    for twin in twins:
        assert group.mask(twin, exponent, own=True)
        with pytest.raises(BadPeer, match="not on the curve"):
            group.mask(twin, exponent)


@every_group
@pytest.mark.parametrize("cut", [1, 31, 33])
def test_points_cut_short_are_refused(group, cut):
    points = group.hash_to_group(IDS[:3], b"run")
    with pytest.raises(BadPeer, match="whole number"):
        group.mask(points[:-cut], group.fresh_exponent())


@every_group
def test_exponents_come_from_the_source_handed_in_and_are_fresh(group):
    assert group.fresh_exponent(lambda n: b"\x07" * n) == b"\x07" * 32
    assert group.fresh_exponent() != group.fresh_exponent()


def test_a_p256_exponent_out_of_range_is_drawn_again():
    draws = iter([b"\xff" * 32, bytes(32), b"\x01" * 32])
    assert GROUPS["p256"].fresh_exponent(lambda _: next(draws)) == b"\x01" * 32


@every_group
def test_a_pool_of_processes_gives_what_one_process_gives(group):
    ids = [f"{number}".encode() for number in range(CHUNK + 7)]
    exponent, other = b"\x11" * 32, b"\x22" * 32
    alone = mask_ids(group.name, ids, b"run", exponent)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        assert mask_ids(group.name, ids, b"run", exponent, pool.map) == alone
        assert remask(group.name, alone, other, pool.map) == remask(group.name, alone, other)
        with pytest.raises(BadPeer, match="not on the curve"):
            remask(group.name, alone + off_curve(group), other, pool.map)


def test_the_default_is_one_of_the_groups():
    assert DEFAULT_GROUP in GROUPS
