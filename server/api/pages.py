"""Lists in pages: where a page begins, how long it may be, and where the next one begins.

A page begins behind an id, not at a number, so that nothing is left out or told twice when rows
come in between.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final, Generic, TypeVar

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field

MOST: Final = 200
USUAL: Final = 50

After = Annotated[
    str,
    Query(
        pattern=r"^[0-9A-Za-z._:-]{0,64}$",
        description="What the page before gave as `next`; without it the list begins.",
    ),
]
Count = Annotated[int, Query(ge=1, le=MOST, description="Items at most.")]
_T = TypeVar("_T")


class Page(BaseModel, Generic[_T]):
    """A part of a list."""

    model_config = ConfigDict(extra="forbid")

    items: list[_T]
    next: str | None = Field(description="The next page's `after`; null on the last one.")


def page(items: Sequence[Any], following: str | None = None) -> dict[str, Any]:
    """Return a page as it is answered.

    Parameters
    ----------
    items : sequence
        Ready for JSON.
    following : str, optional
        What the next page begins behind; None on the last one.
    """
    return {"items": list(items), "next": following}


def cut(
    rows: Sequence[_T], count: int, view: Callable[[_T], Any], key: Callable[[_T], object]
) -> dict[str, Any]:
    """Return a page of rows that were read with a count one higher than asked for.

    Parameters
    ----------
    rows : sequence
        At most ``count + 1``: the one above tells that there is a next page.
    count : int
        Items of the page at most.
    view : callable
        Turns a row into an item.
    key : callable
        Gives what the next page would begin behind.
    """
    shown = rows[:count]
    more = len(rows) > count
    return page([view(row) for row in shown], str(key(shown[-1])) if more else None)
