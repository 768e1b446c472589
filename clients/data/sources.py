"""Somebody else's file: downloaded or at hand, packed or not, to raw columns.

What comes in here is not trusted: its size is bounded before and after unpacking, and the caller
checks the content against a digest.
"""

from __future__ import annotations

import http.client
import importlib
import io
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from clients.holdings import arrays, read_table
from shared.errors import DataError, EnvironmentFault, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_MAX_BYTES = 64 * 2**20
_CHUNK = 2**16
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}


def download(
    url: str, *, timeout_s: float, progress: Callable[[int, int | None], None] | None = None
) -> bytes:
    """Download a file of at most 64 MB.

    Raises
    ------
    UsageError
        If the address is neither HTTPS nor HTTP on this machine.
    EnvironmentFault
        If it cannot be had whole; the cause is named.
    """
    parts = urllib.parse.urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise UsageError(f"will not download from {url}", hint="the address must be HTTPS")
    content, total = bytearray(), None
    try:
        with urllib.request.urlopen(url, timeout=timeout_s) as reply:  # noqa: S310 scheme is checked
            total = (
                int(reply.headers["Content-Length"]) if "Content-Length" in reply.headers else None
            )
            while (chunk := reply.read(_CHUNK)) and len(content) <= _MAX_BYTES:
                content += chunk
                if progress is not None:
                    progress(len(content), total)
    except urllib.error.HTTPError as error:
        raise _no_download(url, f"the server answered {error.code}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        cause = getattr(error, "reason", None) or error
        raise _no_download(url, str(cause) or type(error).__name__) from error
    if len(content) > _MAX_BYTES:
        raise _no_download(url, f"it is longer than {_MAX_BYTES:,} bytes")
    if total is not None and len(content) != total:
        raise _no_download(url, f"cut short after {len(content):,} of {total:,} bytes")
    return bytes(content)


def read_bytes(path: Path) -> bytes:
    """Read a file of at most 64 MB.

    Raises
    ------
    EnvironmentFault
        If it cannot be read.
    DataError
        If it is longer.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise DataError(path.name, [f"longer than {_MAX_BYTES:,} bytes"])
        return path.read_bytes()
    except OSError as error:
        raise EnvironmentFault(f"cannot read {path}: {error.strerror}") from error


def parse_table(name: str, content: bytes) -> dict[str, NDArray[Any]]:
    """Return the raw columns of a ``.csv``, ``.csv.gz``, ``.xls``, or a ``.zip`` with one of them.

    Raises
    ------
    EnvironmentFault
        If it is a spreadsheet and the extra that reads it is not installed.
    DataError
        If it is of another kind or damaged.
    """
    lower = name.lower()
    if lower.endswith(".zip"):
        return parse_table(*_unzip(name, content))
    if lower.endswith(".xls"):
        return _parse_xls(name, content)
    if lower.endswith((".csv", ".csv.gz")):
        return arrays(read_table(Path(name), content=content))
    raise DataError(name, ["unknown kind of file, must end in .csv, .csv.gz, .xls or .zip"])


def _no_download(url: str, cause: str) -> EnvironmentFault:
    hint = "name a file at hand with --from; nothing was written"
    return EnvironmentFault(f"cannot download {url}: {cause}", hint=hint)


def _unzip(name: str, content: bytes) -> tuple[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            found = [
                item
                for item in archive.infolist()
                if item.filename.lower().endswith((".xls", ".csv"))
            ]
            if len(found) != 1:
                raise DataError(name, [f"must hold one .xls or .csv file, holds {len(found)}"])
            if found[0].file_size > _MAX_BYTES:
                raise DataError(name, [f"unpacks to more than {_MAX_BYTES:,} bytes"])
            return found[0].filename, archive.read(found[0])
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError) as error:
        raise DataError(name, ["damaged, or not a ZIP file"]) from error


def _parse_xls(name: str, content: bytes) -> dict[str, NDArray[Any]]:
    try:
        xlrd = importlib.import_module("xlrd")  # an extra: only the publisher's file needs it
    except ModuleNotFoundError as error:
        hint = "install the extra: pip install 'confide[xls]', or name a .csv file"
        raise EnvironmentFault(f"cannot read {name}: xlrd is not installed", hint=hint) from error
    try:
        sheet = xlrd.open_workbook(file_contents=content, logfile=io.StringIO()).sheet_by_index(0)
        rows = [sheet.row_values(index) for index in range(sheet.nrows)]
    except Exception as error:  # a damaged file makes xlrd fail in any way there is
        raise DataError(name, ["damaged, or not an .xls file"]) from error
    # The publisher's first row says X1 ... X23, Y; the names stand in the second.
    header = next((index for index, row in enumerate(rows[:5]) if "ID" in row), None)
    if header is None:
        raise DataError(name, ["no row of column names with ID among the first five"])
    names = [str(cell) for cell in rows[header]]
    cells = np.array(rows[header + 1 :], dtype=object)
    return {column: cells[:, index] for index, column in enumerate(names)}
