"""What a party keeps of its updates for later audits, and what it hands out.

While it takes part in a secure sum, a party signs a salted commitment to its update; everybody gets
it (`shared.protocols.sum_commit`). Here it keeps those of all, and what opens its own: salt, seeds
and the update, one file a sum in `runs/<run>/`, for as many days as its own file says. Written
before anything of the sum is revealed: who revealed can open.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from clients.party import Party
from shared.errors import NotFound
from shared.jobs import Run
from shared.protocols.sum import Keep
from shared.protocols.sum_commit import Evidence, Opening
from shared.protocols.sum_job import decode

SCHEMA = 1
_NAME = re.compile(r"audit-(?P<phase>.+)-(?P<view>[0-9a-f]{12})-(?P<day>[0-9]{8})\.json")
_DAY = "%Y%m%d"


def keeper(party: Party, run: Run, phase: str) -> Keep | None:
    """Return what keeps a sum's commitments and what opens the own one; None if nothing is kept.

    What is older than the party's `audit_days` is removed first.

    Parameters
    ----------
    party : Party
    run : Run
    phase : str
        Of the sum; it names the file.
    """
    forget(party)
    if not party.settings.audit_days:
        return None

    def keep(evidence: Evidence, opening: Opening) -> None:
        name = f"audit-{phase}-{evidence.view[:12]}-{_today(party):{_DAY}}"
        value = {
            "contract": run.contract_digest,
            "phase": phase,
            "evidence": evidence.to_mapping(),
            "opening": opening.to_mapping(),
        }
        party.store.save_value(run.name, name, value)

    return keep


def forget(party: Party) -> None:
    """Remove what opens updates once it is older than this party keeps it."""
    oldest = _today(party) - timedelta(days=party.settings.audit_days)
    for path in party.store.home.glob("runs/*/audit-*.json"):
        named = _NAME.fullmatch(path.name)
        if named and datetime.strptime(named["day"], _DAY).replace(tzinfo=UTC) <= oldest:
            path.unlink(missing_ok=True)


def hand_out(party: Party, run: str, phase: str = "", *, to: str) -> dict[str, Any]:
    """Return what opens a party's updates of a run, ready for JSON; each is a line of the ledger.

    Parameters
    ----------
    party : Party
    run : str
    phase : str
        Only this one's; empty for all.
    to : str
        Who gets it.

    Raises
    ------
    NotFound
        If nothing is kept of that run, or of that phase.
    """
    found = []
    for path in sorted(party.store.run_path(run, "x").parent.glob("audit-*.json")):
        named = _NAME.fullmatch(path.name)
        if named and phase in {"", named["phase"]}:
            found.append(party.store.load_value(run, path.stem))
    if not found:
        of = f"phase {phase} of run {run}" if phase else f"run {run}"
        raise NotFound(
            f"{party.name} keeps nothing that opens {of}",
            hint=f"it is kept for audit_days = {party.settings.audit_days} days (party.toml)",
            party=party.name,
        )
    for one in found:
        opened = Opening.from_mapping(one["opening"], party.name)
        job = Evidence.from_mapping(one["evidence"], party.name).job
        party.store.record(
            run,
            phase=one["phase"],
            what="own input of a sum, opened for an audit",
            unit="all own customers",
            recipient=to,
            rows=int(decode(opened.residues, job)[-1]),
            values=job.length,
            binding=job.digest,
        )
    return {"schema": SCHEMA, "run": run, "party": party.name, "openings": found}


def _today(party: Party) -> datetime:
    return datetime.fromisoformat(party.store.now()).astimezone(UTC)
