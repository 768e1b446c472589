"""What a party writes down of the phases it plays: its log, and its numbers."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from flwr.app import Context, Message

from clients.party import Party
from shared.edge import history, logs
from shared.errors import ConfideError, ConfigError

_LOG = logging.getLogger(__name__)
Work = Callable[..., dict[str, Any]]
# Folder of the party whose phase is under way: its files are read once a phase. Parties that are
# threads of one process have a context each.
_HOME: ContextVar[Path | None] = ContextVar("home", default=None)


def party_of(context: Context) -> Party:
    """Read the party that the node's configuration names.

    Raises
    ------
    ConfigError
        If the configuration names none, or a file is wrong; see `Party.load`.
    """
    config = context.node_config
    try:
        at = str(config.get("at", ""))
        party = Party.load(Path(str(config["federation"])), str(config["party"]), at)
    except KeyError as error:
        raise ConfigError("node config", [f"{error.args[0]}: is missing"]) from error
    _HOME.set(party.store.home)
    return party


def observed(work: Work) -> Work:
    """Return a handler of phases that writes down each: `work(message, context, ...)`."""

    @functools.wraps(work)
    def watched(message: Message, context: Context, *more: Any) -> dict[str, Any]:
        _, _, phase = message.metadata.message_type.partition(".")
        party = str(context.node_config.get("party", ""))
        began = time.perf_counter()
        _HOME.set(None)
        with logs.bound(party=party, phase=phase):
            logs.step(_LOG, "a phase began")
            try:
                result = work(message, context, *more)
            except ConfideError as error:
                # Its text goes to whoever may read it; here its code is enough.
                logs.step(_LOG, "a phase failed", level=logging.ERROR, code=error.code)
                _kept(party, phase, began, {}, outcome=error.code)
                raise
            except BaseException:
                _LOG.exception("a phase failed")
                _kept(party, phase, began, {}, outcome=ConfideError.code)
                raise
            told = {name: result[name] for name in _COSTS if name in result}
            logs.step(_LOG, "a phase ended", seconds=time.perf_counter() - began, **told)
            _kept(party, phase, began, told)
            return result

    return watched


_COSTS = ("bytes_sent", "bytes_received", "peak_rss_mb")


def _kept(name: str, phase: str, began: float, told: dict[str, Any], **more: str) -> None:
    home = _HOME.get()
    if home is None:
        return  # its files are wrong: the phase has said so
    entry = history.Entry(
        name,
        logs.now("run"),
        phase,
        seconds=time.perf_counter() - began,
        bytes_sent=int(told.get("bytes_sent", 0)),
        bytes_received=int(told.get("bytes_received", 0)),
        **more,
    )
    history.note(home, entry)
