"""Ring products are exact, masks are uniform, arrays on the wire keep their caps."""

from __future__ import annotations

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.arrays import pack_array, pack_value, unpack_array, unpack_value
from shared.errors import BadPeer
from shared.masks import Keystream, derive_key
from shared.ring import (
    from_fixed,
    indicator_product,
    residue_product,
    ring_bits,
    to_fixed,
)

SEED = bytes(range(32))


def exact_product(left, right, bits):
    """Multiply in Python's unbounded integers."""
    product = left.astype(object).T @ right.astype(object)
    return (product % (1 << bits)).astype(np.uint64)


@settings(max_examples=30, deadline=None)
@given(
    rows=st.integers(1, 300),
    columns=st.integers(1, 6),
    bits=st.sampled_from([16, 32]),
    label=st.text(max_size=5),
)
def test_products_equal_unbounded_integers(rows, columns, bits, label):
    dtype = np.uint16 if bits == 16 else np.uint32
    stream = Keystream(SEED, label)
    left = stream.elements((rows, columns), dtype)
    right = stream.elements((rows, columns), dtype)
    ones = (left & 1).astype(np.float64)
    assert (residue_product(left, right) == exact_product(left, right, bits)).all()
    assert (indicator_product(ones, right) == exact_product(left & 1, right, bits)).all()


def test_products_are_exact_at_the_largest_residues_and_many_rows():
    rows = 70_000
    for dtype, bits in ((np.uint16, 16), (np.uint32, 32)):
        top = np.full((rows, 1), 1 << (bits - 1), dtype=dtype)
        assert residue_product(top, top)[0, 0] == (rows << (2 * bits - 2)) % (1 << bits)
        odd = np.full((rows, 1), (1 << bits) - 1, dtype=dtype)
        assert residue_product(odd, odd)[0, 0] == rows % (1 << bits)


def test_the_ring_is_the_narrowest_that_cannot_wrap():
    assert (ring_bits(65_535), ring_bits(65_536)) == (16, 32)
    with pytest.raises(ValueError, match="32-bit"):
        ring_bits(1 << 32)


def test_a_stream_is_the_same_in_chunks_and_differs_by_label_and_seed():
    whole = Keystream(SEED, "a").elements((100,), np.uint16)
    chunked = Keystream(SEED, "a")
    parts = [chunked.elements((n,), np.uint16) for n in (1, 49, 50)]
    assert (np.concatenate(parts) == whole).all()
    assert (Keystream(SEED, "b").elements((100,), np.uint16) != whole).any()
    assert (Keystream(SEED[::-1], "a").elements((100,), np.uint16) != whole).any()


def test_a_keystream_matches_rfc_8439():
    """The keystream of RFC 8439, 2.3.2 (A.1, test vector 1: zero key, zero nonce, counter 0)."""
    stream = Cipher(ChaCha20(bytes(32), bytes(16)), mode=None).encryptor()
    assert stream.update(bytes(16)).hex() == "76b8e0ada0f13d90405d6ae55386bd28"


def test_masked_bytes_are_uniform_and_constant_bytes_are_not():
    """Chi-square of bytes over 255 degrees of freedom; the second half is the positive control."""

    def chi_square(raw):
        counts = np.bincount(np.frombuffer(raw, np.uint8), minlength=256)
        return float(((counts - len(raw) / 256) ** 2 / (len(raw) / 256)).sum())

    plain = np.zeros((64, 1000), np.uint16)
    masked = plain + Keystream(SEED, "m").elements(plain.shape, np.uint16)
    assert 160 < chi_square(masked.tobytes()) < 370
    assert chi_square(plain.tobytes()) > 1e6


def test_a_short_seed_is_refused():
    with pytest.raises(ValueError, match="32 bytes"):
        derive_key(b"short", salt=b"", info=b"")


@given(st.lists(st.floats(-8, 8), min_size=1, max_size=50))
def test_fixed_point_keeps_its_precision(values):
    array = np.array(values)
    back = from_fixed(to_fixed(array, bound=8.0, fraction_bits=32), fraction_bits=32)
    assert np.abs(back - array).max() <= 2.0**-33


@pytest.mark.parametrize("value", [np.nan, np.inf, 8.1, -8.1])
def test_fixed_point_refuses_what_is_out_of_range(value):
    with pytest.raises(ValueError, match="within"):
        to_fixed(np.array([value]), bound=8.0, fraction_bits=32)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.uint64, np.int64, np.float64])
def test_arrays_survive_the_wire(dtype):
    array = np.arange(12).astype(dtype).reshape(3, 4)
    back = unpack_array(pack_array(array), dtype, (3, None), cap=12)
    assert back.dtype == dtype
    assert (back == array).all()


@pytest.mark.parametrize(
    "change",
    [
        lambda raw: raw[:1],
        lambda raw: raw[:10],
        lambda raw: raw[:-1],
        lambda raw: raw + b"\x00",
        lambda raw: b"\x07" + raw[1:],
        lambda raw: raw[:2] + b"\xff" * 8 + raw[10:],
    ],
)
def test_a_malformed_array_is_refused_before_anything_is_allocated(change):
    raw = pack_array(np.zeros((2, 3), np.uint16))
    with pytest.raises(BadPeer):
        unpack_array(change(raw), np.uint16, (None, None), cap=1 << 62)


def test_an_array_over_its_cap_or_of_another_type_or_shape_is_refused():
    raw = pack_array(np.zeros((2, 3), np.uint16))
    for dtype, shape, cap in (
        (np.uint16, (2, 3), 5),
        (np.uint32, (2, 3), 6),
        (np.uint16, (3, 2), 6),
        (np.uint16, (6,), 6),
    ):
        with pytest.raises(BadPeer):
            unpack_array(raw, dtype, shape, cap=cap)


def test_values_are_canonical_and_capped():
    assert pack_value({"b": 1, "a": [True, None]}) == b'{"a":[true,null],"b":1}'
    with pytest.raises(BadPeer, match="cap"):
        unpack_value(b"[" * 100, cap=10)
    for raw in (b"{", b"\xff", b"[" * 100_000):
        with pytest.raises(BadPeer):
            unpack_value(raw)
