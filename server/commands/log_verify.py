"""`confide log verify`: what was exported from a decision log, checked by whoever was given it.

Nothing is asked back: the files, the fingerprint of the operator's log key and, to make decisions
again, the texts of the rules.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from server.accounts.replaying import again, embedded_texts, texts_in
from server.commands.common import Format, FormatOption, emit
from server.prooflog.verify import Verified, missing_between, verify_bytes, verify_together
from shared.errors import EnvironmentFault, LogBroken, UsageError

_PIN = re.compile(r"[0-9a-f]{64}")


def verify(
    files: Annotated[list[Path], typer.Argument(help="Exported decisions, ranges, heads.")],
    pin: Annotated[
        str, typer.Option("--pin", help="Fingerprint of the operator's log key, 64 hex digits.")
    ],
    replay: Annotated[
        bool, typer.Option("--replay", help="Make every opened decision again and compare.")
    ] = False,
    rules: Annotated[
        list[Path] | None,
        typer.Option("--rules", help="Rule texts for --replay, files or folders of them."),
    ] = None,
    form: FormatOption = Format.TEXT,
) -> None:
    """Verify exports offline: one by one, then against each other."""
    if not _PIN.fullmatch(pin):
        raise UsageError("--pin must be 64 small hex digits", hint="`confide log pin` shows it")
    texts = {**embedded_texts(), **texts_in(rules or [])} if replay else None
    shown = []
    for path in files:
        with named(path):
            found = verify_bytes(_bytes(path), pin)
            shown.append(Shown(path, found, _replayed(found, texts) if texts else 0))
    linked = verify_together([one.found for one in shown])
    gaps = missing_between([one.found for one in shown])
    if form is Format.JSON:
        told = [one.to_mapping() for one in shown]
        emit({"files": told, "linked": linked, "not_shown": gaps, "pin": pin})
        return
    for one in shown:
        typer.echo(one.line())
    if not linked:
        note = "these heads are not linked: ask for `confide log consistency` between them"
        typer.echo(note)
    for gap in gaps:
        typer.echo(gap)


@dataclass(frozen=True, slots=True)
class Shown:
    """What is told of a file.

    Parameters
    ----------
    path : Path
    found : Verified
    replayed : int
        Decisions that were made again.
    """

    path: Path
    found: Verified
    replayed: int

    def to_mapping(self) -> dict[str, Any]:
        """Return the JSON form."""
        newest = self.found.heads[-1]
        return {
            "file": str(self.path),
            "kind": self.found.kind,
            "size": newest.size,
            "time": newest.time,
            "first": self.found.first,
            "count": self.found.count,
            "opened": len(self.found.records),
            "replayed": self.replayed,
        }

    def line(self) -> str:
        """Return a line for people."""
        heads = self.found.heads
        parts = [f"{self.path} is in order: {self.found.kind}"]
        if self.found.count:
            last = self.found.first + self.found.count - 1
            which = f"leaf {last}" if self.found.count == 1 else f"leaves {self.found.first}-{last}"
            parts.append(f"{which}, {len(self.found.records)} opened, {self.replayed} made again")
        if len(heads) > 1:
            parts.append(f"{heads[-1].size} leaves extend {heads[0].size}")
        parts.append(f"head of {heads[-1].size} leaves signed {heads[-1].time}")
        return ", ".join(parts)


def _replayed(found: Verified, texts: Mapping[str, str]) -> int:
    """Make the decisions of an export again; return how many there were.

    Records of other kinds, such as an operator's notes, are no decisions of the limit's arithmetic.
    """
    count = 0
    for index, record in found.records.items():
        with named(f"leaf {index}"):
            count += again(record, texts)
    return count


@contextmanager
def named(where: Path | str) -> Iterator[None]:
    """Name the file in what is refused."""
    try:
        yield
    except LogBroken as error:
        message = f"{where}: {error.message}"
        raise LogBroken(message, check=error.check, hint=error.hint) from error


def parsed(path: Path) -> Any:
    """Return the JSON in a file.

    Raises
    ------
    LogBroken
        With check `form`.
    EnvironmentFault
        If it cannot be read.
    """
    try:
        return json.loads(_bytes(path))
    except (ValueError, RecursionError) as error:
        raise LogBroken("form: it is not JSON", check="form") from error


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise EnvironmentFault(f"cannot read {path}: {error.strerror}") from error
