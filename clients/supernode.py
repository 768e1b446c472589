"""A party's Flower node: `python -m clients.supernode` takes the arguments of `flower-supernode`.

It is Flower's own SuperNode; its `ClientApp` processes come from a warm process (see
`shared.edge.nursery`), and it takes no bundle but confide's own, which holds no code: whoever
reaches Flower's control interface could otherwise run any program at every party. With `--hold` it
waits, ready to begin, for a line on standard input.
"""

from __future__ import annotations

import sys

from shared.edge import flower_private, nursery

_HELPERS = ("flower-superexec", "flwr-clientapp")


def main() -> None:
    """Run as a process."""
    hold = "--hold" in sys.argv
    sys.argv = [word for word in sys.argv if word != "--hold"]
    flower_private.prepare_node()
    preload = ("clients.app", "shared.edge.wire")
    nursery.run("flower-supernode", _HELPERS, preload, vital=_HELPERS, hold=hold)


if __name__ == "__main__":
    main()
