"""Every table that there is, whichever module declares it."""

from __future__ import annotations

from server.store import access, log, people, portfolio, rulebook  # noqa: F401 - tables of theirs
from server.store.tables import METADATA

__all__ = ["METADATA"]
