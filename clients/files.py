"""Files that are there whole or not at all: temporary file, fsync, rename, fsync of the folder."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from typing import TYPE_CHECKING, BinaryIO

from shared.errors import EnvironmentFault, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_CAUSES = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EACCES: "writing is not allowed",
    errno.EPERM: "writing is not allowed",
    errno.EROFS: "the file system is read-only",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.EEXIST: "a part of the path is a file, not a folder",
    errno.EISDIR: "this is a folder, not a file",
}


@contextlib.contextmanager
def atomic_file(path: Path, *, mode: int = 0o666) -> Iterator[BinaryIO]:
    """Open a file for writing that replaces `path` only when the block ends well.

    Parameters
    ----------
    path : Path
        Where the file goes; missing folders are made.
    mode : int
        Permission bits of the file, less the umask.

    Raises
    ------
    EnvironmentFault
        If the folder or the disk does not take it; nothing is left behind and an older file at
        `path` stays as it was.
    """
    temporary = _beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(handle, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise _fault(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_atomic(path: Path, content: bytes, *, mode: int = 0o666) -> None:
    """Write `content` to `path` whole or not at all.

    Raises
    ------
    EnvironmentFault
        As `atomic_file`.
    """
    with atomic_file(path, mode=mode) as stream:
        stream.write(content)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Give a new folder to fill; it appears at `path` only when the block ends well.

    Raises
    ------
    UsageError
        If `path` is there and not an empty folder: nobody's files are replaced.
    EnvironmentFault
        If the folder or the disk does not take it; nothing is left behind.
    """
    if path.is_dir() and any(path.iterdir()):
        raise UsageError(f"{path} is not empty", hint="name a new folder")
    temporary = _beside(path)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        temporary.replace(path)
        _sync_folder(path.parent)
    except EnvironmentFault as fault:  # of a file inside: name the folder that was asked for
        where = fault.message.replace(str(temporary), str(path))
        raise EnvironmentFault(where, hint=fault.hint) from fault
    except OSError as error:
        raise _fault(path, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _beside(path: Path) -> Path:
    """Name a temporary in the same folder, since a rename does not cross file systems."""
    return path.absolute().parent / f".{path.name}.{secrets.token_hex(4)}.part"


def _fault(path: Path, error: OSError) -> EnvironmentFault:
    cause = _CAUSES.get(error.errno or 0, error.strerror or "the file system said no")
    hint = "make room or name another folder; nothing was changed"
    return EnvironmentFault(f"cannot write {path}: {cause}", hint=hint)


def _sync_folder(folder: Path) -> None:
    """Make the rename itself survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
