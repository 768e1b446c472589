"""Random lines, facts and targets of every kind, and what must be equal of two reviews."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

from server.limits.basis.reasons import Reason
from server.limits.batch.batch import review_batch
from server.limits.batch.pack import columns_of, target_columns
from server.limits.batch.rows import line_of_row
from server.limits.batch.state import KINDS
from server.limits.line.delinquency import add_months, bucket_of
from server.limits.line.line import Delinquency, Line, Offer, State, Temporary, Window
from server.limits.line.review import review
from server.limits.line.target import target_from
from server.limits.line.triggers import Facts

DAY = date(2027, 3, 1)
OPEN = (
    *[State.ACTIVE] * 4,
    *[State.OBSERVATION] * 3,
    *[State.REDUCED] * 3,
    *[State.RESTORING] * 2,
    State.FROZEN,
    State.CLOSING,
)
CAPS = (
    ("P-GRADE", "policy"),
    ("P-LOSS", "policy"),
    ("P-INCOME", "policy"),
    ("P-CAPACITY", "policy"),
    ("P-LAW", "outside"),
    ("C-CAP", "outside"),
)
SCORE = tuple(Reason(f"S-{code}", "score", points_lost=7, holders=("bank",)) for code in "ABCD")
SHARES = tuple(Decimal(one) for one in ("1", "1", "1", "0.97", "0.9", "0.7", "0.333", "0"))


def sometimes(rng, share, value, other=None):
    """Return a value now and then."""
    return value() if rng.random() < share else other


def past(rng, days=120):
    """Return a day of the last months, the edges of the policy's periods often."""
    edges = (0, 1, 29, 30, 31, 59, 60, 61, 89, 90, 91)
    ago = rng.choice(edges) if rng.random() < 0.5 else rng.randint(0, days)
    return DAY - timedelta(days=ago)


def months_ago(rng, months):
    """Return a day about so many months ago, or any of the last years."""
    edge = add_months(DAY, -months) + timedelta(days=rng.choice([-1, 0, 1]))
    return rng.choice([edge, past(rng, 500)])


