"""The coordinator's Flower hub: `python -m server.superlink`, with `flower-superlink`'s arguments.

It is Flower's own SuperLink, whose `ServerApp` process comes from a warm process; see
`shared.edge.nursery`. With `--simulation` it starts Flower's Simulation Engine for a run, and takes
no bundle but the one of simulated holders. With `--metrics HOST:PORT` it tells Prometheus what
phases and runs took, as the coordinator has written it down in the folder of its CA's certificate.
"""

from __future__ import annotations

import argparse
import functools
import sys
from pathlib import Path

from shared.edge import exporter, flower_private, logs, nursery, phase_metrics

_HELPERS = ("flower-superexec", "flwr-serverapp")


def main() -> None:
    """Run as a process."""
    if "--simulation" in sys.argv:
        flower_private.prepare_coordinator(simulation=True)
        nursery.load("flower-superlink")()
        return
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--metrics", default="")
    parser.add_argument("--ssl-ca-certfile", default="")
    own, rest = parser.parse_known_args()
    authority = own.ssl_ca_certfile
    sys.argv[1:] = [*rest, "--ssl-ca-certfile", authority] if authority else rest
    flower_private.prepare_coordinator()
    logs.configure("coordinator", takeover=("flwr",))
    ready = None
    if own.metrics and authority:
        registry = phase_metrics.registry_of(Path(authority).parent)
        ready = functools.partial(exporter.expose, registry, own.metrics)
    preload = ("server.app", "shared.edge.wire")
    nursery.run("flower-superlink", _HELPERS, preload, vital=_HELPERS[:1], ready=ready)


if __name__ == "__main__":
    main()
