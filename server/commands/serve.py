"""`confide serve`: the limit service in one process, until it is told to stop."""

from __future__ import annotations

import ipaddress
import logging
import signal
import socket
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from server.commands.common import (
    DEFAULT_FEDERATION,
    FederationOption,
    Format,
    FormatOption,
    emit,
)
from server.commands.score import FeedsOption, PolicyOption, open_service, take_feeds
from server.listening import listen
from shared.edge.files import exclusive, refuse_open
from shared.errors import EnvironmentFault, Refused, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi import FastAPI


def serve(
    federation: FederationOption = DEFAULT_FEDERATION,
    policy: PolicyOption = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(help="Port to listen on; 0 takes a free one.", min=0, max=65535)
    ] = 8080,
    feeds: FeedsOption = None,
    certificate: Annotated[
        Path | None, typer.Option(help="TLS certificate; needed beyond this machine.")
    ] = None,
    key: Annotated[Path | None, typer.Option(help="Private key of the certificate.")] = None,
    form: FormatOption = Format.TEXT,
) -> None:
    """Serve scores and limits over HTTP."""
    _check_tls(host, certificate, key)
    service = open_service(federation, policy)
    with exclusive(federation.parent / "limits", what="limit service"):
        take_feeds(service, feeds or [], keep=True)
        from server.api.app import create_app  # noqa: PLC0415 - FastAPI takes most of the start

        with listen(host, port) as listener:
            bound = listener.getsockname()[1]
            name = f"[{host}]" if ":" in host else host
            url = f"{'https' if certificate else 'http'}://{name}:{bound}"
            release = service.feeds.shelf.release
            if form is Format.JSON:
                emit({"url": url, "port": bound, "release": release.name if release else None})
            else:
                serves = release.name if release else "no release yet"
                typer.echo(f"{serves} at {url} (Ctrl-C ends it)")
            _run(create_app(service), listener, certificate, key)


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


def _run(app: FastAPI, listener: socket.socket, certificate: Path | None, key: Path | None) -> None:
    """Serve until a signal; both SIGTERM and Ctrl-C end it well."""
    import uvicorn  # noqa: PLC0415 - as FastAPI

    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s")
    from server.api.problems import Quiet  # noqa: PLC0415 - as FastAPI

    config = uvicorn.Config(
        Quiet(app),
        access_log=False,  # addresses hold pseudonyms
        log_config=None,
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=5,
        ssl_certfile=certificate,
        ssl_keyfile=str(key) if key else None,
        ssl_context_factory=_newest_tls if certificate else None,
    )
    server = uvicorn.Server(config)

    def stop(*_: object) -> None:
        server.should_exit = True

    # Ours count until uvicorn sets its own, and when it raises the signal again after shutdown.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    server.run(sockets=[listener])


def _newest_tls(_: object, default: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    """Speak TLS 1.3 alone, as everything else of a federation does."""
    context = default()
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context
