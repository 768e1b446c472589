"""Who lends: partner banks decide by their own rules, and share a draw with the lender.

A partner's rules are its own and plain: which grades and products it funds, up to which amount and
`default_prob`. They are read from what it handed in, and each of its decisions is kept, whether it
was yes or no (domain 2.9).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from sqlalchemy import Connection

from server.accounts.desk import Desk
from server.limits.portfolio import joint
from server.limits.portfolio.joint import Funding, Partner, PartnerDecision
from server.store.draws import Share
from server.store.funds import Fund
from server.store.lines import StoredLine
from server.store.partner_decisions import Verdict
from server.store.partners import PartnerRow, supply
from server.store.shares import own_open
from shared.errors import DataError

_KNOWN: Final = ("name", "version", "grades", "products", "most_minor", "most_default_prob")


@dataclass(frozen=True, slots=True)
class PartnerRules:
    """What a partner funds.

    Parameters
    ----------
    name, version : str
    grades, products : tuple of str
    most_minor : int, optional
        Of one draw, the lender's part included.
    most_default_prob : Decimal, optional
    """

    name: str
    version: str
    grades: tuple[str, ...]
    products: tuple[str, ...]
    most_minor: int | None = None
    most_default_prob: Decimal | None = None

    @property
    def ref(self) -> str:
        """Name and version, as decisions state it."""
        return f"{self.name}/{self.version}"

    def to_mapping(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        most = self.most_default_prob
        return {
            "name": self.name,
            "version": self.version,
            "grades": list(self.grades),
            "products": list(self.products),
            "most_minor": self.most_minor,
            "most_default_prob": None if most is None else str(most),
        }


@dataclass(frozen=True, slots=True)
class Shown:
    """What a partner is shown of a draw: nothing of the person but grade and probability.

    Parameters
    ----------
    product, grade : str
    default_prob : Decimal, optional
        None where no score can be had today.
    amount_minor : int
        0 where no amount is named yet.
    """

    product: str
    grade: str
    default_prob: Decimal | None
    amount_minor: int = 0


@dataclass(frozen=True, slots=True)
class Bank:
    """A partner as it stands now.

    Parameters
    ----------
    partner : Partner
        Agreed to no more than the cap of its fund.
    rules : PartnerRules
    is_open : bool
        False once it has withdrawn.
    """

    partner: Partner
    rules: PartnerRules
    is_open: bool


@dataclass(frozen=True, slots=True)
class Supply:
    """What there is to lend beyond the line itself, read once for a draw.

    Parameters
    ----------
    budget : Fund, optional
        That the line's limit is committed from.
    banks : tuple of Bank
        In order of their ids.
    terms : joint.Terms, optional
        Of the law; None without partners.
    own_share : Decimal, optional
        Of each draw, where agreed above the law's.
    own_minor : int, optional
        What the lender itself still funds on this line; None where nothing bounds it.
    """

    budget: Fund | None = None
    banks: tuple[Bank, ...] = ()
    terms: joint.Terms | None = None
    own_share: Decimal | None = None
    own_minor: int | None = None

    def decide(self, shown: Shown, day: date) -> tuple[PartnerDecision, ...]:
        """Return what each partner decides."""
        return tuple(_decided(bank, shown, day) for bank in self.banks)

    def room(self, decisions: Sequence[PartnerDecision]) -> int | None:
        """Return the largest draw that can be funded; None where nothing bounds it."""
        if self.terms is None or self.own_minor is None:
            return None
        willing = {one.partner for one in decisions if one.accepted}
        rooms = [
            joint.room(bank.partner, self.terms)
            for bank in self.banks
            if bank.partner.id in willing
        ]
        share = max(self.terms.own_share, self.own_share or self.terms.own_share)
        return joint.capacity(self.own_minor, rooms, share)

    def share_out(self, amount_minor: int, decisions: tuple[PartnerDecision, ...]) -> Funding:
        """Share out a draw; without partners all of it is the lender's own. See `joint.fund`."""
        if self.terms is None:
            return Funding(amount_minor, {joint.OWN: amount_minor}, ())
        own = amount_minor if self.own_minor is None else self.own_minor
        partners = [bank.partner for bank in self.banks]
        return joint.fund(
            amount_minor, own, partners, decisions, self.terms, own_share=self.own_share
        )

    def headroom(self, line: StoredLine) -> int | None:
        """Return what the budget leaves the line; None unless more is committed than there is.

        A limit was committed when it was given, so a full budget stops no draw. Where the budget
        itself has shrunk below what is committed, each line may use its part of it.
        """
        budget = self.budget
        if budget is None or budget.used_minor <= budget.cap_minor:
            return None
        totals = line.totals
        part = totals.limit_minor * budget.cap_minor // budget.used_minor
        return max(0, part - totals.outstanding_minor - totals.held_minor)


