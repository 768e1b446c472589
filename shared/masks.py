"""Keystreams: a 256-bit seed and a label to uniform ring elements.

HKDF-SHA256 (RFC 5869) derives a ChaCha20 key from (seed, label), so one seed gives separate
streams under different labels; ChaCha20 (RFC 8439) expands it. Nothing here is shorter than 256
bits and nothing comes from a statistical generator: Flower's stock masks fold their seed to 32
bits and were recovered by enumeration.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from numpy.typing import NDArray

SEED_BYTES = 32

_Unsigned = TypeVar("_Unsigned", bound=np.unsignedinteger[Any])


def derive_key(secret: bytes, *, salt: bytes, info: bytes) -> bytes:
    """Derive a 256-bit key from `secret` by HKDF-SHA256.

    Parameters
    ----------
    secret : bytes
        Input keying material, at least 32 bytes.
    salt, info : bytes
        Context: what the key is bound to, and what it is for.

    Returns
    -------
    bytes
        32 bytes.

    Raises
    ------
    ValueError
        If the secret is shorter than 32 bytes.
    """
    if len(secret) < SEED_BYTES:
        raise ValueError(f"a seed must have at least {SEED_BYTES} bytes, got {len(secret)}")
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=salt, info=info).derive(secret)


class Keystream:
    """A stream of uniform ring elements that is read from front to back, chunk by chunk.

    Parameters
    ----------
    seed : bytes
        At least 32 bytes; whoever knows it knows the stream.
    label : str
        What the stream masks. Two labels give independent streams.
    """

    def __init__(self, seed: bytes, label: str) -> None:
        key = derive_key(seed, salt=b"confide/keystream/1", info=label.encode())
        # One key serves exactly one stream, so the nonce may stand at zero; the 32-bit block
        # counter of RFC 8439 would wrap after 256 GiB, far above any cap on a job.
        self._encryptor = Cipher(ChaCha20(key, bytes(16)), mode=None).encryptor()

    def read(self, n_bytes: int) -> bytes:
        """Return the next `n_bytes` bytes of the stream."""
        return self._encryptor.update(bytes(n_bytes))

    def elements(self, shape: tuple[int, ...], dtype: type[_Unsigned]) -> NDArray[_Unsigned]:
        """Return the next elements of Z_2^w.

        Parameters
        ----------
        shape : tuple of int
            Shape of the result.
        dtype : type
            `numpy.uint16`, `numpy.uint32` or `numpy.uint64`: the ring.

        Returns
        -------
        ndarray of dtype, shape `shape`
            Uniform in the ring, little-endian on every machine.
        """
        count = int(np.prod(shape, dtype=np.int64))
        width = np.dtype(dtype).itemsize
        raw = np.frombuffer(self.read(count * width), dtype=np.dtype(dtype).newbyteorder("<"))
        return raw.astype(dtype, copy=False).reshape(shape)
