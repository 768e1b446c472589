"""What a decision on a line looks at, gathered from the store, the scores and the evidence.

Nothing here decides. What is not known counts as silent: nothing is raised on it, and nothing is
cut for it (invariant I13).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Final

from sqlalchemy import Connection

from server.accounts.budgeting import budget_used, scales_of
from server.accounts.desk import Desk, text_of
from server.accounts.dossier import CREDIT, DECLARED, GRANTED, Dossier, dossiers
from server.accounts.files import Files, files_for, may_be_late
from server.accounts.grounds import Grounds, Rules
from server.accounts.repaying import days_past_due, history_of
from server.accounts.scores import Scored
from server.accounts.shadow import Shade
from server.limits.caps.caps import Inputs
from server.limits.caps.decide import Decision, decide
from server.limits.caps.evidence import Means, assess
from server.limits.caps.snapshot import Rating, Snapshot
from server.limits.line.delinquency import add_months
from server.limits.line.events import line_from_mapping
from server.limits.line.history import measures
from server.limits.line.line import BLANK, Line
from server.limits.line.reasons import NOT_ALLOWED
from server.limits.line.target import Target, target_of
from server.limits.line.triggers import Facts
from server.limits.rules.line_policy import LinePolicy
from server.limits.rules.policy import Policy
from server.releases.shelf import NO_FEED, STALE, UNKNOWN
from server.store import funds
from server.store.lines import StoredLine
from shared.errors import ConfideError, EnvironmentFault, NotFound, ReleaseRefused

BUDGET: Final = "budget"
"""The fund that limits are committed from, where there is one."""
BUREAU: Final = "bureau"
NO_RELEASE: Final = "none"
"""What stands for the model where a decision was made without a score."""
_MICRO: Final = Decimal("0.000001")
_ONE: Final = Decimal(1)


@dataclass(frozen=True, slots=True)
class Standing:
    """A line as a decision today would see it; nothing is written.

    Parameters
    ----------
    day : date
        Local.
    stored : StoredLine, optional
        None where there is no line yet.
    line : Line
    rules : Rules
        Of the product.
    scored : Scored, optional
        None where no score could be had; then `snapshot` knows nothing.
    refusal : ConfideError, optional
        Why there is no score.
    snapshot : Snapshot
    means : Means
    inputs : Inputs
    scale : Decimal
        Of the allocator.
    caps : Decision
    target : Target
    facts : Facts
    dossier : Dossier
    shade : Shade, optional
        What the challenger says, where there is one: it decides nothing.
    """

    day: date
    stored: StoredLine | None
    line: Line
    rules: Rules
    scored: Scored | None
    refusal: ConfideError | None
    snapshot: Snapshot
    means: Means
    inputs: Inputs
    scale: Decimal
    caps: Decision
    target: Target
    facts: Facts
    dossier: Dossier
    shade: Shade | None

    @property
    def policy(self) -> Policy:
        """The limit policy, with the product's own figures."""
        return self.rules.policy

    @property
    def line_policy(self) -> LinePolicy:
        """The policy of a line's life, with the product's own step."""
        return self.rules.line

    @property
    def model_ref(self) -> str:
        """Name of the release that scored."""
        return NO_RELEASE if self.scored is None else self.scored.release.name

    @property
    def models(self) -> dict[str, str]:
        """What a record says of the models: who scored, and what the challenger would have said."""
        beside = {} if self.shade is None else self.shade.told()
        return {"model": self.model_ref, **beside}

    def grounds(self) -> Grounds:
        """Return what a decision is made from."""
        return Grounds(self.facts, self.snapshot, self.inputs, self.scale, self.means.used)


