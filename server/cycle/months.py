"""Live a cycle: the founding, then month after month; what is done already is not done again."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from server.accounts.desk import Desk, open_desk, text_of
from server.accounts.nightly import review_due
from server.accounts.scores import HOME
from server.coordinator import load_federation
from server.cycle import borrowers, models
from server.cycle.figures import reviewed, standing
from server.cycle.parties import Act, Parties, Train
from server.cycle.setting import DAYS, OUTCOME_MONTHS, Clock, Setting, instant
from shared.edge.files import read_text, write_atomic
from shared.errors import DataError

FILE: Final = "months.jsonl"
"""A line a month that is over; month 0 is the founding."""
_NIGHT_HOUR: Final = 12.0  # eight in the evening at the service's place
_SEEN_MONTHS: Final = 3  # of enquiries
Row = dict[str, Any]


class Cycle:
    """The months of a folder.

    Parameters
    ----------
    folder : Path
        New, or one in which the same setting was lived before.
    setting : Setting
    train : callable
        See `server.cycle.parties.Parties`.
    tell : callable
        Told each month when it is over.
    """

    def __init__(
        self, folder: Path, setting: Setting, train: Train, tell: Callable[[Row], None]
    ) -> None:
        self._file = folder / FILE
        self._setting = setting
        self._tell = tell
        self.parties = Parties(folder, train)
        self.rows: list[Row] = self._done()
        self.clock = Clock(_begins(len(self.rows)) if self.rows else instant(1, 0))

    def live(self) -> list[Row]:
        """Live all months that are not over yet; return what each came to.

        Raises
        ------
        DataError
            If the file of months is of another setting, or damaged.
        ConfideError
            Of whichever party it happens at; started again, it goes on with that month.
        """
        self.parties.found(self._setting)
        with self._desk() as desk:
            if not self.rows:
                self._over(0, self._founded(desk))
            for month in range(len(self.rows), self._setting.months + 1):
                self.clock.set(_begins(month))
                self._over(month, self._month(desk, month))
        return self.rows

    @contextmanager
    def _desk(self) -> Iterator[Desk]:
        home = self.parties.home / HOME
        home.mkdir(parents=True, exist_ok=True)
        agreed, _ = load_federation(self.parties.file)
        url = f"sqlite:///{(home / 'limits.db').absolute()}"
        desk = open_desk(self.parties.home, agreed, url, clock=self.clock.read, create=True)
        try:
            yield desk
        finally:
            desk.store.close()

    def _founded(self, desk: Desk) -> Row:
        """Train, let the release serve, and open the lines."""
        champion = self.parties.registry.book().champion
        if champion is None:
            self.parties.compute()
            name, at = self.parties.train(self.clock.read()), desk.scores.clock()
            self.parties.registry.promote(name, desk.scores.federation, at, "the first")
        else:  # the founding was interrupted
            name = champion.name
        desk.scores.refresh()
        self._fed(desk, name)
        names = self.parties.pseudonyms()
        acts = {act.name: act for act in self.parties.acts(0)}
        who = sorted(names, key=lambda one: sha256(one.encode()).digest())[
            : self._setting.applicants
        ]
        found = borrowers.opens(desk, self.clock, [(acts[one], names[one]) for one in who])
        return {"model": name, "openings": dict(found), **standing(desk).to_mapping()}

    def _month(self, desk: Desk, month: int) -> Row:
        """Let everybody live a month, and the service react."""
        last = month % self._setting.refresh == 0
        tried = models.try_out(desk, self.parties, self.clock.read()) if last else ""
        names = {pseudonym: name for name, pseudonym in self.parties.pseudonyms().items()}
        held = {names[one.customer_id]: one for one in borrowers.open_lines(desk)}
        lines = {
            name: (one.totals.limit_minor if one.may_draw else 0, one.totals.outstanding_minor)
            for name, one in held.items()
        }
        self.parties.lives(month, lines)
        told, nights = borrowers.Month(), Counter[str]()
        acts = [act for act in self.parties.acts(month) if act.name in held]
        steps = borrowers.steps_of(desk, month, held, acts, told)
        for night in range(self._setting.night_days, DAYS, self._setting.night_days):
            ends = instant(month, night, _NIGHT_HOUR)
            today, steps = _until(steps, ends)
            borrowers.play(desk, self.clock, today, told)
            self._night(desk, month, night, nights)
        borrowers.play(desk, self.clock, steps, told)
        self._morning(desk, month, [(act, held[act.name].customer_id) for act in acts])
        self._night(desk, month, DAYS, nights)
        return {
            **self._models(desk, month),
            **({"tried": tried} if tried else {}),
            "drawn_minor": told.drawn_minor,
            "repaid_minor": told.repaid_minor,
            "accepted": told.accepted,
            "refused": dict(told.refused),
            "nights": dict(nights),
            **reviewed(desk, desk.today(self.clock.read())),
            **standing(desk).to_mapping(),
        }

    def _morning(self, desk: Desk, month: int, who: list[tuple[Act, str]]) -> None:
        """Before the reviews: holders publish, the bureau tells, people prove their income."""
        now = self.clock.set(instant(month, DAYS))
        self.parties.compute()
        for entry in self.parties.registry.book().entries.values():
            if entry.state in {"champion", "challenger"}:
                self.parties.publish(entry.name, now)
                self._fed(desk, entry.name)
        asked: dict[str, list[date]] = {}
        for past in range(max(1, month - _SEEN_MONTHS + 1), month + 1):
            for act in self.parties.acts(past):
                days = [instant(past, 1 + 2 * at).date() for at in range(act.enquiries)]
                asked.setdefault(act.name, []).extend(days)
        borrowers.report(desk, self.clock, who, asked)

    def _night(self, desk: Desk, month: int, day: int, counts: Counter[str]) -> None:
        self.clock.set(instant(month, day, _NIGHT_HOUR))
        counts.update(review_due(desk).counts)

    def _fed(self, desk: Desk, release: str) -> None:
        """Take the feeds of a release, as they come in over HTTP."""
        for party, raw in self.parties.feeds(release):
            desk.scores.feeds.accept(raw, desk.scores.clock(), party=party)
        desk.scores.refresh()
        desk.scores.follow()

    def _models(self, desk: Desk, month: int) -> Row:
        """Each quarter, judge the challenger and train the next."""
        told: Row = {}
        if month % self._setting.refresh == 0:
            now = self.clock.read()
            since = instant(month - self._setting.refresh, DAYS) + timedelta(days=1)
            judged = models.judge(desk, self.parties, since, now)
            told["judged"] = {"outcome": judged.outcome, "told": judged.told}
            told["challenger"] = self._challenger(desk, now, told)
            self._fed(desk, told["challenger"])
        release = desk.scores.feeds.shelf.release
        return {"model": "" if release is None else release.name, **told}

    def _challenger(self, desk: Desk, now: datetime, told: Row) -> str:
        """Train the next challenger, unless it was trained before this month was interrupted."""
        for entry in self.parties.registry.book().entries.values():
            if entry.state == "challenger" and entry.taken == text_of(now):
                return entry.name
        self.parties.learn_from_now()
        lent = models.labels(desk, now, DAYS * OUTCOME_MONTHS)
        if lent is not None:
            told["labels"] = self.parties.take_outcomes(*lent)
        return self.parties.train(now)

    def _over(self, month: int, row: Row) -> None:
        whole = {"month": month, "day": self.clock.read().date().isoformat(), **row}
        self.rows.append({**whole, "setting": _told(self._setting)})
        text = "".join(f"{json.dumps(one)}\n" for one in self.rows)
        write_atomic(self._file, text.encode())
        self._tell(self.rows[-1])

    def _done(self) -> list[Row]:
        if not self._file.exists():
            return []
        try:
            rows: list[Row] = [json.loads(line) for line in read_text(self._file).splitlines()]
            right = [row["month"] for row in rows] == list(range(len(rows)))
            same = all(row["setting"] == _told(self._setting) for row in rows)
        except (ValueError, KeyError, TypeError):
            right = same = False
        if not right:
            raise DataError(str(self._file), ["is damaged"], hint="live it in a new folder")
        if not same:
            why = "was lived with other settings"
            raise DataError(str(self._file), [why], hint="give the same ones, or a new folder")
        return rows


def _begins(month: int) -> datetime:
    """Return when a month begins: after the reviews of the one before."""
    return instant(month, 0, _NIGHT_HOUR)


def _told(setting: Setting) -> Row:
    """Return what must be the same for a cycle to go on; how long it lasts may be more."""
    return {
        "people": setting.people,
        "applicants": setting.applicants,
        "seed": setting.seed,
        "economy": setting.economy,
        "refresh": setting.refresh,
        "night_days": setting.night_days,
    }


def _until(
    steps: list[borrowers.Step], end: datetime
) -> tuple[list[borrowers.Step], list[borrowers.Step]]:
    first = [one for one in steps if one.at < end]
    return first, steps[len(first) :]
