"""Flower's commands from one warm process.

Flower starts a fresh Python for every message: `flwr-clientapp` needs three seconds of one core
before the app is called, most of it imports. Flower finds its commands by their bare names in the
PATH, and that is all this module uses: it imports the commands once, forks a *nursery*, and puts a
stand-in for each command before the others in the PATH. The stand-in asks the nursery, and the
nursery forks a child that runs the same entry point. Every message still has a process of its own,
which ends with it. Without the nursery (it died, or a path is too long for a socket) the stand-in
becomes the command itself: slower, nothing else.

The nursery is forked before any thread is started, and never starts one.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import select
import shlex
import signal
import socket
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import NoReturn

from shared.edge import stand_in

Command = Callable[[], object]

_REAP_S = 0.5
_LARGEST_REQUEST = 1 << 20
_LONGEST_PATH = 100  # of a Unix socket; the kernels allow 104 to 108 bytes


def load(command: str) -> Command:
    """Import one of Flower's commands.

    Parameters
    ----------
    command : str
        Such as `flower-supernode`.

    Raises
    ------
    LookupError
        If no installed package has it.
    """
    for entry in entry_points(group="console_scripts", name=command):
        found: Command = entry.load()
        return found
    raise LookupError(f"{command} is not installed")


def run(
    command: str,
    helpers: Iterable[str],
    preload: Iterable[str],
    *,
    vital: Iterable[str] = (),
    hold: bool = False,
    ready: Command | None = None,
) -> NoReturn:
    """Run one of Flower's commands, and those that it starts from a warm process; never returns.

    Parameters
    ----------
    command : str
        What this process becomes; its arguments are those of `sys.argv`.
    helpers : iterable of str
        Commands that it, or they, start.
    preload : iterable of str
        Modules that the helpers will need.
    vital : iterable of str
        Helpers without which the command would wait for ever: when one is killed, it ends as well,
        and whoever watches it knows.
    hold : bool
        Wait, with everything imported, for a line on standard input before the command begins.
    ready : callable, optional
        Called before the command begins, once the nursery is there: it may start threads.
    """
    main = load(command)
    commands = {name: load(name) for name in helpers}
    for module in preload:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()  # a collection would touch, and so copy, every page that the children share
    _raise_nursery(commands, frozenset(vital))
    if hold and not sys.stdin.readline():
        sys.exit(0)  # whoever started this is gone
    if ready is not None:
        ready()
    sys.argv[0] = command
    _end_with(main)


def _raise_nursery(commands: Mapping[str, Command], vital: frozenset[str]) -> None:
    """Fork the nursery and put the stand-ins into the PATH."""
    folder = Path(tempfile.mkdtemp(prefix="n"))
    where = folder / "s"
    if len(os.fsencode(where)) > _LONGEST_PATH:
        return
    search = os.environ.get("PATH", os.defpath)
    for name in commands:
        told = [sys.executable, "-IS", stand_in.__file__, str(where), search, name]
        script = folder / name
        script.write_text(f'#!/bin/sh\nexec {shlex.join(told)} "$@"\n')
        script.chmod(0o700)
    # Before the fork: what the nursery runs starts commands as well.
    os.environ["PATH"] = f"{folder}{os.pathsep}{search}"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(where))
    listener.listen()
    ours, theirs = os.pipe()
    if os.fork() == 0:
        os.close(theirs)
        _nurse(listener, ours, commands, vital)
    os.close(ours)
    listener.close()


def _nurse(
    listener: socket.socket, parent: int, commands: Mapping[str, Command], vital: frozenset[str]
) -> NoReturn:
    """Fork a child for every request, until the parent is gone."""
    # Ctrl-C is for whoever started all this.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    command = os.getppid()
    children: dict[int, str] = {}
    while True:
        ready, _, _ = select.select([listener.fileno(), parent], [], [], _REAP_S)
        if _killed(children) & vital and os.getppid() == command:
            os.kill(command, signal.SIGTERM)
        if parent in ready:
            os._exit(0)
        if listener.fileno() in ready:
            asked, _ = listener.accept()
            with asked, contextlib.suppress(OSError, ValueError, KeyError):
                name, *arguments = json.loads(_read(asked))
                main = commands[name]
                child = os.fork()
                if child == 0:
                    listener.close()
                    asked.close()
                    os.close(parent)
                    _become(name, arguments, main)
                children[child] = name
                asked.sendall(b"1")


def _killed(children: dict[int, str]) -> set[str]:
    """Reap the children that ended; return the names of those that a signal ended."""
    killed = set()
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            name = children.pop(ended[0], "")
            if os.WIFSIGNALED(ended[1]):
                sys.stderr.write(f"{name} was killed by signal {os.WTERMSIG(ended[1])}\n")
                sys.stderr.flush()
                killed.add(name)
    return killed


def _read(asked: socket.socket) -> bytes:
    asked.settimeout(5.0)
    parts = b""
    while (part := asked.recv(65536)) and len(parts) < _LARGEST_REQUEST:
        parts += part
    return parts


def _become(name: str, arguments: list[str], main: Command) -> NoReturn:
    """Run a command in this child, and end as it would have."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = [name, *arguments]
    _end_with(main)


def _end_with(main: Command) -> NoReturn:
    """Run a command, and end this process with it, whatever threads it leaves.

    A SuperNode that gave its connection up leaves a server's thread running: as a process it would
    stay for ever, pass every look at its port, and take part in nothing. Its end is what whoever
    watches it can see.
    """
    status = 0
    try:
        main()
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:  # noqa: BLE001 - the end of a process: its log
        traceback.print_exc()
        status = 1
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)
