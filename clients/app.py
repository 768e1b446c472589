"""The party's Flower `ClientApp`: one handler a phase, the same under every engine."""

from __future__ import annotations

import resource
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from clients import phases
from clients.party import Party
from shared.arrays import pack_value, unpack_value
from shared.channel import QueueChannel
from shared.errors import ConfideError, ConfigError
from shared.jobs import Run
from shared.sealed import SealedChannel
from shared.transport import open_transport

app = ClientApp()

Phase = Callable[[Party, SealedChannel, Run, Mapping[str, Any]], dict[str, Any]]


def _party(context: Context) -> Party:
    config = context.node_config
    try:
        return Party.load(Path(str(config["federation"])), str(config["party"]))
    except KeyError as error:
        raise ConfigError("node config", [f"{error.args[0]}: is missing"]) from error


def _run(message: Message, party: Party) -> tuple[Run, Mapping[str, Any]]:
    value = unpack_value(bytes(message.content["job"]["value"]))  # type: ignore[arg-type]
    run = Run(value["run"], int(value["attempt"]), party.federation, party.contract.digest())
    return run, value


def _play(message: Message, context: Context, name: str, phase: Phase) -> dict[str, Any]:
    """Run one phase over a sealed channel; tell the peers when it fails."""
    party = _party(context)
    run, value = _run(message, party)
    started = time.perf_counter()
    transport = open_transport(run.scope(name))
    try:
        with party.store.exclusive():
            channel = SealedChannel.open(
                transport, party.identity, party.federation.roster, run.session(name)
            )
            result = phase(party, channel, run, value)
    except ConfideError as error:
        transport.abort(f"{error.code}: {error}")
        raise
    except Exception:
        transport.abort("internal: an unexpected error")
        raise
    return result | _cost(transport, time.perf_counter() - started)


def _cost(transport: QueueChannel, seconds: float) -> dict[str, Any]:
    return {
        "seconds": seconds,
        "bytes_sent": transport.traffic.total_sent,
        "bytes_received": transport.traffic.total_received,
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def _answer(message: Message, context: Context, work: Callable[[], dict[str, Any]]) -> Message:
    """Reply with a result, or with the party's own error: its code and text, never a data row."""
    party = str(context.node_config.get("party", "?"))
    try:
        value = {"party": party, "ok": True, "result": work()}
    except ConfideError as error:
        value = {
            "party": party,
            "ok": False,
            "code": error.code,
            "message": error.message,
            "hint": error.hint,
            "at": error.party or party,
        }
    except Exception as error:  # noqa: BLE001 - its text may hold data: only its class travels
        traceback.print_exc(file=sys.stderr)
        value = {
            "party": party,
            "ok": False,
            "code": "internal",
            "message": f"unexpected {type(error).__name__}; see this party's log",
            "hint": "",
            "at": party,
        }
    return Message(
        RecordDict({"reply": ConfigRecord({"value": pack_value(value)})}), reply_to=message
    )


@app.query("join")
def join(message: Message, context: Context) -> Message:
    """Say who this is, and whether its data keep the contract."""

    def work() -> dict[str, Any]:
        party = _party(context)
        run, _ = _run(message, party)
        return phases.join(party, run)

    return _answer(message, context, work)


@app.query("align")
def align(message: Message, context: Context) -> Message:
    """Find the common customers."""
    return _answer(message, context, lambda: _play(message, context, "align", phases.align))


@app.train("moments")
def moments(message: Message, context: Context) -> Message:
    """Exchange moments once; fit at the builder."""
    return _answer(message, context, lambda: _play(message, context, "moments", phases.moments))


@app.evaluate("score")
def score(message: Message, context: Context) -> Message:
    """Score the common customers; calibrate and evaluate at the builder."""
    return _answer(message, context, lambda: _play(message, context, "score", phases.score))
