"""Every kind of rule file, and how to tell one from another.

A kind is told by the tables that only it has, never by the file's name: a renamed policy is still a
policy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final

from server.limits.answers.actions import parse_actions
from server.limits.basis.tables import parse_decimal_toml
from server.limits.caps.evidence import parse_evidence_rules
from server.limits.portfolio.budget import parse_budget_rules
from server.limits.rules.catalogue import parse_catalogue
from server.limits.rules.line_lint import parse_line_policy
from server.limits.rules.macro import parse_overlays
from server.limits.rules.pack import parse_pack
from server.limits.rules.policy_lint import parse_policy
from server.monitor.bounds import parse_bounds
from shared.errors import ConfigError

_SIGNS: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "policy": frozenset({"grades", "expected_loss", "capacity", "macro", "haircuts"}),
        "line": frozenset({"triggers", "delinquency", "observation", "restoration", "step_down"}),
        "pack": frozenset({"consumer_cap", "uncapped", "figures", "duties", "forbidden_purposes"}),
        "catalogue": frozenset({"products"}),
        "evidence": frozenset({"bureau_days", "income_flow", "asset", "repaid_debt"}),
        "budget": frozenset({"debt_multiples", "scenarios", "capital_ratio", "reserve_share"}),
        "actions": frozenset({"action", "immutable", "together"}),
        "monitoring": frozenset({"floor", "ranking_drop", "slope_low", "impact_ratio"}),
        "overlays": frozenset({"overlays"}),
    }
)
KINDS: Final = tuple(_SIGNS)
"""Every kind of rule file."""


def recognise(text: str, source: str) -> str:
    """Return the kind of a rule file by what stands in it.

    Raises
    ------
    ConfigError
        If it is not TOML, or no kind has most of its own tables there.
    """
    top = parse_decimal_toml(text, source)
    found = {kind: len(signs & top.keys()) for kind, signs in _SIGNS.items()}
    most = max(found.values())
    best = [kind for kind, count in found.items() if count == most]
    if not most or len(best) > 1:
        told = "; ".join(f"{kind}: {', '.join(sorted(signs))}" for kind, signs in _SIGNS.items())
        raise ConfigError(source, [f"no kind of rule file has these tables. Known are {told}"])
    return best[0]


def read(kind: str, text: str, source: str, haircuts: Mapping[str, Decimal] | None = None) -> Any:
    """Read and lint one rule file by its kind.

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    text, source : str
        The file's text and name.
    haircuts : mapping of str to Decimal, optional
        Of the policy, which evidence rules are read with.

    Raises
    ------
    ConfigError
        With all its findings.
    """
    if kind == "evidence":
        return parse_evidence_rules(text, source, haircuts or {})
    return _READERS[kind](text, source)


def effective_from(value: Any) -> date | None:
    """Return the first day of a rule file that was read, where its kind has one."""
    day = getattr(value, "effective_from", None)
    return day if isinstance(day, date) else None


def title(value: Any) -> str:
    """Return what a rule file calls itself: id and version; empty for overlays."""
    if isinstance(value, tuple):
        return f"{len(value)} downturn{'' if len(value) == 1 else 's'}"
    return f"{value.id}/{value.version}"


_READERS: Final[Mapping[str, Callable[[str, str], Any]]] = MappingProxyType(
    {
        "policy": parse_policy,
        "line": parse_line_policy,
        "pack": parse_pack,
        "catalogue": parse_catalogue,
        "budget": parse_budget_rules,
        "actions": parse_actions,
        "monitoring": parse_bounds,
        "overlays": parse_overlays,
    }
)
