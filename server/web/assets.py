"""The files that pages load: read once, and under names that change with their content."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import PurePosixPath
from typing import Final

from fastapi import APIRouter, Response

from server.web.charts import STYLE
from shared.errors import NotFound

_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_FOR_EVER: Final = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class Asset:
    """A file, and where it is.

    Parameters
    ----------
    url : str
    media_type : str
    body : bytes
    """

    url: str
    media_type: str
    body: bytes


@cache
def assets() -> dict[str, Asset]:
    """Return every file that pages may load, by its plain name."""
    found = {"charts.css": _asset("charts.css", STYLE.encode())}
    for one in (files("server.web") / "static").iterdir():
        path = PurePosixPath(one.name)
        if path.suffix in _TYPES:
            found[one.name] = _asset(one.name, one.read_bytes())
    return found


def _asset(name: str, body: bytes) -> Asset:
    path, digest = PurePosixPath(name), hashlib.sha256(body).hexdigest()[:12]
    return Asset(f"/static/{path.stem}.{digest}{path.suffix}", _TYPES[path.suffix], body)


def url_of(name: str) -> str:
    """Return the address of a file, for templates."""
    return assets()[name].url


def routes() -> APIRouter:
    """Return the route of the files."""
    found = APIRouter(include_in_schema=False)
    by_url = {one.url: one for one in assets().values()}

    @found.get("/static/{name}")
    async def static(name: str) -> Response:
        """Give a file; one that has changed has another name."""
        one = by_url.get(f"/static/{name}")
        if one is None:
            raise NotFound("there is no such file")
        headers = {"Cache-Control": _FOR_EVER, "Cross-Origin-Resource-Policy": "same-origin"}
        return Response(one.body, media_type=one.media_type, headers=headers)

    return found
