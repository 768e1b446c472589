"""What the coordinator keeps of secure sums for later audits, and how an auditor checks a party.

For each sum that it opens: everybody's signed commitments and the digest of the sum, one file in
`runs/<run>/` of its folder. Nothing in it opens an update.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.config import Federation
from shared.edge.files import read_text, write_atomic
from shared.errors import BadPeer, DataError, NotFound, Refused
from shared.neural.audit import check_update
from shared.neural.average import UPDATE
from shared.protocols.sum_audit import check_opening, check_total
from shared.protocols.sum_commit import Evidence, Opening


@dataclass(frozen=True, slots=True)
class Record:
    """One sum as somebody kept it.

    Parameters
    ----------
    contract : str
        Digest of the data contract.
    phase : str
    evidence : Evidence
    opened : str
        Digest of the sum; empty where whoever kept this did not open it, or it was given up.
    opening : Opening or None
        Of the party that kept it.
    """

    contract: str
    phase: str
    evidence: Evidence
    opened: str = ""
    opening: Opening | None = None

    @classmethod
    def from_mapping(cls, value: Any, source: str) -> Record:
        """Read a record of the coordinator, or one of a party.

        Raises
        ------
        DataError
            If it is malformed.
        """
        try:
            texts = [value["contract"], value["phase"], value.get("opened", "")]
            evidence, opening = value["evidence"], value.get("opening")
        except (KeyError, TypeError, AttributeError) as error:
            raise DataError(source, ["is no record of a secure sum"]) from error
        if not all(isinstance(text, str) for text in texts):
            raise DataError(source, ["is no record of a secure sum"])
        own = None if opening is None else Opening.from_mapping(opening, source)
        contract, phase, opened = texts
        return cls(contract, phase, Evidence.from_mapping(evidence, source), opened, own)


@dataclass(frozen=True, slots=True)
class Finding:
    """An update that is in order: whose, in which phase, how long, of how many customers.

    `length` is None where the sum is of no updates, or noise is in them.
    """

    party: str
    phase: str
    view: str
    length: float | None
    customers: int


@dataclass(frozen=True, slots=True)
class Report:
    """What an audit found.

    Parameters
    ----------
    in_order : tuple of Finding
        One an opening.
    not_opened : tuple of str
        Parties that lack in one of the sums.
    sums : int
        Sums that are those of the inputs opened.
    sums_unchecked : int
        The others: somebody has not opened, or the sum was given up before it was opened.
    """

    in_order: tuple[Finding, ...]
    not_opened: tuple[str, ...]
    sums: int
    sums_unchecked: int


def keeper(folder: Path, contract: str, phase: str) -> Callable[[Evidence, str], None]:
    """Return what keeps a sum at the coordinator: before anybody reveals, and once it is opened.

    A round that is trained again has a file more.
    """

    def keep(evidence: Evidence, opened: str) -> None:
        value = {
            "contract": contract,
            "phase": phase,
            "evidence": evidence.to_mapping(),
            "opened": opened,
        }
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"audit-{phase}-{evidence.view[:12]}.json"
        write_atomic(path, json.dumps(value, indent=1).encode() + b"\n")

    return keep


def read_records(paths: Iterable[Path]) -> list[Record]:
    """Read the coordinator's records, or what a party hands out by `confide model opening`.

    Raises
    ------
    DataError
        If a file is neither.
    """
    records = []
    for path in paths:
        try:
            value = json.loads(read_text(path))
        except ValueError as error:
            raise DataError(str(path), ["is not JSON"]) from error
        several = value.get("openings") if isinstance(value, dict) else None
        each = several if isinstance(several, list) else [value]
        records += [Record.from_mapping(one, str(path)) for one in each]
    return records


def audit(
    federation: Federation,
    run: str,
    kept: Sequence[Record],
    opened: Sequence[Record],
    *,
    whole: bool,
) -> Report:
    """Check what parties open against what others kept.

    Parameters
    ----------
    federation : Federation
        As it was agreed on for the run, settings of the command line included.
    run : str
    kept : sequence of Record
        Of the coordinator, or of a party that is not audited.
    opened : sequence of Record
        Of the parties that are.
    whole : bool
        Whether every party of each sum must have opened, so that the sum itself is checked.

    Returns
    -------
    Report
        All openings are in order.

    Raises
    ------
    BadPeer
        Names the party and what does not fit.
    Refused
        If the federation file is another one, a party is held against what it kept itself, or, with
        `whole`, one has not opened or no sum was opened by who kept the records; names it.
    NotFound
        If nobody opens anything.
    """
    known = {record.evidence.view: record for record in kept}
    by_sum: dict[str, dict[str, Opening]] = {}
    findings = []
    for record in opened:
        if record.opening is None:
            continue
        held = _held_against(known, record)
        _check_agreement(federation, run, held)
        findings.append(_checked(federation, held, record.opening))
        by_sum.setdefault(held.evidence.view, {})[record.opening.party] = record.opening
    if not findings:
        raise NotFound("no opening is there to check", hint="`confide model opening` writes them")
    missing: set[str] = set()
    sums = 0
    for view, openings in by_sum.items():
        evidence, total = known[view].evidence, known[view].opened
        lacking = set(evidence.job.cohort) - openings.keys()
        missing |= lacking
        if total and (whole or not lacking):
            check_total(evidence, openings, total)
            sums += 1
    if whole and not sums:
        raise Refused(
            "no sum can be checked: whoever kept these records opened none",
            hint="take the coordinator's",
        )
    return Report(tuple(findings), tuple(sorted(missing)), sums, len(by_sum) - sums)


def _held_against(known: Mapping[str, Record], record: Record) -> Record:
    """Return what somebody else kept of the sum that a party opens."""
    assert record.opening is not None  # looked at by the caller
    party = record.opening.party
    held = known.get(record.evidence.view)
    if held is None:
        raise BadPeer(f"opens a sum of phase {record.phase} that nobody else kept", party=party)
    if held.opening is not None and held.opening.party == party:
        raise Refused(
            "would be held against its own record: it could sign another one today",
            hint="--record: the coordinator's, or another party's",
            party=party,
        )
    return held


def _check_agreement(federation: Federation, run: str, record: Record) -> None:
    session, job = record.evidence.session, record.evidence.job
    if session.run != run or job.run != run:
        raise Refused(f"the record is of run {session.run}, not of {run}")
    if federation.agreement(record.contract) != session.agreement:
        raise Refused(
            f"run {run} was agreed on with another federation file",
            hint="give the file, and by --set the settings, that it was trained with",
        )


def _checked(federation: Federation, record: Record, opening: Opening) -> Finding:
    evidence = record.evidence
    values = check_opening(evidence, federation.roster, opening)
    clipped = evidence.job.kind == UPDATE and not federation.privacy.training_epsilon
    length, customers = None, int(values[-1])
    if clipped:
        length, customers = check_update(values, clip=federation.neural.clip, party=opening.party)
    return Finding(opening.party, record.phase, evidence.view, length, customers)