def look_at(
    desk: Desk, db: Connection, stored: StoredLine, now: datetime, files: Files | None = None
) -> Standing:
    """Return a line as a decision today would see it.

    Parameters
    ----------
    desk : Desk
    db : Connection
    stored : StoredLine
    now : datetime
    files : Files, optional
        Of the line, if they were read before, with those of others.
    """
    day = desk.today(now)
    files = files or files_for(desk, db, [stored], day)
    facts = facts_of(desk, db, stored, day, files)
    scales = files.scales[stored.budget_id]
    dossier = files.dossiers[stored.customer_id]
    line = line_from_mapping(stored.domain)
    return _standing(desk, stored.customer_id, stored, line, dossier, facts, scales, now)


def look_at_newcomer(
    desk: Desk, db: Connection, customer_id: str, product: str, now: datetime
) -> Standing:
    """Return a customer without a line of a product as an opening today would see them.

    Raises
    ------
    NotFound
        If there is no such product.
    """
    known = dossiers(db, [customer_id])[customer_id]
    day, budget = desk.today(now), budget_id(db)
    facts = Facts(
        consent=known.consent(CREDIT, day) is not None,
        dispute=known.disputed(),
        forborne_on=forborne_on(desk, known, day),
        budget_used=budget_used(db, budget),
    )
    blank = replace(BLANK, product=product)
    scales = scales_of(db, budget)
    return _standing(desk, customer_id, None, blank, known, facts, scales, now)


def facts_of(desk: Desk, db: Connection, stored: StoredLine, day: date, files: Files) -> Facts:
    """Return the facts of a line without its score.

    Parameters
    ----------
    desk : Desk
    db : Connection
    stored : StoredLine
    day : date
    files : Files
    """
    dossier, past = files.dossiers[stored.customer_id], files.pasts[stored.id]
    told = [one.report for one in dossier.bureau]
    history = history_of(desk, db, stored, day, told, past)
    means = _means(desk, dossier, day)
    if means.stale_bureau:
        history = replace(history, enquiries=None, others=None)
    late, clear = _overdue(desk, db, stored, day, files)
    policy = desk.rules.line_policy(stored.product)
    return Facts(
        outstanding_minor=stored.totals.outstanding_minor,
        held_minor=stored.totals.held_minor,
        measures=measures(history, policy, day),
        days_past_due=late,
        clear_since=clear,
        consent=dossier.consent(CREDIT, day) is not None,
        dispute=dossier.disputed(),
        forborne_on=forborne_on(desk, dossier, day),
        budget_used=files.used[stored.budget_id],
        last_draw_on=history.draws[-1][0] if history.draws else None,
    )


def arrears_of(
    desk: Desk, db: Connection, stored: StoredLine, day: date, files: Files | None = None
) -> Facts:
    """Return what the daily ageing of a line looks at, and nothing more."""
    late, clear = _overdue(desk, db, stored, day, files)
    return Facts(
        outstanding_minor=stored.totals.outstanding_minor,
        held_minor=stored.totals.held_minor,
        days_past_due=late,
        clear_since=clear,
    )


def _overdue(
    desk: Desk, db: Connection, stored: StoredLine, day: date, files: Files | None
) -> tuple[int, date | None]:
    """Return days past due, and since when nothing is; who owes and owed nothing is not asked."""
    if not may_be_late(stored):
        return 0, None
    drawn = None if files is None else files.drawn[stored.id]
    return days_past_due(desk, db, stored.id, day, drawn)


def forborne_on(desk: Desk, dossier: Dossier, day: date) -> date | None:
    """Return the local day of the newest concession that still counts on a day."""
    granted = (
        desk.today(one.resolved_at)
        for one in dossier.cases
        if one.outcome == GRANTED and one.resolved_at is not None
    )
    newest = max((since for since in granted if since <= day), default=None)
    months = desk.rules.line.arrears.forbearance_months
    return newest if newest is not None and add_months(newest, months) > day else None


def budget_id(db: Connection) -> str | None:
    """Return the fund that a new line is committed from, if there is one."""
    try:
        return funds.get_fund(db, BUDGET).id
    except NotFound:
        return None


