"""Stands in the PATH for one of Flower's commands, and has the warm process run it.

Run as `python -IS stand_in.py SOCKET FALLBACK_PATH COMMAND ARGUMENTS...`: standard library only,
since it starts once a message. See `shared.edge.nursery`.
"""

from __future__ import annotations

import json
import os
import socket
import sys


def main() -> None:
    """Ask the warm process; without it, become the command itself."""
    where, search, command, *arguments = sys.argv[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asked:
            asked.connect(where)
            asked.sendall(json.dumps([command, *arguments]).encode())
            asked.shutdown(socket.SHUT_WR)
            done = asked.recv(1)
    except OSError:
        done = b""
    if not done:
        os.environ["PATH"] = search
        os.execvp(command, [command, *arguments])  # noqa: S606 - the command that was asked for


if __name__ == "__main__":
    main()
