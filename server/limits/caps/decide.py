"""A limit and the reasons for it: the minimum of named caps, so that the binding cap is the reason.

Where a holder is missing, nothing is raised, and nothing is cut that would not also be cut if the
holder had reported the best points there are (invariant I13).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from server.limits.basis.reasons import Family, Reason
from server.limits.caps.caps import CAPS, FROM_SCORE, Inputs, all_caps, rounded
from server.limits.caps.snapshot import Snapshot
from server.limits.rules.pack import Pack
from server.limits.rules.policy import Policy
from server.limits.words.explain import principal

CAP_REASONS: Final[Mapping[str, tuple[str, Family]]] = {
    "grade": ("P-GRADE", "policy"),
    "expected_loss": ("P-LOSS", "policy"),
    "stress_loss": ("P-STRESS", "policy"),
    "income": ("P-INCOME", "policy"),
    "capacity": ("P-CAPACITY", "policy"),
    "product": ("P-PRODUCT", "outside"),
    "jurisdiction": ("P-LAW", "outside"),
    "other_lenders": ("P-OTHERS", "policy"),
    "own": ("P-OWN", "policy"),
    "capital": ("C-CAP", "outside"),
    "partner": ("C-PARTNER", "outside"),
    "holder": ("H-MISSING", "outside"),
}
"""Reason code of each cap, and whether it says something about the customer."""
MACRO: Final = "M-MACRO"
HOLDER: Final = "holder"
"""What binds where a limit stays as it is because a holder is missing."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What a customer may borrow.

    Parameters
    ----------
    limit_minor : int
        A multiple of the policy's quantum, or the limit of today where that is kept.
    caps : mapping of str to int
        Every cap that applied, each already rounded down to the minor unit.
    binding : tuple of str
        The caps that are smallest; `holder` where the limit is kept since a holder is missing.
    multiplier : str
        Of the scenario.
    reasons : tuple of Reason
        One to four, and one more where it is about enquiries.
    blocked : mapping of str to str
        Missing holders and why: while there are any, no limit is raised and no line opened.
    provisional : bool
        There is no line yet and a holder is missing: the figure only says what the caps allow.
    policy, pack : str
        Name and version.
    """

    limit_minor: int
    caps: Mapping[str, int]
    binding: tuple[str, ...]
    multiplier: str
    reasons: tuple[Reason, ...]
    blocked: Mapping[str, str]
    provisional: bool
    policy: str
    pack: str


def decide(policy: Policy, pack: Pack, snapshot: Snapshot, inputs: Inputs) -> Decision:
    """Decide a limit.

    Parameters
    ----------
    policy : Policy
    pack : Pack
        Of the policy's jurisdiction.
    snapshot : Snapshot
    inputs : Inputs

    Returns
    -------
    Decision

    Raises
    ------
    ConfigError
        If policy or pack are not in force on the day.
    UsageError
        If the policy does not know the grade or the source of the income.
    """
    multiplier = policy.macro_on(inputs.day).multiplier
    blocked, current = snapshot.missing, inputs.current_minor
    held = bool(blocked) and current is not None
    caps = all_caps(policy, pack, snapshot.at_best if held else snapshot.rating, inputs)
    smallest = min(caps.values())
    limit = rounded(smallest, multiplier, policy.quantum_minor)
    binding = tuple(name for name in CAPS if caps.get(name) == smallest)
    if held and current is not None and limit >= current:
        limit, binding = current, (HOLDER,)
    return Decision(
        limit_minor=limit,
        caps=caps,
        binding=binding,
        multiplier=str(multiplier),
        reasons=_reasons(binding, caps, snapshot, macro=multiplier < 1),
        blocked=blocked,
        provisional=bool(blocked) and current is None,
        policy=policy.name,
        pack=pack.name,
    )


def _reasons(
    binding: tuple[str, ...], caps: Mapping[str, int], snapshot: Snapshot, *, macro: bool
) -> tuple[Reason, ...]:
    """Return the reasons of the components that bound, at most four (Regulation B, 9(b)(2)-7).

    A fifth is about enquiries, which must never be left out (15 U.S.C. 1681g(f)(9)).

    The score's own reasons stand only where a cap bound that moves with the score.
    """
    if binding == (HOLDER,):
        code, family = CAP_REASONS[HOLDER]
        return (Reason(code, family, holders=tuple(sorted(snapshot.missing))),)
    reasons = []
    for name in binding:
        code, family = CAP_REASONS[name]
        reasons.append(Reason(code, family, amount_minor=caps[name]))
    if macro:  # second, so that ties between caps never push it off the list
        reasons.insert(1, Reason(MACRO, "outside"))
    if not FROM_SCORE.isdisjoint(binding):
        reasons += snapshot.reasons
    return principal(reasons)