def random_line(rng, policy, *, large=False):
    """Return a line that keeps the rules of `Line`, its fields otherwise at random."""
    unit = policy.quantum_minor * (10**7 if large else 1)
    approved = unit * rng.randint(0, 300)
    caps = rng.choice([approved, unit * rng.randint(0, approved // unit)])
    effective = rng.choice([caps, unit * rng.randint(0, caps // unit)])
    state = rng.choice(OPEN)
    causes = ("arrears", "arrears", "default", "fraud", "purpose")
    return Line(
        product="revolving_consumer",
        state=state,
        version=rng.randint(1, 40),
        base_limit_minor=rng.choice([approved, unit * rng.randint(0, 300)]),
        approved_limit_minor=approved,
        caps_limit_minor=caps,
        effective_limit_minor=effective,
        advised_limit_minor=effective + rng.choice([0, 0, 12_345]),
        windows=random_windows(rng, policy),
        delinquency=random_delinquency(rng, policy),
        clean_reviews=rng.choice([0, 0, 1, 2, 7]),
        frozen_for=rng.choice(causes) if state is State.FROZEN else "",
        score=sometimes(rng, 0.7, lambda: rng.randint(560, 720)),
        opened_on=sometimes(rng, 0.95, lambda: past(rng, 700)),
        next_review_on=sometimes(rng, 0.95, lambda: DAY + timedelta(rng.choice([0, 0, 0, -3, 5]))),
        changed_on=past(rng),
        cut_on=sometimes(rng, 0.4, lambda: past(rng)),
        caps_cut_on=sometimes(rng, 0.4, lambda: past(rng)),
        loosened_on=sometimes(rng, 0.4, lambda: past(rng)),
        restored_on=sometimes(rng, 0.1, lambda: past(rng)),
        increased_on=sometimes(rng, 0.2, lambda: months_ago(rng, 6)),
        offered_on=sometimes(rng, 0.2, lambda: months_ago(rng, 6)),
        consent_withdrawn_on=sometimes(rng, 0.03, lambda: past(rng)),
        temporary=sometimes(rng, 0.1, lambda: random_temporary(rng)),
        offer=sometimes(rng, 0.1, lambda: random_offer(rng, approved, unit)),
        before_cuts=tuple(
            sorted((past(rng), unit * rng.randint(0, 300)) for _ in range(rng.choice([0, 0, 1, 3])))
        ),
    )


def random_windows(rng, policy):
    """Return windows of some rules in any order."""
    if rng.random() < 0.45:
        return ()
    codes = [*policy.rules, "B08"]
    found = []
    for code in rng.sample(codes, rng.choice([1, 1, 2, 3])):
        opened = past(rng)
        seen = max(opened, past(rng))
        score = sometimes(rng, 0.6, lambda: rng.randint(560, 720))
        found.append(Window(code, opened, seen, rng.randint(0, 3), rng.randint(0, 3), score))
    return tuple(found)


def random_delinquency(rng, policy):
    if rng.random() < 0.6:
        return Delinquency()
    days = rng.choice([0, 0, 0, 2, 10, 29, 30, 45, 60, 90, 130])
    return Delinquency(
        days_past_due=days,
        bucket=bucket_of(days, policy.arrears),
        curing=rng.random() < 0.7,
        clear_since=sometimes(rng, 0.6, lambda: past(rng)),
        defaulted_on=sometimes(rng, 0.2, lambda: past(rng)),
        forborne_on=sometimes(rng, 0.2, lambda: months_ago(rng, 12)),
    )


def random_temporary(rng):
    since = past(rng, 30)
    return Temporary(50_000, "emergency", since, DAY + timedelta(rng.randint(-3, 20)))


def random_offer(rng, approved, unit):
    made = past(rng, 30)
    until = max(made, DAY + timedelta(rng.randint(-3, 20)))
    return Offer(approved + unit * rng.randint(1, 90), made, until)


def random_facts(rng, line):
    """Return facts about the thresholds of the policy, some not known."""
    whole = max(line.effective_limit_minor, 1)
    owed = rng.choice([0, 0, whole // 2, whole, 2 * whole])
    spent = rng.choice([0, 60_000, 100_000, whole])
    others = rng.choice([0, 100_000, 100_001, whole])
    known = {
        "draws_30d": rng.choice([0, 1, 3, 4, 5, 6, 9]),
        "peak_balance_30d": whole * rng.choice([0, 40, 80, 81, 89, 90, 91]) // 100,
        "spend_30d": spent,
        "spend_90d": spent * rng.choice([10, 13, 14, 15, 20, 23, 30]) // 10,
        "enquiries_30d": rng.choice([0, 0, 0, 1, 3, 4]),
        "enquiries_90d": rng.choice([0, 0, 1, 2, 5, 6]),
        "others": others,
        "others_90d_ago": others * rng.choice([5, 6, 7, 9, 10]) // 10,
        "forbidden_purposes_30d": rng.choice([0] * 30 + [1]),
        "score": rng.randint(560, 720),
    }
    if rng.random() < 0.2:
        for name in rng.sample(sorted(known), rng.randint(1, 9)):
            del known[name]
    return Facts(
        outstanding_minor=owed,
        held_minor=rng.choice([0, 0, 1_234]),
        measures=known,
        days_past_due=rng.choice([0] * 20 + [1, 3, 4, 29, 30, 59, 60, 89, 90, 200]),
        clear_since=sometimes(rng, 0.2, lambda: past(rng) + timedelta(rng.choice([0, 0, 2]))),
        forborne_on=sometimes(rng, 0.03, lambda: months_ago(rng, 12)),
        fraud=rng.random() < 0.01,
        consent=rng.random() > 0.03,
        dispute=rng.random() < 0.03,
        budget_used=rng.choice([Decimal(0), Decimal("0.94"), Decimal("0.949999"), Decimal("0.95")])
        if rng.random() < 0.1
        else Decimal("0.4"),
        last_draw_on=sometimes(rng, 0.8, lambda: past(rng, 900)),
    )


def random_target(rng, policy, line):
    """Return a target about the line's own amounts."""
    unit = policy.quantum_minor
    about = rng.choice(
        [line.effective_limit_minor, line.approved_limit_minor, line.caps_limit_minor]
    )
    smallest = max(0, rng.choice([about, about * 2, about // 2, about + 3 * unit, about - unit]))
    binding = rng.sample(CAPS, rng.choice([1, 1, 1, 2]))
    reasons = [Reason(*one, amount_minor=smallest) for one in binding]
    reasons += rng.sample(SCORE, rng.choice([0, 0, 1, 3, 4]))
    multiplier = rng.choice(SHARES[:-1])
    absolute = sometimes(rng, 0.2, lambda: rng.choice([smallest, smallest + 5 * unit]))
    return target_from(
        smallest,
        tuple(reasons),
        policy,
        multiplier=multiplier,
        scenario="slump" if multiplier < 1 else "",
        scale=rng.choice(SHARES),
        absolute_minor=absolute,
        missing=rng.choice([{}] * 12 + [{"bureau": "stale"}, {"bank": "no feed", "shop": "stale"}]),
    )


def random_page(seed, rows, policy, *, large=False):
    """Return lines, facts and targets: half of them rough, half nearly quiet, so that they rise."""
    rng = random.Random(seed)
    page = []
    for row in range(rows):
        line = random_line(rng, policy, large=large)
        facts = random_facts(rng, line)
        goal = random_target(rng, policy, line)
        page.append((line, facts, goal) if row % 2 else quietened(rng, line, facts, goal))
    return tuple(list(column) for column in zip(*page, strict=True))


def quietened(rng, line, facts, goal):
    """Return the same with little in the way of a rise; what there is stands alone."""
    mostly = rng.random() < 0.8
    line = replace(
        line,
        windows=line.windows[:1] if rng.random() < 0.3 else (),
        delinquency=Delinquency() if line.state is not State.FROZEN else line.delinquency,
        cut_on=sometimes(rng, 0.3, lambda: past(rng)),
        caps_cut_on=sometimes(rng, 0.2, lambda: past(rng)),
        consent_withdrawn_on=None,
        next_review_on=DAY,
        clean_reviews=2,
        offer=sometimes(rng, 0.1, lambda: line.offer),
    )
    known = {**facts.measures, "draws_30d": 1, "peak_balance_30d": 0, "score": line.score or 700}
    known |= {"spend_30d": 0, "spend_90d": 1, "enquiries_30d": 0, "enquiries_90d": 0}
    known |= {"others": 0, "others_90d_ago": 0, "forbidden_purposes_30d": 0}
    quiet = Facts(measures=known, last_draw_on=facts.last_draw_on, clear_since=facts.clear_since)
    if mostly and goal.limit_minor < 2 * line.approved_limit_minor:
        whole = 2 * line.approved_limit_minor
        goal = replace(goal, limit_minor=whole, full_minor=whole, scaled_minor=whole, missing={})
    return line, quiet if rng.random() < 0.9 else facts, goal


def reviewed(page, policy, day=DAY):
    """Return the batch review of a page."""
    lines, facts, targets = page
    return review_batch(columns_of(lines, facts, policy), target_columns(targets), policy, day)


def differences(page, policy, day=DAY, done=None):
    """Return how the rows of a batch review differ from the scalar review of each."""
    done = reviewed(page, policy, day) if done is None else done
    found = []
    for row, (line, facts, target) in enumerate(zip(*page, strict=True)):
        one = review(line, facts, target, policy, day)
        kinds = [kind for kind in KINDS if done.happened[row] & (1 << KINDS.index(kind))]
        pairs = {
            "line": (line_of_row(done.line, row), one.line),
            "events": (kinds, [event.kind for event in one.events]),
            "codes": (list(done.codes_of(row)), [reason.code for reason in one.reasons]),
            "changed": (bool(done.changed[row]), is_changed(line, one)),
        }
        found += [(row, name, *pair) for name, pair in pairs.items() if pair[0] != pair[1]]
    return found


def is_changed(line, one):
    """Return whether more changed than counters and days, as the scalar review says it."""
    after = one.line
    return (
        len(one.events) > 1
        or {window.code for window in line.windows} != {window.code for window in after.windows}
        or (line.delinquency.bucket, line.delinquency.curing)
        != (after.delinquency.bucket, after.delinquency.curing)
        or line.caps_limit_minor != after.caps_limit_minor
        or line.advised_limit_minor != after.advised_limit_minor
        or line.offer != after.offer
    )