def _standing(
    desk: Desk,
    customer_id: str,
    stored: StoredLine | None,
    line: Line,
    dossier: Dossier,
    facts: Facts,
    scales: Mapping[tuple[str, str], Decimal],
    now: datetime,
) -> Standing:
    day, rules = desk.today(now), desk.rules.of(line.product)
    allowed = dossier.holders(CREDIT, day)
    scored, refusal, snapshot = _scored(desk, rules.policy, customer_id, now, allowed)
    # Who asks for a proven income takes nobody's own word: it has no upper end.
    means = _means(desk, dossier, day, own_word=not rules.product.income_minor)
    if means.stale_bureau and dossier.report(day) is not None:
        snapshot = replace(snapshot, missing={**snapshot.missing, BUREAU: STALE})
    if not snapshot.missing:
        score = snapshot.rating.score
        facts = replace(facts, measures={**facts.measures, "score": score})
    base = Inputs(
        day=day,
        current_minor=None if stored is None else line.effective_limit_minor,
        drawn_minor=facts.outstanding_minor,
    )
    inputs = means.into(base)
    scale = scales.get((line.product, snapshot.rating.grade), _ONE)
    caps = decide(rules.policy, rules.pack, snapshot, inputs)
    return Standing(
        day=day,
        stored=stored,
        line=line,
        rules=rules,
        scored=scored,
        refusal=refusal,
        snapshot=snapshot,
        means=means,
        inputs=inputs,
        scale=scale,
        caps=caps,
        target=target_of(caps, rules.line, day, scale=scale),
        facts=facts,
        dossier=dossier,
        shade=_shade(desk, scored, customer_id, allowed, now),
    )


def _shade(
    desk: Desk, scored: Scored | None, customer_id: str, allowed: Collection[str], now: datetime
) -> Shade | None:
    """Return what the challenger says beside the champion; None where it decides itself."""
    found = desk.scores.shadow.score(customer_id, text_of(now), allowed) if scored else None
    decides = scored is not None and found is not None and found.release == scored.release.name
    return None if decides else found


def _means(desk: Desk, dossier: Dossier, day: date, *, own_word: bool = True) -> Means:
    told = dossier.report(day)
    view = None if told is None else told.view(desk.rules.pack, day)
    proofs = [one.proof for one in dossier.evidence if own_word or one.proof.source != DECLARED]
    known = [one for one in proofs if _has_haircut(desk, one.kind, one.source)]
    return assess(known, view, desk.rules.evidence, day)


def _has_haircut(desk: Desk, kind: str, source: str) -> bool:
    """Return whether the rules of today still take proofs from a source; an unknown one is idle."""
    return source in desk.rules.evidence.kinds[kind].haircuts


def _scored(
    desk: Desk, policy: Policy, customer_id: str, now: datetime, allowed: Collection[str]
) -> tuple[Scored | None, ConfideError | None, Snapshot]:
    """Return a customer's score; where none can be had, why, and a snapshot that knows nothing."""
    holders = desk.scores.federation.holders
    if not allowed:
        return None, None, _nothing_known(policy, dict.fromkeys(holders, NOT_ALLOWED))
    try:
        scored = desk.scores.score(customer_id, now=text_of(now), allowed=allowed)
    except ReleaseRefused as error:
        return None, error, _nothing_known(policy, dict.fromkeys(holders, STALE))
    except NotFound as error:
        return None, error, _nothing_known(policy, dict.fromkeys(holders, UNKNOWN))
    except EnvironmentFault as error:
        return None, error, _nothing_known(policy, dict.fromkeys(holders, NO_FEED))
    return scored, None, scored.snapshot


def _nothing_known(policy: Policy, missing: dict[str, str]) -> Snapshot:
    """Return a snapshot in which every holder is silent.

    It counts at the safest grade there is: so nothing is cut that would not be cut of everybody.
    """
    best = Rating(0, _MICRO, 0, next(iter(policy.grades)))
    return Snapshot(best, best, {}, missing, ())
