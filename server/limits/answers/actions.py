"""What customers may be advised to do: a dated TOML file, linted, as frozen values."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Final

from server.limits.answers.whatif import FACTS, Change, Value
from server.limits.basis.tables import LARGEST_MINOR, Tables, parse_decimal_toml

NEVER: Final = frozenset(
    {
        "age",
        "birth_date",
        "disability",
        "education",
        "ethnicity",
        "family",
        "gender",
        "marital_status",
        "nationality",
        "own_minor",
        "region",
        "religion",
        "sex",
        "social_ties",
        "tenure",
    }
)
"""Who somebody is, where they live, whom they know, how long; and the cap that they set."""
_TOP: Final = (
    "id",
    "version",
    "most",
    "together",
    "horizon_days",
    "immutable",
    "activity",
    "action",
)
_KEYS: Final = ("code", "fact", "direction", "step", "parts", "least", "to", "cost", "delay_days")
_MOST_STEPS: Final = 100


@dataclass(frozen=True, slots=True)
class Action:
    """Something that a customer can do.

    Parameters
    ----------
    code : str
        `ADV-` and what; its sentence is `advice.<code>`.
    fact : str
        What it changes; see `server.limits.answers.whatif.FACTS`.
    up : bool
        The value rises by `step`, `parts` times.
    step : int
        Of a value that goes up, or of a count that goes down; 0 elsewhere.
    parts : int
        Steps up, or equal steps from the present value down to `least`; 0 elsewhere.
    least : int
        The lowest value advised.
    to : tuple
        Values to choose from, each better than the one before it; empty where the value goes down.
    cost : int
        Of a step.
    delay_days : int
        Until the change can be seen.
    """

    code: str
    fact: str
    up: bool
    step: int
    parts: int
    least: int
    to: tuple[Value, ...]
    cost: int
    delay_days: int

    def options(self, present: Value, day: date) -> tuple[tuple[Change, int], ...]:
        """Return every change that can be advised, with its cost, smallest first.

        Parameters
        ----------
        present : int, Decimal or str
            The fact's value today.
        day : date
            On which the customer begins.
        """
        since = day + timedelta(days=self.delay_days)
        values = self._after(present) if self.to else self._numbers(present)
        return tuple(
            (Change(self.fact, value, since), self.cost * step)
            for step, value in enumerate(values, start=1)
        )

    def _after(self, present: Value) -> tuple[Value, ...]:
        at = self.to.index(present) + 1 if present in self.to else 0
        return self.to[at:]

    def _numbers(self, present: Value) -> tuple[Value, ...]:
        if self.up and isinstance(present, int):
            return tuple(present + self.step * part for part in range(1, self.parts + 1))
        if not isinstance(present, int) or present <= self.least:
            return ()
        span = present - self.least
        if self.parts:
            steps = {present - span * part // self.parts for part in range(1, self.parts + 1)}
            return tuple(sorted(steps - {present}, reverse=True))
        lowered = range(present - self.step, self.least - 1, -self.step)
        return tuple(lowered)[:_MOST_STEPS]


@dataclass(frozen=True, slots=True)
class ActionSet:
    """A whole file of actions.

    Parameters
    ----------
    id, version : str
    most : int
        Advices told.
    together : int
        Actions in one advice: 1 or 2.
    horizon_days : int
        Nothing is promised beyond.
    immutable : frozenset of str
        Facts that are never advised on.
    activity : frozenset of str
        Reason codes of a card that stand for activity.
    actions : tuple of Action
    """

    id: str
    version: str
    most: int
    together: int
    horizon_days: int
    immutable: frozenset[str]
    activity: frozenset[str]
    actions: tuple[Action, ...]

    @property
    def name(self) -> str:
        """Id and version, as advice states it."""
        return f"{self.id}/{self.version}"

    def activity_counts(self, card_codes: Collection[str]) -> bool:
        """Return whether being more active can have any effect with a card of these codes."""
        return not self.activity.isdisjoint(card_codes)


def parse_actions(text: str, source: str) -> ActionSet:
    """Read and lint the text of an action file.

    Raises
    ------
    ConfigError
        With all findings: an unknown fact, one that must never be advised on, a step that leads
        nowhere.
    """
    tables, top = Tables(source), parse_decimal_toml(text, source)
    tables.unknown("", top, list(_TOP))
    immutable = _names(tables, top, "immutable")
    actions = tuple(
        _action(tables, path, row, NEVER | immutable) for path, row in tables.rows(top, "action")
    )
    facts = [action.fact for action in actions]
    tables.check(bool(actions), "action", "must hold one row or more", facts)
    tables.check(len(set(facts)) == len(facts), "action", "one row a fact", facts)
    result = ActionSet(
        id=tables.words(top, "id"),
        version=tables.words(top, "version"),
        most=tables.whole(top, "most", low=1, high=3),
        together=tables.whole(top, "together", low=1, high=2),
        horizon_days=tables.whole(top, "horizon_days", low=1, high=1830),
        immutable=immutable,
        activity=_names(tables, top, "activity"),
        actions=actions,
    )
    tables.finish()
    return result


def _action(tables: Tables, path: str, row: Mapping[str, Any], never: frozenset[str]) -> Action:
    tables.unknown(path, row, list(_KEYS))
    code, fact = tables.words(row, "code", path), tables.words(row, "fact", path)
    tables.check(code.startswith("ADV-"), f"{path}.code", "must begin with ADV-", code)
    if fact in never:
        tables.check(False, f"{path}.fact", "must never be advised on", fact)
    else:
        known = ", ".join(sorted(FACTS))
        tables.check(fact in FACTS, f"{path}.fact", f"must be one of {known}", fact)
    direction, to = row.get("direction"), row.get("to", [])
    good = direction in {"down", "up", "set"}
    tables.check(good, f"{path}.direction", "must be 'down', 'up' or 'set'", direction)
    shaped = isinstance(to, list) and bool(to) == (direction == "set")
    rule = "must hold the values to choose from where the direction is 'set', else be left out"
    tables.check(shaped, f"{path}.to", rule, to)
    down = direction == "down"
    wanted = {"down": 1, "up": 2}.get(str(direction), 0)
    rule = "takes step or parts where the direction is 'down', both for 'up', none for 'set'"
    tables.check(("step" in row) + ("parts" in row) == wanted, path, rule, None)
    return Action(
        code=code,
        fact=fact,
        up=direction == "up",
        step=tables.amount(row, "step", path, low=1) if "step" in row else 0,
        parts=tables.whole(row, "parts", path, low=1, high=_MOST_STEPS) if "parts" in row else 0,
        least=tables.whole(row, "least", path, low=0, high=LARGEST_MINOR) if down else 0,
        to=tuple(_value(tables, f"{path}.to", value) for value in to) if shaped else (),
        cost=tables.whole(row, "cost", path, low=0, high=1000),
        delay_days=tables.whole(row, "delay_days", path, low=0, high=730),
    )


def _value(tables: Tables, path: str, value: Any) -> Value:
    good = type(value) in {int, str} or isinstance(value, Decimal)
    tables.check(good, path, "must hold whole numbers, decimals or texts", value)
    return value if isinstance(value, int | Decimal | str) else 0


def _names(tables: Tables, top: Mapping[str, Any], key: str) -> frozenset[str]:
    value = top.get(key, [])
    good = isinstance(value, list) and all(isinstance(one, str) and one for one in value)
    tables.check(good, key, "must be an array of names", value)
    return frozenset(value) if good else frozenset()
