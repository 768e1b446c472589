"""The coordinator's Flower hub: `python -m server.superlink`, with `flower-superlink`'s arguments.

It is Flower's own SuperLink, whose `ServerApp` process comes from a warm process; see
`shared.edge.nursery`.
"""

from __future__ import annotations

from shared.edge import flower_private, nursery

_HELPERS = ("flower-superexec", "flwr-serverapp")


def main() -> None:
    """Run as a process."""
    flower_private.prepare_coordinator()
    preload = ("server.app", "shared.edge.wire")
    nursery.run("flower-superlink", _HELPERS, preload, vital=_HELPERS[:1])


if __name__ == "__main__":
    main()
