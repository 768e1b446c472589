"""One tree of errors: every failure has a code, an exit status and an HTTP status.

::

    ConfideError
    ├── UsageError            2 / 400   the call or the configuration is wrong
    │   ├── ConfigError       2 / 400   a configuration file, all findings at once
    │   └── NotFound          2 / 404   no release, customer or party of that name
    ├── DataError             1 / 422   a holder's data breaks the contract
    │   └── ContractChanged   1 / 409   the contract is not the one the card was trained on
    ├── Conflict              1 / 409   what a line, hold or key is now does not allow it, by name
    │   ├── KeyReused         1 / 422   an idempotency key came back with another request
    │   └── DrawRefused       1 / 409   a draw is not made, by the code of the reason
    ├── EnvironmentFault      3 / 503   a file, port, disk or party that is not there
    │   └── PartyLost         3 / 503   a party died, or did not answer before its deadline
    ├── Refused               4 / 403   a privacy or security rule says no
    │   ├── BadPeer           4 / 403   what a peer sent is forged, malformed or out of order
    │   ├── FloorBroken       4 / 403   too few people behind a statistic
    │   ├── BudgetSpent       4 / 403   a statistic was opened as often as the ledger allows
    │   ├── ReleaseRefused    4 / 403   a release failed one of its checks, by name
    │   ├── FeedRefused       4 / 403   a score feed failed one of its checks, by name
    │   ├── FourEyes          4 / 403   who proposed a change also wanted to approve it
    │   ├── Unauthorised      4 / 401   no token, or one that fails a check, by name
    │   ├── TooMany           4 / 429   asked more often than is allowed
    │   └── LogBroken         4 / 403   the decision log failed one of its checks, by name
    ├── RunFailed             1 / 500   a party reported an error; it is named, its text is carried
    └── Interrupted         130 / 499   stopped by the user

The message names the file, field or party and says what to do; it never holds a data row, an id of
a customer or a key. `exit_status` and `http_status` are properties of the class, so the command
line and the service cannot drift apart; `docs/exit-codes.md` is checked against this tree.
"""

from __future__ import annotations

from typing import Any, ClassVar


