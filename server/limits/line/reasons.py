"""Reasons that a line's life gives, besides those of the score and of the caps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from types import MappingProxyType
from typing import Final

from server.limits.basis.reasons import Family, Reason
from server.limits.line.delinquency import add_months
from server.limits.line.line import Delinquency
from server.limits.rules.line_policy import Arrears

LINE_CODES: Final[Mapping[str, Family]] = MappingProxyType(
    {
        "B01": "behaviour",
        "B02": "behaviour",
        "B03": "behaviour",
        "B04": "behaviour",
        "B05": "behaviour",
        "B06": "behaviour",
        "B07": "behaviour",
        "B08": "behaviour",
        "B09": "behaviour",
        "B10": "behaviour",
        "H01": "behaviour",
        "H02": "policy",
        "R01": "policy",
        "R02": "policy",
        "R03": "policy",
        "I-IDLE": "policy",
        "M-MACRO": "outside",
        "C-CAP": "outside",
        "C-PAUSE": "outside",
        "H-MISSING": "outside",
        "P-CONSENT": "policy",
        "P-HOLDERS": "policy",
        "P-DISPUTE": "policy",
        "P-FRAUD": "policy",
        "P-CLEARED": "policy",
        "P-AGREED": "policy",
        "P-OWN": "policy",
        "P-TEMP": "policy",
        "P-CLOSE": "policy",
        "P-HUMAN": "policy",
        "P-EXTRA": "policy",
        "P-EASED": "policy",
    }
)
"""Every code and its family. B02: a trigger went on, a step down. B03: at the floor. H01: clean
reviews so far. H02: the cool-down runs. R01: out of observation. R02: a step up. R03: restored."""
MOST_REASONS: Final = 4
NOT_ALLOWED: Final = "no consent"
"""Why a holder is silent that the customer does not let tell."""

FROZEN: Final[Mapping[str, str]] = MappingProxyType(
    {"arrears": "B08", "default": "B08", "purpose": "B10", "fraud": "P-FRAUD"}
)
"""Reason code of each cause of a freeze."""


def because(code: str, **params: int | str) -> Reason:
    """Return the reason of a code, with what its sentence says."""
    return Reason(code, LINE_CODES[code], params=tuple(params.items()))


def curing(late: Delinquency, arrears: Arrears) -> Reason:
    """Return why nothing rises yet: what is or was overdue, or a concession that was made."""
    if late.forborne_on is None or late.days_past_due:
        return because("B08", bucket=late.bucket)
    until = add_months(late.forborne_on, arrears.forbearance_months)
    return because("P-EASED", until=until.isoformat())


def progress(code: str, clean: int, needed: int) -> Reason:
    """Return H01: so many clean reviews of so many, for a rule."""
    return because("H01", rule=code, clean=clean, needed=needed)


def cooling(until: date) -> Reason:
    """Return H02: the limit was cut, and does not rise before a day."""
    return because("H02", until=until.isoformat())


def silent(missing: Iterable[str]) -> Reason:
    """Return the reason that holders are missing."""
    return Reason("H-MISSING", "outside", holders=tuple(sorted(missing)))


def unheard(missing: Mapping[str, str], *, consent: bool) -> list[Reason]:
    """Return why holders are not heard: the customer's consent, then what is no choice of theirs.

    A decision records that holders are silent; a customer is told whose choice that is.

    Parameters
    ----------
    missing : mapping of str to str
        Holders that are silent, and why.
    consent : bool
        Whether a consent to credit stands.
    """
    kept_out = sorted(name for name, why in missing.items() if why == NOT_ALLOWED)
    found = [] if consent else [because("P-CONSENT")]
    if consent and kept_out:
        found.append(Reason("P-HOLDERS", "policy", holders=tuple(kept_out)))
    if others := [name for name in missing if name not in kept_out]:
        found.append(silent(others))
    return found


def first_of(reasons: Iterable[Reason]) -> tuple[Reason, ...]:
    """Return reasons, each code once, at most four (Regulation B, comment 9(b)(2)-1)."""
    found: dict[str, Reason] = {}
    for reason in reasons:
        found.setdefault(reason.code, reason)
    return tuple(found.values())[:MOST_REASONS]
