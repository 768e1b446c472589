"""The gate: what stands before Flower's SuperLink on a network, since it asks no one for a key.

Flower has one port for everything: nodes fetch their work there, and whoever reaches it may start
runs. The gate has two. Both ask for a certificate of the federation's CA, TLS 1.3.

=========  =========================  ==================================
port       who                        what
=========  =========================  ==================================
parties'   a party of the federation  `POST /v1/fleet/...`, and `/health`
operator's the coordinator            everything
=========  =========================  ==================================

The SuperLink itself then listens on this machine alone. Bodies are passed on piece by piece.

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

from server.acceptor import Acceptor, Bounds
from server.coordinator import load_federation
from server.gate_doors import Doors, Names, named
from server.gate_metrics import GateMetrics
from server.gate_passing import Passing
from server.hosting import end_well, host
from server.listening import listen
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
    federation, _ = load_federation(options.federation)
    files = (options.certificate, options.key, options.ca)
    context = tls_context(*files, server=True, ca=federation.ca)
    upstream = tls_context(*files, server=False, ca=federation.ca)
    metrics, names = GateMetrics(), Names()
    parties = listen(options.host, options.port)
    operator = listen(options.operator_host, options.operator_port)
    ports = parties.getsockname()[1], operator.getsockname()[1]
    passing = Passing(options.superlink, upstream, metrics)
    doors = Doors(federation.holders, *ports, names, passing, metrics)
    acceptor = Acceptor(Bounds(), lambda reason: metrics.refuse("tls", reason))
    metrics.connections.set_function(lambda: float(acceptor.open))
    if options.metrics:
        logs.step(_LOG, "metrics are told", port=expose(metrics.registry, options.metrics))
    shown = {
        "parties": f"{options.host}:{ports[0]}",
        "operator": f"{options.operator_host}:{ports[1]}",
    }
    host(doors, context, [parties, operator], acceptor, shown, http=named(names), ws="none")


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


if __name__ == "__main__":
    sys.exit(main())
