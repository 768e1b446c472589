"""`/rules`: the rules in force as tables, what waits for a second person, who let what count."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Request, Response
from sqlalchemy import Connection

from server.accounts import activating, four_eyes, known_rules, pausing
from server.accounts.desk import Desk
from server.accounts.known_rules import KnownText
from server.store import approvals, rulebook
from server.store.approvals import Approval
from server.web.acts import act
from server.web.forms import Posted
from server.web.policy.common import PATH, Officer, OfficerForm
from server.web.render import Site
from server.web.session import Visit
from shared.errors import NotFound, UsageError

ApprovalId = Annotated[str, Path(pattern=r"^[0-9A-Za-z][0-9A-Za-z._:-]{0,63}$")]
KINDS: Final = (activating.APPROVAL, pausing.PAUSE)
"""Proposals that are answered here; those about a line are in the queue of decisions."""
_HISTORY: Final = 50


@dataclass(frozen=True, slots=True)
class File:
    """A file of a proposal.

    Parameters
    ----------
    kind, title, digest : str
    since : date
    instead : str
        SHA-256 of what is in force of its kind; '' where nothing is.
    """

    kind: str
    title: str
    digest: str
    since: date
    instead: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """A proposal as the page shows it.

    Parameters
    ----------
    id, kind, proposer, reason : str
    made_on, until : date
    files : tuple of File
    mine : bool
        Who looks has proposed it, and cannot answer it.
    """

    id: str
    kind: str
    proposer: str
    reason: str
    made_on: date
    until: date
    files: tuple[File, ...]
    mine: bool


def add(found: APIRouter, site: Site) -> None:
    """Add the routes."""

    @found.get(PATH)
    def rules(request: Request, who: Officer) -> Response:
        """Show the rules in force."""
        view = site.read(lambda db, now: rules_view(site.desk, db, who, now))
        return site.page(request, "policy/rules.html", who, **view)

    @found.post(f"{PATH}/approvals/{{approval_id}}")
    def answer(request: Request, form: OfficerForm, approval_id: ApprovalId) -> Response:
        """Approve or reject what another person proposed."""
        verdict = form.one("verdict", most=16)
        if verdict not in {"approve", "reject"}:
            raise UsageError("verdict: approve or reject")

        def work(db: Connection, now: datetime) -> str:
            return _answered(site.desk, db, form, approval_id, verdict, now)

        return act(request, form, site.desk, work)


def rules_view(desk: Desk, db: Connection, who: Visit, now: datetime) -> dict[str, Any]:
    """Return what the page shows."""
    rules = desk.rules
    known = known_rules.known_texts(desk, db, now)
    waiting = approvals.waiting(db, KINDS, now)
    return {
        "policy": rules.policy,
        "line": rules.line,
        "products": rules.catalogue.products,
        "macro": rules.policy.macro_on(desk.today(now)),
        "texts_known": [one for one in known if one.standing in {"in_force", "coming"}],
        "waiting": [waiting_of(desk, one, known, who) for one in waiting],
        "history": rulebook.history(db)[-_HISTORY:][::-1],
        "pause": pausing.paused(db),
        "days": activating.DAYS_TO_APPROVE,
    }


def waiting_of(desk: Desk, one: Approval, known: tuple[KnownText, ...], who: Visit) -> Waiting:
    """Return a proposal as the page shows it."""
    now = {text.kind: text.digest for text in known if text.standing == "in_force"}
    files = tuple(
        File(
            told["kind"],
            told["title"],
            told["digest"],
            date.fromisoformat(told["since"]),
            now.get(told["kind"], ""),
        )
        for told in one.payload.get("files", ())
    )
    return Waiting(
        id=one.id,
        kind=one.kind,
        proposer=one.proposer,
        reason=one.reason,
        made_on=desk.today(one.created_at),
        until=desk.today(one.expires_at),
        files=files,
        mine=approvals.person(one.proposer) == approvals.person(who.caller.name),
    )


def _answered(
    desk: Desk, db: Connection, form: Posted, approval_id: str, verdict: str, now: datetime
) -> str:
    """Do what a second person says; return the page that tells of it."""
    note, by = form.one("note", most=1000), form.visit.caller.name
    found = approvals.get_approval(db, approval_id, lock=True)
    if found.kind not in KINDS:
        raise NotFound("there is no proposal of rules of that id")
    if verdict == "reject":
        four_eyes.reject(db, approval_id, by, note, now)
        return f"{PATH}?done=rules_rejected"
    four_eyes.approve(desk, db, approval_id, by, note, now)
    done = "increases_resumed" if found.kind == pausing.PAUSE else "rules_approved"
    return f"{PATH}?done={done}"
