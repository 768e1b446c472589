"""What each phase of a run works on: both sides derive the same jobs from the same few values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, cast

from shared.config import Federation
from shared.errors import Refused
from shared.privacy.noise import Grain, bound_of
from shared.protocols.align import AlignJob
from shared.protocols.blocks import MAX_ROWS, BlocksJob
from shared.protocols.products import ProductJob
from shared.protocols.score import ScoreJob
from shared.protocols.sum_job import SumJob
from shared.sealed import Session
from shared.shape import Shape

COORDINATOR = "coordinator"

# Below this many customers to evaluate on, a score bin would break its floor.
_MIN_ALONE_BINS = 4
_RUN_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def check_run_name(run: str) -> None:
    """Refuse a run's name that could be a path: folders and logs are named after it.

    Whoever reaches Flower's control interface, or is the coordinator, chooses it.

    Raises
    ------
    Refused
        If it is not 1 to 64 letters, digits, ``-`` and ``_``.
    """
    if not _RUN_NAME.fullmatch(run):
        raise Refused("a run's name must be 1 to 64 letters, digits, '-' and '_': it is no path")


@dataclass(frozen=True, slots=True)
class Run:
    """A run as every member knows it.

    Parameters
    ----------
    name : str
        Identifier; never used twice.
    attempt : int
        Rises with every restart of a phase.
    federation : Federation
    contract_digest : str
    cohort : tuple of str
        Who is left, sorted; empty for all parties of the federation.
    """

    name: str
    attempt: int
    federation: Federation
    contract_digest: str
    cohort: tuple[str, ...] = ()

    @property
    def parties(self) -> tuple[str, ...]:
        """Who takes part, in the order of every protocol."""
        return self.cohort or self.federation.holders

    def session(self, phase: str) -> Session:
        """Return what the envelopes of a phase are bound to."""
        agreement = self.federation.agreement(self.contract_digest)
        return Session(self.name, phase, self.attempt, agreement)

    def scope(self, phase: str) -> str:
        """Return the transport's scope of a phase."""
        return f"{self.name}/{phase}/{self.attempt}"

    def align(self) -> AlignJob:
        """Return the alignment of all holders."""
        rules = self.federation.protocol
        return AlignJob(
            # Ids of another attempt are other points.
            run=self.name if self.attempt == 1 else f"{self.name}/{self.attempt}",
            parties=self.federation.holders,
            builder=self.federation.builder,
            coordinator=COORDINATOR,
            group=rules.alignment_group,
            max_ids=rules.max_ids,
            min_common=rules.min_common,
        )

    def moments(self, n_train: int) -> ProductJob:
        """Return the products that the card is fitted on."""
        n_rows = min(n_train, self.federation.protocol.sample_cap)
        products = self._products("moments", n_rows, only=False)
        # Noise takes counts below zero and beyond the rows.
        return replace(products, ring=32) if self.noisy else products

    def alone(self, n_test: int, *, both_classes: bool = True) -> ProductJob | None:
        """Return the products that evaluate each holder alone; None with too few customers.

        Parameters
        ----------
        n_test : int
            Common customers to evaluate on.
        both_classes : bool
            Whether the builder counts enough good and enough bad ones among them to keep the floor.
        """
        if not both_classes or n_test < _MIN_ALONE_BINS * self.federation.floors.rows:
            return None
        return self._products("alone", n_test, only=True)

    def _products(self, label: str, n_rows: int, *, only: bool) -> ProductJob:
        return ProductJob(
            run=self.name,
            label=label,
            attempt=self.attempt,
            holders=self.federation.holders,
            builder=self.federation.builder,
            coordinator=COORDINATOR,
            n_rows=n_rows,
            with_builder_only=only,
        )

    @property
    def noisy(self) -> bool:
        """Whether the moments are opened with noise."""
        return self.federation.privacy.moments_epsilon > 0

    def counts(self, shape: Shape, label: str, length: int, grain: Grain | None = None) -> SumJob:
        """Return a sum of the banks' counts of customers, opened by the builder.

        Parameters
        ----------
        shape : Shape
        label : str
            What is counted.
        length : int
        grain : Grain, optional
            Of the noise that every bank adds; none by default.
        """
        return SumJob(
            run=self.name,
            label=label,
            attempt=self.attempt,
            cohort=shape.banks,
            opener=shape.builder,
            coordinator=COORDINATOR,
            kind=grain.kind("counts") if grain else "counts",
            model="",
            bits=32,
            length=length,
            scale=0,
            bound=MAX_ROWS + bound_of(grain.variance) if grain else MAX_ROWS,
        )

    def blocks(self, shape: Shape, common: Mapping[str, int]) -> BlocksJob:
        """Return the table that several banks, and holders of columns, add up.

        Parameters
        ----------
        shape : Shape
        common : mapping of str to int
            Customers to learn from that each bank has in common with all holders of columns; empty
            without these.
        """
        cap = self.federation.protocol.sample_cap
        rows = {bank: min(common[bank], cap) for bank in shape.banks} if shape.columns else {}
        return BlocksJob(
            self.name, "moments", self.attempt, shape, COORDINATOR, rows, noisy=self.noisy
        )

    def score(self, n_rows: int, card: str) -> ScoreJob:
        """Return the opening of scores over all common customers."""
        rules = self.federation.protocol
        return ScoreJob(
            run=self.name,
            attempt=self.attempt,
            holders=self.federation.holders,
            builder=self.federation.builder,
            coordinator=COORDINATOR,
            n_rows=n_rows,
            card=card,
            openings=rules.score_openings,
            two_party_scores=cast("Literal['refuse', 'accept']", rules.two_party_scores),
        )


def align_job(run: Run, shape: Shape, bank: str) -> AlignJob:
    """Return the alignment of one bank with all holders of columns."""
    parties = shape.around(bank)
    # Ids of another bank, or of another attempt, are other points.
    name = f"{run.name}/{bank}/{run.attempt}"
    return replace(run.align(), run=name, parties=parties, builder=bank)


def score_job(run: Run, shape: Shape, bank: str, n_rows: int, card: str) -> ScoreJob:
    """Return the opening, at a bank, of scores of the customers it shares with others."""
    label = f"scores/{bank}"
    holders = shape.around(bank)
    return replace(run.score(n_rows, card), holders=holders, builder=bank, label=label)
