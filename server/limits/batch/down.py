"""What reviews may take, for many lines: `server.limits.line.review_down`, step by step."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from server.limits.batch.columns import AT, NEVER, NONE, Counts, Flags, Money, Windows
from server.limits.batch.exact import share_of
from server.limits.batch.state import BatchUnderReview, opened
from server.limits.line.line import State


def lapse(it: BatchUnderReview) -> None:
    """Let what has run out fall away.

    Parameters
    ----------
    it : BatchUnderReview
    """
    line = it.line
    over = (line.temporary_minor != NONE) & (line.temporary_until < it.as_of)
    it.told.tell(over, "P-TEMP")
    gone = {"temporary_minor": NONE, "temporary_purpose": NONE}
    it.note("lapsed", over, **gone, temporary_since=NEVER, temporary_until=NEVER)
    it.withdraw_offer((it.offer_minor != NONE) & (it.offer_until < it.as_of))


def watch(it: BatchUnderReview) -> None:
    """Move the windows on; go under observation unless that would flap.

    Parameters
    ----------
    it : BatchUnderReview
    """
    rules, line, known = it.policy.rules, it.line, it.before.windows
    it.windows = _watched(it)
    fired = {code: found & it.moving for code, found in it.seen.fired.items()}
    for code, rule in rules.items():
        if rule.effect == "hold":
            mine = known.code == known.codes.index(code)
            it.last_words.tell(fired[code] & ~known.rows(len(line), mine), code)
    settled = (line.loosened_on == NEVER) | (it.as_of - line.loosened_on >= it.policy.dwell_days)
    observe = [code for code, rule in rules.items() if rule.effect == "observe"]
    anything = np.zeros(len(line), np.bool_)
    for code in observe:
        anything |= fired[code]
    observed = anything & settled & ~line.is_in(State.OBSERVATION)
    for code in observe:
        it.told.tell(observed & fired[code], code)
    it.note("observed", observed, state=AT[State.OBSERVATION])


def _watched(it: BatchUnderReview) -> Windows:
    """Return the windows after what the reviews saw (`server.limits.line.triggers.watched`)."""
    had, size = it.windows, len(it.line)
    score = it.facts.measures.get("score", np.full(size, NONE, np.int64))
    fired, calm = np.zeros(had.row.size, np.bool_), np.zeros(had.row.size, np.bool_)
    for place, code in enumerate(had.codes):
        mine = had.code == place
        if code in it.policy.rules:
            fired[mine] = it.seen.fired[code][had.row[mine]]
            calm[mine] = it.seen.calm[code][had.row[mine]]
        else:  # a window after a freeze for arrears has no rule of its own
            calm[mine] = True
    calm &= it.seen.clean[had.row]
    moving, counts = it.moving[had.row], it.scheduled[had.row]
    seen = moving & fired
    passed = moving & ~fired & counts & (had.opened_on < it.as_of)
    run = np.where(seen, had.run + counts, np.where(passed, 0, had.run))
    clean = np.where(passed, np.where(calm, had.clean + 1, 0), np.where(seen, 0, had.clean))
    result = replace(
        had,
        seen_on=np.where(seen, it.as_of, had.seen_on).astype(np.int32),
        run=run.astype(np.int32),
        clean=clean.astype(np.int32),
        score=np.where(seen, score[had.row], had.score).astype(np.int32),
    )
    for code, rule in it.policy.rules.items():
        if rule.effect != "freeze":
            place = had.codes.index(code)
            new = it.seen.fired[code] & it.moving & ~had.rows(size, had.code == place)
            if new.any():
                scheduled = it.scheduled.astype(np.int32)
                result = result.and_then(opened(it, new, place, run=scheduled, score=score))
    return result


def caps_path(it: BatchUnderReview) -> None:
    """Move on what the limits would be had nothing been observed.

    Parameters
    ----------
    it : BatchUnderReview
    """
    goal, policy, line = it.target.lowest_minor, it.policy, it.line
    falls = it.moving & (goal < it.caps)
    rises = it.moving & ~falls & it.scheduled & ~it.barred & it.cooled(it.caps_cut_on)
    step = it.step(line.base_limit_minor, policy.up_share)
    most = np.minimum(np.maximum(goal, it.caps), line.approved_limit_minor)
    higher = np.minimum(it.caps + step, most)
    lower = it.after_cut(it.caps, goal)
    it.caps = np.where(falls, lower, np.where(rises, higher, it.caps))
    it.caps_cut_on = np.where(falls, it.as_of, it.caps_cut_on).astype(np.int32)


def cut(it: BatchUnderReview) -> None:
    """Lower limits to what the caps allow, by one step at most.

    Parameters
    ----------
    it : BatchUnderReview
    """
    limit, target = it.line.effective_limit_minor, it.target
    falls = it.moving & (target.limit_minor < limit)
    by_caps = falls & (target.full_minor < limit)
    by_downturn = falls & (target.limit_minor < np.minimum(target.full_minor, limit))
    rows = np.flatnonzero(by_caps)
    for column in range(target.reasons.shape[1]):
        it.told.tell_each(rows, place_of(it, rows, column))
        if column == 0:
            it.told.tell(by_downturn, "M-MACRO")
    it.lower("cut", falls, it.after_cut(limit, target.limit_minor))


def place_of(it: BatchUnderReview, rows: NDArray[np.int64], column: int) -> Counts:
    """Return the places, among all codes, of the reasons in a column of the targets.

    Parameters
    ----------
    it : BatchUnderReview
    rows : (m,) int64
    column : int
    """
    found = it.target.reasons[rows, column]
    return np.where(found == NONE, NONE, it.book[found]).astype(np.int32)


def step_down(it: BatchUnderReview) -> None:
    """Take a step for what goes on, for arrears, or for an idle line.

    Parameters
    ----------
    it : BatchUnderReview
    """
    start, most = it.start, np.iinfo(np.int64).max
    stepped = _stepped(it, start)
    idle, idle_low = _idle(it, start)
    steps = [("B02", _going_on(it), stepped), ("B08", _arrears(it), stepped)]
    steps.append(("I-IDLE", idle, idle_low))
    lowest = np.full(len(it.line), most)
    for _, where, low in steps:
        lowest = np.where(where, np.minimum(lowest, low), lowest)
    falls = lowest < it.line.effective_limit_minor
    for code, where, low in steps:
        it.told.tell(falls & where & (low == lowest), code)
    it.last_words.tell(~falls & ~it.fell & (lowest < most), "B03")
    it.lower("stepped_down", falls, lowest)


def _going_on(it: BatchUnderReview) -> Flags:
    windows, found = it.windows, np.zeros(len(it.line), np.bool_)
    for code, rule in it.policy.rules.items():
        if rule.steps_down:
            goes_on = (windows.code == windows.codes.index(code)) & (
                windows.run >= it.policy.down_reviews
            )
            found |= windows.rows(len(it.line), goes_on) & it.seen.fired[code]
    return found & it.moving & it.scheduled & it.line.is_in(State.OBSERVATION)


def _arrears(it: BatchUnderReview) -> Flags:
    """Take one step as a line enters the bucket, not one a review."""
    edge = it.policy.arrears.reduce_from
    return it.moving & (it.before.days_past_due < edge) & (it.facts.days_past_due >= edge)


def _idle(it: BatchUnderReview, start: Money) -> tuple[Flags, Money]:
    rule, policy, base = it.policy.inactivity, it.policy, it.line.base_limit_minor
    if rule is None:
        return np.zeros(start.size, np.bool_), start
    floor = np.minimum(start, share_of(base, rule.floor_share, policy.quantum_minor))
    low = np.maximum(floor, start - it.step(base, rule.share))
    return it.moving & it.scheduled & it.is_idle() & (low < start), low


def _stepped(it: BatchUnderReview, start: Money) -> Money:
    step = it.step(it.line.base_limit_minor, it.policy.down_share)
    low: Money = np.maximum(np.minimum(start, it.floor()), start - step)
    return low


def scale(it: BatchUnderReview) -> None:
    """Lower limits to the portfolio's share of them: never a reason about the person.

    Parameters
    ----------
    it : BatchUnderReview
    """
    limit, goal = it.line.effective_limit_minor, it.target.scaled_minor
    low = np.minimum(limit, np.maximum(goal, it.lowest_after_cut(it.start)))
    falls = it.moving & (goal < limit) & (low < limit)
    it.told.tell(falls, "C-CAP")
    it.lower("scaled", falls, low)
