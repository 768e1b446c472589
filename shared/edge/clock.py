"""The time of day, for whoever hands it to code that knows no clock."""

from __future__ import annotations

from datetime import UTC, datetime


def utc_now() -> str:
    """Return the present instant as `shared.instants` spells it: ``2026-03-01T12:00:00Z``."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
