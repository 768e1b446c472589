"""One whole run of a small federation, for every test that looks at what moved in it."""

from __future__ import annotations

import pytest

from tests.attacks.federations import play_all, small_world


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """Return the federation and the transcript of align, moments and score."""
    federation = small_world(tmp_path_factory.mktemp("whole"))
    return federation, play_all(federation)
