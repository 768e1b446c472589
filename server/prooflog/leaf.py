"""What of a decision stands in the log: a salted commitment, from which nothing can be guessed.

The commitment is HMAC-SHA256 under a salt of 32 random bytes, one for each decision, over the
decision's canonical JSON (RFC 8785). With the salt it opens to one record only. Without it, it is a
pseudo-random value: whoever knows that there are 500 possible limits learns nothing by trying them.
Destroying the salt therefore deletes the decision from the log, while every proof still holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import rfc8785
from cryptography.hazmat.primitives.constant_time import bytes_eq
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from shared.errors import UsageError

SALT_BYTES: Final = 32
LEAF_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Opening:
    """What opens a leaf.

    Parameters
    ----------
    salt : bytes
        32 random bytes, used once. Kept out of `repr`.
    record : bytes
        The decision as canonical JSON. Kept out of `repr`.
    """

    salt: bytes
    record: bytes

    def __repr__(self) -> str:
        return "Opening(...)"


def canonical(record: Mapping[str, Any]) -> bytes:
    """Return a decision as canonical JSON.

    Raises
    ------
    UsageError
        If it holds a value that JSON cannot carry exactly.
    """
    try:
        return rfc8785.dumps(dict(record))
    except (rfc8785.CanonicalizationError, RecursionError) as error:
        raise UsageError("a decision's record must be exact in JSON (RFC 8785)") from error


def commitment(opening: Opening) -> bytes:
    """Return the leaf of a decision, 32 bytes.

    Raises
    ------
    UsageError
        If the salt has not 32 bytes: HMAC takes keys of other lengths for one another.
    """
    if len(opening.salt) != SALT_BYTES:
        raise UsageError(f"a salt has {SALT_BYTES} bytes")
    keyed = HMAC(opening.salt, SHA256())
    keyed.update(opening.record)
    return keyed.finalize()


def opens(opening: Opening, leaf: bytes) -> bool:
    """Return whether salt and record open a leaf."""
    return bytes_eq(commitment(opening), leaf)
