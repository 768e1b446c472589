"""Files of lines: JSON that is only ever appended, each line on the disk before the caller goes on.

A last line without its newline is the trace of a crash before that point; nothing left on its
account, and it is dropped.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, BinaryIO

from shared.errors import BadPeer, EnvironmentFault


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a file that was written by `append_line`; one cut short is left out.

    Raises
    ------
    EnvironmentFault
        If it cannot be read.
    BadPeer
        If a whole line is not JSON.
    """
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise EnvironmentFault(f"cannot read {path}: {error.strerror}") from error
    try:
        return [json.loads(line) for line in text.split(b"\n")[:-1]]
    except ValueError as error:
        raise BadPeer(
            f"{path} has a line that is not JSON: it was cut short or altered",
            hint="restore it from a backup; nothing leaves this party without it",
        ) from error


def append_line(path: Path, value: dict[str, Any]) -> None:
    """Add one line and wait until it is on the disk.

    Raises
    ------
    EnvironmentFault
        If the disk is full, or the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as stream:
            _drop_unfinished_line(stream)
            stream.write(json.dumps(value, sort_keys=True).encode() + b"\n")
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise EnvironmentFault(
            f"cannot write {path}: {error.strerror}", hint="nothing left this party"
        ) from error


def _drop_unfinished_line(stream: BinaryIO) -> None:
    stream.seek(0)
    whole = stream.read().rfind(b"\n") + 1
    stream.truncate(whole)
