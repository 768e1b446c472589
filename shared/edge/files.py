"""Files that are there whole or not at all: temporary file, fsync, rename, fsync of the folder.

Also the few ways in which both sides read: a text, a private key, and a lock on a folder.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from shared.errors import ConfigError, EnvironmentFault, UsageError
from shared.identity import Identity, check_private, identity_from_file

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


def read_text(path: Path) -> str:
    """Read a text file.

    Raises
    ------
    EnvironmentFault
        If it cannot be read.
    ConfigError
        If it is no text.
    """
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        hint = "`confide init` makes one" if path.suffix == ".toml" else ""
        raise EnvironmentFault(f"cannot read {path}: {error.strerror}", hint=hint) from error
    except UnicodeDecodeError as error:
        raise ConfigError(str(path), ["is not a text in UTF-8"]) from error


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes in hexadecimal digits, read piece by piece.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def load_identity(path: Path, name: str, pin: str | None) -> Identity:
    """Read a member's signing key; see `shared.identity.identity_from_file`.

    Raises
    ------
    EnvironmentFault
        If the file cannot be read.
    Refused
        If others may read it, or the key is not the one the federation pins.
    """
    text = read_text(path)
    return identity_from_file(text, path.stat().st_mode, name, pin, str(path))


def refuse_open(path: Path) -> None:
    """Check that the file of a private key is there, and that only its owner may read it.

    Raises
    ------
    Refused
        If others may.
    EnvironmentFault
        If it is not there.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        hint = "`confide keys init` makes what is missing"
        raise EnvironmentFault(f"cannot read {path}: {error.strerror}", hint=hint) from error
    check_private(mode, str(path))


@contextlib.contextmanager
def exclusive(folder: Path, *, what: str = "run") -> Iterator[None]:
    """Hold a folder, so that no second process works in it.

    Parameters
    ----------
    folder : Path
        Made if need be; its file `lock` is what is held.
    what : str
        What would be the second of its kind.

    Raises
    ------
    EnvironmentFault
        If another process holds it, or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stream = (folder / "lock").open("wb")
    except OSError as error:
        raise _fault(folder / "lock", error) from error
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise EnvironmentFault(
                f"another {what} is using {folder}", hint="wait for it, or stop it"
            ) from error
        yield


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
