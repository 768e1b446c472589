"""Every table that there is, whichever module declares it."""

from __future__ import annotations

from server.store import (  # noqa: F401 - tables of theirs
    access,
    allocation_runs,
    log,
    partner_decisions,
    partners,
    people,
    pictures,
    rulebook,
    switches,
)
from server.store.tables import METADATA

__all__ = ["METADATA"]
