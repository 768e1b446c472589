"""A decision on a line as it is kept, and made again from what was kept: bit for bit (I5).

A record holds the question, the grounds, the line before and the outcome. The rules stand in it by
the SHA-256 of their texts: who replays a decision brings the texts, and no others will do.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from functools import lru_cache
from typing import Any, Final, NoReturn

from server.accounts.deciding import work_out
from server.accounts.desk import DECIDING, DecidingRules, RuleText, deciding_rules
from server.accounts.grounds import Ask, Grounds, Outcome
from server.limits.basis.plain import from_plain, to_plain
from server.limits.basis.reasons import Reason
from server.limits.caps.decide import Decision
from server.limits.line.events import event_from_mapping, line_from_mapping, line_to_mapping
from server.limits.line.line import Line
from server.limits.line.target import Target
from shared.errors import ConfideError, LogBroken

KIND: Final = "confide/line-decision/1"
"""The number rises whenever the arithmetic does something else with the same grounds."""
_FIELDS: Final = frozenset({"kind", "about", "rules", "ask", "grounds", "before", "outcome"})
_OUTCOME: Final = frozenset({"caps", "target", "events", "after", "reasons", "earliest"})


@dataclass(frozen=True, slots=True)
class LineDecision:
    """A decision on a line with everything that it was made from.

    Parameters
    ----------
    about : mapping of str to str
        `id`, `line`, `customer`, `at`, `by`, `model`, `note`, `approval`: for whoever looks it up.
        Nothing of it has a part in the arithmetic.
    rules : mapping of str to str
        SHA-256 of each text, by kind; see `server.accounts.desk.DECIDING`.
    ask : Ask
    grounds : Grounds
    before : Line
    outcome : Outcome
    """

    about: Mapping[str, str]
    rules: Mapping[str, str]
    ask: Ask
    grounds: Grounds
    before: Line
    outcome: Outcome

    def to_mapping(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "kind": KIND,
            "about": dict(self.about),
            "rules": dict(self.rules),
            "ask": to_plain(self.ask),
            "grounds": to_plain(self.grounds),
            "before": line_to_mapping(self.before),
            "outcome": _outcome_to(self.outcome),
        }

    def to_bytes(self) -> bytes:
        """Return canonical JSON (RFC 8785): what the decision log commits to.

        Without numbers but whole ones that JSON carries exactly, and with names in ASCII, the
        standard library spells it so, ten times as fast; a test holds it against `rfc8785`.
        """
        text = json.dumps(
            self.to_mapping(), sort_keys=True, separators=(",", ":"), ensure_ascii=False
        )
        return text.encode()


def read_record(value: Any) -> LineDecision:
    """Read the JSON form, or its bytes.

    Raises
    ------
    LogBroken
        With check `form`; names the field.
    """
    try:
        plain = json.loads(value) if isinstance(value, bytes | str) else value
        if not isinstance(plain, dict) or plain.get("kind") != KIND:
            _broken("form", f"it is not of kind {KIND}")
        if plain.keys() != _FIELDS:
            _broken("form", "it lacks a field, or has one more")
        return LineDecision(
            about=from_plain(Mapping[str, str], plain["about"], "about"),
            rules=from_plain(Mapping[str, str], plain["rules"], "rules"),
            ask=from_plain(Ask, plain["ask"], "ask"),
            grounds=from_plain(Grounds, plain["grounds"], "grounds"),
            before=line_from_mapping(plain["before"]),
            outcome=_outcome_from(plain["outcome"]),
        )
    except LogBroken:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, ConfideError) as error:
        raise LogBroken("form: the record of a decision is malformed", check="form") from error


def replay(record: LineDecision | bytes | Mapping[str, Any], texts: Mapping[str, str]) -> Outcome:
    """Make a decision again from its record, and compare.

    Parameters
    ----------
    record : LineDecision, bytes or mapping
    texts : mapping of str to str
        Rule texts by their SHA-256; the record picks from them.

    Returns
    -------
    Outcome
        Equal to the record's, bit for bit of their canonical JSON.

    Raises
    ------
    LogBroken
        With check `form`; with `policy` or `pack`, if there is no text of a digest; with `replay`,
        if the rules give another decision. Names fields, never values.
    """
    read = record if isinstance(record, LineDecision) else read_record(record)
    found = {kind: texts.get(digest) for kind, digest in read.rules.items()}
    for kind, text in found.items():
        if text is None:
            check = "pack" if kind == "pack" else "policy"
            _broken(check, f"no {kind} has the digest {read.rules[kind]}", "bring its text")
    try:
        whole = tuple((kind, text) for kind, text in sorted(found.items()) if text is not None)
        rules = _rules(whole)
        outcome = work_out(rules.of(read.ask.product), read.ask, read.grounds, read.before)
    except (ConfideError, KeyError) as error:
        raise LogBroken("replay: the rules give no decision at all", check="replay") from error
    if replace(read, outcome=outcome).to_bytes() != read.to_bytes():
        now, then = _outcome_to(outcome), _outcome_to(read.outcome)
        other = ", ".join(name for name in now if now[name] != then[name])
        _broken("replay", f"the rules give another {other}")
    return outcome


def digests_of(sources: Mapping[str, RuleText]) -> dict[str, str]:
    """Return the SHA-256 of each text that a decision follows from, by kind."""
    return {kind: sources[kind].digest for kind in DECIDING if kind in sources}


@lru_cache(maxsize=16)
def _rules(texts: tuple[tuple[str, str], ...]) -> DecidingRules:
    return deciding_rules({kind: RuleText.of(text, kind) for kind, text in texts})


def _outcome_to(outcome: Outcome) -> dict[str, Any]:
    return {
        "caps": to_plain(outcome.caps),
        "target": to_plain(outcome.target),
        "events": [event.to_mapping() for event in outcome.events],
        "after": line_to_mapping(outcome.after),
        "reasons": to_plain(outcome.reasons),
        "earliest": to_plain(outcome.earliest),
    }


def _outcome_from(plain: Any) -> Outcome:
    if not isinstance(plain, dict) or plain.keys() != _OUTCOME:
        _broken("form", "the outcome lacks a field, or has one more")
    whole = from_plain(_Told, {name: plain[name] for name in _OUTCOME - {"events", "after"}})
    return Outcome(
        caps=whole.caps,
        target=whole.target,
        events=tuple(event_from_mapping(one) for one in plain["events"]),
        after=line_from_mapping(plain["after"]),
        reasons=whole.reasons,
        earliest=whole.earliest,
    )


@dataclass(frozen=True, slots=True)
class _Told:
    """The parts of an outcome that are read by their annotations."""

    caps: Decision | None
    target: Target | None
    reasons: tuple[Reason, ...]
    earliest: date | None


def _broken(check: str, message: str, hint: str = "") -> NoReturn:
    raise LogBroken(f"{check}: {message}", check=check, hint=hint)
