"""A party's Flower node: `python -m clients.supernode` takes the arguments of `flower-supernode`.

It is Flower's own SuperNode; its `ClientApp` processes come from a warm process (see
`shared.edge.nursery`), and it takes no bundle but confide's own, which holds no code: whoever
reaches Flower's control interface could otherwise run any program at every party. To whoever asks
for one it shows the party's certificate, which lies beside that of the CA. With `--hold` it waits,
ready to begin, for a line on standard input; with `--metrics HOST:PORT` it tells Prometheus what
the party's phases took.
"""

from __future__ import annotations

import argparse
import functools
import ssl
import sys
from collections.abc import Sequence
from pathlib import Path

from shared.edge import exporter, flower_private, logs, nursery, phase_metrics
from shared.edge.tls import tls_context
from shared.errors import ConfideError

_HELPERS = ("flower-superexec", "flwr-clientapp")


def main() -> None:
    """Run as a process."""
    own, sys.argv[1:] = _options(sys.argv[1:])
    try:
        flower_private.prepare_node(_context(own.root_certificates))
        logs.configure("party", takeover=("flwr",))
    except ConfideError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(error.exit_status)
    ready = None
    if own.metrics and own.root_certificates:
        registry = phase_metrics.registry_of(Path(own.root_certificates).parent)
        ready = functools.partial(exporter.expose, registry, own.metrics)
    preload = ("clients.app", "shared.edge.wire")
    nursery.run("flower-supernode", _HELPERS, preload, vital=_HELPERS, hold=own.hold, ready=ready)


def _options(words: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Take this module's own arguments; the rest are Flower's, and the CA's file is both's."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--hold", action="store_true")
    parser.add_argument("--metrics", default="")
    parser.add_argument("--root-certificates", default="")
    own, rest = parser.parse_known_args(words)
    if own.root_certificates:
        rest += ["--root-certificates", own.root_certificates]
    return own, rest


def _context(authority: str) -> ssl.SSLContext | None:
    """Return how to dial with the party's certificate, which lies beside that of the CA."""
    home = Path(authority).parent
    files = home / "tls.crt", home / "tls.key"
    if not authority or not all(path.exists() for path in files):
        return None
    return tls_context(*files, Path(authority), server=False)


if __name__ == "__main__":
    main()
