"""What the caps allow many lines: the twin of `decide.decide` and `target.target_of` together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Final

import numpy as np

from server.limits.basis.reasons import Reason
from server.limits.batch.caps import FREE, all_caps
from server.limits.batch.columns import NONE, Counts, Flags, Money, TargetColumns
from server.limits.batch.exact import share_of
from server.limits.batch.inputs import InputColumns, ScoreColumns
from server.limits.caps.caps import CAPS, FROM_SCORE
from server.limits.caps.decide import CAP_REASONS
from server.limits.line.reasons import MOST_REASONS
from server.limits.rules.line_policy import LinePolicy
from server.limits.rules.pack import Pack
from server.limits.rules.policy import Policy
from server.limits.words.explain import ENQUIRIES

_ABSOLUTE: Final = ("jurisdiction", "own")
_ONE: Final = Decimal(1)


def targets_of(
    policy: Policy,
    pack: Pack,
    scores: ScoreColumns,
    inputs: InputColumns,
    line_policy: LinePolicy,
    day: date,
    *,
    scales: Sequence[Decimal] = (_ONE,),
    scale: Counts | None = None,
) -> TargetColumns:
    """Return the targets that the caps give, row by row those of `decide` and `target_of`.

    Parameters
    ----------
    policy : Policy
    pack : Pack
        Of the policy's jurisdiction.
    scores : ScoreColumns
    inputs : InputColumns
    line_policy : LinePolicy
    day : date
    scales : sequence of Decimal
        Of the allocator, in [0, 1].
    scale : (n,) Counts, optional
        Places in `scales`; without it all are the first.

    Raises
    ------
    ConfigError, UsageError
        See `decide` and `batch_caps.all_caps`.
    """
    caps = all_caps(policy, pack, scores, inputs, day)
    smallest = np.minimum.reduce(list(caps.values()))
    own = policy.macro_on(day).multiplier
    multiplier, scenario = _downturn(own, line_policy, day)
    quantum = line_policy.quantum_minor
    limit = share_of(smallest, multiplier, quantum)
    kept = scores.is_silent & (
        share_of(smallest, own, policy.quantum_minor) >= inputs.current_minor
    )
    book, reasons = _reasons(caps, smallest, scores, macro=own < 1, without=kept)
    return TargetColumns(
        limit_minor=limit,
        full_minor=share_of(smallest, _ONE, quantum),
        scaled_minor=scaled_by(limit, scales, scale, quantum),
        absolute_minor=_absolute(caps, smallest.size, quantum),
        amount_minor=smallest,
        book=book,
        with_amount=np.array([reason.family != "score" for reason in book], np.bool_),
        reasons=reasons,
        scenarios=(scenario,),
        scenario=np.zeros(smallest.size, np.int32),
        silences=scores.silences,
        missing=scores.missing,
    )


def _downturn(own: Decimal, line_policy: LinePolicy, day: date) -> tuple[Decimal, str]:
    """Return the stricter of the policy's multiplier and a downturn of the line policy.

    Of two alike the line policy names the scenario, for it knows its end (`target.target_of`).
    """
    overlay, multiplier, scenario = line_policy.overlay_on(day), own, "policy"
    if overlay is not None and overlay.multiplier <= own:
        multiplier, scenario = overlay.multiplier, overlay.scenario
    return multiplier, scenario if multiplier < 1 else ""


def scaled_by(limit: Money, scales: Sequence[Decimal], scale: Counts | None, quantum: int) -> Money:
    """Return limits after the allocator.

    Parameters
    ----------
    limit : (n,) Money
    scales : sequence of Decimal
    scale : (n,) Counts or None
        See `targets_of`.
    quantum : int
        Down to multiples of it.
    """
    if scale is None:
        return share_of(limit, scales[0], quantum)
    result = np.zeros_like(limit)
    for place, share in enumerate(scales):
        mine: Flags = scale == place
        result[mine] = share_of(limit[mine], share, quantum)
    return result


def _absolute(caps: Mapping[str, Money], size: int, quantum: int) -> Money:
    """Return the most that law and customer allow; -1 where neither says."""
    found = [caps[name] for name in _ABSOLUTE if name in caps]
    least = np.minimum.reduce([np.full(size, FREE, np.int64), *found])
    return np.where(least == FREE, NONE, least // quantum * quantum)


def _reasons(
    caps: Mapping[str, Money],
    smallest: Money,
    scores: ScoreColumns,
    *,
    macro: bool,
    without: Flags,
) -> tuple[tuple[Reason, ...], Counts]:
    """Return the book and the places in it: the caps that bind, then the score's own reasons.

    Of the score's, as many as are left of four, and one about enquiries whatever is left
    (`explain.principal`); none where no cap bound that moves with the score, or where the limit of
    today is kept since a holder is missing.
    """
    names = [name for name in CAPS if name in caps]
    book = (*(Reason(*CAP_REASONS[name]) for name in names), *scores.book)
    binding = np.stack([caps[name] == smallest for name in names], axis=1)
    bound = binding.sum(axis=1)
    width = int(bound.max(initial=0)) + scores.reasons.shape[1]
    reasons = np.full((smallest.size, width), NONE, np.int32)
    filled = np.zeros(smallest.size, np.int64)
    for column in range(len(names)):
        _append(reasons, filled, binding[:, column], np.full(smallest.size, column, np.int32))
    from_score = binding[:, [name in FROM_SCORE for name in names]].any(axis=1) & ~without
    left = np.where(from_score, np.maximum(0, MOST_REASONS - bound - macro), 0)
    about_enquiries = np.array([one.code in ENQUIRIES for one in scores.book] + [False], np.bool_)
    told = np.zeros(smallest.size, np.bool_)
    for column in range(scores.reasons.shape[1]):
        place = scores.reasons[:, column]
        enquiry = about_enquiries[place] & (place != NONE)
        here = (place != NONE) & ((column < left) | (from_score & enquiry & ~told))
        _append(reasons, filled, here, place + len(names))
        told |= here & enquiry
    return book, reasons


def _append(
    reasons: Counts, filled: np.ndarray[tuple[int], np.dtype[np.int64]], where: Flags, place: Counts
) -> None:
    rows = np.flatnonzero(where)
    reasons[rows, filled[rows]] = place[rows]
    filled[rows] += 1
