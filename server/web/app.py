"""The pages as routers over a desk: mounted by `server.api.app`, in the same process, on its port.

A role's pages are a package with `SECTION` and `routes(site)`; to add one, name it in `_PARTS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from fastapi import APIRouter, Request, Response

from server.accounts.desk import Desk
from server.runs.folder import RunsFolder
from server.web import (
    assets,
    customer,
    decisions,
    entrance,
    faults,
    federation,
    officer,
    partner,
    policy,
    portfolio,
    regulator,
)
from server.web.render import Site

# In the order in which the page that says what this is tells them; a role's first is its start.
_PARTS: Final = (customer, decisions, portfolio, policy, officer, federation, partner, regulator)


@dataclass(frozen=True, slots=True)
class Pages:
    """What an application mounts.

    Parameters
    ----------
    site : Site
    routers : tuple of APIRouter
    """

    site: Site
    routers: tuple[APIRouter, ...]

    async def problem(
        self, request: Request, told: Mapping[str, Any], headers: Mapping[str, str]
    ) -> Response | None:
        """Return a problem as a page; see `server.web.faults.shown`."""
        return await faults.shown(self.site, request, told, headers)


def pages(desk: Desk, runs: RunsFolder | None = None) -> Pages:
    """Return the pages over a desk.

    Parameters
    ----------
    desk : Desk
    runs : RunsFolder, optional
        Of the coordinator, for operators to watch.

    Raises
    ------
    ConfigError
        If the pages' languages do not say the same things.
    """
    sections = tuple(one.SECTION for one in _PARTS)
    site = Site(desk, (*sections, decisions.FOR_REGULATORS), runs)
    parts = [one.routes(site) for one in _PARTS]
    return Pages(site, (assets.routes(), entrance.routes(site), *parts))
