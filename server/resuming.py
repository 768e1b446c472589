"""Why a run cannot go on from what it has left: one wording for a card's runs and a network's."""

from __future__ import annotations

from pathlib import Path

from shared.errors import EnvironmentFault, NotFound, Refused

ANEW = "train anew, without --resume"


def nothing_left(path: Path) -> NotFound:
    """Return the error of a run without a checkpoint."""
    return NotFound(
        f"{path} is not there: this run has nothing to go on with", hint="train without --resume"
    )


def damaged(path: Path) -> EnvironmentFault:
    """Return the error of a checkpoint that does not read as it was written."""
    return EnvironmentFault(f"{path} is damaged", hint=ANEW)


def agreed_otherwise() -> Refused:
    """Return the error of a run that began under another agreement."""
    return Refused(
        "federation file or contract were changed since this run began",
        hint=f"change them back, or {ANEW}",
    )
