"""A party's journal: what may happen once, written down before it happens."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from clients.lines import append_line, read_lines
from shared.errors import BudgetSpent, Refused, ReleaseRefused, UsageError
from shared.protocols.sum_job import check_reveal

#: Verdicts on a round: one, and another where the coordinator died and noise made another model.
VERDICTS = 2


class Journal:
    """A party's memory of what may happen only once; kept in `journal.jsonl`.

    Implements the journals that `shared.protocols` ask for.

    Parameters
    ----------
    path : Path
        The file; it is made when the first line is written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def _lines(self, kind: str) -> Iterable[dict[str, Any]]:
        return (line for line in read_lines(self._path) if line.get("kind") == kind)

    def use_seed(self, seed: bytes, columns: str, order: str) -> None:
        """See `shared.protocols.products.SeedJournal`."""
        digest = hashlib.sha256(seed).hexdigest()
        for line in self._lines("seed"):
            if line["seed"] == digest and (line["columns"], line["order"]) != (columns, order):
                raise Refused(
                    "the dealer sent a seed that already masked other columns or another row order",
                    hint="the coordinator must draw fresh seeds for every run and attempt",
                )
        append_line(
            self._path, {"kind": "seed", "seed": digest, "columns": columns, "order": order}
        )

    def reveal(self, job_digest: str, input_digest: str, cohort: tuple[str, ...]) -> None:
        """See `shared.protocols.sum_job.SumJournal`."""
        records = [
            (line["job"], line["input"], tuple(line["cohort"])) for line in self._lines("reveal")
        ]
        check_reveal(records, job_digest, input_digest, cohort)
        note = {"job": job_digest, "input": input_digest, "cohort": list(cohort)}
        append_line(self._path, {"kind": "reveal", **note})

    def begin_round(self, run: str, number: int, model: str) -> int:
        """Record which model a round of the neural model begins from.

        A round that is asked for again, since the coordinator died, begins where it did; one that
        was undone is followed by one from the same model. But no round comes back once the next
        has begun, and no model once another has taken its place.

        Parameters
        ----------
        run : str
        number : int
        model : str
            Its digest.

        Returns
        -------
        int
            How many rounds before this one began from the same model, and were undone.

        Raises
        ------
        Refused
            If the round is out of order, or its model is an earlier one.
        """
        lines = [line for line in self._lines("round") if line["run"] == run]
        last, before = (lines[-1]["round"], lines[-1]["model"]) if lines else (0, "")
        if number not in (last, last + 1):
            raise Refused(
                f"round {number} of run {run} is asked for after round {last}",
                hint="a run's name is used once: --resume it, or start a new run",
            )
        if number == last and model != before:
            raise Refused(f"round {number} of run {run} has begun here from another model")
        if model != before and any(line["model"] == model for line in lines):
            raise Refused(f"round {number} of run {run} begins from a model of an earlier round")
        if number > last:
            append_line(self._path, {"kind": "round", "run": run, "round": number, "model": model})
        return sum(line["model"] == model and line["round"] < number for line in lines)

    def give_verdict(self, run: str, number: int, models: str) -> None:
        """Record a verdict on a round before it leaves.

        Whoever may ask about any models learns the held-out customers bit by bit.

        Parameters
        ----------
        run : str
        number : int
        models : str
            Digest of the models compared.

        Raises
        ------
        Refused
            If the round is not the one that has just been trained.
        BudgetSpent
            If it was judged on other models `VERDICTS` times.
        """
        begun = [line["round"] for line in self._lines("round") if line["run"] == run]
        if not begun or begun[-1] != number:
            raise Refused(f"a verdict on round {number} of run {run}, which has not been trained")
        judged = {
            line["models"]
            for line in self._lines("verdict")
            if (line["run"], line["round"]) == (run, number)
        }
        if models in judged:
            return
        if len(judged) >= VERDICTS:
            raise BudgetSpent(f"round {number} of run {run} was judged on {VERDICTS} models")
        append_line(self._path, {"kind": "verdict", "run": run, "round": number, "models": models})

    def open_scores(self, customers: str, points: str, allowed: int) -> None:
        """See `shared.protocols.score.ScoreJournal`."""
        opened = {line["points"] for line in self._lines("scores") if line["of"] == customers}
        if points in opened:
            return
        if len(opened) >= allowed:
            raise BudgetSpent(
                f"points of {len(opened)} different cards were opened over these customers; "
                f"{allowed} are allowed",
                hint="every card is one more equation about each customer; the parties may agree "
                "on a larger protocol.score_openings",
            )
        append_line(self._path, {"kind": "scores", "of": customers, "points": points})

    def open_moments(self, binding: str, *, accept_more: bool, kind: str = "moments") -> None:
        """Record one moments job.

        Parameters
        ----------
        binding : str
            Digest of the set of customers and of the bins.
        accept_more : bool
            The party's consent to jobs over other customers or bins than before.
        kind : {"moments", "bins"}
            ``bins`` are counts over public buckets, from which several banks plan their bins.

        Raises
        ------
        Refused
            If an earlier job had other customers or bins, and there is no consent.
        """
        earlier = [line["binding"] for line in self._lines(kind)]
        if earlier and binding not in earlier and not accept_more:
            raise Refused(
                f"{kind} over other customers or other bins left this party before; differences "
                "of the two would be counts of small groups",
                hint='consent with further_moments = "accept" in party.toml',
            )
        append_line(self._path, {"kind": kind, "binding": binding})

    @property
    def releases(self) -> dict[int, str]:
        """Digest of the manifest of every release that this party signed, by counter."""
        return {int(line["counter"]): str(line["manifest"]) for line in self._lines("release")}

    @property
    def last_release(self) -> int:
        """Counter of the last release that this party signed; 0 for none."""
        return max(self.releases, default=0)

    def sign_release(self, counter: int, digest: str) -> None:
        """Record one release before its signature leaves.

        Parameters
        ----------
        counter : int
        digest : str
            Of its manifest.

        Raises
        ------
        ReleaseRefused
            With check `counter`, if this party signed one with this counter or a higher one.
        """
        last = self.last_release
        if counter <= last:
            raise ReleaseRefused(
                f"this party signed release {last} already, and will not sign {counter}",
                check="counter",
            )
        append_line(self._path, {"kind": "release", "counter": counter, "manifest": digest})

    def publish_feed(self, as_of: str, release: str) -> None:
        """Record one score feed before it leaves.

        Raises
        ------
        UsageError
            If a feed with a later as-of date left this party before.
        """
        last = max((str(line["as_of"]) for line in self._lines("feed")), default="")
        if as_of < last:
            raise UsageError(
                f"a score feed as of {last} left this party already; as-of dates never go back",
                hint="the limit service keeps the newer feed",
            )
        append_line(self._path, {"kind": "feed", "as_of": as_of, "release": release})
