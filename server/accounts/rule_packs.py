"""Which pack of law goes with a policy."""

from __future__ import annotations

from functools import lru_cache

from server.accounts.rules import RuleText
from server.limits.rules.policy_lint import parse_policy
from server.policies import embedded
from shared.errors import ConfigError


def jurisdiction_of(policy: RuleText) -> str:
    """Return the jurisdiction that a policy's text names.

    Raises
    ------
    ConfigError
        If it is no policy.
    """
    return _jurisdiction(policy.text, policy.source)


def embedded_pack(jurisdiction: str) -> RuleText:
    """Return the pack that comes with confide.

    Raises
    ------
    ConfigError
        If there is none for the jurisdiction.
    """
    name = f"pack_{jurisdiction.replace('-', '_')}"
    try:
        return RuleText.of(*embedded(name))
    except FileNotFoundError as error:
        finding = f"jurisdiction: there is no pack {jurisdiction!r}; activate one with it"
        raise ConfigError("policy", [finding]) from error


@lru_cache(maxsize=32)
def _jurisdiction(text: str, source: str) -> str:
    return parse_policy(text, source).jurisdiction
