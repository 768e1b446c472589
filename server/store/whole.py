"""A function of the store changes all it has to change, or the transaction is over."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection

_P = ParamSpec("_P")
_R = TypeVar("_R")


def whole(
    function: Callable[Concatenate[Connection, _P], _R],
) -> Callable[Concatenate[Connection, _P], _R]:
    """Roll the transaction back when the function raises, even if its caller catches the error.

    A refusal may come after the first of several updates. Who caught it and went on would commit
    half of it; after this, the next statement of the transaction fails instead.
    """

    @wraps(function)
    def guarded(db: Connection, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return function(db, *args, **kwargs)
        except BaseException:
            db.rollback()
            raise

    return guarded
