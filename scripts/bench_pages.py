"""Time every page of every role on a store with 100,000 customers, all in one process.

    python scripts/bench_pages.py --json pages.json
    python scripts/bench_pages.py --customers 1000 --repeats 5      # a quick look
    python scripts/bench_pages.py --profile /me --as mei            # where the time of a page goes

Whoever has a role starts where a sign-in leads to and follows the links of the pages; up to two
addresses of each route are asked for, one request at a time, through the application and all that
is in front of its routes. What counts is the CPU time of the process from request to answer, all
threads together: wall time stands beside it, and depends on who else uses the machine. SQLite lies
in the page cache. Beside each page stands how much longer it took than a page that says hello.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import pstats
import re
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio.to_thread
from _bench import Bar, load, machine, show_bars, show_mapping, spread, versions, write_json
from _town import Town, settle
from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from starlette.routing import Match

from tests.web.kit import HTML, Browser, Page

MOST_MS = 50.0
MOST_BYTES = 150_000
MOST_OF_A_ROUTE = 2
MOST_OF_A_ROLE = 150
WARM = 3
HELLO = "/bench/hello"
PACKAGES = ("fastapi", "jinja2", "sqlalchemy", "starlette")
#: Addresses that no link has: what a form would ask for.
TYPED = {
    "mei": ("/me/what-if?try=1&draws=8", "/me/cost?amount=1000&months=3"),
}
ANYBODY = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a request.

    Parameters
    ----------
    status : int
        0 of a stream that does not end.
    headers : dict of str to str
    body : bytes
    wall_ms, cpu_ms : float
        Of the process, all threads together.
    """

    status: int
    headers: dict[str, str]
    body: bytes
    wall_ms: float
    cpu_ms: float


class _EndlessError(Exception):
    """The answer is a stream of events."""


async def ask(app: FastAPI, address: str, cookie: str) -> Answer:
    """Send one request through the application, without a socket."""
    path, _, query = address.partition("?")
    headers = {"host": "127.0.0.1:8080", "accept-language": "en"}
    headers |= {name.lower(): value for name, value in HTML.items()}
    headers |= {"cookie": cookie} if cookie else {}
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET",
        "scheme": "http", "path": path, "raw_path": path.encode(), "root_path": "",
        "query_string": query.encode(), "client": ("127.0.0.1", 40000),
        "server": ("127.0.0.1", 8080),
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }  # fmt: skip
    told: dict[str, Any] = {"status": 0, "headers": {}, "body": bytearray()}

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            told["headers"] = {k.decode(): v.decode() for k, v in message["headers"]}
            if told["headers"].get("content-type", "").startswith("text/event-stream"):
                raise _EndlessError
            told["status"] = message["status"]
        else:
            told["body"] += message.get("body", b"")

    wall, cpu = time.perf_counter(), time.process_time()
    try:
        await app(scope, receive, send)  # type: ignore[arg-type]
    except (_EndlessError, ExceptionGroup) as error:
        if not _is_endless(error):
            raise
    took = (time.perf_counter() - wall) * 1e3, (time.process_time() - cpu) * 1e3
    return Answer(told["status"], told["headers"], bytes(told["body"]), *took)


def _is_endless(error: BaseException) -> bool:
    inner = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    return isinstance(error, _EndlessError) or any(map(_is_endless, inner))


def route_of(app: FastAPI, address: str) -> str:
    """Return the pattern of the route that an address of a page goes to; empty where there is none.

    The API's routes are no pages.
    """
    scope = {"type": "http", "method": "GET", "path": address.partition("?")[0], "root_path": ""}
    for router in app.state.pages.routers:
        for route in router.routes:
            if route.matches(scope)[0] is Match.FULL:
                return str(route.path)
    return ""


def patterns(app: FastAPI) -> set[str]:
    """Return the patterns of all pages that are looked at, but not of their files."""
    return {
        str(route.path)
        for router in app.state.pages.routers
        for route in router.routes
        if "GET" in getattr(route, "methods", ()) and not str(route.path).startswith("/static/")
    }


