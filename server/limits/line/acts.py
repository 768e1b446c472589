"""Acts upon a line between reviews: freezes, consent, concessions, closing.

Each checks what it needs and returns the line with its events; the limit stays as it is.
"""

from __future__ import annotations

from datetime import date

from server.limits.line.acted import Acted, done, must_be_open
from server.limits.line.events import Initiator, Journal
from server.limits.line.line import LOOKED_INTO, RANK, Cause, Delinquency, Line, State, Window
from server.limits.line.reasons import FROZEN, because, curing
from server.limits.rules.line_policy import LinePolicy
from shared.errors import Conflict, UsageError


def freeze(line: Line, cause: Cause, as_of: date, initiator: Initiator = "issuer") -> Acted:
    """Stop draws at once: fraud, or a forbidden purpose; repayment stays open.

    Of a line that is frozen, a graver cause takes the place of the other.

    Raises
    ------
    UsageError
        If the cause is another one: arrears freeze a line by themselves.
    Conflict
        If the line is not open, or frozen for that cause or a graver one.
    """
    if cause not in LOOKED_INTO:
        raise UsageError(f"cause must be {' or '.join(sorted(LOOKED_INTO))}")
    must_be_open(line)
    if RANK.index(cause) <= RANK.index(line.frozen_for):
        raise Conflict(f"the line is frozen for {line.frozen_for}", check="state")
    journal = Journal(line, as_of, initiator)
    journal.note(
        "frozen", [because(FROZEN[cause])], state=State.FROZEN, frozen_for=cause, offer=None
    )
    return done(journal)


def release(line: Line, as_of: date) -> Acted:
    """End a freeze that a person looked into: under observation, the limit as it was.

    Raises
    ------
    Conflict
        If the line is not frozen for fraud or a purpose, or something is overdue or not cured.
    """
    if line.frozen_for not in LOOKED_INTO:
        raise Conflict("only a freeze for fraud or a purpose is released by hand", check="state")
    if line.delinquency.curing:
        raise Conflict("what was overdue is not cured", check="state")
    journal, code = Journal(line, as_of), FROZEN[line.frozen_for]
    windows = (*(one for one in line.windows if one.code != code), Window(code, as_of, as_of))
    journal.note(
        "cured",
        [because("P-CLEARED")],
        state=State.OBSERVATION,
        frozen_for="",
        windows=windows,
    )
    return done(journal)


def withdraw_consent(line: Line, as_of: date) -> Acted:
    """Take a withdrawal: no draws, nothing raised, repayment open, no cut (domain 2.14).

    Raises
    ------
    Conflict
        If the line is not open, or consent is withdrawn.
    """
    must_be_open(line)
    if line.consent_withdrawn_on is not None:
        raise Conflict("consent is withdrawn", check="state")
    journal = Journal(line, as_of, "customer")
    journal.note("consent", [because("P-CONSENT")], consent_withdrawn_on=as_of, offer=None)
    return done(journal)


def give_consent(line: Line, as_of: date) -> Acted:
    """Take a consent that was withdrawn before.

    Raises
    ------
    Conflict
        If it was not withdrawn.
    """
    if line.consent_withdrawn_on is None:
        raise Conflict("consent was not withdrawn", check="state")
    journal = Journal(line, as_of, "customer")
    journal.note("consent", consent_withdrawn_on=None)
    return done(journal)


def forbear(line: Line, late: Delinquency, policy: LinePolicy, as_of: date) -> Acted:
    """Take note of a concession because of difficulties: nothing is raised for a year (M68).

    The limit stays, and so does what can be drawn: who asks for help loses nothing by it.

    Parameters
    ----------
    line : Line
    late : Delinquency
        Of today, with the concession.
    policy : LinePolicy
    as_of : date

    Raises
    ------
    Conflict
        If the line is not open.
    """
    must_be_open(line)
    journal = Journal(line, as_of)
    told = [curing(late, policy.arrears)]
    journal.note("forborne", told, delinquency=late, offer=None)
    return done(journal)


def close_line(
    line: Line, owed_minor: int, as_of: date, initiator: Initiator = "customer"
) -> Acted:
    """Close a line; while something is owed or held it is closing, without draws.

    Raises
    ------
    Conflict
        If it is closed, or closing and something is still owed.
    """
    if line.state is State.CLOSED or (line.state is State.CLOSING and owed_minor):
        raise Conflict(f"the line is {line.state}", check="state")
    kind, state = ("closing", State.CLOSING) if owed_minor else ("closed", State.CLOSED)
    journal = Journal(line, as_of, initiator)
    journal.note(kind, [because("P-CLOSE")], state=state, frozen_for="", offer=None)
    return done(journal)
