"""`confide federation`: the coordinator's processes, and on one machine the parties', that stay."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from server.commands.common import DEFAULT_FEDERATION, FederationOption, Format, FormatOption, emit
from server.coordinator import load_federation
from server.engines.run_files import coordinator_home
from server.federation.state import FOLDER, State, is_held, read_state, supervisor_of
from shared.errors import EnvironmentFault

federation = typer.Typer(no_args_is_help=True, help="SuperLink, gate, relay and nodes that stay.")

_UP_S: Final = 300.0
_DOWN_S: Final = 60.0
_POLL_S: Final = 0.1
_HOST: Final = "127.0.0.1"


@federation.command()
def up(
    federation: FederationOption = DEFAULT_FEDERATION,
    parties: Annotated[
        bool, typer.Option(help="Start the parties' nodes here too, where all is on one machine.")
    ] = True,
    host: Annotated[str, typer.Option(help="Where parties reach the gate and the relay.")] = _HOST,
    port: Annotated[int, typer.Option(help="Of the gate, for parties; 0: a free one.")] = 0,
    operator_port: Annotated[int, typer.Option(help="Of the gate, for the operator.")] = 0,
    relay_port: Annotated[int, typer.Option(help="Of the relay; 0: a free one.")] = 0,
    metrics: Annotated[
        int, typer.Option(help="First of the ports for Prometheus, one a process; 0: none.")
    ] = 0,
    form: FormatOption = Format.TEXT,
) -> None:
    """Start everything under one supervisor, and say what runs where."""
    home = _home(federation)
    if is_held(home):
        raise EnvironmentFault("it is up already", hint="`confide federation status`")
    words = [sys.executable, "-m", "server.federation", "--federation", str(federation.absolute())]
    words += ["--host", host, *(() if parties else ("--no-parties",))]
    ports = {"port": port, "relay-port": relay_port, "operator-port": operator_port}
    for name, value in {**ports, "metrics": metrics}.items():
        words += [f"--{name}", str(value)]
    log = home / "logs" / "federation.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            words,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    state = _until_ready(home, process, log)
    _show(state, host, form)


def _until_ready(home: Path, process: subprocess.Popen[bytes], log: Path) -> State:
    def ready() -> State | None:
        if process.poll() is not None:
            said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
            raise EnvironmentFault(f"it did not start: {' '.join(said)[:300]}", hint=f"see {log}")
        state = read_state(home)
        return state if state is not None and state.ready else None

    try:
        found = _wait(ready, _UP_S)
    except BaseException:
        with contextlib.suppress(OSError):
            process.terminate()
        raise
    if found is None:
        process.terminate()
        raise EnvironmentFault(f"it was not up within {_UP_S:g} s", hint=f"see {log}")
    state: State = found
    return state


@federation.command()
def status(
    federation: FederationOption = DEFAULT_FEDERATION, form: FormatOption = Format.TEXT
) -> None:
    """Say what runs, with its process, its port, and since when; status 1 if not all does."""
    home = _home(federation)
    state = read_state(home)
    if state is None:
        _say({"up": False, "services": []}, "nothing runs: `confide federation up` starts it", form)
        raise typer.Exit(1)
    _show(state, _HOST, form)
    whole = {"superlink", "gate", "relay", *state.places.parties}
    if not state.ready or whole - {one.name for one in state.services}:
        raise typer.Exit(1)


@federation.command()
def down(
    federation: FederationOption = DEFAULT_FEDERATION, form: FormatOption = Format.TEXT
) -> None:
    """Stop everything that `up` has started."""
    home = _home(federation)
    if not is_held(home):
        _say({"up": False}, "nothing ran", form)
        return
    process = supervisor_of(home)
    if not _is_supervisor(process):
        raise EnvironmentFault(
            f"who holds {home / FOLDER / 'lock'} is not known", hint="stop that process by hand"
        )
    os.kill(process, signal.SIGTERM)
    if not _wait(lambda: not is_held(home), _DOWN_S):
        raise EnvironmentFault(
            f"process {process} did not stop within {_DOWN_S:g} s",
            hint=f"kill {process}: what it started ends with it",
        )
    _say({"up": False}, "stopped", form)


def _is_supervisor(process: int) -> bool:
    """Return whether a number is still that of the process that was started for this."""
    try:
        words = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return process > 0 and not Path("/proc/self").exists()
    return b"server.federation" in words


def _home(path: Path) -> Path:
    agreed, _ = load_federation(path)
    return coordinator_home(agreed, path)


def _wait(condition: Callable[[], Any], seconds: float) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < end:
        time.sleep(_POLL_S)
    return found


def _show(state: State, host: str, form: Format) -> None:
    places = state.places
    addresses = {
        "superlink": f"{_HOST}:{places.operator}",
        "relay": f"{_HOST if host == '0.0.0.0' else host}:{places.relay}",  # noqa: S104
        "parties": f"{host}:{places.gate}",
    }
    rows = [
        {
            "name": one.name,
            "pid": one.pid,
            "port": one.port,
            "since": one.since,
            "restarts": one.restarts,
        }
        for one in state.services
    ]
    value = {"up": state.ready, "since": state.since, **addresses, "services": rows}
    if places.metrics:
        value["metrics"] = places.metrics
    train = "confide train --engine flower --superlink {superlink} --relay {relay}"
    lines = [f"{'process':<12} {'pid':>8} {'port':>6}  {'since':<21} restarts"]
    lines += [
        f"{row['name']:<12} {row['pid']:>8} {row['port']:>6}  {row['since']:<21} {row['restarts']}"
        for row in rows
    ]
    lines.append(f"parties' nodes dial {addresses['parties']}; to train:")
    lines.append(f"  {train.format(**addresses)}")
    _say(value, "\n".join(lines), form)


def _say(value: dict[str, Any], text: str, form: Format) -> None:
    if form is Format.JSON:
        emit(value)
    else:
        typer.echo(text)