async def walk(app: FastAPI, name: str, cookie: str, start: str) -> dict[str, list[str]]:
    """Follow links from where somebody starts; return addresses by route that gave a page."""
    found: dict[str, list[str]] = {}
    waiting, seen = deque([start, *TYPED.get(name, ())]), set()
    while waiting and len(seen) < MOST_OF_A_ROLE:
        address = waiting.popleft()
        route = route_of(app, address)
        known = found.get(route, [])
        if address in seen or not route or route.startswith("/static/"):
            continue
        if len(known) >= MOST_OF_A_ROUTE and address not in TYPED.get(name, ()):
            continue
        seen.add(address)
        answer = await ask(app, address, cookie)
        if answer.status in {200, 0}:
            found.setdefault(route, []).append(address)
        if answer.status in {302, 303, 307}:
            waiting.append(answer.headers["location"])
        elif answer.headers.get("content-type", "").startswith("text/html"):
            waiting.extend(_links(answer, address))
    return found


def _links(answer: Answer, address: str) -> Iterator[str]:
    page = Page(_Told(answer))
    for link in page.links:
        if "lang=" in link:
            continue
        if link.startswith("/") and not link.startswith("//"):
            yield link.partition("#")[0]
        elif link.startswith("?"):
            yield address.partition("?")[0] + link.partition("#")[0]
    for form in page.forms:
        if form.method == "get" and form.action.startswith("/"):
            yield form.action


class _Told:
    """An answer as `Page` takes it."""

    def __init__(self, answer: Answer) -> None:
        self.status_code, self.headers = answer.status, answer.headers
        self.text = answer.body.decode()


async def measure(app: FastAPI, address: str, cookie: str, repeats: int) -> dict[str, Any]:
    """Ask for a page again and again, in turn with the one that says hello."""
    for _ in range(WARM):
        last = await ask(app, address, cookie)
        await ask(app, HELLO, cookie)
    pages, bare = [], []
    for _ in range(repeats):
        last = await ask(app, address, cookie)
        pages.append(last)
        bare.append(await ask(app, HELLO, cookie))
    cpu, hello = spread([one.cpu_ms for one in pages]), spread([one.cpu_ms for one in bare])
    return {
        "page": last.headers.get("content-type", "").startswith("text/html"),
        "bytes": len(last.body),
        "cpu_ms": cpu,
        "wall_ms": spread([one.wall_ms for one in pages]),
        "hello_cpu_ms": hello,
        "times_hello": round(cpu["median"] / max(hello["median"], 0.01), 1),
    }


async def first_page(app: FastAPI) -> dict[str, int]:
    """Return the bytes of the first page and of all that it loads."""
    page = await ask(app, "/", "")
    sizes = {"/": len(page.body)}
    for url in re.findall(r'(?:src|href)="(/static/[^"]+)"', page.body.decode()):
        sizes[url] = len((await ask(app, url, "")).body)
    return sizes


async def bench(town: Town, repeats: int) -> dict[str, Any]:
    """Walk as everybody, time each page, and return all of it."""
    app = town.office.app
    rows, streams, reached = [], [], set()
    for name in (ANYBODY, *town.secrets):
        cookie = cookie_of(town, name)
        found = await walk(app, name, cookie, "/?stay=1" if name == ANYBODY else "/")
        for route, addresses in sorted(found.items()):
            reached.add(route)
            for address in addresses:
                if (await ask(app, address, cookie)).status == 0:
                    streams.append(address)
                    continue
                rows.append(
                    {"as": name or "anybody", "route": route, "address": address}
                    | await measure(app, address, cookie, repeats)
                )
    return {
        "pages": rows,
        "streams": sorted(set(streams)),
        "not_reached": sorted(patterns(app) - reached),
        "first_page_bytes": await first_page(app),
    }


def cookie_of(town: Town, name: str) -> str:
    """Return the cookie of somebody who signed in."""
    if name == ANYBODY:
        return ""
    browser = Browser(town.office)
    browser.sign_in(name, town.secrets[name])
    return "; ".join(f"{key}={value}" for key, value in browser.http.cookies.items())


