"""Starting a relay.

    python -m server.relay --federation federation.toml --certificate coordinator/tls.crt \
        --key coordinator/tls.key --ca coordinator/ca.crt --host 127.0.0.1 --port 8443

prints its address as one line of JSON once it is ready; port 0 lets the system choose one.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterable
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding

from server.hosting.acceptor import Acceptor, Bounds
from server.hosting.following import Following
from server.hosting.listening import listen
from server.hosting.peers import Peers
from server.hosting.server import end_well
from server.relay.mailbox import Relay
from server.relay.members import Pace
from server.relay.server import serve
from shared.edge import logs
from shared.edge.exporter import expose
from shared.edge.tls import read_certificate, tls_context
from shared.errors import ConfideError

# How long a session outlives its coordinator's connection.
_GRACE_S = 300.0
_LOG = logging.getLogger(__name__)


def main(arguments: Iterable[str] | None = None) -> int:
    """Run a relay; return its exit status."""
    options = _options().parse_args(None if arguments is None else list(arguments))
    end_well()
    logs.configure("relay")
    try:
        following = Following(options.federation, options.ca)
        context = tls_context(
            *(options.certificate, options.key, options.ca),
            server=True,
            ca=following.federation.ca,
        )
        own = read_certificate(options.certificate).public_bytes(Encoding.DER)
        pace = Pace(options.bytes_per_second, options.messages_per_second)
        peers = Peers()
        relay = Relay(following, peers, own, grace=options.grace, pace=pace)
        bounds = Bounds(
            connections=options.connections, of_one_address=options.connections_of_one_address
        )
        acceptor = Acceptor(bounds, relay.metrics.refuse)
        relay.metrics.follow(
            lambda: relay.members,
            lambda: relay.sessions,
            lambda: float(acceptor.open),
            lambda: float(following.outdated),
        )
        if options.metrics:
            port = expose(relay.metrics.registry, options.metrics)
            logs.step(_LOG, "metrics are told", port=port)
        sock = listen(options.host, options.port)
        serve(relay.app(), context, sock, acceptor, peers, following.keep)
    except ConfideError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - its place on a screen
        return error.exit_status
    return 0


def _options() -> argparse.ArgumentParser:
    about = "Carry sealed messages between the members of a federation."
    parser = argparse.ArgumentParser(prog="python -m server.relay", description=about)
    for name in ("federation", "certificate", "key", "ca"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8443)
    for name, default, text in (
        ("grace", _GRACE_S, "Seconds that a session outlives its coordinator's connection."),
        ("bytes-per-second", Pace().bytes_s, "Beyond it, a member is read from more slowly."),
        ("messages-per-second", Pace().messages_s, "The same for messages."),
    ):
        parser.add_argument(f"--{name}", type=float, default=default, help=text)
    for name, most, text in (
        ("connections", Bounds().connections, "Most open at once."),
        ("connections-of-one-address", Bounds().of_one_address, "The same of one address."),
    ):
        parser.add_argument(f"--{name}", type=int, default=most, help=text)
    parser.add_argument("--metrics", default="", help="HOST:PORT for Prometheus; none by default.")
    return parser
