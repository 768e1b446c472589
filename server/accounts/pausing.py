"""The pause of increases.

Pausing needs one person, for it only makes things safer; lifting the pause needs four eyes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection

from server.store import approvals, switches
from server.store.approvals import Approval, Proposal
from server.store.ids import new_id
from server.store.switches import Switch
from shared.errors import Conflict

PAUSE: Final = "pause"
INCREASES: Final = "increases"
"""Kind and subject of the approvals that lift a pause; the latter names the switch, too."""
_LASTS: Final = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Pause:
    """Whether increases are paused.

    Parameters
    ----------
    paused : bool
    by, reason : str
        Empty where it never was.
    since : datetime, optional
        UTC.
    """

    paused: bool
    by: str = ""
    reason: str = ""
    since: datetime | None = None


def paused(db: Connection) -> Pause:
    """Return whether increases are paused, by whom and since when."""
    switch = switches.get_switch(db, INCREASES)
    if switch is None:
        return Pause(paused=False)
    return Pause(bool(switch.value["paused"]), switch.set_by, switch.reason, switch.changed_at)


def set_pause(
    db: Connection,
    paused: bool,
    by: str,
    reason: str,
    now: datetime,
    *,
    approval_id: str | None = None,
) -> Pause:
    """Pause increases at once, or go on with an approval that was just used for it.

    Raises
    ------
    NotFound
    Conflict
        With check `approval`, if increases would go on without four eyes.
    """
    if not paused and not _was_used(db, approval_id):
        raise Conflict("increases go on only with another person's approval", check="approval")
    value = {"paused": paused}
    switches.set_switch(db, Switch(INCREASES, value, by, reason, approval_id, now))
    return Pause(paused, by, reason, now)


def propose_resume(db: Connection, by: str, reason: str, now: datetime) -> Approval:
    """Propose to another person that increases go on."""
    proposal = Proposal(new_id(now), PAUSE, INCREASES, {"paused": False}, by, reason)
    return approvals.propose(db, proposal, now + _LASTS, now)


def apply_pause(db: Connection, approval_id: str, now: datetime) -> Pause:
    """Do what an approval says, once.

    Raises
    ------
    NotFound
    Conflict
        With check `approval`, if it is not approved, was used before, or is too old.
    """
    used = approvals.use(db, approval_id, PAUSE, INCREASES, now)
    by = used.approver or used.proposer
    paused_now = bool(used.payload["paused"])
    return set_pause(db, paused_now, by, used.reason, now, approval_id=approval_id)


def _was_used(db: Connection, approval_id: str | None) -> bool:
    if approval_id is None:
        return False
    found = approvals.get_approval(db, approval_id)
    same = (found.kind, found.subject, found.state) == (PAUSE, INCREASES, "used")
    return same and found.payload.get("paused") is False
