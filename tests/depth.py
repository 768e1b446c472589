"""How much the long tests do: what `make test-all` has time for, or all of it (`make test-deep`).

What is left out where time is short is more of the same: further examples, further places to kill a
process whose steps are walked one by one in `tests/protocols/test_steps.py`, further shadow models.
"""

from __future__ import annotations

import os

import pytest

FULL = os.environ.get("CONFIDE_TEST_DEPTH", "") == "full"

in_depth = pytest.mark.skipif(not FULL, reason="in depth only: make test-deep")
"""For a whole test of which another shows the same, less closely."""


def depth(usual, full):
    """Return `full` where $CONFIDE_TEST_DEPTH is `full`, else `usual`."""
    return full if FULL else usual
