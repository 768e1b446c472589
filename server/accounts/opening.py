"""Opening a line: what the caps allow, or a decision that says why there is none."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from server.accounts.deciding import UNTIL_LOOKED
from server.accounts.desk import Desk
from server.accounts.dossier import CREDIT, customer
from server.accounts.grounds import Ask
from server.accounts.keeping import Decided, limit_of, made, new_decision, policy_ref
from server.accounts.recording import LineDecision
from server.accounts.standing import Standing, budget_id, look_at_newcomer
from server.limits.line.events import line_to_mapping
from server.limits.line.line import BLANK, LOOKED_INTO
from server.store import decisions, lines, people
from server.store.decisions import StoredDecision
from server.store.ids import name, new_id
from server.store.lines import NewLine
from shared.errors import Conflict, Refused


def open_line(
    desk: Desk, db: Connection, customer_id: str, product: str, now: datetime, by: str
) -> Decided:
    """Open a line of a product for a customer.

    Where the caps allow less than the product's smallest line, or the product asks for an income
    that is not proven, the opening is declined: a decision with its reasons, and no line. It stands
    in a chain of its own, under the id that the line would have had.

    Parameters
    ----------
    desk : Desk
    db : Connection
    customer_id : str
        Pseudonym.
    product : str
    now : datetime
    by : str
        Who asks, as ``customer:app``.

    Raises
    ------
    NotFound
        If there is no such product, or no score feed has the customer.
    Refused
        Without the customer's consent, with a silent holder, in a dispute, in a pause, or while
        another line is frozen for fraud or a forbidden purpose.
    ReleaseRefused
        If the release has expired or does not verify, by the name of the check.
    EnvironmentFault
        If no release serves, or every feed is stale.
    Conflict
        With check `id` if there is an open line of that product, `fund` if the budget does not
        reach.
    """
    name(by, "by")
    desk.rules.catalogue.product(product)
    _check_held(db, customer_id, product)
    seen = look_at_newcomer(desk, db, customer_id, product, now)
    if seen.dossier.consent(CREDIT, seen.day) is None:
        raise Refused("no line is opened without the customer's consent", hint="POST a consent")
    if seen.refusal is not None:
        raise seen.refusal
    line_id = new_id(now)
    ask = Ask("open", seen.day, product, "customer")
    about = {"line": line_id, "customer": customer_id, "by": by, **seen.models}
    record = made(desk, seen.rules, ask, seen.grounds(), BLANK, about, now)
    if not record.outcome.events:
        kept = decisions.append(db, new_decision(seen.rules, record, line_id), now)
        people.add(db, people.DECLINED, _declined(record, kept))
        return Decided(kept, record, None)
    line = lines.open_line(db, _row(desk, seen, record, budget_id(db)), now)
    kept = decisions.append(db, new_decision(seen.rules, record, line_id), now)
    return Decided(kept, record, line)


def _declined(record: LineDecision, kept: StoredDecision) -> dict[str, object]:
    return {
        "id": kept.chain,
        "customer_id": record.about["customer"],
        "product": record.ask.product,
        "decision_id": kept.id,
        "declined_at": kept.decided_at,
    }


def _check_held(db: Connection, customer_id: str, product: str) -> None:
    """Check that no line stands against another one."""
    held = lines.lines_of(db, customer(customer_id))
    if any(one.product == product and one.closed_at is None for one in held):
        raise Conflict("the customer has an open line of that product", check="id")
    if any(one.domain.get("frozen_for") in LOOKED_INTO for one in held):
        raise Refused(f"no line is opened: {UNTIL_LOOKED}")


def _row(desk: Desk, seen: Standing, record: LineDecision, budget: str | None) -> NewLine:
    after = record.outcome.after
    return NewLine(
        id=record.about["line"],
        customer_id=record.about["customer"],
        product=record.ask.product,
        currency=desk.rules.policy.currency,
        state=after.state.value,
        may_draw=after.may_draw,
        limit_minor=limit_of(after, seen.day),
        domain=line_to_mapping(after),
        policy_ref=policy_ref(record, seen.rules),
        model_ref=record.about["model"],
        ref=record.about["id"],
        budget_id=budget,
    )
