"""The masks of a secure sum: a self mask, and one with each peer that cancels in the sum."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from shared.masks import Keystream
from shared.protocols.sum_job import Residues

_SELF = "sum/self"
_PAIR = "sum/pair"
# Elements masked at a time: bounds the memory of the keystreams, at no cost in time.
_CHUNK = 1 << 15


def mask(
    residues: Residues, me: str, self_seed: bytes, pair_seeds: Mapping[str, bytes]
) -> Residues:
    """Return ``y``: an input under its self mask and the pairwise masks (step 2).

    Parameters
    ----------
    residues : ndarray of uint16 or uint64
        The input in the ring.
    me : str
        Own name; the order of names decides the signs.
    self_seed : bytes
        32 bytes.
    pair_seeds : mapping of str to bytes
        32 bytes for each peer of the cohort.

    Returns
    -------
    ndarray of the same type and shape
    """
    masked = residues.copy()
    plus = [Keystream(self_seed, _SELF)]
    minus: list[Keystream] = []
    for peer, seed in pair_seeds.items():
        (plus if me < peer else minus).append(Keystream(seed, _PAIR))
    _add_streams(masked, plus, minus)
    return masked


def take_off(residues: Residues, self_seed: bytes) -> None:
    """Subtract one party's self mask, in place (step 4)."""
    _add_streams(residues, (), (Keystream(self_seed, _SELF),))


def _add_streams(
    residues: Residues, plus: Collection[Keystream], minus: Collection[Keystream]
) -> None:
    """Add keystreams to residues and subtract others, in place."""
    for start in range(0, residues.size, _CHUNK):
        part = residues[start : start + _CHUNK]
        for stream in plus:
            part += stream.elements(part.shape, residues.dtype.type)
        for stream in minus:
            part -= stream.elements(part.shape, residues.dtype.type)
