"""Arrays and small values on the wire: no pickle, every size checked before anything is allocated.

An array travels as ``dtype code (1 byte) | rank (1 byte) | extents (8 bytes each) | raw buffer``,
little-endian. A small structured value travels as canonical JSON (RFC 8785).
"""

from __future__ import annotations

import json
import math
import struct
from typing import Any

import numpy as np
import rfc8785
from numpy.typing import NDArray

from shared.errors import BadPeer

_DTYPES = {1: "u1", 2: "<u2", 4: "<u4", 8: "<u8", 11: "<i2", 12: "<i4", 13: "<i8", 21: "<f8"}
_CODES = {np.dtype(text): code for code, text in _DTYPES.items()}
_MAX_RANK = 3


def pack_array(array: NDArray[Any]) -> bytes:
    """Return the wire form of an array.

    Raises
    ------
    ValueError
        If the type or the rank has no wire form.
    """
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    code = _CODES.get(little.dtype)
    if code is None or little.ndim > _MAX_RANK:
        raise ValueError(f"no wire form for {array.dtype} of rank {array.ndim}")
    header = struct.pack(f"<BB{little.ndim}Q", code, little.ndim, *little.shape)
    return header + little.tobytes()


def unpack_array(
    payload: bytes, dtype: type[np.generic], shape: tuple[int | None, ...], *, cap: int
) -> NDArray[Any]:
    """Read an array of an expected type and shape.

    Parameters
    ----------
    payload : bytes
        What a peer sent.
    dtype : type
        The only type accepted.
    shape : tuple of int or None
        The only shape accepted; None leaves that extent open.
    cap : int
        Largest number of elements accepted.

    Returns
    -------
    ndarray
        Read-only view of the payload.

    Raises
    ------
    BadPeer
        If type, rank, extents or length are not as expected; nothing was allocated.
    """
    if len(payload) < 2:
        raise BadPeer("an array message is shorter than its header")
    code, rank = payload[0], payload[1]
    wanted = np.dtype(dtype).newbyteorder("<")
    if _DTYPES.get(code) is None or np.dtype(_DTYPES[code]) != wanted or rank != len(shape):
        raise BadPeer(f"an array message is not {wanted.name} of rank {len(shape)}")
    start = 2 + 8 * rank
    if len(payload) < start:
        raise BadPeer("an array message is shorter than its header")
    extents = struct.unpack_from(f"<{rank}Q", payload, 2)
    count = math.prod(extents)
    if any(want is not None and want != got for want, got in zip(shape, extents, strict=True)):
        raise BadPeer(f"an array message has shape {extents}, expected {shape}")
    if count > cap or len(payload) - start != count * wanted.itemsize:
        raise BadPeer(f"an array message of {count} elements breaks its cap or its length")
    return np.frombuffer(payload, dtype=wanted, offset=start).reshape(extents)


def pack_value(value: Any) -> bytes:
    """Return the canonical JSON (RFC 8785) of a small structured value."""
    return rfc8785.dumps(value)


def unpack_value(payload: bytes, *, cap: int = 1 << 24) -> Any:
    """Read a small structured value.

    Raises
    ------
    BadPeer
        If it is larger than `cap` bytes or not JSON.
    """
    if len(payload) > cap:
        raise BadPeer(f"a message of {len(payload)} bytes is over its cap of {cap}")
    try:
        return json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise BadPeer("a message is not valid JSON") from error
