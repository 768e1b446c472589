"""Buckets, freezes and cures, for many lines: `review_down.buckets` and what it goes by."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from server.limits.batch.columns import AT, NEVER, Counts, Flags, LineColumns
from server.limits.batch.days import month_earlier
from server.limits.batch.state import BatchUnderReview, opened
from server.limits.line.delinquency import bucket_of
from server.limits.line.line import RANK, State


def buckets(it: BatchUnderReview) -> None:
    """Move the delinquency on; freeze, or end a freeze that is cured.

    Parameters
    ----------
    it : BatchUnderReview
    """
    before = it.line.frozen_for
    it.line = _advanced(it)
    cause = _cause(it)
    open_ = ~it.line.is_in(State.CLOSING)
    frozen = open_ & (cause > before)
    late = (cause == RANK.index("arrears")) | (cause == RANK.index("default"))
    it.told.tell(frozen & late, "B08")
    it.told.tell(frozen & (cause == RANK.index("fraud")), "P-FRAUD")
    _tell_purpose(it, frozen & (cause == RANK.index("purpose")))
    it.withdraw_offer(frozen)
    it.note("frozen", frozen, state=AT[State.FROZEN], frozen_for=cause)
    waits = (before == RANK.index("arrears")) | (before == RANK.index("default"))
    _cure(it, open_ & ~frozen & waits & ~it.line.curing & it.scheduled)
    it.moving = ~it.line.is_in(State.FROZEN, State.CLOSING)


def _advanced(it: BatchUnderReview) -> LineColumns:
    """Return where the lines stand on the day (`server.limits.line.delinquency.advance`)."""
    line, facts, arrears = it.line, it.facts, it.policy.arrears
    days = facts.days_past_due
    stays = (days == 0) & (line.days_past_due == 0) & ~line.curing & (facts.forborne_on == NEVER)
    curing = line.curing | (days > arrears.grace_days) | (facts.forborne_on != NEVER)
    fresh = np.where(days >= arrears.default_from, it.as_of, NEVER)
    defaulted = np.where(line.defaulted_on != NEVER, line.defaulted_on, fresh)
    told = (facts.clear_since != NEVER) & (facts.clear_since <= it.as_of)
    known = np.where(told, facts.clear_since, it.as_of)
    first = np.where(line.clear_since != NEVER, line.clear_since, known)
    clear = np.where((days == 0) & curing, first, NEVER)
    forborne = np.where(facts.forborne_on != NEVER, facts.forborne_on, line.forborne_on)
    wait = np.where(defaulted != NEVER, arrears.default_cure_days, arrears.cure_days)
    over = curing & (clear != NEVER) & (clear + wait <= it.as_of)
    over &= (forborne == NEVER) | (forborne <= month_earlier(it.as_of, arrears.forbearance_months))
    texts, bucket = _buckets(it, days)

    def now(value: Counts, old: Counts, cured: int) -> Counts:
        return np.where(stays, old, np.where(over, cured, value)).astype(np.int32)

    return replace(
        line,
        texts=texts,
        days_past_due=now(days, line.days_past_due, 0),
        bucket=np.where(stays, line.bucket, bucket).astype(np.int32),
        curing=np.where(stays, line.curing, curing & ~over),
        clear_since=now(clear.astype(np.int32), line.clear_since, NEVER),
        defaulted_on=now(defaulted.astype(np.int32), line.defaulted_on, NEVER),
        forborne_on=now(forborne.astype(np.int32), line.forborne_on, NEVER),
    )


def _buckets(it: BatchUnderReview, days: Counts) -> tuple[tuple[str, ...], Counts]:
    """Return the texts with all names of buckets in them, and each line's place."""
    arrears = it.policy.arrears
    names = [bucket_of(edge, arrears) for edge in (0, *arrears.buckets)]
    texts = tuple(dict.fromkeys([*it.line.texts, *names]))
    places = np.array([texts.index(name) for name in names], np.int32)
    return texts, places[np.searchsorted(arrears.buckets, days, side="right")]


def _cause(it: BatchUnderReview) -> Counts:
    """Return why lines must be frozen, gravest first, as places in `RANK`."""
    days, arrears = it.facts.days_past_due, it.policy.arrears
    cause = np.where(days >= arrears.freeze_from, RANK.index("arrears"), 0)
    cause = np.where(days >= arrears.default_from, RANK.index("default"), cause)
    for code, rule in it.policy.rules.items():
        if rule.effect == "freeze":
            cause = np.where(it.seen.fired[code], RANK.index("purpose"), cause)
    return np.where(it.facts.fraud, RANK.index("fraud"), cause).astype(np.int32)


def _tell_purpose(it: BatchUnderReview, where: Flags) -> None:
    """Tell the first rule that froze."""
    for code, rule in it.policy.rules.items():
        if rule.effect == "freeze":
            it.told.tell(where & it.seen.fired[code], code)
            where = where & ~it.seen.fired[code]


def _cure(it: BatchUnderReview, cured: Flags) -> None:
    """Let draws through again, at the floor and under observation."""
    low = np.minimum(it.line.effective_limit_minor, it.floor())
    windows, code = it.windows, it.windows.codes.index("B08")
    kept = windows.only(~cured[windows.row] | (windows.code != code))
    it.windows = kept.and_then(opened(it, cured, code, run=0, score=None))
    it.told.tell(cured, "B08")
    changes = it.lowered_to(cured, low)
    it.note("cured", cured, state=AT[State.OBSERVATION], frozen_for=0, **changes)
    it.start = np.where(cured, low, it.start)
    it.fell = it.fell | cured
