"""The score of one customer by a card whose lines several banks share.

Banks with the same features each score their own customers by the same lines; holders of further
columns add theirs, as on any card. One bank's answer is enough, and the other banks are not
missing: the customer is not theirs. A customer of two banks has two answers, of which the lower
counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from server.limits.caps.snapshot import Scorer, Share, Snapshot, merged_reasons
from shared.contract import EVERY
from shared.scorecard.card import Card


class BanksScorer(Scorer):
    """A card of several banks made ready to score.

    Parameters
    ----------
    card : Card
        With lines of `EVERY`, and its calibration.
    baselines : mapping of str to int
        Mean points of each party's lines, as the release states them.

    Raises
    ------
    DataError
        As `Scorer`.
    """

    def __init__(self, card: Card, baselines: Mapping[str, int]) -> None:
        own = {line.owner for line in card.lines}
        self._banks = sorted(set(baselines) - own)
        common = {EVERY: card.baseline_points(EVERY)}
        super().__init__(card, common | {name: baselines[name] for name in sorted(own - {EVERY})})

    def snapshot(self, shares: Mapping[str, Share], missing: Mapping[str, str]) -> Snapshot:
        """Add a bank's points to those of the holders of further columns.

        Parameters
        ----------
        shares : mapping of str to Share
            From parties whose feed is in date and has the customer.
        missing : mapping of str to str
            Why each other party is missing; of the banks it counts where none has the customer.

        Raises
        ------
        DataError
            As `Scorer.snapshot`.
        """
        known = [bank for bank in self._banks if bank in shares]
        if known:
            bank = min(known, key=lambda one: shares[one].points)
        else:  # the one whose feed is out of date may be the customer's
            bank = max(self._banks, key=lambda one: missing.get(one) == "stale")
        names = {EVERY: bank} | {name: name for name in self.spans if name != EVERY}
        told = super().snapshot(
            {unit: shares[name] for unit, name in names.items() if name in shares},
            {unit: missing[name] for unit, name in names.items() if name in missing},
        )
        heard = {name: shares[name] for name in names.values() if name in shares}
        return replace(
            told,
            points={names[unit]: points for unit, points in told.points.items()},
            missing={names[unit]: why for unit, why in told.missing.items()},
            reasons=merged_reasons(heard),
        )
