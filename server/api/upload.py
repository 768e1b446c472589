"""A score feed on its way in: its first line, which is signed, and only then the rest."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from fastapi import Request
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from shared.feed import HEADER_RULE, MAX_HEADER, refuse

HEADER_S: Final = 10.0
"""Seconds that a feed's first line may take to arrive."""
UPLOAD_S: Final = 300.0
"""Seconds that the rest of a feed may take to arrive."""


class Upload:
    """A request's body, read in two steps.

    Parameters
    ----------
    request : Request
    most : int
        Longest body that is taken.
    """

    def __init__(self, request: Request, most: int) -> None:
        self._parts: AsyncIterator[bytes] = request.stream()
        self._length = request.headers.get("content-length", "")
        self._most = most
        self._raw = bytearray()
        self._header = 0

    async def first_line(self) -> bytes:
        """Return the first line without its newline; of the rest at most one part is read.

        Raises
        ------
        HTTPException
            400, 408 or 413.
        FeedRefused
            By the check `form`, if no line ends where a header must.
        """
        if self._length.isdecimal() and int(self._length) > self._most:
            raise self._too_long()
        async with _in_time(HEADER_S):
            while (end := self._raw.find(b"\n")) < 0 and len(self._raw) <= MAX_HEADER:
                if not await self._read():
                    break
        if not 0 <= end <= MAX_HEADER:
            refuse("form", HEADER_RULE)
        self._header = end + 1
        return bytes(self._raw[:end])

    async def whole(self, most: int) -> bytes:
        """Return the first line and the rest.

        Parameters
        ----------
        most : int
            Bytes that the rest may have.

        Raises
        ------
        HTTPException
            400, 408 or 413.
        FeedRefused
            By the check `form`, as soon as the rest is longer.
        """
        limit = self._header + most
        async with _in_time(UPLOAD_S):
            while len(self._raw) <= limit:
                if not await self._read():
                    break
        if len(self._raw) > limit:
            refuse("form", "it is longer than its header allows")
        raw, self._raw = bytes(self._raw), bytearray()  # while it is checked: once, not twice
        return raw

    async def _read(self) -> bool:
        """Take the next part; return whether there was one."""
        try:
            part = await anext(self._parts, None)
        except ClientDisconnect as error:
            raise HTTPException(400, "the feed ended in the middle") from error
        if part is None:
            return False
        self._raw += part
        if len(self._raw) > self._most:
            raise self._too_long()
        return True

    def _too_long(self) -> HTTPException:
        return HTTPException(413, f"a feed may have at most {self._most:,} bytes")


@asynccontextmanager
async def _in_time(seconds: float) -> AsyncIterator[None]:
    """Let what is inside take so long.

    Raises
    ------
    HTTPException
        408.
    """
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise HTTPException(408, "the feed did not arrive in time") from error
