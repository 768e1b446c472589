"""A sample of decisions for an auditor: drawn from a signed root, checked, packed to take along.

The pack is a ZIP of proofs in canonical form and of the rule texts by which the decisions were
made: with `confide log verify` and the fingerprint of the log key nothing else is needed.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa
from sqlalchemy import Connection

from server.accounts import proving
from server.accounts.desk import Desk
from server.accounts.recent import Entry, entries_of
from server.accounts.rechecking import Checked, check_proof, texts_for
from server.prooflog.export import to_bytes
from server.prooflog.heads import SignedHead
from server.prooflog.sample import sample
from server.prooflog.verify import verify_bytes
from server.store.decisions import StoredDecision
from server.store.log import LEAVES
from server.store.tables import DECISIONS

_WHEN: Final = (1980, 1, 1, 0, 0, 0)
_READ_ME: Final = """\
{count} decisions of the log {log}, drawn by the word {word!r} from the root
{root} over {size} leaves.

Verify them with a confide of your own, and a fingerprint that you did not get from this file:

    confide log verify proofs/*.json --pin FINGERPRINT --replay --rules rules

Leaf i of the draw is SHA-256("confide audit sample 1\\n" + root + "\\n" + word + "\\n" + i) as a
number, modulo the number of leaves; i counts from 0, and what was drawn before is passed over.
"""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A decision of a sample.

    Parameters
    ----------
    leaf : int
        From 0.
    entry : Entry
    checked : Checked, optional
        None where it was not asked for.
    """

    leaf: int
    entry: Entry
    checked: Checked | None


@dataclass(frozen=True, slots=True)
class Sample:
    """A sample of decisions.

    Parameters
    ----------
    signed : SignedHead
        From whose root it was drawn.
    drawn : tuple of Drawn
        In the order of the log.
    """

    signed: SignedHead
    drawn: tuple[Drawn, ...]

    @property
    def failed(self) -> int:
        """How many proofs failed, of those that were checked."""
        return sum(one.checked is not None and not one.checked.ok for one in self.drawn)

    @property
    def again(self) -> int:
        """How many decisions were made again, bit for bit."""
        return sum(one.checked is not None and one.checked.again for one in self.drawn)


def draw_sample(desk: Desk, db: Connection, word: str, count: int, *, check: bool) -> Sample:
    """Draw decisions from the newest head, and check them where that is asked for.

    Raises
    ------
    NotFound
        If no head was signed yet, or it covers nothing.
    UsageError
        See `server.prooflog.sample.sample`.
    """
    signed = proving.newest(db)
    leaves = sample(signed.head.root, signed.head.size, word, count)
    kept = _decisions(db, leaves)
    entries = {one.id: one for one in entries_of(desk, db, list(kept.values()))}
    return Sample(
        signed,
        tuple(
            Drawn(
                leaf,
                entries[kept[leaf].id],
                check_proof(desk, db, kept[leaf].id) if check else None,
            )
            for leaf in leaves
        ),
    )


def pack_sample(desk: Desk, db: Connection, word: str, count: int) -> bytes:
    """Return a sample as a ZIP: the same bytes for the same sample.

    Raises
    ------
    NotFound, UsageError
        See `draw_sample`.
    """
    signed = proving.newest(db)
    leaves = sample(signed.head.root, signed.head.size, word, count)
    kept, pin = _decisions(db, leaves), signed.head.log
    proofs = {
        f"proofs/{leaf + 1:09d}.json": to_bytes(dict(proving.proof(desk, db, kept[leaf].id)))
        for leaf in leaves
    }
    texts = texts_for(db, *(verify_bytes(raw, pin) for raw in proofs.values()))
    told = {"count": len(leaves), "word": word, **_of_head(signed)}
    files = {"README.txt": _READ_ME.format(**told).encode(), **proofs}
    files |= {f"rules/{digest}.toml": text.encode() for digest, text in sorted(texts.items())}
    return _zipped(files)


def _of_head(signed: SignedHead) -> dict[str, object]:
    head = signed.head
    return {"log": head.log, "root": head.root, "size": head.size}


def _decisions(db: Connection, leaves: tuple[int, ...]) -> dict[int, StoredDecision]:
    query = (
        sa.select(LEAVES.c.number.label("leaf"), DECISIONS)
        .join(DECISIONS, DECISIONS.c.id == LEAVES.c.decision_id)
        .where(LEAVES.c.number.in_(leaves))
    )
    found = {}
    for row in db.execute(query).mappings():
        fields = {name: row[DECISIONS.c[name]] for name in StoredDecision.__slots__}
        found[int(row["leaf"])] = StoredDecision(**fields)
    return found


def _zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, raw in files.items():
            packed.writestr(zipfile.ZipInfo(name, _WHEN), raw, zipfile.ZIP_DEFLATED)
    return out.getvalue()
