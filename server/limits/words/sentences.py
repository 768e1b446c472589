"""The sentences that customers read: one file a language, checked against each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cache
from string import Formatter
from typing import Final

from server.limits.basis.tables import parse_decimal_toml
from shared.errors import ConfigError, UsageError

LANGUAGES: Final = ("en", "zh")
"""English and Simplified Chinese."""
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


# Of the texts' sentences, of which there are some thousand; a page says hundreds of them.
@cache
def placeholders(sentence: str) -> frozenset[str]:
    """Return the names that a sentence leaves open."""
    return frozenset(name for _, name, _, _ in _PLAIN.parse(sentence) if name is not None)


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
