"""What a party writes down of the phases it plays: its log, and its numbers."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flwr.app import Context, Message

from clients.party import Party
from shared.edge import history, logs
from shared.errors import ConfideError

_LOG = logging.getLogger(__name__)
Work = Callable[..., dict[str, Any]]


def observed(work: Work) -> Work:
    """Return a handler of phases that writes down each: `work(message, context, ...)`."""

    @functools.wraps(work)
    def watched(message: Message, context: Context, *more: Any) -> dict[str, Any]:
        _, _, phase = message.metadata.message_type.partition(".")
        party = str(context.node_config.get("party", ""))
        began = time.perf_counter()
        with logs.bound(party=party, phase=phase):
            logs.step(_LOG, "a phase began")
            try:
                result = work(message, context, *more)
            except ConfideError as error:
                # Its text goes to whoever may read it; here its code is enough.
                logs.step(_LOG, "a phase failed", level=logging.ERROR, code=error.code)
                _kept(context, party, phase, began, {}, outcome=error.code)
                raise
            except BaseException:
                _LOG.exception("a phase failed")
                _kept(context, party, phase, began, {}, outcome=ConfideError.code)
                raise
            told = {name: result[name] for name in _COSTS if name in result}
            logs.step(_LOG, "a phase ended", seconds=time.perf_counter() - began, **told)
            _kept(context, party, phase, began, told)
            return result

    return watched


_COSTS = ("bytes_sent", "bytes_received", "peak_rss_mb")


def _kept(
    context: Context, party: str, phase: str, began: float, told: dict[str, Any], **more: str
) -> None:
    try:
        home = Party.load(Path(str(context.node_config["federation"])), party).store.home
    except (ConfideError, KeyError):
        return  # the phase has said so
    entry = history.Entry(
        party,
        logs.now("run"),
        phase,
        seconds=time.perf_counter() - began,
        bytes_sent=int(told.get("bytes_sent", 0)),
        bytes_received=int(told.get("bytes_received", 0)),
        **more,
    )
    history.note(home, entry)
