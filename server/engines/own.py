"""Another of confide's commands, in a process of its own."""

from __future__ import annotations

import subprocess
import sys

from shared.errors import EnvironmentFault


def own(*arguments: str) -> str:
    """Run a command; return what it prints.

    Raises
    ------
    EnvironmentFault
        If it fails; it has said why on stderr, which is this process's.
    """
    command = [sys.executable, "-m", "server.cli", *arguments]
    done = subprocess.run(  # noqa: S603 - our own module
        command, stdout=subprocess.PIPE, check=False, text=True
    )
    if done.returncode:
        why = f"`confide {' '.join(arguments[:2])}` ended with status {done.returncode}"
        raise EnvironmentFault(why, hint="it says why above")
    return done.stdout
