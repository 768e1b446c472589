"""Which decisions an auditor looks at: drawn from the log's own root, not picked by who keeps it.

Whoever knows root and word can draw the same sample again, and who keeps the log could not know
the word when it signed the root.
"""

from __future__ import annotations

import hashlib
from typing import Final

from shared.errors import UsageError

MOST: Final = 50
"""Leaves of one sample."""
_DOMAIN: Final = b"confide audit sample 1\n"


def sample(root: str, size: int, word: str, count: int) -> tuple[int, ...]:
    """Return the leaves that a word draws.

    Leaf i of the draw is SHA-256(domain, root, word, i) as a number, modulo `size`; what was drawn
    before is passed over.

    Parameters
    ----------
    root : str
        Of a signed head, in hex.
    size : int
        Leaves under it, at least 1.
    word : str
        The auditor's own; at most 64 characters.
    count : int
        1 to `MOST`; a log that has no more gives all.

    Returns
    -------
    tuple of int
        In rising order.

    Raises
    ------
    UsageError
        Names what is out of its range.
    """
    findings = []
    if size < 1:
        findings.append("size must be 1 or more")
    if not 1 <= count <= MOST:
        findings.append(f"count must be from 1 to {MOST}")
    if not 1 <= len(word) <= 64:
        findings.append("word must have 1 to 64 characters")
    if findings:
        raise UsageError("; ".join(findings))
    found: set[int] = set()
    seed, at, wanted = _DOMAIN + f"{root}\n{word}\n".encode(), 0, min(count, size)
    while len(found) < wanted:
        digest = hashlib.sha256(seed + str(at).encode()).digest()
        found.add(int.from_bytes(digest, "big") % size)
        at += 1
    return tuple(sorted(found))
