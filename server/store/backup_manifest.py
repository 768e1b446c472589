"""A backup's manifest: what is in the folder, and whether its files are those."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import rfc8785

from server.prooflog.heads import SignedHead, read_head
from shared.edge.files import digest_of
from shared.errors import DataError, EnvironmentFault, LogBroken

KIND: Final = "confide/store-backup/1"
MANIFEST: Final = "manifest.json"


@dataclass(frozen=True, slots=True)
class Backup:
    """What a manifest says.

    Parameters
    ----------
    schema : str
        Version of the store's schema.
    created : str
        Instant.
    tables : mapping of str to Part
    head : SignedHead, optional
        The newest one in it.
    """

    schema: str
    created: str
    tables: dict[str, Part]
    head: SignedHead | None

    @property
    def rows(self) -> int:
        """Rows of all tables."""
        return sum(part.rows for part in self.tables.values())

    def to_bytes(self) -> bytes:
        """Return the manifest as canonical JSON."""
        head = None if self.head is None else self.head.to_mapping()
        tables = {name: part.to_mapping() for name, part in self.tables.items()}
        told = {"kind": KIND, "schema": self.schema, "created": self.created}
        return rfc8785.dumps({**told, "tables": tables, "head": head})


@dataclass(frozen=True, slots=True)
class Part:
    """The file of one table.

    Parameters
    ----------
    rows, size : int
        Rows, and bytes.
    sha256 : str
        Of the file, in hex.
    """

    rows: int
    size: int
    sha256: str

    def to_mapping(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"rows": self.rows, "bytes": self.size, "sha256": self.sha256}


def read_backup(folder: Path) -> Backup:
    """Read a backup's manifest, and check every file against it.

    Raises
    ------
    DataError
        With every file that is missing, too many, or not the one of the manifest.
    EnvironmentFault
        If something cannot be read.
    """
    made = _manifest(folder)
    findings = []
    try:
        found = {path.name for path in folder.iterdir()} - {MANIFEST}
        wanted = {table_file(name) for name in made.tables}
        findings += [f"{name} is missing" for name in sorted(wanted - found)]
        findings += [f"{name} is not in the manifest" for name in sorted(found - wanted)]
        for name, part in made.tables.items():
            if table_file(name) in found and digest_of(folder / table_file(name)) != part.sha256:
                findings.append(f"{table_file(name)} is not the file of the manifest")
    except OSError as error:
        raise EnvironmentFault(f"cannot read {error.filename}: {error.strerror}") from error
    if findings:
        raise DataError(str(folder), findings, hint="use another backup")
    return made


def table_file(table: str) -> str:
    """Return the name of a table's file."""
    return f"{table}.jsonl"


def _manifest(folder: Path) -> Backup:
    path = folder / MANIFEST
    try:
        value = json.loads(path.read_bytes())
        tables = {
            str(name): Part(int(part["rows"]), int(part["bytes"]), str(part["sha256"]))
            for name, part in value["tables"].items()
        }
        head = None if value["head"] is None else read_head(value["head"])
        made = Backup(str(value["schema"]), str(value["created"]), tables, head)
        same = value["kind"] == KIND and made.to_bytes() == path.read_bytes()
    except OSError as error:
        hint = "name the folder of a backup"
        raise EnvironmentFault(f"cannot read {path}: {error.strerror}", hint=hint) from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, LogBroken) as error:
        raise DataError(str(path), ["is no manifest of a backup"]) from error
    if not same:
        raise DataError(str(path), ["is not as a backup writes it"])
    return made
