"""Labels from lending: what became of lines joins what the party with the label knows itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from clients.holdings import arrays, read_table, write_table
from shared.contract import normalise_id
from shared.edge.files import read_text
from shared.errors import UsageError
from shared.feed import pseudonyms
from shared.outcomes import open_outcomes

if TYPE_CHECKING:
    from pathlib import Path

    from clients.party import Party
    from shared.outcomes import Outcomes


@dataclass(frozen=True, slots=True)
class Joined:
    """What a file of outcomes added.

    Parameters
    ----------
    told : int
        Customers in the file.
    known : int
        Of them, those in the own tables.
    added : int
        Of those, the ones who are bad by it alone.
    """

    told: int
    known: int
    added: int


def join(party: Party, path: Path, pin: str, key: bytes) -> Joined:
    """Count as bad who defaulted on a line, too, in the tables to learn from and to evaluate on.

    Who is good there and bad at home stays bad. Doing it twice adds nothing.

    Parameters
    ----------
    party : Party
    path : Path
        The file of outcomes.
    pin : str
        Fingerprint of the service's log key.
    key : bytes
        The pseudonym key.

    Raises
    ------
    UsageError
        If the party does not hold the label, or it is no 0 or 1.
    DataError
        If the file is no outcomes, or a table is none.
    BadPeer
        If the file is not signed by that key.
    EnvironmentFault
        If a file cannot be read, or written: each table is replaced whole or not at all.
    """
    contract = party.contract
    if not contract.holds_label(party.name) or contract.positive not in (1, True):
        raise UsageError(f"{party.name} holds no label of 0 and 1", hint="name who does")
    outcomes = open_outcomes(read_text(path).encode(), pin, path.name)
    known = added = 0
    for name in (party.settings.train, party.settings.test):
        more = _joined(party, party.store.home / name, outcomes, key)
        known, added = known + more[0], added + more[1]
    return Joined(len(outcomes.bad), known, added)


def _joined(party: Party, path: Path, outcomes: Outcomes, key: bytes) -> tuple[int, int]:
    columns = arrays(read_table(path, texts=(party.contract.id_column,)))
    ids = [normalise_id(str(one)) for one in columns[party.contract.id_column].tolist()]
    found = [outcomes.bad.get(name) for name in pseudonyms(key, ids)]
    label = columns[party.contract.label_column]
    bad = np.array([one is True for one in found], np.bool_)
    added = int((bad & (label == 0)).sum())
    if added:
        changed = np.where(bad, 1, label).astype(label.dtype)
        write_table(path, {**columns, party.contract.label_column: changed})
    return sum(one is not None for one in found), added
