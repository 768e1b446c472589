"""Reading rule files of any kind, and holding a whole set of them against itself and the law."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Final

from server.accounts.rule_packs import embedded_pack, jurisdiction_of
from server.accounts.rules import RuleText, rule_texts, rulebook_of
from server.limits.checks.compliance import findings_on
from server.limits.checks.rule_kinds import KINDS, read, recognise, title
from server.limits.rules.line_policy import LinePolicy
from server.limits.rules.pack import Pack
from server.limits.rules.policy import Policy
from server.limits.rules.policy_lint import check_together, parse_policy
from server.policies import embedded
from shared.errors import ConfigError

_SEPARATE: Final = "overlay: downturns stand in a file of overlays, which two people approve"


@dataclass(frozen=True, slots=True)
class RuleFile:
    """A rule file that was read.

    Parameters
    ----------
    kind : str
        One of `server.limits.checks.rule_kinds.KINDS`.
    rule : RuleText
    value : object
        What it says, as the frozen value of its kind.
    """

    kind: str
    rule: RuleText
    value: Any

    @property
    def subject(self) -> str:
        """The jurisdiction of a pack, of which there may be several; empty for other kinds."""
        return self.value.id if isinstance(self.value, Pack) else ""

    @property
    def title(self) -> str:
        """What the file calls itself."""
        return title(self.value)


def read_all(files: Sequence[tuple[str, str]]) -> list[RuleFile]:
    """Read and lint rule files of any kind.

    Parameters
    ----------
    files : sequence of (str, str)
        Text and name of each.

    Returns
    -------
    list of RuleFile
        In the order of `KINDS`: evidence is read with the haircuts of the policy before it.

    Raises
    ------
    ConfigError
        With all findings of all files, each with its file.
    """
    findings: list[str] = []
    kinds: list[tuple[str, RuleText]] = []
    for text, source in files:
        try:
            kinds.append((recognise(text, source), RuleText.of(text, source)))
        except ConfigError as error:
            findings += told(error)
    found: list[RuleFile] = []
    haircuts = _reference_haircuts()
    for kind, rule in sorted(kinds, key=lambda one: KINDS.index(one[0])):
        try:
            value = read(kind, rule.text, rule.source, haircuts)
        except ConfigError as error:
            findings += told(error)
            continue
        if isinstance(value, Policy):
            haircuts = value.haircuts
        if isinstance(value, LinePolicy) and value.overlays:
            findings.append(f"{rule.source}: {_SEPARATE}")
        found.append(RuleFile(kind, rule, value))
    if findings:
        raise ConfigError("rules", findings)
    return found


def reread(kind: str, rule: RuleText) -> RuleFile:
    """Read a rule file of a known kind again."""
    return RuleFile(kind, rule, read(kind, rule.text, rule.source, _reference_haircuts()))


def lint(files: Sequence[tuple[str, str]], day: date) -> list[RuleFile]:
    """Read rule files and check them, alone and together with the embedded rest.

    Parameters
    ----------
    files : sequence of (str, str)
        Text and name of each.
    day : date
        Whose law they are held against; a file that begins later is held against its own first day.

    Raises
    ------
    ConfigError
        With all findings of all files.
    """
    found = read_all(files)
    sources = rule_texts()
    sources |= {one.kind: one.rule for one in found if one.kind != "pack"}
    jurisdiction = jurisdiction_of(sources["policy"])
    packs = [one.rule for one in found if one.subject == jurisdiction]
    sources["pack"] = packs[-1] if packs else embedded_pack(jurisdiction)
    begins = [getattr(one.value, "effective_from", day) for one in found]
    findings = findings_of(sources, max([day, *begins]))
    if findings:
        raise ConfigError("rules", findings)
    return found


def findings_of(
    sources: Mapping[str, RuleText], day: date, grades: Sequence[str] | None = None
) -> list[str]:
    """Return everything that is wrong with a whole set of rules on a day.

    Parameters
    ----------
    sources : mapping of str to RuleText
        By kind.
    day : date
    grades : sequence of str, optional
        Of the card that serves, safest first: what the policy must know.
    """
    try:
        rules = rulebook_of(sources)
        if grades is not None:
            check_together(rules.policy, rules.pack, grades)
        rules.policy.macro_on(day)
    except ConfigError as error:
        return told(error)
    return findings_on(rules, day)


def told(error: ConfigError) -> list[str]:
    """Return an error's findings, each with its file."""
    if error.source == "rules":
        return list(error.findings)
    return [f"{error.source}: {finding}" for finding in error.findings]


def _reference_haircuts() -> Mapping[str, Decimal]:
    return parse_policy(*embedded("reference")).haircuts
