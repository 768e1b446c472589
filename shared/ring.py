"""Arithmetic in Z_2^16, Z_2^32 and Z_2^64, exact and by BLAS; fixed-point numbers in Z_2^64.

numpy multiplies integer matrices without BLAS, some fifty times slower than float64. Residues are
therefore *centred* (read as signed integers), multiplied as float64 and reduced again. A float64 is
exact to 2^53, so a product of `n` rows is exact while ``n * max|a| * max|b| <= 2^53``:

=========  ====================  ==================  =========================
ring       0/1 times residue     residue x residue   used while
=========  ====================  ==================  =========================
Z_2^16     n <= 2^38             n <= 2^23           every count < 65,536
Z_2^32     n <= 2^22             in 16-bit limbs     every count < 2^32
=========  ====================  ==================  =========================
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Unsigned = NDArray[np.unsignedinteger[Any]]

# Rows of one float64 product: the tightest line of the table, far above any chunk that is sent.
MAX_ROWS_PER_PRODUCT = 1 << 21


def ring_bits(n_rows: int) -> Literal[16, 32]:
    """Return the narrowest ring in which a count of up to `n_rows` rows cannot wrap.

    Raises
    ------
    ValueError
        If `n_rows` is negative or does not fit 32 bits.
    """
    if not 0 <= n_rows < 1 << 32:
        raise ValueError(f"a count of {n_rows} rows does not fit a 32-bit ring")
    return 16 if n_rows < 1 << 16 else 32


def ring_dtype(bits: int) -> type[np.unsignedinteger[Any]]:
    """Return the unsigned type whose wrap-around is the ring's reduction."""
    return np.uint16 if bits == 16 else np.uint32


def centred(values: Unsigned) -> NDArray[np.float64]:
    """Return residues read as signed integers, as float64."""
    width = values.dtype.itemsize
    return values.view(np.dtype(f"i{width}")).astype(np.float64)


def reduce_to_ring(values: NDArray[np.float64], bits: int) -> Unsigned:
    """Return exact float64 integers, ``|v| < 2^53``, reduced modulo 2^bits."""
    return values.astype(np.int64).astype(ring_dtype(bits))


def indicator_product(indicators: NDArray[np.float64], residues: Unsigned) -> Unsigned:
    """Multiply a 0/1 matrix, transposed, with residues.

    Parameters
    ----------
    indicators : ndarray of float64, shape (n_rows, n_left)
        Zeros and ones.
    residues : ndarray of uint16 or uint32, shape (n_rows, n_right)

    Returns
    -------
    ndarray of the type of `residues`, shape (n_left, n_right)
        ``indicators.T @ residues`` modulo 2^bits.
    """
    bits = 8 * residues.dtype.itemsize
    return reduce_to_ring(indicators.T @ centred(residues), bits)


def residue_product(left: Unsigned, right: Unsigned) -> Unsigned:
    """Multiply residues, transposed, with residues.

    Parameters
    ----------
    left : ndarray of uint16 or uint32, shape (n_rows, n_left)
    right : ndarray of the same type, shape (n_rows, n_right)

    Returns
    -------
    ndarray of the same type, shape (n_left, n_right)
        ``left.T @ right`` modulo 2^bits.

    Raises
    ------
    ValueError
        If there are more rows than a float64 product is exact for.
    """
    if left.shape[0] > MAX_ROWS_PER_PRODUCT:
        raise ValueError(f"at most {MAX_ROWS_PER_PRODUCT} rows in one product")
    if left.dtype == np.uint16:
        return reduce_to_ring(centred(left).T @ centred(right), 16)
    # 2^32: with l = l1 2^16 + l0 the product is l0 r0 + 2^16 (l1 r0 + l0 r1); l1 r1 vanishes.
    left_low, left_high = _limbs(left)
    right_low, right_high = _limbs(right)
    middle = reduce_to_ring(left_high.T @ right_low + left_low.T @ right_high, 32)
    low = reduce_to_ring(left_low.T @ right_low, 32)
    return low + (middle << 16)


def _limbs(values: Unsigned) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    low = (values & np.uint32(0xFFFF)).astype(np.float64)
    high = (values >> np.uint32(16)).astype(np.float64)
    return low, high


def to_fixed(
    values: NDArray[np.float64], *, bound: float, fraction_bits: int
) -> NDArray[np.uint64]:
    """Encode real numbers as fixed point in Z_2^64.

    Parameters
    ----------
    values : ndarray of float64
    bound : float
        Largest permitted absolute value.
    fraction_bits : int
        One unit is ``2**-fraction_bits``.

    Returns
    -------
    ndarray of uint64, same shape

    Raises
    ------
    ValueError
        If a value is not finite or beyond the bound, or the bound itself overflows the ring.
    """
    scale = float(1 << fraction_bits)
    if bound * scale >= 2.0**62:
        raise ValueError(f"bound {bound} at {fraction_bits} fraction bits overflows 64 bits")
    if not np.isfinite(values).all() or np.abs(values).max(initial=0.0) > bound:
        raise ValueError(f"values must be finite and within +-{bound}")
    return np.rint(values * scale).astype(np.int64).view(np.uint64)


def from_fixed(values: NDArray[np.uint64], *, fraction_bits: int) -> NDArray[np.float64]:
    """Decode what `to_fixed` encoded, or a sum of it that did not wrap."""
    return values.view(np.int64).astype(np.float64) / float(1 << fraction_bits)
