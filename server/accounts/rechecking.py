"""A decision's proof checked as whoever holds it offline checks it, and the decision made again.

The rules come from the store, which keeps every text that it decided by, and what is checked are
the bytes of the export, so that nothing is believed because it lies here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from sqlalchemy import Connection

from server.accounts import proving
from server.accounts.desk import Desk
from server.accounts.replaying import again, digests_in, embedded_texts
from server.prooflog.export import to_bytes
from server.prooflog.verify import Verified, verify_bytes
from server.store.people import texts_at
from shared.errors import Conflict, LogBroken

PENDING: Final = "pending"


@dataclass(frozen=True, slots=True)
class Checked:
    """What the check of a proof found.

    Parameters
    ----------
    ok : bool
    check : str
        Of one that failed: which check; `pending` if no signed head covers the decision yet, so
        that there is nothing to check.
    leaf, size : int
        Number of the leaf from 0, and how many leaves the signed head covers.
    signed : str
        Instant of the head.
    again : bool
        The decision was made again from its record, bit for bit.
    opened : bool
        Whether the record is there; one that was deleted is still proved to stand in the log.
    fingerprint : str
        Of the log key.
    """

    ok: bool
    check: str = ""
    leaf: int = 0
    size: int = 0
    signed: str = ""
    again: bool = False
    opened: bool = False
    fingerprint: str = ""


def check_proof(desk: Desk, db: Connection, decision_id: str) -> Checked:
    """Check a decision's proof as ``confide log verify --replay`` does.

    Raises
    ------
    NotFound
    EnvironmentFault, Refused
        If the log key is not there, or others can read it.
    """
    try:
        raw = to_bytes(dict(proving.proof(desk, db, decision_id)))
    except Conflict as error:
        if error.check != PENDING:
            raise
        return Checked(ok=False, check=PENDING)
    pin = proving.log_key(desk.home).fingerprint
    try:
        proved = verify_bytes(raw, pin)
        texts = texts_for(db, proved)
        remade = [again(record, texts) for record in proved.records.values()]
    except LogBroken as error:
        return Checked(ok=False, check=error.check, fingerprint=pin)
    head = proved.heads[-1]
    return Checked(
        ok=True,
        leaf=proved.first,
        size=head.size,
        signed=head.time,
        again=bool(remade) and all(remade),
        opened=bool(proved.records),
        fingerprint=pin,
    )


def texts_for(db: Connection, *exports: Verified) -> dict[str, str]:
    """Return the rule texts by which exported decisions were made, by their SHA-256."""
    records: Sequence[Mapping[str, Any]] = [
        record for one in exports for record in one.records.values()
    ]
    wanted = set[str]().union(*(digests_in(one) for one in records))
    embedded = embedded_texts()
    known = {digest: embedded[digest] for digest in wanted & embedded.keys()}
    return known | texts_at(db, wanted - known.keys())


def check_history(desk: Desk, db: Connection, sizes: Sequence[int]) -> str:
    """Check that each head of some sizes extends the one before it, as a regulator does offline.

    Parameters
    ----------
    desk : Desk
    db : Connection
    sizes : sequence of int
        Not falling, of signed heads.

    Returns
    -------
    str
        Name of the check that failed; empty where all is in order.
    """
    pin = proving.log_key(desk.home).fingerprint
    try:
        for old, new in pairwise(sizes):
            verify_bytes(to_bytes(proving.consistency(desk, db, old, new)), pin)
    except LogBroken as error:
        return error.check
    return ""
