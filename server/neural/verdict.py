"""The builder's verdict on a round, as the coordinator takes it: signed, and of this very model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.errors import BadPeer, Refused
from shared.jobs import Run
from shared.neural.judging import PURPOSE, UNCHECKED, VERDICTS, statement


def read_verdict(run: Run, number: int, model: str, reply: Mapping[str, Any]) -> str:
    """Return the verdict of a reply.

    Flower's messages carry it; the builder's key signs it, so that no verdict on another model, of
    another round or by another party counts. One who could not judge signs nothing.

    Parameters
    ----------
    run : Run
    number : int
        Of the round.
    model : str
        Digest of the model that was shown.
    reply : mapping
        The builder's.

    Raises
    ------
    Refused
        If it is none of those agreed on.
    BadPeer
        If it is not signed by the builder for this model.
    """
    builder = run.federation.builder
    verdict = str(reply.get("verdict"))
    if verdict not in VERDICTS:
        raise Refused("its verdict on a round is none of those agreed on", party=builder)
    if verdict == UNCHECKED:
        return verdict
    try:
        key, signature = (bytes.fromhex(str(reply[name])) for name in ("key", "signature"))
    except (KeyError, ValueError) as error:
        raise BadPeer(f"its verdict on round {number} is not signed", party=builder) from error
    signed = statement(run.name, number, model, verdict)
    run.federation.roster.verify(builder, key, PURPOSE, signed, signature)
    return verdict
