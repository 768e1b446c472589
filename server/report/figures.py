"""The figures of a report as plain values: of a release, and of its run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final

from server.report.scored import Scored, scored_of, spread_of
from shared.challenger.verdict import Verdict
from shared.contract import EVERY
from shared.errors import EnvironmentFault, ReleaseRefused
from shared.phases import TOGETHER
from shared.release import Manifest
from shared.scorecard.card import Card
from shared.scorecard.scale import Scale

PLAIN: Final = ("gini", "brier", "log_loss", "calibration_error", "calibration_slope")
"""Of the evaluation, beside AUC and KS, in the order in which they are told."""
MOST_CODES: Final = 12
"""Reasons whose points are drawn: those that move a score the most."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """How well a model ranks people whom it has not seen.

    Parameters
    ----------
    name : str
        A holder; empty for all together.
    auc, ks : float or None
    auc_interval, ks_interval : tuple of float, or None
        At 95 %.
    """

    name: str
    auc: float | None
    ks: float | None
    auc_interval: tuple[float, float] | None = None
    ks_interval: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Reach:
    """How many points the lines of one reason can make, from the worst bin to the best."""

    owner: str
    code: str
    points: int


@dataclass(frozen=True, slots=True)
class Band:
    """A grade: its scores, and default_prob at its two ends; None where the scale is cut."""

    grade: str
    at_least: int
    highest_prob: float | None
    lowest_prob: float | None


@dataclass(frozen=True, slots=True)
class Results:
    """What a release says of its model.

    Parameters
    ----------
    together : Ranking
    alone : tuple of Ranking
        Each holder with its own columns; none where they hold the same ones.
    plain : mapping of str to float
        See `PLAIN`.
    customers : int or None
        It was evaluated on.
    bad_rate : float or None
        Among them.
    worth : tuple of (str, float)
        Each party's share of what the card explains; they add up to 1.
    reach : tuple of Reach
    curve : tuple of (float, float)
        Points and default_prob at the knots of the calibration.
    bands : tuple of Band
        Best first.
    scored : Scored or None
        What curves are drawn from; None where there were too few customers for it.
    verdict : Verdict or None
        Comparison with the champion of the day.
    """

    together: Ranking
    alone: tuple[Ranking, ...]
    plain: Mapping[str, float]
    customers: int | None
    bad_rate: float | None
    worth: tuple[tuple[str, float], ...]
    reach: tuple[Reach, ...]
    curve: tuple[tuple[float, float], ...]
    bands: tuple[Band, ...]
    scored: Scored | None
    verdict: Verdict | None


@dataclass(frozen=True, slots=True)
class Phase:
    """A phase of a run.

    Parameters
    ----------
    name : str
    seconds : float
        On the coordinator's clock.
    sent : mapping of str to int
        Bytes by party.
    """

    name: str
    seconds: float
    sent: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Costs:
    """What a run took, as the coordinator wrote it down; nobody signed it.

    Parameters
    ----------
    phases : tuple of Phase
    peaks : mapping of str to float
        MiB of memory by party, at most.
    lost : mapping of str to str
        Parties that the others went on without, and the phase in which they were lost.
    rounds : tuple of (int, float, str)
        Of a network: number, log loss on the customers to learn from, verdict.
    """

    phases: tuple[Phase, ...]
    peaks: Mapping[str, float]
    lost: Mapping[str, str]
    rounds: tuple[tuple[int, float, str], ...]


def results_of(manifest: Manifest) -> Results:
    """Return what a release says of its model.

    Raises
    ------
    ReleaseRefused
        With check `evaluation`, if what its parties signed cannot be read.
    """
    told, model = manifest.evaluation, manifest.model
    try:
        alone = dict(told.get("alone", {}))
        against = told.get("against")
        return Results(
            together=_ranking("", told),
            alone=tuple(_ranking(name, alone[name]) for name in sorted(alone)),
            plain={name: _figure(told[name]) for name in PLAIN if name in told},
            customers=int(told["n"]) if "n" in told else None,
            bad_rate=_figure(told["bad_rate"]) if "bad_rate" in told else None,
            worth=_shares({name: one.worth for name, one in manifest.parties.items()}),
            reach=reach_of(model) if isinstance(model, Card) else (),
            curve=_curve(manifest),
            bands=bands_of(model.scale),
            scored=_scored(manifest),
            verdict=Verdict.from_mapping(against, "evaluation.against") if against else None,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        why = f"{manifest.name}: what it says of its evaluation cannot be read"
        raise ReleaseRefused(why, check="evaluation") from error


def reach_of(card: Card) -> tuple[Reach, ...]:
    """Return what each holder's reasons can make, most first, at most `MOST_CODES`."""
    total: dict[tuple[str, str], int] = {}
    for line in card.lines:
        key = (line.owner if line.owner != EVERY else "", line.reason)
        total[key] = total.get(key, 0) + max(line.points) - min(line.points)
    found = [Reach(owner, code, points) for (owner, code), points in total.items() if points]
    return tuple(sorted(found, key=lambda one: (-one.points, one.owner, one.code)))[:MOST_CODES]


