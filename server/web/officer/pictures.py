"""The charts of a release: what its parties signed about ranking, probabilities and holders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from server.limits.words.sentences import Texts
from server.releases.evaluation import Alone, Evaluation, Figure, evaluation_of
from server.web.charts import (
    PERCENT,
    Bar,
    Chart,
    ScoreBins,
    calibration,
    empty,
    gains,
    holders,
    ks_curve,
    lift,
    roc,
    score_distribution,
    worth,
)
from server.web.charts.people import FLOOR
from server.web.drawing import words_of
from shared.manifest import SCORECARD, Manifest, Signatory
from shared.scorecard.spread import Spread
from shared.trueness import CalibrationBin

DECILES: Final = 10
SHAPES: Final = 20
"""Groups of the distribution, at most: enough to see its shape."""
WIDTH: Final = 10.0
"""Points for which the shares of the distribution are told: groups are of unlike width."""
_KEPT: Final = 16
_CURVES: Final = ("roc", "ks", "gains", "lift", "distribution", "calibration")


class Gallery:
    """The charts of releases, drawn once a language: a release never changes."""

    def __init__(self) -> None:
        self._drawn: dict[tuple[str, str], tuple[Chart, ...]] = {}

    def of(self, manifest: Manifest, digest: str, texts: Texts) -> tuple[Chart, ...]:
        """Return every chart of a release, in the order of the page.

        Parameters
        ----------
        manifest : Manifest
        digest : str
            Its own.
        texts : Texts
            Of the reader's language.
        """
        key = digest, texts.language
        found = self._drawn.get(key)
        if found is None:
            found = pictures_of(manifest, texts)
            if len(self._drawn) >= _KEPT:
                self._drawn.clear()
            self._drawn[key] = found
        return found


def pictures_of(manifest: Manifest, texts: Texts) -> tuple[Chart, ...]:
    """Return every chart of a release, in the order of the page.

    Parameters
    ----------
    manifest : Manifest
    texts : Texts
        Of the reader's language.
    """
    told = evaluation_of(manifest.evaluation)
    card = manifest.kind == SCORECARD
    return (
        *curves_of(told, texts),
        _holders(told, texts, "none_alone" if card else "network_alone"),
        _worth(manifest.parties if card else {}, texts),
    )


def curves_of(told: Evaluation, texts: Texts) -> tuple[Chart, ...]:
    """Return the charts of ranking and probabilities; empty ones say that nothing was opened.

    Parameters
    ----------
    told : Evaluation
    texts : Texts
    """
    none = texts.say("model.no_counts")
    words = {key: words_of(texts, key, empty=none) for key in _CURVES}
    spread = told.spread
    if spread is None:
        return tuple(empty(words[key]) for key in _CURVES)
    bins = bins_of(spread)
    auc, ks = told.figure("auc"), told.figure("ks")
    wide = spread.joined(SHAPES, FLOOR)
    return (
        roc(words["roc"], bins, auc=None if auc is None else auc.interval),
        ks_curve(words["ks"], bins, ks=None if ks is None else ks.value),
        gains(words["gains"], bins),
        lift(words["lift"], bins, DECILES),
        empty(words["distribution"])
        if wide is None
        else score_distribution(words["distribution"], bins_of(wide), WIDTH),
        calibration(words["calibration"], calibration_bins(spread)),
    )


def bins_of(spread: Spread) -> ScoreBins:
    """Return counts by points as charts of ranking take them."""
    return ScoreBins(tuple(map(float, spread.points)), spread.goods, spread.bads)


def calibration_bins(spread: Spread) -> tuple[CalibrationBin, ...]:
    """Return at most ten groups, from the lowest default_prob to the highest."""
    wide = spread.joined(DECILES) or spread
    rows = zip(wide.goods, wide.bads, wide.expected, strict=True)
    found = [CalibrationBin(good + bad, bad, prob, bad / (good + bad)) for good, bad, prob in rows]
    return tuple(reversed(found))


def _holders(told: Evaluation, texts: Texts, none: str) -> Chart:
    """Draw each holder alone beside all together; nobody has the rows for a pooled model."""
    words = words_of(texts, "holders", empty=texts.say(f"model.{none}"))
    together = told.figure("auc")
    alone = [bar for one in told.alone if (bar := _alone(one, texts)) is not None]
    if together is None or not alone:
        return empty(words)
    return holders(words, alone, _bar(texts.say("model.together"), together))


def _alone(one: Alone, texts: Texts) -> Bar | None:
    return None if one.auc is None else _bar(texts.holders([one.holder]), one.auc)


def _bar(label: str, figure: Figure) -> Bar:
    return Bar(label, figure.value, figure.low, figure.high)


def _worth(parties: Mapping[str, Signatory], texts: Texts) -> Chart:
    words = words_of(texts, "worth", empty=texts.say("model.network_worth"))
    rows = [Bar(texts.holders([name]), one.worth) for name, one in sorted(parties.items())]
    return worth(words, rows, PERCENT)
