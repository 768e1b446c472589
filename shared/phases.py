"""The names of a run's phases, for those who tell of one and run none."""

from __future__ import annotations

from typing import Final

PHASES: Final = ("align", "moments", "score", "release")
"""In their order."""

TOGETHER: Final = ("align", "bins", "cells", "moments", "score", "release")
"""The same where several banks hold the same features; not all of them in every run."""