def bands_of(scale: Scale) -> tuple[Band, ...]:
    """Return the grades with default_prob at their ends, as the scale has it."""
    grades = scale.grades
    return tuple(
        Band(
            one.name,
            one.at_least,
            None if at == len(grades) - 1 else _prob_at(scale, one.at_least),
            None if at == 0 else _prob_at(scale, grades[at - 1].at_least),
        )
        for at, one in enumerate(grades)
    )


def costs_of(outcome: Mapping[str, Any]) -> Costs:
    """Return what a run took.

    Parameters
    ----------
    outcome : mapping
        See `server.phases.run_phases`; of a network, `server.neural.phases.train_neural`.

    Raises
    ------
    EnvironmentFault
        If it cannot be read.
    """
    try:
        told = outcome.get("seconds")
        seconds = told if isinstance(told, Mapping) else {}
        phases = [(name, outcome[name]) for name in TOGETHER if name in seconds]
        return Costs(
            phases=tuple(_phase(name, _figure(seconds[name]), one) for name, one in phases),
            peaks=_peaks([one for _, one in phases]),
            lost={str(who): str(phase) for who, phase in outcome.get("lost", {}).items()},
            rounds=tuple(
                (int(one["round"]), _figure(one["loss"]), str(one["verdict"]))
                for one in outcome.get("rounds", [])
            ),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        hint = "move it away: the report does without it"
        raise EnvironmentFault("what the coordinator wrote down is damaged", hint=hint) from error


def _ranking(name: str, told: Mapping[str, Any]) -> Ranking:
    values = {key: _figure(told[key]) if key in told else None for key in ("auc", "ks")}
    spans = {
        key: _span(told[key]) if key in told else None for key in ("auc_interval", "ks_interval")
    }
    return Ranking(name, **values, **spans)  # type: ignore[arg-type]


def _span(value: Any) -> tuple[float, float]:
    low, high = value
    return _figure(low), _figure(high)


def _figure(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise ValueError("no figure")
    return float(value)


def _shares(worth: Mapping[str, float]) -> tuple[tuple[str, float], ...]:
    total = sum(worth.values())
    if total <= 0:
        return ()
    return tuple((name, worth[name] / total) for name in sorted(worth))


def _curve(manifest: Manifest) -> tuple[tuple[float, float], ...]:
    calibration = manifest.model.calibration
    if calibration is None:
        return ()
    points = calibration.knots_points
    probs = calibration.default_prob(points).tolist()
    return tuple((float(at), float(prob)) for at, prob in zip(points, probs, strict=True))


def _scored(manifest: Manifest) -> Scored | None:
    model, spread = manifest.model, spread_of(manifest.evaluation.get("by_points"))
    if spread is None or model.calibration is None:
        return None
    return scored_of(spread, model.calibration, model.scale)


def _prob_at(scale: Scale, score: float) -> float:
    odds = 2.0 ** ((score - scale.base_score) / scale.pdo) * scale.base_odds
    return float(1.0 / (1.0 + odds))


def _phase(name: str, seconds: float, replies: Mapping[str, Any]) -> Phase:
    sent = {who: int(one["bytes_sent"]) for who, one in sorted(replies.items())}
    return Phase(name, seconds, sent)


def _peaks(phases: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for replies in phases:
        for who, one in sorted(replies.items()):
            found[who] = max(found.get(who, 0.0), _figure(one["peak_rss_mb"]))
    return found
