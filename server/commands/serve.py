"""`confide serve`: the limit service in one process or several, until it is told to stop."""

from __future__ import annotations

import ipaddress
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from server.accounts import proving
from server.accounts.scores import HOME
from server.api.tokens import KEY_FILE, make_keys
from server.commands.common import (
    DEFAULT_FEDERATION,
    FederationOption,
    Format,
    FormatOption,
    PolicyOption,
    StoreOption,
    emit,
    store_url,
)
from server.commands.score import FeedsOption, take_feeds
from server.hosting.listening import listen
from server.runs import link
from server.supervisor import Supervisor
from server.worker import Task, run
from shared.edge.files import exclusive, refuse_open
from shared.errors import EnvironmentFault, Refused, UsageError

if TYPE_CHECKING:
    from server.accounts.desk import Desk


def serve(
    federation: FederationOption = DEFAULT_FEDERATION,
    policy: PolicyOption = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(help="Port to listen on; 0 takes a free one.", min=0, max=65535)
    ] = 8080,
    workers: Annotated[int, typer.Option(help="Processes that answer.", min=1, max=64)] = 1,
    store: StoreOption = "",
    feeds: FeedsOption = None,
    runs: Annotated[
        Path | None,
        typer.Option(
            help="The coordinator's folder: operators watch its runs; read, never written."
        ),
    ] = None,
    certificate: Annotated[
        Path | None, typer.Option(help="TLS certificate; needed beyond this machine.")
    ] = None,
    key: Annotated[Path | None, typer.Option(help="Private key of the certificate.")] = None,
    form: FormatOption = Format.TEXT,
) -> None:
    """Serve scores, limits, lines and their proofs over HTTP."""
    _check_tls(host, certificate, key)
    _check_runs(runs)
    home = federation.parent / HOME
    task = Task(
        federation=str(federation.absolute()),
        policy=str(policy.absolute()) if policy else "",
        store_url=store_url(store, federation),
        certificate=str(certificate or ""),
        key=str(key or ""),
        listener=-1,
        runs=str(runs.absolute()) if runs else "",
    )
    with exclusive(home, what="limit service"):
        desk = _prepared(task, feeds or [])
        release = desk.scores.feeds.shelf.release
        with listen(host, port) as listener, _known(home, host, listener, task):
            _tell(host, listener, release.name if release else None, form, tls=bool(certificate))
            if workers == 1:
                _alone(task, desk, listener)
            else:
                desk.store.close()
                del desk
                os.set_inheritable(listener.fileno(), True)
                Supervisor(replace(task, listener=listener.fileno()), workers, home).run()


def _prepared(task: Task, feeds: list[Path]) -> Desk:
    """Bring the store up, take the feeds in, and make the keys that are missing.

    Raises
    ------
    ConfideError
        Whatever would keep the service from answering, before it listens.
    """
    desk = task.open_desk(create=True)
    try:
        take_feeds(desk.scores, feeds, keep=True)
        make_keys(desk.home / KEY_FILE)
        proving.make_log_key(desk)
    except BaseException:
        desk.store.close()
        raise
    return desk


def _tell(
    host: str, listener: socket.socket, release: str | None, form: Format, *, tls: bool
) -> None:
    bound, url = listener.getsockname()[1], _url(host, listener, tls=tls)
    if form is Format.JSON:
        emit({"url": url, "port": bound, "release": release})
    else:
        typer.echo(f"{release or 'no release yet'} at {url} (Ctrl-C ends it)")


def _url(host: str, listener: socket.socket, *, tls: bool) -> str:
    name = f"[{host}]" if ":" in host else host
    return f"{'https' if tls else 'http'}://{name}:{listener.getsockname()[1]}"


@contextmanager
def _known(home: Path, host: str, listener: socket.socket, task: Task) -> Iterator[None]:
    """Let `confide train` know, while the service is up, where its runs can be watched."""
    if not task.runs:
        yield
        return
    url = _url(host, listener, tls=bool(task.certificate))
    link.leave(home, link.Watched(url, task.runs))
    try:
        yield
    finally:
        link.take_away(home)


def _check_runs(runs: Path | None) -> None:
    if runs is not None and not runs.is_dir():
        hint = "name the coordinator's folder, beside the federation file"
        raise EnvironmentFault(f"cannot read {runs}: no such folder", hint=hint)


def _alone(task: Task, desk: Desk, listener: socket.socket) -> None:
    """Serve in this process."""
    try:
        run(task, desk, listener, ended=threading.Event())
    finally:
        desk.store.close()


def _check_tls(host: str, certificate: Path | None, key: Path | None) -> None:
    """Refuse to speak in clear beyond this machine, or to use a key that others can read.

    Raises
    ------
    UsageError, EnvironmentFault, Refused
    """
    if (certificate is None) != (key is None):
        raise UsageError("--certificate and --key go together")
    if certificate is None and not _is_loopback(host):
        hint = "give --certificate and --key, or listen on 127.0.0.1"
        raise Refused(f"{host} is not this machine alone, and there is no certificate", hint=hint)
    for path in (certificate, key):
        if path is not None and not path.is_file():
            raise EnvironmentFault(f"cannot read {path}: no such file")
    if key is not None:
        refuse_open(key)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