def parse_rules(
    plain: Mapping[str, Any], grades: Sequence[str], products: Sequence[str]
) -> PartnerRules:
    """Read a partner's rules.

    Parameters
    ----------
    plain : mapping
        See `PartnerRules`.
    grades, products : sequence of str
        That there are.

    Raises
    ------
    DataError
        With all findings.
    """
    findings = [f"{key}: is unknown" for key in sorted(set(plain) - set(_KNOWN))]
    for key in ("name", "version"):
        value = plain.get(key)
        if not isinstance(value, str) or not 0 < len(value) <= 60:
            findings.append(f"{key}: must be 1 to 60 characters")
    for key, known in (("grades", grades), ("products", products)):
        value = plain.get(key)
        if not isinstance(value, list | tuple) or not value or not set(value) <= set(known):
            findings.append(f"{key}: must be some of {', '.join(known)}")
    most = plain.get("most_minor")
    if most is not None and (type(most) is not int or most <= 0):
        findings.append("most_minor: must be a whole number above 0")
    if not _is_share(plain.get("most_default_prob")):
        findings.append("most_default_prob: must be a number from 0 to 1, as text")
    if findings:
        raise DataError("partner's rules", findings)
    return read_rules(plain)


def read_rules(plain: Mapping[str, Any]) -> PartnerRules:
    """Read rules that were checked when they came in."""
    most = plain.get("most_default_prob")
    return PartnerRules(
        name=plain["name"],
        version=plain["version"],
        grades=tuple(plain["grades"]),
        products=tuple(plain["products"]),
        most_minor=plain.get("most_minor"),
        most_default_prob=None if most is None else Decimal(most),
    )


def _is_share(value: object) -> bool:
    if value is None:
        return True
    try:
        return isinstance(value, str) and 0 <= Decimal(value) <= 1
    except InvalidOperation:
        return False


def supply_for(desk: Desk, db: Connection, line: StoredLine, day: date) -> Supply:
    """Return what there is to lend on a line, as it is now.

    Raises
    ------
    ConfigError
        If there are partners, and the pack does not say how to lend jointly.
    """
    budget, rows, lending = supply(db, line.budget_id)
    if not rows:
        return Supply(budget)
    share, bound = lending.get("own_share"), lending.get("own_line_minor")
    own = None if bound is None else max(0, bound - own_open(db, line.id))
    return Supply(
        budget=budget,
        banks=tuple(bank_of(fund, row) for fund, row in rows),
        terms=joint.terms_on(desk.rules.pack, day),
        own_share=None if share is None else Decimal(share),
        own_minor=own,
    )


def bank_of(fund: Fund, row: PartnerRow) -> Bank:
    """Return a partner as its rows tell it: what it has out with this lender is in its fund."""
    agreed = fund.cap_minor if row.agreed_minor is None else min(fund.cap_minor, row.agreed_minor)
    partner = Partner(
        id=row.id,
        tier1_minor=row.tier1_minor,
        loans_minor=row.loans_minor,
        with_us_minor=fund.used_minor,
        joint_minor=row.elsewhere_minor + fund.used_minor,
        agreed_minor=agreed,
    )
    return Bank(partner, read_rules(row.rules), fund.is_open)


def _decided(bank: Bank, shown: Shown, day: date) -> PartnerDecision:
    rules, prob = bank.rules, shown.default_prob
    most = rules.most_default_prob
    no = {
        "withdrawn": not bank.is_open,
        "product": shown.product not in rules.products,
        "grade": shown.grade not in rules.grades,
        "default_prob": most is not None and (prob is None or prob > most),
        "amount": rules.most_minor is not None and shown.amount_minor > rules.most_minor,
    }
    reason = next((why for why, is_so in no.items() if is_so), "")
    return PartnerDecision(bank.partner.id, not reason, rules.ref, reason, day)


def shares_of(funding: Funding) -> list[Share]:
    """Return the parts of a draw as the store keeps them; a partner's fund has the partner's id."""
    return [
        Share(name, part, None if name == joint.OWN else name)
        for name, part in funding.shares_minor.items()
    ]


def verdicts(
    draw_id: str, shown: Shown, decisions: Sequence[PartnerDecision], now: datetime
) -> list[Verdict]:
    """Return the partners' decisions as the store keeps them."""
    return [
        Verdict(
            draw_id=draw_id,
            partner_id=one.partner,
            accepted=one.accepted,
            policy_ref=one.policy,
            reason=one.reason,
            amount_minor=shown.amount_minor,
            grade=shown.grade,
            decided_at=now,
        )
        for one in decisions
    ]
