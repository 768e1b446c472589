"""What the coordinator writes down of a run: its log, and its numbers of phases and runs."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from shared.edge import history, logs
from shared.errors import ConfideError, PartyLost, RunFailed
from shared.jobs import COORDINATOR

_LOG = logging.getLogger(__name__)


def note(home: Path | None, run: str, event: str, details: Mapping[str, Any]) -> None:
    """Write down one event of a run.

    Parameters
    ----------
    home : Path or None
        The coordinator's folder; None keeps no numbers.
    run : str
    event : {"phase", "done", "lost"}
        Others are not written down.
    details : mapping
        Of the event; of replies only byte counts are read.
    """
    phase = str(details.get("name", ""))
    with logs.bound(run=run, **({"phase": phase} if phase else {})):
        if event == "phase":
            logs.step(_LOG, "a phase began")
        elif event == "lost":
            logs.step(_LOG, "a party was lost; the others go on", member=str(details["party"]))
            _kept(home, run, history.RUN, outcome="without-a-party", lost=str(details["party"]))
        elif event == "done":
            seconds, replies = float(details["seconds"]), details.get("replies", {})
            moved = {
                name: sum(int(reply.get(name, 0)) for reply in replies.values())
                for name in ("bytes_sent", "bytes_received")
            }
            logs.step(_LOG, "a phase ended", seconds=seconds, **moved)
            _kept(home, run, phase, seconds=seconds, **moved)


@contextlib.contextmanager
def whole_run(home: Path, run: str) -> Iterator[None]:
    """Write down how a run begins and ends."""
    with logs.bound(run=run):
        logs.step(_LOG, "a run began")
        try:
            yield
        except ConfideError as error:
            code = error.reported if isinstance(error, RunFailed) else error.code
            lost = error.party if isinstance(error, PartyLost) else ""
            # Its text is for whoever gave the command; here its code is enough.
            told = {"member": error.party} if error.party else {}
            logs.step(_LOG, "a run failed", level=logging.ERROR, code=code, **told)
            _kept(home, run, history.RUN, outcome=code, lost=lost)
            raise
        except BaseException:
            _LOG.exception("a run failed")
            _kept(home, run, history.RUN, outcome=ConfideError.code)
            raise
        logs.step(_LOG, "a run ended")
        _kept(home, run, history.RUN)


def _kept(home: Path | None, run: str, phase: str, **more: Any) -> None:
    if home is not None:
        history.note(home, history.Entry(COORDINATOR, run, phase, **more))
