"""A decision as it is kept, and made again from what was kept: bit for bit (invariant I5).

A record holds everything that `server.limits.caps.decide.decide` was given, and what it answered.
Policy and pack stand in it by the SHA-256 of their texts: who replays a decision brings the texts,
and no other text, however similar, will do.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, NoReturn

import rfc8785

from server.limits.basis.plain import from_plain, to_plain
from server.limits.caps.caps import Inputs
from server.limits.caps.decide import Decision, decide
from server.limits.caps.snapshot import Snapshot
from server.limits.rules.pack import Pack, parse_pack
from server.limits.rules.policy import Policy
from server.limits.rules.policy_lint import parse_policy
from shared.errors import ConfideError, LogBroken, UsageError

KIND: Final = "confide/decision/1"
"""The number rises whenever the arithmetic does something else with the same inputs."""


@dataclass(frozen=True, slots=True)
class DecisionRecord:
    """A decision with everything that it was made from.

    Parameters
    ----------
    about : mapping of str to str
        What it is a decision on, for whoever looks it up: ids, purpose, instant, release. Nothing
        of it has a part in the arithmetic.
    policy, pack : str
        SHA-256 of the texts, in hex.
    snapshot : Snapshot
    inputs : Inputs
    decision : Decision
    """

    about: Mapping[str, str]
    policy: str
    pack: str
    snapshot: Snapshot
    inputs: Inputs
    decision: Decision

    def to_mapping(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"kind": KIND, **to_plain(self)}

    def to_bytes(self) -> bytes:
        """Return canonical JSON (RFC 8785): what the decision log commits to."""
        return rfc8785.dumps(self.to_mapping())


@dataclass(frozen=True, slots=True)
class Rules:
    """Policies and packs by the SHA-256 of their texts.

    Parameters
    ----------
    policies : mapping of str to Policy
    packs : mapping of str to Pack
    """

    policies: Mapping[str, Policy]
    packs: Mapping[str, Pack]

    @classmethod
    def of(cls, policies: Iterable[tuple[str, str]], packs: Iterable[tuple[str, str]]) -> Rules:
        """Return the rules in some texts.

        Parameters
        ----------
        policies, packs : iterable of (str, str)
            Text and name of each file.

        Raises
        ------
        ConfigError
            With all findings of the first text that is not in order.
        """
        return cls(
            {digest_of(text): parse_policy(text, source) for text, source in policies},
            {digest_of(text): parse_pack(text, source) for text, source in packs},
        )


def digest_of(text: str) -> str:
    """Return the SHA-256 of a policy's or a pack's text, in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def read_record(value: Any) -> DecisionRecord:
    """Read the JSON form.

    Raises
    ------
    LogBroken
        With check `form`; names the field.
    """
    if not isinstance(value, dict) or value.get("kind") != KIND:
        _broken("form", f"it is not of kind {KIND}")
    rest = {key: one for key, one in value.items() if key != "kind"}
    try:
        record: DecisionRecord = from_plain(DecisionRecord, rest)
    except (ValueError, UsageError) as error:
        raise LogBroken(f"form: the record of a decision: {error}", check="form") from error
    return record


def replay(record: DecisionRecord, rules: Rules) -> Decision:
    """Make a decision again from its record, and compare.

    Parameters
    ----------
    record : DecisionRecord
    rules : Rules
        Texts that the verifier has; the record picks from them by digest.

    Returns
    -------
    Decision
        Equal to `record.decision`, bit for bit of their canonical JSON.

    Raises
    ------
    LogBroken
        With check `policy` or `pack`, if there is no text of that digest; with `replay`, if the
        rules do not give that decision. Names fields, never values.
    """
    policy, pack = rules.policies.get(record.policy), rules.packs.get(record.pack)
    if policy is None:
        _broken("policy", f"no policy has the digest {record.policy}", "bring its text")
    if pack is None:
        _broken("pack", f"no pack has the digest {record.pack}", "bring its text")
    try:
        decision = decide(policy, pack, record.snapshot, record.inputs)
    except ConfideError as error:
        raise LogBroken("replay: the rules give no decision at all", check="replay") from error
    if replace(record, decision=decision).to_bytes() != record.to_bytes():
        now, then = to_plain(decision), to_plain(record.decision)
        other = ", ".join(name for name in now if now[name] != then[name])
        _broken("replay", f"the rules give another {other}")
    return decision


def _broken(check: str, message: str, hint: str = "") -> NoReturn:
    raise LogBroken(f"{check}: {message}", check=check, hint=hint)
