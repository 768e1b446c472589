"""What the builder signs when it judges a round: this verdict, on this model, in this round."""

from __future__ import annotations

from typing import Final

from shared.arrays import pack_value

BETTER: Final = "better"
FAIR: Final = "fair"
HARM: Final = "harm"
UNCHECKED: Final = "unchecked"
VERDICTS: Final = (BETTER, FAIR, HARM, UNCHECKED)
PURPOSE: Final = "verdict"


def statement(run: str, number: int, model: str, verdict: str) -> bytes:
    """Return the bytes that are signed.

    Parameters
    ----------
    run : str
    number : int
        Of the round.
    model : str
        Digest of the model that the round gave.
    verdict : str
    """
    return pack_value({"run": run, "round": number, "model": model, "verdict": verdict})