def bars_of(report: dict[str, Any]) -> list[Bar]:
    # What is saved as a file, such as the proofs of a hundred decisions, stands in the table only.
    pages = [one for one in report["pages"] if one["page"]]
    slowest = max(pages, key=lambda one: one["cpu_ms"]["median"])
    largest = max(pages, key=lambda one: one["bytes"])
    return [
        Bar(f"slowest page, ms: {slowest['address']}", slowest["cpu_ms"]["median"], "<", MOST_MS),
        Bar("first page in all, bytes", sum(report["first_page_bytes"].values()), "<", MOST_BYTES),
        Bar(f"largest page, bytes: {largest['address']}", largest["bytes"], "<", MOST_BYTES),
    ]


def show(report: dict[str, Any]) -> None:
    show_mapping(report["machine"] | report["versions"] | {"load": report["load"]})
    print(f"\n{report['customers']:,} customers\n")
    head = ("CPU ms", "least", "most", "wall ms", "x hello", "bytes")
    print(f"{'as':<14} {'page':<56} " + " ".join(f"{one:>8}" for one in head))
    for one in sorted(report["pages"], key=lambda row: -row["cpu_ms"]["median"]):
        cpu, wall = one["cpu_ms"], one["wall_ms"]
        address = re.sub(r"[0-9A-Za-z]{20,}", lambda hit: f"{hit[0][:6]}..", one["address"])
        print(
            f"{one['as']:<14} {address[:56]:<56} {cpu['median']:>8.1f} {cpu['min']:>8.1f} "
            f"{cpu['max']:>8.1f} {wall['median']:>8.1f} {one['times_hello']:>8.1f} "
            f"{one['bytes']:>8,}"
        )
    for address in report["streams"]:
        print(f"a stream, not timed: {address}")
    for route in report["not_reached"]:
        print(f"no link led to: {route}")
    print()


async def profile(town: Town, address: str, name: str, repeats: int) -> None:
    """Print where the time of a page goes; what threads would do is done in place, to be seen."""

    async def in_place(work: Callable[..., Any], *given: Any, **_: Any) -> Any:
        return work(*given)

    app, cookie = town.office.app, cookie_of(town, name)
    anyio.to_thread.run_sync = in_place  # type: ignore[assignment]
    for _ in range(WARM):
        await ask(app, address, cookie)
    profiler = cProfile.Profile()
    profiler.enable()
    for _ in range(repeats):
        await ask(app, address, cookie)
    profiler.disable()
    pstats.Stats(profiler).sort_stats("cumulative").print_stats(90)


def options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--customers", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--profile", metavar="ADDRESS", help="instead of timing all pages")
    parser.add_argument("--as", dest="name", default="mei", help="who looks (with --profile)")
    parser.add_argument("--json", type=Path, help="write the report here")
    return parser


def main() -> int:
    arguments = options().parse_args()
    report: dict[str, Any] = {
        "schema": "confide/bench-pages/1",
        "machine": machine(),
        "versions": versions(*PACKAGES),
        "load": [load()],
        "customers": arguments.customers,
    }
    with tempfile.TemporaryDirectory(prefix="confide-bench-") as folder:
        town = settle(Path(folder), arguments.customers)
        report["rows"] = town.rows
        town.office.app.add_api_route(HELLO, _hello, response_class=HTMLResponse)
        if arguments.profile:
            asyncio.run(profile(town, arguments.profile, arguments.name, arguments.repeats))
            return 0
        report |= asyncio.run(bench(town, arguments.repeats))
        town.office.close()
    report["load"].append(load())
    show(report)
    bars = bars_of(report)
    report["bars"] = [bar.to_mapping() for bar in bars]
    met = show_bars(bars)
    write_json(arguments.json, report)
    return 0 if met else 1


async def _hello() -> str:
    return "<!doctype html><title>hello</title><p>hello"


if __name__ == "__main__":
    sys.exit(main())
