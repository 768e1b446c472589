"""Evidence: who vouches for an income, for assets, or for a debt that is paid, and until when.

A proof is a lower bound: it says "at least so much". Of several of one thing the best counts, they
are never added up, and none takes anything away (invariant I10, decision 18).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final, Literal

from server.limits.basis.tables import Tables, parse_decimal_toml
from server.limits.caps.bureau import BureauView
from server.limits.caps.caps import Income, Inputs, down
from shared.errors import UsageError

Kind = Literal["income_flow", "asset", "repaid_debt", "closed_line"]
KINDS: Final[tuple[Kind, ...]] = ("income_flow", "asset", "repaid_debt", "closed_line")


@dataclass(frozen=True, slots=True)
class Evidence:
    """One proof.

    Parameters
    ----------
    id : str
    kind : {'income_flow', 'asset', 'repaid_debt', 'closed_line'}
        A monthly income; a liquid asset; a monthly repayment that a bureau still shows and that
        has ended; a revolving limit likewise. The last two complete a bureau's record.
    value_minor : int
    source : str
        Who vouches for it: names its haircut.
    issued, expires : date
        First day on which it counts, and the first on which it does not.
    digest : str
        SHA-256 of the document, for the log.
    subject : str
        Which asset or debt: two proofs of one subject count once.
    whole : bool
        Of an income: the source says that there is no other. That is a fact that can count against
        the customer, so it is the source's to state.

    Raises
    ------
    UsageError
        If the kind is unknown, the value is negative or it expires before it is issued.
    """

    id: str
    kind: Kind
    value_minor: int
    source: str
    issued: date
    expires: date
    digest: str = ""
    subject: str = ""
    whole: bool = False

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UsageError(f"evidence: kind must be one of {', '.join(KINDS)}")
        if self.value_minor < 0 or self.expires <= self.issued:
            raise UsageError("evidence: value must be 0 or more, and expires after issued")


@dataclass(frozen=True, slots=True)
class KindRule:
    """How proofs of one kind count.

    Parameters
    ----------
    days : int
        Longest validity, whatever the proof says.
    haircuts : mapping of str to Decimal
        Share that counts, by source.
    """

    days: int
    haircuts: Mapping[str, Decimal]


@dataclass(frozen=True, slots=True)
class EvidenceRules:
    """How evidence counts.

    Parameters
    ----------
    id, version : str
    effective_from : date
    kinds : mapping of str to KindRule
    asset_share : Decimal
        Of liquid assets, what may be added to a limit.
    asset_most_minor : int
        At most so much.
    bureau_days : int
        After so many days a bureau's view is too old to raise a limit on.
    """

    id: str
    version: str
    effective_from: date
    kinds: Mapping[str, KindRule]
    asset_share: Decimal
    asset_most_minor: int
    bureau_days: int


@dataclass(frozen=True, slots=True)
class Means:
    """What a customer has and owes, as far as it is proven on a day.

    Parameters
    ----------
    income : Income, optional
    others_minor : int, optional
        Revolving limits with other lenders.
    used : tuple of str
        Ids of the proofs that counted.
    expired : tuple of str
        Ids of those that no longer do, or do not yet.
    next_expiry : date, optional
        When the first of those that counted runs out.
    stale_bureau : bool
        The bureau's view is too old, or there is none: no limit may be raised on it.
    """

    income: Income | None
    others_minor: int | None
    used: tuple[str, ...]
    expired: tuple[str, ...]
    next_expiry: date | None
    stale_bureau: bool

    def into(self, inputs: Inputs) -> Inputs:
        """Return the inputs of a decision with what is proven."""
        return replace(inputs, income=self.income, others_minor=self.others_minor)


def ends(proof: Evidence, rules: EvidenceRules) -> date:
    """Return the first day on which a proof no longer counts."""
    return min(proof.expires, proof.issued + timedelta(days=rules.kinds[proof.kind].days))


def counts(proof: Evidence, rules: EvidenceRules, day: date) -> bool:
    """Return whether a proof counts on a day."""
    return proof.issued <= day < ends(proof, rules)


def assess(
    proofs: Sequence[Evidence], bureau: BureauView | None, rules: EvidenceRules, day: date
) -> Means:
    """Return what is proven on a day.

    Parameters
    ----------
    proofs : sequence of Evidence
        Of one customer, in any order.
    bureau : BureauView, optional
    rules : EvidenceRules
    day : date

    Raises
    ------
    UsageError
        If a source has no haircut for the kind.
    """
    valid = sorted((one for one in proofs if counts(one, rules, day)), key=lambda one: one.id)
    counted = {one.id: _counted(one, rules) for one in valid}
    chosen = {kind: _best([one for one in valid if one.kind == kind], counted) for kind in KINDS}
    sums = {kind: sum(counted[one.id] for one in chosen[kind]) for kind in KINDS}
    uplift = min(down(rules.asset_share * sums["asset"]), rules.asset_most_minor)
    owed, others = 0, None
    if bureau is not None:
        owed = max(0, bureau.obligations_minor - sums["repaid_debt"])
        others = max(0, bureau.other_limits_minor - sums["closed_line"])
    whole = tuple(one for one in valid if one.kind == "income_flow" and one.whole)
    used = {one.id for best in (*chosen.values(), whole) for one in best}
    income = None
    for best in chosen["income_flow"]:
        income = Income(best.value_minor, best.source, owed, bool(whole), uplift)
    if income is None and (owed or uplift):
        income = Income(0, "", owed, uplift_minor=uplift)
    return Means(
        income=income,
        others_minor=others,
        used=tuple(sorted(used)),
        expired=tuple(sorted(one.id for one in proofs if one.id not in counted)),
        next_expiry=min((ends(one, rules) for one in valid if one.id in used), default=None),
        stale_bureau=bureau is None or (day - bureau.as_of).days > rules.bureau_days,
    )


def _best(proofs: Sequence[Evidence], counted: Mapping[str, int]) -> tuple[Evidence, ...]:
    """Return the best proof of each subject; of incomes the best of all, for they overlap."""
    best: dict[str, Evidence] = {}
    for proof in proofs:
        subject = "" if proof.kind == "income_flow" else proof.subject
        held = best.get(subject)
        if held is None or counted[proof.id] > counted[held.id]:
            best[subject] = proof
    return tuple(best.values())


def _counted(proof: Evidence, rules: EvidenceRules) -> int:
    haircuts = rules.kinds[proof.kind].haircuts
    share = haircuts.get(proof.source)
    if share is None:
        known = ", ".join(haircuts)
        raise UsageError(f"evidence {proof.kind}: source must be one of {known}")
    return down(share * proof.value_minor)


def parse_evidence_rules(text: str, source: str, haircuts: Mapping[str, Decimal]) -> EvidenceRules:
    """Read and lint the text of the evidence rules.

    Parameters
    ----------
    text, source : str
    haircuts : mapping of str to Decimal
        Of the policy: an income is cut the same wherever it comes in.

    Raises
    ------
    ConfigError
        With all findings, each with its path.
    """
    tables, top = Tables(source), parse_decimal_toml(text, source)
    tables.unknown("", top, ["id", "version", "effective_from", "bureau_days", *KINDS])
    kinds: dict[str, KindRule] = {}
    asset = tables.table("asset", top.get("asset", {}))
    for kind in KINDS:
        row = tables.table(kind, top.get(kind, {}))
        own = ["days"] + (["share", "most_minor"] if kind == "asset" else [])
        tables.unknown(kind, row, own + ([] if kind == "income_flow" else ["haircuts"]))
        shares = haircuts if kind == "income_flow" else _haircuts(tables, row, kind)
        kinds[kind] = KindRule(tables.whole(row, "days", kind, low=1, high=3660), shares)
    rules = EvidenceRules(
        id=tables.words(top, "id"),
        version=tables.words(top, "version"),
        effective_from=tables.day(top, "effective_from"),
        kinds=MappingProxyType(kinds),
        asset_share=tables.number(asset, "share", "asset", high=1),
        asset_most_minor=tables.amount(asset, "most_minor", "asset"),
        bureau_days=tables.whole(top, "bureau_days", low=1, high=3660),
    )
    tables.finish()
    return rules


def _haircuts(tables: Tables, row: Mapping[str, Any], kind: str) -> Mapping[str, Decimal]:
    path = f"{kind}.haircuts"
    section = tables.table(path, row.get("haircuts", {}))
    tables.check(bool(section), path, "must hold a share for each source", None)
    return MappingProxyType({name: tables.number(section, name, path, high=1) for name in section})
