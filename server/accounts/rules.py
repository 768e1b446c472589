"""The rules as one value: texts with their SHA-256, read and linted together.

A decision names the texts that it was made under, and the store keeps each of them once, so that it
can be made again when the files have long been others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Final

from server.accounts.grounds import Rules
from server.limits.answers.actions import ActionSet, parse_actions
from server.limits.caps.evidence import EvidenceRules, parse_evidence_rules
from server.limits.portfolio.budget import BudgetRules, parse_budget_rules
from server.limits.rules.catalogue import check_purposes, parse_catalogue
from server.limits.rules.line_lint import check_with_limits, parse_line_policy
from server.limits.rules.line_policy import LinePolicy
from server.limits.rules.macro import downturns, parse_overlays, with_overlays
from server.limits.rules.pack import Pack, parse_pack
from server.limits.rules.policy import Policy
from server.limits.rules.policy_lint import check_together, parse_policy
from server.limits.rules.products import Catalogue, for_product
from server.limits.words.explain import LANGUAGES, Texts, parse_texts
from server.monitor.bounds import Bounds, parse_bounds
from server.policies import embedded
from shared.edge.files import read_text
from shared.errors import EnvironmentFault

FILES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "policy": "reference",
        "line": "line_reference",
        "catalogue": "products",
        "evidence": "evidence",
        "budget": "budget",
        "actions": "advice",
        "monitoring": "monitoring",
    }
)
"""Kind of rule and name of its embedded file; the pack and the texts have names of their own."""
DECIDING: Final = ("policy", "pack", "line", "catalogue", "overlays")
"""Kinds of rules that a decision on a line follows from."""


@dataclass(frozen=True, slots=True)
class RuleText:
    """The text of a rule file.

    Parameters
    ----------
    source : str
        Its name, for messages.
    text : str
    digest : str
        SHA-256 in hex.
    """

    source: str
    text: str
    digest: str

    @classmethod
    def of(cls, text: str, source: str) -> RuleText:
        """Return a text with its digest."""
        return cls(source, text, hashlib.sha256(text.encode()).hexdigest())


@dataclass(frozen=True, slots=True)
class Rulebook:
    """Everything that is decided by, read and linted.

    Parameters
    ----------
    policy : Policy
    pack : Pack
    line : LinePolicy
    catalogue : Catalogue
    evidence : EvidenceRules
    budget : BudgetRules
    actions : ActionSet
    monitoring : Bounds
    texts : mapping of str to Texts
        By language.
    sources : mapping of str to RuleText
        By kind: `policy`, `pack`, `line`, `catalogue`, `evidence`, `budget`, `actions`,
        `monitoring`, `texts.en`, `texts.zh`; `overlays` where there are downturns.
    products : mapping of str to Policy
        The limit policy with each product's own figures.
    """

    policy: Policy
    pack: Pack
    line: LinePolicy
    catalogue: Catalogue
    evidence: EvidenceRules
    budget: BudgetRules
    actions: ActionSet
    monitoring: Bounds
    texts: Mapping[str, Texts]
    sources: Mapping[str, RuleText]
    products: Mapping[str, Policy]

    def line_policy(self, product: str) -> LinePolicy:
        """Return the policy of a line's life with a product's own step between limits.

        Raises
        ------
        NotFound
            If there is no such product.
        """
        return line_policy_of(self.line, self.catalogue, product)

    def of(self, product: str) -> Rules:
        """Return the rules of one product.

        Raises
        ------
        NotFound
            If there is no such product.
        """
        found = self.catalogue.product(product)
        return Rules(self.products[product], self.pack, self.line_policy(product), found)

    def digests(self) -> dict[str, str]:
        """Return the SHA-256 of each text, by kind."""
        return {kind: one.digest for kind, one in self.sources.items()}


def line_policy_of(line: LinePolicy, catalogue: Catalogue, name: str) -> LinePolicy:
    """Return a line policy with a product's quantum, and the stricter of their temporary rules.

    Raises
    ------
    NotFound
        If there is no such product.
    """
    product = catalogue.product(name)
    passing = product.temporary
    return replace(
        line,
        quantum_minor=product.quantum_minor,
        temporary_minor=min(line.temporary_minor, passing.most_minor) if passing else 0,
        temporary_days=min(line.temporary_days, passing.days) if passing else 0,
    )


@dataclass(frozen=True, slots=True)
class DecidingRules:
    """The rules that a decision on a line follows from, and nothing else.

    Parameters
    ----------
    policy : Policy
    pack : Pack
    line : LinePolicy
    catalogue : Catalogue
    """

    policy: Policy
    pack: Pack
    line: LinePolicy
    catalogue: Catalogue

    def of(self, product: str) -> Rules:
        """Return the rules of one product.

        Raises
        ------
        NotFound
            If there is no such product.
        """
        return Rules(
            policy=for_product(self.policy, self.catalogue, product),
            pack=self.pack,
            line=line_policy_of(self.line, self.catalogue, product),
            product=self.catalogue.product(product),
        )


def deciding_rules(sources: Mapping[str, RuleText]) -> DecidingRules:
    """Read the texts of the kinds in `DECIDING`, of which `overlays` may be missing.

    Raises
    ------
    ConfigError
        With all findings of the first text that is not in order, or that does not fit the others.
    """

    def at(kind: str) -> tuple[str, str]:
        return sources[kind].text, sources[kind].source

    policy, catalogue = parse_policy(*at("policy")), parse_catalogue(*at("catalogue"))
    pack, line = parse_pack(*at("pack")), parse_line_policy(*at("line"))
    check_together(policy, pack, list(policy.grades))
    check_with_limits(line, policy)
    check_purposes(catalogue, pack, policy.effective_from)
    if "overlays" in sources:  # the one source of downturns (decision 22)
        overlays = parse_overlays(*at("overlays"))
        line = replace(line, overlays=(*line.overlays, *downturns(policy, overlays)))
        policy = with_overlays(policy, overlays)
    return DecidingRules(policy, pack, line, catalogue)


def rulebook_of(sources: Mapping[str, RuleText]) -> Rulebook:
    """Read and lint a set of texts.

    Parameters
    ----------
    sources : mapping of str to RuleText
        See `Rulebook`.

    Raises
    ------
    ConfigError
        With all findings of the first text that is not in order, or that does not fit the others.
    """

    def at(kind: str) -> tuple[str, str]:
        return sources[kind].text, sources[kind].source

    deciding = deciding_rules(sources)
    policy, catalogue = deciding.policy, deciding.catalogue
    products = {name: for_product(policy, catalogue, name) for name in catalogue.products}
    return Rulebook(
        policy=policy,
        pack=deciding.pack,
        line=deciding.line,
        catalogue=catalogue,
        evidence=parse_evidence_rules(*at("evidence"), policy.haircuts),
        budget=parse_budget_rules(*at("budget")),
        actions=parse_actions(*at("actions")),
        monitoring=parse_bounds(*at("monitoring")),
        texts=MappingProxyType({one: parse_texts(*at(f"texts.{one}")) for one in LANGUAGES}),
        sources=MappingProxyType(dict(sources)),
        products=MappingProxyType(products),
    )


def rule_texts(policy_path: Path | None = None) -> dict[str, RuleText]:
    """Return the texts of a policy file and of the files that lie beside it, else the embedded.

    Parameters
    ----------
    policy_path : Path, optional
        Beside it may lie ``line_reference.toml``, ``products.toml``, ``evidence.toml``,
        ``budget.toml``, ``advice.toml``, ``monitoring.toml`` and ``pack_<jurisdiction>.toml``.

    Raises
    ------
    ConfigError
        If the policy is not in order: it names its pack.
    EnvironmentFault
        If a file cannot be read, or there is no such pack.
    """
    found = {kind: _beside(policy_path, name) for kind, name in FILES.items() if kind != "policy"}
    if policy_path is None:
        found["policy"] = RuleText.of(*embedded(FILES["policy"]))
    else:
        found["policy"] = RuleText.of(read_text(policy_path), str(policy_path))
    policy = parse_policy(found["policy"].text, found["policy"].source)
    name = f"pack_{policy.jurisdiction.replace('-', '_')}"
    try:
        found["pack"] = _beside(policy_path, name)
    except FileNotFoundError as error:
        raise EnvironmentFault(f"no pack for jurisdiction {policy.jurisdiction!r}") from error
    for language in LANGUAGES:
        found[f"texts.{language}"] = _sentences(language)
    return found


def _beside(policy_path: Path | None, name: str) -> RuleText:
    path = policy_path.with_name(f"{name}.toml") if policy_path else None
    if path is not None and path.exists():
        return RuleText.of(read_text(path), str(path))
    return RuleText.of(*embedded(name))


def _sentences(language: str) -> RuleText:
    name = f"{language}.toml"
    text = (files("server.limits") / "texts" / name).read_text(encoding="utf-8")
    return RuleText.of(text, f"texts/{name}")
