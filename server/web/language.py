"""The two languages of the pages, and which of them a request wants.

`texts/<language>/*.toml` hold what the pages say, one file a role. Sentences about limits come from
`server.limits.texts`, through the functions that the API uses; here they lend their forms of
amounts, days and lists.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import Final, Literal, TypeAlias, get_args

from fastapi import Request

from server.limits.words.sentences import Texts, check_languages, parse_texts
from shared.errors import ConfigError

Language: TypeAlias = Literal["en", "zh"]
LANGUAGES: Final[tuple[Language, ...]] = get_args(Language)
COOKIE: Final = "lang"
QUERY: Final = "lang"
_WISH: Final = re.compile(r"\s*([A-Za-z]{1,8})[A-Za-z0-9-]*\s*(?:;\s*q=([0-9.]{1,5})\s*)?")


@cache
def texts_in(language: Language) -> Texts:
    """Return every sentence of the pages in a language.

    Raises
    ------
    ConfigError
        If the languages do not say the same things, or a key stands in two files.
    """
    every = [_read(one) for one in LANGUAGES]
    check_languages(every)
    return every[LANGUAGES.index(language)]


def wanted(request: Request) -> Language:
    """Return the language that a request wants: by its address, its cookie, or its browser."""
    for told in (request.query_params.get(QUERY), request.cookies.get(COOKIE)):
        if told in LANGUAGES:
            return told
    return _browsers(request.headers.get("accept-language", ""))


def chosen(request: Request) -> Language | None:
    """Return the language that the address chooses, which is to be remembered; or None."""
    told = request.query_params.get(QUERY)
    return told if told in LANGUAGES else None


def _browsers(header: str) -> Language:
    """Return the first of a browser's wishes that there is; English where there is none."""
    wishes: list[tuple[float, Language]] = []
    for part in header[:500].split(","):
        found = _WISH.fullmatch(part)
        if found is not None and found[1].lower() in LANGUAGES:
            wishes.append((-_weight(found[2]), found[1].lower()))  # type: ignore[arg-type]
    return min(wishes, key=lambda wish: wish[0], default=(0.0, "en"))[1]


def _weight(told: str | None) -> float:
    try:
        return 1.0 if told is None else float(told)
    except ValueError:
        return 0.0


def _read(language: Language) -> Texts:
    sentences: dict[str, str] = {}
    folders = (files("server.limits") / "texts", files("server.web") / "texts" / language)
    sources = [folders[0] / f"{language}.toml"]
    sources += sorted(folders[1].iterdir(), key=lambda one: one.name)
    for source in sources:
        found = parse_texts(source.read_text(encoding="utf-8"), source.name).sentences
        if twice := sorted(set(found) & set(sentences)):
            raise ConfigError(source.name, [f"{key}: stands in another file, too" for key in twice])
        sentences |= found
    return Texts(language, sentences)