class ConfideError(Exception):
    """Root of all errors that confide raises on purpose.

    Parameters
    ----------
    message : str
        What is wrong: names the file, field or party.
    hint : str, optional
        What to do about it.
    party : str, optional
        The party at which it happened, where that is not the reader's own.

    Attributes
    ----------
    code : str
        Kebab-case name, stable across versions.
    exit_status : int
        Exit status of the command line.
    http_status : int
        Status of the HTTP response.
    """

    code: ClassVar[str] = "internal"
    exit_status: ClassVar[int] = 5
    http_status: ClassVar[int] = 500

    def __init__(self, message: str, *, hint: str = "", party: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.party = party

    def __str__(self) -> str:
        where = f"{self.party}: " if self.party else ""
        return f"{where}{self.message}" + (f" ({self.hint})" if self.hint else "")

    def __reduce__(self) -> tuple[Any, ...]:
        """Come through whole from another process, whatever a class is made with."""
        return _as_it_was, (type(self), self.args, self.__dict__)


def _as_it_was(
    kind: type[ConfideError], arguments: tuple[Any, ...], state: dict[str, Any]
) -> ConfideError:
    error = kind.__new__(kind)
    error.args = arguments
    error.__dict__.update(state)
    return error


class UsageError(ConfideError):
    """The call is wrong."""

    code = "usage"
    exit_status = 2
    http_status = 400


class ConfigError(UsageError):
    """A configuration file is wrong: all its findings at once, each with its path.

    Parameters
    ----------
    source : str
        The file.
    findings : sequence of str
        One line each, `path: what must hold. Got ...`.
    """

    code = "config"

    def __init__(self, source: str, findings: list[str] | tuple[str, ...]) -> None:
        super().__init__(f"{source}: " + "; ".join(findings))
        self.source = source
        self.findings = tuple(findings)


class NotFound(UsageError):
    """No release, customer or party has that name."""

    code = "not-found"
    http_status = 404


class DataError(ConfideError):
    """A holder's data breaks the contract: all findings at once, by name, never with a row.

    Parameters
    ----------
    source : str
        The file or table.
    findings : sequence of str
        One line each.
    """

    code = "data"
    exit_status = 1
    http_status = 422

    def __init__(
        self, source: str, findings: list[str] | tuple[str, ...], *, hint: str = ""
    ) -> None:
        super().__init__(f"{source}: " + "; ".join(findings), hint=hint)
        self.source = source
        self.findings = tuple(findings)


class ContractChanged(DataError):
    """The contract is not the one that the card was trained on."""

    code = "contract-changed"
    http_status = 409


class Conflict(ConfideError):
    """What a line, a hold or a key is now does not allow it; nothing was changed.

    Parameters
    ----------
    message, hint, party : str
        See `ConfideError`.
    check : str
        What stood against it: `version`, `state`, `available`, `currency`, `hold`, `shares`,
        `fund`, `outstanding`, `reference`, `approval`, `in-flight`, `key`, `pending` (the decision
        is not under a signed head yet), `extension`, `occasion` or `id`; `clock`, where it is
        earlier than the last change; or the field that rules or state do not allow:
        `limit`, `until`, `holders`, `source`, `issued`, `expires`, `as_of`, `months`, `amount`,
        `ttl` or `value_date`.
    """

    code = "conflict"
    exit_status = 1
    http_status = 409

    def __init__(self, message: str, *, check: str, hint: str = "", party: str = "") -> None:
        super().__init__(message, hint=hint, party=party)
        self.check = check


class KeyReused(Conflict):
    """An idempotency key came back with another request."""

    code = "key-reused"
    http_status = 422


class DrawRefused(Conflict):
    """A hold or a draw is not made.

    Parameters
    ----------
    message, hint, party : str
        See `ConfideError`.
    check : str
        `state`, `score`, `purpose`, `available`, `price` or `fund`.
    reason : str
        The code of the reason, as customers are told it; empty where it is the limit itself.
    """

    code = "draw-refused"

    def __init__(
        self, message: str, *, check: str, reason: str = "", hint: str = "", party: str = ""
    ) -> None:
        super().__init__(message, check=check, hint=hint, party=party)
        self.reason = reason


class EnvironmentFault(ConfideError):
    """Something outside the program is missing: a file, a port, room on a disk."""

    code = "environment"
    exit_status = 3
    http_status = 503


class PartyLost(EnvironmentFault):
    """A party died or did not answer before its deadline."""

    code = "party-lost"


class Refused(ConfideError):
    """A privacy or security rule says no; nothing was sent."""

    code = "refused"
    exit_status = 4
    http_status = 403


class BadPeer(Refused):
    """What a peer sent is forged, malformed or out of order."""

    code = "bad-peer"


class FloorBroken(Refused):
    """Too few people stand behind a statistic."""

    code = "floor"


class BudgetSpent(Refused):
    """The ledger allows no further opening of this statistic."""

    code = "budget-spent"


class ReleaseRefused(Refused):
    """A release failed one of its checks; nothing of it is used.

    Parameters
    ----------
    message, hint, party : str
        See `ConfideError`.
    check : str
        Which check failed: `form`, `federation`, `contract`, `signature`, `quorum`, `weights`,
        `counter`, `expiry` or `clock`; at a party that is asked to sign also `ledger`, `card` or
        `network`; where one is promoted also `comparison`.
    """

    code = "release-refused"

    def __init__(self, message: str, *, check: str, hint: str = "", party: str = "") -> None:
        super().__init__(message, hint=hint, party=party)
        self.check = check


class FeedRefused(Refused):
    """A score feed failed one of its checks; the feed before it stays in use.

    Parameters
    ----------
    message, hint, party : str
        See `ConfideError`.
    check : str
        Which check failed: `form`, `party`, `signature`, `release`, `as-of`, `expiry` or `clock`.
    """

    code = "feed-refused"

    def __init__(self, message: str, *, check: str, hint: str = "", party: str = "") -> None:
        super().__init__(message, hint=hint, party=party)
        self.check = check


class FourEyes(Refused):
    """Who proposed a change cannot approve it."""

    code = "four-eyes"


class Unauthorised(Refused):
    """There is no access token, or it failed one of its checks.

    Parameters
    ----------
    message, hint, party : str
        See `ConfideError`.
    check : str
        Which check failed: `missing`, `form`, `key`, `signature`, `clock`, `expiry` or `client`.
    """

    code = "unauthorised"
    http_status = 401

    def __init__(self, message: str, *, check: str, hint: str = "", party: str = "") -> None:
        super().__init__(message, hint=hint, party=party)
        self.check = check


class TooMany(Refused):
    """The same caller asked for this more often than is allowed.

    Parameters
    ----------
    message, hint, party : str
        See `ConfideError`.
    after : int
        Seconds after which the same request is let through.
    """

    code = "too-many"
    http_status = 429

    def __init__(self, message: str, *, after: int, hint: str = "", party: str = "") -> None:
        super().__init__(message, hint=hint, party=party)
        self.after = after


class LogBroken(Refused):
    """The decision log, or what was exported from it, failed one of its checks.

    Parameters
    ----------
    message, hint, party : str
        See `ConfideError`.
    check : str
        Which check failed: `form`, `key`, `signature`, `clock`, `shrunk`, `fork`, `extension`,
        `root`, `chain`, `inclusion`, `range` or `opening`; of a decision that is made again
        `commitment`, `policy`, `pack` or `replay`.
    """

    code = "log-broken"

    def __init__(self, message: str, *, check: str, hint: str = "", party: str = "") -> None:
        super().__init__(message, hint=hint, party=party)
        self.check = check


class RunFailed(ConfideError):
    """A party reported an error; it is carried with the party's name and its own exit status.

    Parameters
    ----------
    message, hint, party : str
        As the party reported them.
    reported : str
        Code of the party's error.
    """

    code = "run-failed"
    exit_status = 1

    def __init__(
        self, message: str, *, hint: str = "", party: str = "", reported: str = ""
    ) -> None:
        super().__init__(message, hint=hint, party=party)
        self.reported = reported
        kind = codes().get(reported, ConfideError)
        # The class says what to expect; an instance knows better.
        self.exit_status = kind.exit_status  # type: ignore[misc]


class Interrupted(ConfideError):
    """Stopped by the user."""

    code = "interrupted"
    exit_status = 130
    http_status = 499


def codes() -> dict[str, type[ConfideError]]:
    """Return every class of the tree by its code."""
    found, todo = {}, [ConfideError]
    while todo:
        kind = todo.pop()
        found[kind.code] = kind
        todo += kind.__subclasses__()
    return found
