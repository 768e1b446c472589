"""The coordinator in one run: its federation file, its key, and where progress is told."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from server import steps
from shared.config import Federation, parse_federation
from shared.edge.files import load_identity, read_text
from shared.identity import Identity
from shared.jobs import COORDINATOR
from shared.settings import ENV_PREFIX

KEY_FILE = "identity.key"

Report = Callable[[str, dict[str, Any]], None]

_report: ContextVar[Report | None] = ContextVar("report", default=None)


def report_to(report: Report) -> None:
    """Say who is told of progress: `report(event, details)`."""
    _report.set(report)


@dataclass(frozen=True, slots=True)
class Coordinator:
    """Everything a phase needs of the coordinator.

    Parameters
    ----------
    federation : Federation
    run : str
        Identifier of the run.
    identity : Identity
    home : Path, optional
        Its folder.
    """

    federation: Federation
    run: str
    identity: Identity
    home: Path | None = None

    @classmethod
    def load(cls, federation_path: Path, run: str) -> Coordinator:
        """Read the federation file and the coordinator's key.

        Raises
        ------
        ConfideError
            Names the file and what is wrong with it.
        """
        federation, _ = load_federation(federation_path)
        home = federation_path.parent / federation.home(COORDINATOR)
        pin = federation.coordinator.fingerprint
        identity = load_identity(home / KEY_FILE, COORDINATOR, pin)
        return cls(federation, run, identity, home)

    def tell(self, event: str, **details: Any) -> None:
        """Report progress to whoever asked for it, and write it down."""
        steps.note(self.home, self.run, event, details)
        report = _report.get()
        if report is not None:
            report(event, details)


def load_federation(
    path: Path, flags: dict[str, Any] | None = None
) -> tuple[Federation, dict[str, Any]]:
    """Read a federation file with the environment and flags on top; see `parse_federation`."""
    return parse_federation(read_text(path), str(path), os.environ, flags)


def as_environment(flags: Mapping[str, Any]) -> dict[str, str]:
    """Return settings from the command line as the variables that every process reads."""
    return {
        ENV_PREFIX + path.replace(".", "_").upper(): value
        if isinstance(value, str)
        else json.dumps(value)
        for path, value in flags.items()
    }
