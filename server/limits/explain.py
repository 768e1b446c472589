"""Reasons as sentences, in the customer's language: what is about the customer, and what is not.

The sentences stand in a TOML file a language; here they are linted and filled in. A reason comes
from the component that bound, at most four are told (Regulation B, comment 9(b)(2)-1 and -7), and
one more where enquiries come later: 15 U.S.C. 1681g(f)(9) exempts that factor from the count.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from decimal import Decimal
from string import Formatter
from typing import Any, Final

from server.limits.reasons import Family, Reason
from server.limits.tables import parse_decimal_toml
from shared.errors import ConfigError, UsageError

LANGUAGES: Final = ("en", "zh")
"""English and Simplified Chinese."""
MOST_REASONS: Final = 4
ENQUIRIES: Final = frozenset({"S-ENQUIRIES", "B06"})
"""Codes that say how often lenders asked about the customer."""
MACRO: Final = "M-MACRO"
SHARES: Final = frozenset({"utilisation", "others_growth"})
"""Metrics of triggers that people read as a percentage."""
_PLAIN: Final = Formatter()


@dataclass(frozen=True, slots=True)
class Texts:
    """The sentences of one language.

    Parameters
    ----------
    language : str
    sentences : mapping of str to str
        By dotted key, such as `reason.P-GRADE`.
    """

    language: str
    sentences: Mapping[str, str]

    def say(self, key: str, **values: object) -> str:
        """Return a sentence with its placeholders filled in.

        Parameters
        ----------
        key : str
        **values : object
            What its placeholders stand for; more than it needs is allowed.

        Raises
        ------
        UsageError
            If there is no such sentence, or a value is missing.
        """
        sentence = self.sentences.get(key)
        if sentence is None:
            raise UsageError(f"texts in {self.language!r} have no sentence {key!r}")
        if missing := placeholders(sentence) - set(values):
            raise UsageError(f"sentence {key!r} needs {', '.join(sorted(missing))}")
        return sentence.format_map(values)

    def listed(self, words: Sequence[str]) -> str:
        """Return words as a list."""
        *first, last = [*words] or [""]
        if not first:
            return last
        return self.sentences["form.list_and"].join([self.sentences["form.list"].join(first), last])

    def holders(self, names: Sequence[str]) -> str:
        """Return parties as people know them; a party that has no such name stands as it is."""
        return self.listed([self.sentences.get(f"holder.{name}", name) for name in names])

    def day(self, day: date) -> str:
        """Return a day: ``28 September 2026``."""
        month = self.sentences[f"month.m{day.month}"]
        return self.say("form.day", year=day.year, month=month, day=day.day)

    def money(self, minor: int, currency: str, digits: int) -> str:
        """Return an amount: ``19,400.00 CNY``.

        Parameters
        ----------
        minor : int
            At least 0.
        currency : str
            ISO 4217.
        digits : int
            Decimals of the currency.
        """
        whole, rest = divmod(minor, 10**digits)
        cents = f".{rest:0{digits}d}" if digits else ""
        name = self.sentences.get(f"currency.{currency}", currency)
        return self.say("form.amount", number=f"{whole:,}{cents}", currency=name)

    def points(self, count: int) -> str:
        """Return a number of points."""
        return self.say("form.point_one" if count == 1 else "form.point_many", count=count)

    def reviews(self, count: int) -> str:
        """Return a number of reviews."""
        return self.say("form.review_one" if count == 1 else "form.review_many", count=count)

    def percent(self, share: Decimal) -> str:
        """Return a share as a percentage, with up to two decimals."""
        return self.say("form.percent", number=f"{share * 100:.2f}".rstrip("0").rstrip("."))


def parse_texts(text: str, source: str) -> Texts:
    """Read and lint the sentences of one language.

    Raises
    ------
    ConfigError
        With all findings: a value that is no text, a placeholder that is not a plain name.
    """
    top = dict(parse_decimal_toml(text, source))
    language, findings = top.pop("language", None), []
    if language not in LANGUAGES:
        findings.append(f"language: must be one of {', '.join(LANGUAGES)}. Got {language!r}")
    sentences: dict[str, str] = {}
    for section, table in top.items():
        if not isinstance(table, Mapping):
            findings.append(f"{section}: must be a table of sentences")
            continue
        for name, sentence in table.items():
            key = f"{section}.{name}"
            if not isinstance(sentence, str) or not sentence.strip():
                findings.append(f"{key}: must be a text")
            elif not _well_formed(sentence):
                findings.append(f"{key}: a placeholder must be a plain name such as {{amount}}")
            else:
                sentences[key] = sentence
    if findings:
        raise ConfigError(source, findings)
    return Texts(str(language), sentences)


def check_languages(languages: Sequence[Texts], codes: Iterable[str] = ()) -> None:
    """Check that every language says the same things about the same values.

    Parameters
    ----------
    languages : sequence of Texts
        The first is what the others are compared with.
    codes : iterable of str
        Reason codes that each must have a sentence for; those of the score (`S-`) need none of
        their own.

    Raises
    ------
    ConfigError
        With all findings.
    """
    findings = []
    every = {key for texts in languages for key in texts.sentences}
    every |= {f"reason.{code}" for code in codes if not code.startswith("S-")}
    for key in sorted(every):
        without = [texts.language for texts in languages if key not in texts.sentences]
        if without:
            findings.append(f"{key}: is missing in {', '.join(without)}")
            continue
        first, *others = [placeholders(texts.sentences[key]) for texts in languages]
        if any(other != first for other in others):
            findings.append(f"{key}: placeholders differ between the languages")
    if findings:
        raise ConfigError("texts", findings)


def placeholders(sentence: str) -> frozenset[str]:
    """Return the names that a sentence leaves open."""
    return frozenset(name for _, name, _, _ in _PLAIN.parse(sentence) if name is not None)


def principal(reasons: Sequence[Reason], most: int = MOST_REASONS) -> tuple[Reason, ...]:
    """Return the first reasons, and one about enquiries even where it comes later.

    Parameters
    ----------
    reasons : sequence of Reason
        Weightiest first.
    most : int
    """
    first = tuple(reasons[:most])
    if any(one.code in ENQUIRIES for one in first):
        return first
    return first + tuple(one for one in reasons[most:] if one.code in ENQUIRIES)[:1]


@dataclass(frozen=True, slots=True)
class Told:
    """A reason with its sentence.

    Parameters
    ----------
    code, family
        See `Reason`.
    text : str
    not_about_you : bool
        It comes from capital, a partner, the law, the economy or an outage.
    amount_minor, points_lost, holders
        See `Reason`.
    """

    code: str
    family: Family
    text: str
    not_about_you: bool
    amount_minor: int | None
    points_lost: int | None
    holders: tuple[str, ...]

    def to_mapping(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return {**asdict(self), "holders": list(self.holders)}


@dataclass(frozen=True, slots=True)
class Money:
    """How amounts are written.

    Parameters
    ----------
    currency : str
        ISO 4217.
    digits : int
        Its decimals.
    """

    currency: str
    digits: int


def tell(
    reason: Reason,
    texts: Texts,
    money: Money,
    *,
    multiplier: str | None = None,
    baseline: str = "mean",
) -> Told:
    """Return a reason with its sentence.

    Parameters
    ----------
    reason : Reason
    texts : Texts
    money : Money
    multiplier : str, optional
        Of the scenario of the economy, where it is known.
    baseline : str
        What points are measured below: the card's kind of baseline.

    Raises
    ------
    UsageError
        If the texts have no sentence for the code.
    """
    holders = texts.holders(reason.holders)
    if reason.family == "score":
        topic = reason.code.removeprefix("S-")
        named = texts.sentences.get(f"topic.{topic}", topic.replace("_", " ").lower())
        points = texts.points(reason.points_lost or 0)
        text = texts.say(f"score.{baseline}", topic=named, holders=holders, points=points)
    else:
        plain = reason.code == MACRO and multiplier is None
        text = texts.say(
            f"reason.{reason.code}{'-FOR-A-TIME' if plain else ''}",
            **_figures(reason, texts, money),
            multiplier="" if multiplier is None else texts.percent(Decimal(multiplier)),
            holders=holders,
        )
    return Told(
        reason.code,
        reason.family,
        text,
        reason.family == "outside",
        reason.amount_minor,
        reason.points_lost,
        reason.holders,
    )


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a limit is what it is.

    Parameters
    ----------
    language : str
    headline : str
    about_you : tuple of Told
        At most four, and one more about enquiries.
    not_about_you : tuple of Told
        Apart, so that nobody takes a cut for lack of capital for a judgement.
    """

    language: str
    headline: str
    about_you: tuple[Told, ...]
    not_about_you: tuple[Told, ...]

    def to_mapping(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return {
            "language": self.language,
            "headline": self.headline,
            "reasons": [one.to_mapping() for one in self.about_you],
            "not_about_you": [one.to_mapping() for one in self.not_about_you],
        }


def explain(
    reasons: Sequence[Reason],
    texts: Texts,
    money: Money,
    *,
    limit_minor: int,
    before_minor: int | None = None,
    target_minor: int | None = None,
    frozen: bool = False,
    multiplier: str | None = None,
    baseline: str = "mean",
) -> Explanation:
    """Explain a limit.

    Parameters
    ----------
    reasons : sequence of Reason
        Of the components that bound, weightiest first.
    texts, money, multiplier, baseline
        See `tell`.
    limit_minor : int
    before_minor : int, optional
        The limit before; None where the line is new.
    target_minor : int, optional
        The limit that the line is being restored to.
    frozen : bool
        Nothing may be drawn.
    """
    told = [
        tell(one, texts, money, multiplier=multiplier, baseline=baseline)
        for one in principal(reasons)
    ]
    amounts = {"limit": limit_minor, "before": before_minor or 0}
    written = {
        name: texts.money(minor, money.currency, money.digits) for name, minor in amounts.items()
    }
    which = _headline(limit_minor, before_minor, target_minor, frozen=frozen)
    return Explanation(
        texts.language,
        texts.say(f"headline.{which}", **written),
        tuple(one for one in told if not one.not_about_you),
        tuple(one for one in told if one.not_about_you),
    )


def _figures(reason: Reason, texts: Texts, money: Money) -> dict[str, object]:
    """Return what a sentence says beside its code, as people read it."""
    figures: dict[str, object] = dict(reason.params)
    if figures.get("metric") in SHARES:
        for name in figures.keys() & {"value", "enter"}:
            figures[name] = texts.percent(Decimal(str(figures[name])))
    elif "enter" in figures:
        figures["enter"] = f"{Decimal(str(figures['enter'])).normalize():f}"
    if isinstance(step := figures.get("step"), int):
        figures["step"] = texts.money(step, money.currency, money.digits)
    if isinstance(until := figures.get("until"), str):
        figures["until"] = texts.day(date.fromisoformat(until))
    if "rule" in figures:
        figures["signal"] = texts.sentences.get(f"signal.{figures['rule']}", figures["rule"])
    if reason.amount_minor is not None:
        figures["amount"] = texts.money(reason.amount_minor, money.currency, money.digits)
    return figures


def _headline(limit: int, before: int | None, target: int | None, *, frozen: bool) -> str:
    if frozen:
        return "frozen"
    if before is None:
        return "set"
    if limit != before:
        return "raised" if limit > before else "lowered"
    return "not_restored" if target is not None and limit < target else "kept"


def _well_formed(sentence: str) -> bool:
    """Return whether each placeholder is a bare name: no attribute, index, format, conversion."""
    try:
        parts = list(_PLAIN.parse(sentence))
    except ValueError:
        return False
    return all(
        name is None or (name.isidentifier() and not spec and conversion is None)
        for _, name, spec, conversion in parts
    )
