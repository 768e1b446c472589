"""A party's side of a comparison: the scorecard that it signed, and a network, on the same people.

The banks add how many good and bad customers each pair of bands of points has; the builder alone
opens the sum, and what it makes of it, figures with intervals, stands in the network's release.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clients.banks import bins as bank_bins
from clients.card import builder
from clients.card.parts import Part, encode
from clients.party import Party
from clients.releases.kept import own_release, release_names
from shared.challenger.bands import Bands, joint, pairs_of
from shared.challenger.compare import compare
from shared.challenger.points import span
from shared.challenger.verdict import Verdict
from shared.errors import ConfideError
from shared.jobs import Run
from shared.release import SCORECARD, Release
from shared.scorecard.calibration import Calibration
from shared.scorecard.scale import Scale
from shared.sealed import SealedChannel

Ints = NDArray[np.int64]

LABEL = "neural_pairs"


@dataclass(frozen=True, slots=True)
class Champion:
    """A scorecard as a party holds it.

    Parameters
    ----------
    release : Release
        Verified.
    part : Part
        The party's own.
    """

    release: Release
    part: Part

    @property
    def digest(self) -> str:
        """Of its manifest."""
        return self.release.manifest.digest()

    def bands(self, party: Party) -> Bands:
        """Return the bands of its points: of banks, one's points are the whole score."""
        return Bands(*self.release.manifest.card.span(party.name))


def champions(party: Party) -> list[Champion]:
    """Return the scorecards of this contract that this party signed and that count, newest first.

    One that fails a check, or whose part is gone, is none to compare with.
    """
    found = []
    for name in reversed(release_names(party.releases, SCORECARD)):
        try:
            release, part = own_release(party, name)
        except ConfideError:
            continue
        if release.manifest.card.calibration is not None:
            found.append(Champion(release, part))
    return found


def settle(held: Mapping[str, Sequence[str]], wanted: str, first: str) -> tuple[str, str]:
    """Choose what to compare with: the one that serves, else the newest that all parties hold.

    Parameters
    ----------
    held : mapping of str to sequence of str
        Digests of what each party holds, newest first.
    wanted : str
        Digest of the one that serves; empty where none does.
    first : str
        The party whose order counts: the builder.

    Returns
    -------
    digest, why : str
        One of the two is empty: what to compare with, or why there is nothing.
    """
    if wanted:
        lacking = sorted(name for name, digests in held.items() if wanted not in digests)
        if not lacking:
            return wanted, ""
        return "", f"{', '.join(lacking)} cannot score by {wanted[:12]}, the release that serves"
    for digest in held[first]:
        if all(digest in digests for digests in held.values()):
            return digest, ""
    return "", "there is no scorecard of this contract that all parties signed"


def compare_with(
    party: Party,
    channel: SealedChannel,
    run: Run,
    champion: Champion,
    points: Ints,
    scale: Scale,
    calibration: Calibration | None,
) -> dict[str, Any]:
    """Compare a network with the champion on all banks' customers to evaluate on, paired.

    Parameters
    ----------
    party : Party
    channel : SealedChannel
    run : Run
    champion : Champion
    points : ndarray of int64, shape (n_test,)
        The network's, of the own customers to evaluate on.
    scale : Scale
        Of the network.
    calibration : Calibration or None
        The network's, at the builder.

    Returns
    -------
    dict
        At the builder, what stands in the manifest under ``against``; elsewhere nothing.
    """
    old, new = champion.bands(party), Bands(*span(scale))
    test = party.test
    rows = np.arange(len(test.ids), dtype=np.int64)
    own = champion.part.total(encode(champion.part.plans, test, rows))
    counts = joint(builder.label_of(test), (old, own), (new, points))
    summed = bank_bins.add_counts(
        party,
        channel,
        run,
        bank_bins.survivors(party, run),
        LABEL,
        counts,
        hashlib.sha256(counts.tobytes()).hexdigest(),
        len(rows),
        what=f"good and bad by bands of points of {champion.release.manifest.name} and the network",
    )
    curve = champion.release.manifest.card.calibration
    if summed is None or curve is None or calibration is None:
        return {}
    pairs = pairs_of(summed, (old, curve.default_prob), (new, calibration.default_prob))
    # Only the bootstraps of KS and Brier draw numbers; a fixed seed makes them repeatable.
    found = compare(pairs, np.random.default_rng(0))
    return Verdict(champion.digest, "", found).to_mapping()
