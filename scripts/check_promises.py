"""Do people who follow what they are told get what they were promised?

    python scripts/check_promises.py --customers 10000 --json promises.json

Simulated people live with a line for some months. Each whose limit is not whole is then told its
way back, as a customer of the service is: which steps, on which days, if every review is clean.
From there on they keep to it - few draws, little use, nothing overdue - and nothing else changes;
the reviews are those of the service. Ends with 1 if one of them has less on the day of a step than
was promised for it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from _bench import machine, versions, write_json

from server.accounts.scores import load_policy
from server.commands.replay_common import load_line_policy
from server.limits.batch.batch import BatchReviewed, review_batch
from server.limits.batch.columns import NEVER, Columns, FactColumns
from server.limits.batch.rows import facts_of_row, line_of_row, target_of_row
from server.limits.line.restore import Restoration, restoration
from server.limits.rules.line_policy import LinePolicy
from server.replay.book import Rules
from server.replay.figures import Prices
from server.replay.play import Arm, Setting, learn, moments
from shared.world.chance import Span, spans
from shared.world.economy import ECONOMIES
from shared.world.life import warm

Ints = NDArray[np.int64]
LIVED, FOLLOWED = 9, 40
# A recovery of the score that every rule takes for one.
_RECOVERED = 100


@dataclass(frozen=True, slots=True)
class Promised:
    """What some people of a block were told.

    Parameters
    ----------
    done : BatchReviewed
        The reviews that they were told it after.
    rows : (m,) int64
        Who was told, among the lines.
    plans : sequence of Restoration
    """

    done: BatchReviewed
    rows: Ints
    plans: Sequence[Restoration]


def promised(arm: Arm, span: Span, seed: int, most: int) -> Promised:
    """Let people live for some months, and tell those whose limit is not whole their way back."""
    setting = Setting(span.stop, LIVED, seed, ECONOMIES["calm"], (arm,))
    *_, last = moments(setting, span, warm(span, seed), arm)
    done = last.book.reviewed
    assert done is not None
    short = done.line.effective_limit_minor < done.line.approved_limit_minor
    rows = np.flatnonzero(short)[:most]
    plans = [_plan(done, int(row)) for row in rows]
    return Promised(done, rows, plans)


def _plan(done: BatchReviewed, row: int) -> Restoration:
    return restoration(
        line_of_row(done.line, row),
        facts_of_row(done.columns.facts, row),
        target_of_row(done.targets, row),
        done.policy,
        done.as_of,
    )


def follow(done: BatchReviewed, facts: FactColumns) -> list[Ints]:
    """Return everybody's limit after each coming review that finds these facts."""
    line = done.line
    limits = []
    for step in range(1, FOLLOWED + 1):
        day = done.as_of + timedelta(days=step * done.policy.every_days)
        # The caps are those of the day of the promise: nothing else changes.
        line = review_batch(Columns(line, facts), done.targets, done.policy, day).line
        limits.append(line.effective_limit_minor)
    return limits


def kept_to(done: BatchReviewed) -> FactColumns:
    """Return the facts of people who do what clean reviews need."""
    facts, size = done.columns.facts, len(done)
    nothing = np.zeros(size, np.int64)
    calm = dict.fromkeys(facts.measures, nothing)
    calm |= dict.fromkeys(("others", "others_90d_ago"), facts.measures["others"])
    calm["score"] = facts.measures["score"] + _RECOVERED
    paid = np.where(facts.clear_since == NEVER, done.as_of.toordinal(), facts.clear_since)
    return replace(
        facts,
        outstanding_minor=nothing,
        held_minor=nothing,
        measures=calm,
        days_past_due=np.zeros(size, np.int32),
        clear_since=paid.astype(np.int32),
        budgets=(Decimal(0),),
    )


def broken(told: Promised, limits: Sequence[Ints], policy: LinePolicy) -> list[dict[str, Any]]:
    """Return every step that was promised and did not come, or came smaller."""
    found = []
    for row, plan in zip(told.rows.tolist(), told.plans, strict=True):
        for step in plan.steps:
            reviews = (step.on - told.done.as_of).days // policy.every_days
            if not 1 <= reviews <= len(limits):
                continue
            has = int(limits[reviews - 1][row])
            if has < step.limit_minor:
                found.append(
                    {
                        "row": row,
                        "state": plan.state.value,
                        "on": step.on.isoformat(),
                        "promised_minor": step.limit_minor,
                        "has_minor": has,
                    }
                )
    return found


def main() -> int:
    """Promise, follow, compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--customers", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    rules = Rules("reference", *load_policy(None), load_line_policy(None))
    arm = Arm(rules, learn(given.seed), Prices(float(rules.policy.capacity.annual_rate)))
    people = steps = restored = 0
    bad: list[dict[str, Any]] = []
    for span in spans(100 * given.customers):
        if people >= given.customers:
            break
        told = promised(arm, span, given.seed, given.customers - people)
        people += len(told.plans)
        steps += sum(len(plan.steps) for plan in told.plans)
        restored += sum(plan.restored_on is not None for plan in told.plans)
        bad += broken(told, follow(told.done, kept_to(told.done)), rules.line)
        print(f"{people:,} people, {steps:,} steps promised, {len(bad)} broken", flush=True)
    share = 1.0 - len({(one["row"], one["on"]) for one in bad}) / max(steps, 1)
    print(f"{restored:,} were promised all of it; {share:.2%} of the promises were kept")
    write_json(
        given.json,
        {
            "machine": machine(),
            "versions": versions("numpy"),
            "people": people,
            "steps": steps,
            "promised_whole": restored,
            "broken": bad,
        },
    )
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
