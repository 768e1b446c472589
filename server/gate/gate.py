"""The gate: what stands before Flower's SuperLink on a network, since it asks no one for a key.

Flower has one port for everything: nodes fetch their work there, and whoever reaches it may start
runs. The gate has two. Both ask for a certificate of the federation's CA, TLS 1.3.

=========  =========================  ==================================
port       who                        what
=========  =========================  ==================================
parties'   a party of the federation  `POST /v1/fleet/...`, and `/health`
operator's the coordinator            everything
=========  =========================  ==================================

The SuperLink itself then listens on this machine alone. Bodies are passed on piece by piece. Who
is a member, and whose certificate is revoked, is followed while it runs (`hosting.following`).

    python -m server.gate --federation federation.toml --superlink 127.0.0.1:8000 \
        --certificate coordinator/tls.crt --key coordinator/tls.key --ca coordinator/ca.crt \
        --host 0.0.0.0 --port 8002 --operator-host 127.0.0.1 --operator-port 8003

prints both addresses as one line of JSON once it is ready.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterable
from pathlib import Path

from server.gate.doors import Doors
from server.gate.metrics import GateMetrics
from server.gate.passing import Passing
from server.hosting.acceptor import Acceptor, Bounds
from server.hosting.connections import protocol
from server.hosting.following import Following
from server.hosting.listening import listen
from server.hosting.peers import Peers, named
from server.hosting.server import end_well, host
from shared.edge import logs
from shared.edge.exporter import expose
from shared.edge.tls import tls_context
from shared.errors import ConfideError

_LOG = logging.getLogger(__name__)


def main(arguments: Iterable[str] | None = None) -> int:
    """Run a gate; return its exit status."""
    options = _options().parse_args(None if arguments is None else list(arguments))
    end_well()
    logs.configure("gate")
    try:
        _serve(options)
    except ConfideError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - its place on a screen
        return error.exit_status
    return 0


def _serve(options: argparse.Namespace) -> None:
    following = Following(options.federation, options.ca)
    ca = following.federation.ca
    files = (options.certificate, options.key, options.ca)
    context = tls_context(*files, server=True, ca=ca)
    upstream = tls_context(*files, server=False, ca=ca)
    metrics, peers = GateMetrics(), Peers()
    parties = listen(options.host, options.port)
    operator = listen(options.operator_host, options.operator_port)
    ports = parties.getsockname()[1], operator.getsockname()[1]
    passing = Passing(options.superlink, upstream, metrics)
    doors = Doors(following, *ports, peers, passing, metrics)
    acceptor = Acceptor(Bounds(), lambda reason: metrics.refuse("tls", reason))
    metrics.follow(lambda: float(acceptor.open), lambda: float(following.outdated))
    if options.metrics:
        logs.step(_LOG, "metrics are told", port=expose(metrics.registry, options.metrics))
    shown = {
        "parties": f"{options.host}:{ports[0]}",
        "operator": f"{options.operator_host}:{ports[1]}",
    }
    host(
        doors,
        context,
        [parties, operator],
        acceptor,
        shown,
        following.keep,
        http=named(peers, protocol()),
        ws="none",
    )


def _options() -> argparse.ArgumentParser:
    about = "Stand before a SuperLink: nodes of parties reach its fleet interface and no more."
    parser = argparse.ArgumentParser(prog="python -m server.gate", description=about)
    for name in ("federation", "certificate", "key", "ca"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--superlink", required=True, help="HOST:PORT of the SuperLink behind.")
    parser.add_argument("--host", default="127.0.0.1", help="Of the parties' port.")
    parser.add_argument("--port", type=int, default=8002)
    parser.add_argument("--operator-host", default="127.0.0.1", help="Of the operator's port.")
    parser.add_argument("--operator-port", type=int, default=8003)
    parser.add_argument("--metrics", default="", help="HOST:PORT for Prometheus; none by default.")
    return parser
