"""What one customer of the demo lives through, over HTTP, each step with a token of its own role.

The customer consents, opens a line, borrows several times; an officer has the line reviewed; the
money is repaid on time; the customer asks why. Whoever reads the service's key can make the tokens.
Nothing is computed here: what is told is what the running service answers.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from server.accounts.replaying import again, embedded_texts
from server.api.tokens import OFFLINE, Caller, Keys, Role, mint
from server.prooflog.verify import verify_bytes
from shared.errors import EnvironmentFault, LogBroken

if TYPE_CHECKING:
    import httpx

DRAWS: Final = 6
"""Loans that the customer takes; the reference policy calls that often (trigger B01)."""
_PRODUCT: Final = "revolving_consumer"
_SHARE: Final = 10  # a loan is this part of the limit
_MONTHS: Final = 3
_PENDING, _WAIT_S, _NAP_S = 409, 30.0, 0.25


@dataclass(frozen=True, slots=True)
class Counter:
    """Where a customer and the people of the service ask.

    Parameters
    ----------
    client : httpx.Client
        At the service's address.
    keys : Keys
        That tokens are made with.
    customer : str
        Pseudonym.
    """

    client: httpx.Client
    keys: Keys
    customer: str

    def get(self, role: Role, path: str, **query: str) -> httpx.Response:
        """Ask, and return the answer whatever it is."""
        return self.client.get(path, params=query, headers=self._bearer(role))

    def told(self, role: Role, path: str, **query: str) -> Any:
        """Ask, and return what is told.

        Raises
        ------
        EnvironmentFault
            If the service refuses.
        """
        return _told(self.get(role, path, **query))

    def done(self, role: Role, path: str, **body: Any) -> Any:
        """Have something done, once, and return what came of it.

        Raises
        ------
        EnvironmentFault
            If the service refuses.
        """
        headers = self._bearer(role) | {"Idempotency-Key": os.urandom(16).hex()}
        return _told(self.client.post(path, json=body, headers=headers))

    def _bearer(self, role: Role) -> dict[str, str]:
        subject = self.customer if role is Role.CUSTOMER else ""
        token = mint(self.keys, Caller(OFFLINE, role, subject), datetime.now(UTC))
        return {"Authorization": f"Bearer {token}"}


def live(counter: Counter, limit: Mapping[str, Any], pin: str) -> dict[str, Any]:
    """Live through the story and return every answer.

    Parameters
    ----------
    counter : Counter
    limit : mapping
        What the service says of the customer's limit: which holders it has heard.
    pin : str
        Fingerprint of the operator's log key, known beforehand.

    Returns
    -------
    dict
        `opened` and its explanation `why_so_much`; where a line was opened also `drawn` (what the
        loans add up to), `reviewed` with its explanation `why_reviewed`, `repaid`, `why` (both
        questions, as of now) and `proof` of the review.

    Raises
    ------
    EnvironmentFault
        If the service refuses a step.
    LogBroken
        If its log does not prove the review, or the record does not lead to it again.
    """
    consent = counter.done(
        Role.CUSTOMER,
        f"/v1/customers/{counter.customer}/consents",
        purpose="credit_line",
        holders=[holder["party"] for holder in limit["score"]["holders"]],
        categories=["repayment", "spending", "income"],
    )
    asked = {"customer_id": counter.customer, "product": _PRODUCT}
    opened = counter.done(Role.CUSTOMER, "/v1/lines", **asked)
    found = {"consent": consent, "opened": opened, "why_so_much": _why(counter, opened["decision"])}
    if opened["line_id"] is None:
        return found
    found |= _used(counter, opened, consent["since"])
    return found | {"proof": _proof(counter, found["reviewed"]["decision_id"], pin)}


def _used(counter: Counter, opened: Mapping[str, Any], today: str) -> dict[str, Any]:
    """Borrow, be reviewed, repay, and ask why."""
    line = f"/v1/lines/{opened['line_id']}"
    currency = counter.told(Role.CUSTOMER, line)["currency"]
    amount = {"amount_minor": opened["limit_minor"] // _SHARE, "currency": currency}
    loan = amount | {"purpose": "daily", "months": _MONTHS}
    loans = [counter.done(Role.CUSTOMER, f"{line}/drawdowns", **loan) for _ in range(DRAWS)]
    reviewed = counter.done(Role.OFFICER, f"{line}/decisions", purpose="review")
    drawn = sum(one["amount_minor"] for one in loans)
    repaid = counter.done(
        Role.OPERATOR,
        "/v1/repayments",
        external_ref=f"demo-{os.urandom(8).hex()}",
        line_id=opened["line_id"],
        value_date=today,
        **amount | {"amount_minor": drawn},
    )
    return {
        "drawn": {"loans": len(loans), "amount_minor": drawn, "due": loans[0]["terms"]["schedule"]},
        "reviewed": reviewed,
        "why_reviewed": _why(counter, reviewed),
        "repaid": repaid,
        "why": counter.told(Role.CUSTOMER, f"{line}/why", lang="en"),
    }


def _why(counter: Counter, decision: Mapping[str, Any]) -> Any:
    return counter.told(Role.CUSTOMER, decision["explain_url"], lang="en")


def _proof(counter: Counter, decision: str, pin: str) -> dict[str, Any]:
    """Fetch a decision's proof as the customer, verify it here, and make the decision again."""
    end = time.monotonic() + _WAIT_S
    # A signed head covers the decision some seconds after it was made.
    while (reply := _asked_proof(counter, decision)).status_code == _PENDING:
        if time.monotonic() > end:
            break
        time.sleep(_NAP_S)
    _told(reply)
    proved = verify_bytes(reply.content, pin)
    if proved.headers[proved.first].id != decision:
        raise LogBroken("opening: it proves another decision", check="opening")
    remade = [again(record, embedded_texts()) for record in proved.records.values()]
    head = proved.heads[-1]
    return {
        "decision_id": decision,
        "leaf": proved.first,
        "size": head.size,
        "signed": head.time,
        "made_again": sum(remade),
    }


def _asked_proof(counter: Counter, decision: str) -> httpx.Response:
    return counter.get(Role.CUSTOMER, "/v1/log/proof", decision=decision)


def _told(reply: httpx.Response) -> Any:
    if reply.is_success:
        return reply.json()
    try:
        problem = reply.json()
        said = f"{problem['title']}: {problem['detail']}"
    except (ValueError, KeyError, TypeError):
        said = f"status {reply.status_code}"
    raise EnvironmentFault(f"the limit service refuses a step of the demo: {said}")
