"""The decision log over HTTP: signed heads, proofs, exports, as `confide log verify` takes them.

Answers are canonical bytes: saved as they come, they are verified offline.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from sqlalchemy import Connection

from server.accounts import proving
from server.accounts.desk import Desk
from server.api.access import Caller, Role, caller
from server.api.routes.base import Reader, decision_of, looks, router
from server.api.shapes.log import LogConsistency, LogDecision, LogRange, SignedHead
from server.prooflog.export import to_bytes
from shared.errors import Refused

Anybody = Annotated[Caller, caller(*Role)]
Auditor = Annotated[Caller, caller(Role.REGULATOR, Role.OPERATOR)]
DecisionOf = Annotated[
    str,
    Query(alias="decision", pattern=r"^[0-9A-Za-z][0-9A-Za-z._:-]{0,63}$", description="Its id"),
]
_MOST_LEAVES = 2**53 - 1
From = Annotated[
    int, Query(alias="from", ge=0, le=_MOST_LEAVES, description="Size of the old head")
]
To = Annotated[int, Query(ge=0, le=_MOST_LEAVES, description="Size of the new head")]
First = Annotated[int, Query(ge=0, le=_MOST_LEAVES, description="Number of the first leaf")]
Count = Annotated[int, Query(ge=1, le=proving.MOST_EXPORTED)]
Sealed = Annotated[bool, Query(description="Leaves only: that the log is whole, and no decision")]


def routes(desk: Desk) -> APIRouter:
    """Return the routes."""
    made = router("log")

    @made.get("/v1/log/sth", **looks(SignedHead))
    def log_head(who: Anybody) -> Response:  # noqa: ARG001 - any role, but none without a token
        """Give the newest signed head."""
        return _exact(desk, lambda db: proving.newest(db).to_mapping())

    @made.get("/v1/log/proof", **_pending(looks(LogDecision)))
    def log_proof(who: Reader, decision: DecisionOf) -> Response:
        """Give a decision with salt, record and path; to customers their own decisions only.

        409 with check `pending` until a signed head covers it: some seconds after it was made.
        """

        def work(db: Connection) -> Mapping[str, Any]:
            decision_of(db, who, decision)
            return proving.proof(desk, db, decision)

        return _exact(desk, work)

    @made.get("/v1/log/consistency", **_pending(looks(LogConsistency)))
    def log_consistency(who: Anybody, old: From, to: To) -> Response:  # noqa: ARG001 - as above
        """Give the proof that a signed head extends an older one, both by their sizes."""
        return _exact(desk, lambda db: proving.consistency(desk, db, old, to))

    @made.get("/v1/log/export", **looks(LogRange))
    def log_export(
        who: Auditor, first: First = 0, count: Count = 100, *, sealed: Sealed = False
    ) -> Response:
        """Give all decisions of a range of leaves; to operators sealed ones only."""
        if who.role is Role.OPERATOR and not sealed:
            raise Refused("an operator gets sealed exports only", hint="add sealed=true")
        return _exact(desk, lambda db: proving.export(desk, db, first, count, opened=not sealed))

    return made


def _exact(desk: Desk, work: Callable[[Connection], Mapping[str, Any]]) -> Response:
    """Answer with the canonical bytes of what was read in one state of the store."""
    with desk.store.read() as db:
        found = work(db)
    return Response(to_bytes(dict(found)), media_type="application/json")


def _pending(told: dict[str, Any]) -> dict[str, Any]:
    """Add to what stands in OpenAPI that the state of the log may be against it."""
    responses = dict(told["responses"])
    responses[409] = dict(responses[404])
    return {**told, "responses": responses}
