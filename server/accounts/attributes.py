"""Groups of people for the inclusion report, from a file that no decision reads.

The audit file stands in the service's folder, readable by its owner alone. Its first line names the
group that the others are compared with; each further line has a pseudonym and its group. Only
`server.accounts.outcomes` opens it, and only sums over groups leave it (invariant I19).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shared.edge.files import read_text, refuse_open
from shared.errors import DataError

FILE: Final = "audit-groups.csv"
_ROW: Final = re.compile(r"([0-9a-f]{64}),([A-Za-z0-9_-]{1,32})")
_HEAD: Final = re.compile(r"reference,([A-Za-z0-9_-]{1,32})")


@dataclass(frozen=True, slots=True)
class Attributes:
    """Groups by pseudonym.

    Parameters
    ----------
    reference : str
        The group that the others are compared with.
    groups : mapping of str to str
    """

    reference: str
    groups: Mapping[str, str]

    def group_of(self, pseudonym: str) -> str | None:
        """Return the group of a pseudonym, or None where it is not known."""
        return self.groups.get(pseudonym)


def load_attributes(home: Path) -> Attributes | None:
    """Read the audit file of a service's folder; None where there is none.

    Parameters
    ----------
    home : Path

    Raises
    ------
    Refused
        If others may read it.
    DataError
        If a line is malformed; names its number, never what stands in it.
    """
    path = home / FILE
    if not path.exists():
        return None
    refuse_open(path)
    return parse_attributes(read_text(path), str(path))


def parse_attributes(text: str, source: str) -> Attributes:
    """Read the text of an audit file; see `load_attributes`."""
    lines = text.splitlines()
    head = _HEAD.fullmatch(lines[0]) if lines else None
    findings = [] if head else ["line 1 must read reference,GROUP"]
    groups = {}
    for number, line in enumerate(lines[1:], start=2):
        row = _ROW.fullmatch(line)
        if row is None:
            findings.append(f"line {number} must read PSEUDONYM,GROUP")
        else:
            groups[row[1]] = row[2]
    if findings or head is None:
        raise DataError(source, findings)
    return Attributes(head[1], groups)
