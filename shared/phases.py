"""The names of a run's phases, for those who tell of one and run none."""

from __future__ import annotations

from typing import Final

PHASES: Final = ("align", "moments", "score", "release")
"""In their order."""
