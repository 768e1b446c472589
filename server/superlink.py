"""The coordinator's Flower hub: `python -m server.superlink`, with `flower-superlink`'s arguments.

It is Flower's own SuperLink, whose `ServerApp` process comes from a warm process; see
`shared.edge.nursery`. With `--simulation` it starts Flower's Simulation Engine for a run, and takes
no bundle but the one of simulated holders.
"""

from __future__ import annotations

import sys

from shared.edge import flower_private, nursery

_HELPERS = ("flower-superexec", "flwr-serverapp")


def main() -> None:
    """Run as a process."""
    if "--simulation" in sys.argv:
        flower_private.prepare_coordinator(simulation=True)
        nursery.load("flower-superlink")()
        return
    flower_private.prepare_coordinator()
    preload = ("server.app", "shared.edge.wire")
    nursery.run("flower-superlink", _HELPERS, preload, vital=_HELPERS[:1])


if __name__ == "__main__":
    main()
