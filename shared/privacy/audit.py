"""Whether a ledger is true: every epsilon in it worked out again, and all of them together.

A ledger's chain (`shared.ledger`) says that no line was changed after it was written. This module
says that it was right when it was written.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from shared.errors import BadPeer
from shared.ledger import Entry, Line, Noise
from shared.privacy.accounting import Mechanism, epsilon
from shared.privacy.noise import SharedNoise

#: The one mechanism that a ledger line may name.
MECHANISM = "gaussian"

# A recorded epsilon may be this much from what is worked out again by another version.
_AGREES = 0.02


@dataclass(frozen=True, slots=True)
class Statement:
    """What a ledger comes to.

    Parameters
    ----------
    epsilon : float
        Of all lines with noise together, at `delta`.
    delta : float
    with_noise, without : int
        Lines of either kind. What left without noise is no part of epsilon, and epsilon says
        nothing of it.
    by_recipient : tuple of (str, float)
        Epsilon towards each recipient of a noisy line, sorted by name.
    """

    epsilon: float
    delta: float
    with_noise: int
    without: int
    by_recipient: tuple[tuple[str, float], ...]

    @property
    def whole(self) -> bool:
        """Whether epsilon covers everything that left this party."""
        return self.without == 0


def noise_of(shared: SharedNoise, delta: float, *, rate: float = 1.0, steps: int = 1) -> Noise:
    """Return what a ledger line says of noise that was shared out."""
    return Noise(
        mechanism=MECHANISM,
        multiplier=shared.multiplier,
        squared_sensitivity=shared.squared_sensitivity,
        rate=rate,
        steps=steps,
        delta=delta,
        colluders=shared.colluders,
        parties=shared.parties,
    )


def mechanism_of(noise: Noise) -> Mechanism:
    """Return what the accounting takes.

    Raises
    ------
    BadPeer
        If the line names a mechanism that the accounting does not know.
    """
    if noise.mechanism != MECHANISM:
        raise BadPeer(f"no accounting of noise by {noise.mechanism!r}")
    return Mechanism(noise.multiplier, noise.rate, noise.steps)


def details(noise: Noise) -> dict[str, object]:
    """Return the two fields of a ledger line that noise fills; see `shared.ledger.Entry`."""
    return {"epsilon": epsilon([mechanism_of(noise)], noise.delta), "noise": noise}


def audit(lines: Iterable[Line], delta: float) -> Statement:
    """Work out a ledger again.

    Parameters
    ----------
    lines : iterable of Line
        Checked by `shared.ledger.verify`.
    delta : float
        Of the total.

    Returns
    -------
    Statement

    Raises
    ------
    BadPeer
        If a line's epsilon is not what its noise costs; names the line.
    """
    entries = [(line.sequence, line.entry) for line in lines]
    noisy = [(number, entry) for number, entry in entries if entry.noise is not None]
    for number, entry in noisy:
        _check(number, entry)
    recipients = sorted({entry.recipient for _, entry in noisy})
    return Statement(
        epsilon=_total([entry for _, entry in noisy], delta),
        delta=delta,
        with_noise=len(noisy),
        without=len(entries) - len(noisy),
        by_recipient=tuple(
            (name, _total([entry for _, entry in noisy if entry.recipient == name], delta))
            for name in recipients
        ),
    )


def _check(number: int, entry: Entry) -> None:
    assert entry.noise is not None
    assert entry.epsilon is not None
    truth = epsilon([mechanism_of(entry.noise)], entry.noise.delta)
    if abs(entry.epsilon - truth) > _AGREES * truth:
        raise BadPeer(
            f"ledger line {number} ({entry.what}) says epsilon {entry.epsilon:.4g}, "
            f"its noise costs {truth:.4g}"
        )


def _total(entries: list[Entry], delta: float) -> float:
    noises = [entry.noise for entry in entries if entry.noise is not None]
    return epsilon([mechanism_of(noise) for noise in noises], delta)
