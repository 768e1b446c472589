"""The policies and jurisdiction packs that come with confide: reviewed text, not code."""

from __future__ import annotations

from importlib.resources import files


def embedded(name: str) -> tuple[str, str]:
    """Return the text and the name of an embedded file.

    Parameters
    ----------
    name : str
        `reference`, or `pack_cn`, without the ending.
    """
    return (files(__package__) / f"{name}.toml").read_text(encoding="utf-8"), f"{name}.toml"
