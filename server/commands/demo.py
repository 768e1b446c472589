"""`confide demo`: from nothing to a customer's explained limit, in one command.

The demo owns every party of its world, so it does what each of them would do at home: it makes
their data and keys, trains, promotes the signed release, starts the limit service with everybody's
score feed, and maps one customer of the payments platform to the pseudonym. What that customer then
does with a line, and asks about it, is in `demo_story`. Where the service stays up, there are
people to sign in as on its pages (`server.demo_people`).
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from server import demo_screen, screen
from server.accounts import proving
from server.accounts.scores import HOME, load_policy
from server.api.tokens import KEY_FILE, Role, read_keys
from server.commands.common import Format, FormatOption, emit
from server.commands.demo_story import Counter, live
from server.commands.logins import NAME, check_demo, demo_logins, let_repaid_in
from server.commands.model import open_registry
from server.commands.train import Engine, EngineOption, run_training, trainer
from server.demo_people.logins import FILE
from server.engines.own import own
from shared.edge.clock import utc_now
from shared.errors import EnvironmentFault
from shared.jobs import COORDINATOR

# Who asks: the platform that owns the app.
_PLATFORM = "payments"
# Customers to look at for one whom all holders know and whose limit has something to explain.
_LOOK_AT = 40
_PLAIN_GRADES = frozenset({"C", "D"})
_STOP_S = 10.0


def demo(
    folder: Annotated[Path, typer.Argument(help="A new folder for the demo.")] = Path("demo"),
    customers: Annotated[
        int, typer.Option(help="People in the simulated world.", min=4000)
    ] = 12000,
    seed: Annotated[int, typer.Option(help="Of the simulated world.")] = 1,
    engine: EngineOption = Engine.FLOWER,
    serve: Annotated[
        bool | None,
        typer.Option(
            "--serve/--no-serve", help="Stay up to be tried.  [default: on a terminal only]"
        ),
    ] = None,
    port: Annotated[
        int, typer.Option(help="Port of the limit service; 0 takes a free one.", min=0, max=65535)
    ] = 0,
    form: FormatOption = Format.TEXT,
) -> None:
    """Make a simulated world of four holders, train, and explain one customer's limit."""
    stays = serve if serve is not None else sys.stdin.isatty() and sys.stdout.isatty()
    federation = folder / "federation.toml"
    if not federation.exists():
        own("data", "make", str(folder), "--customers", str(customers), "--seed", str(seed))
        own("init", str(folder), "--name", NAME)
    elif stays:
        check_demo(federation)
    train_on = trainer(engine)
    from server.engines.launcher import new_run  # noqa: PLC0415

    result = run_training(federation, train_on, {}, new_run())
    name = result["release"]["name"]
    registry, agreed = open_registry(federation)
    registry.promote(name, agreed, utc_now(), "demo")
    feeds = sorted(str(path) for path in folder.glob(f"*/feeds/{name}.feed"))
    known = _platforms_customers(federation)
    if stays:
        demo_logins(
            federation, "", [Path(one) for one in feeds], [one["pseudonym"] for one in known]
        )
        own("review", "count", "--federation", str(federation))
    runs = federation.parent / agreed.home(COORDINATOR)
    with _service(federation, feeds, runs, port) as (url, process):
        customer = _explained(url, known, federation)
        if form is Format.JSON:
            emit({"training": result, "service": url, "customer": customer})
        else:
            screen.table(result)
            demo_screen.customer(customer, load_policy(None)[0].minor_digits)
        if stays:
            people = let_repaid_in(federation, customer["pseudonym"])
            demo_screen.try_it(url, customer, federation)
            demo_screen.pages(url, people, federation.parent / HOME / FILE)
            process.wait()


def _platforms_customers(federation: Path) -> list[dict[str, str]]:
    """Return some customers of the platform, each with the pseudonym that it alone can look up."""
    rows: list[dict[str, str]] = json.loads(
        own(
            "feed",
            "customers",
            *("--federation", str(federation), "--party", _PLATFORM),
            *("--first", str(_LOOK_AT), "--format", "json"),
        )
    )["data"]
    return rows


def _explained(url: str, customers: list[dict[str, str]], federation: Path) -> dict[str, Any]:
    """Let one customer whom every holder knows open a line, use it, and ask why.

    Raises
    ------
    EnvironmentFault
        If the service answers none of them, or refuses a step.
    LogBroken
        If its log does not prove what it decided.
    """
    import httpx  # noqa: PLC0415 - other commands need no client

    home = federation.parent / HOME
    keys, pin = read_keys(home / KEY_FILE), proving.log_key(home).fingerprint
    with httpx.Client(base_url=url, trust_env=False, timeout=30.0) as client:
        counters = [
            (customer, Counter(client, keys, customer["pseudonym"])) for customer in customers
        ]
        found = _chosen(counters)
        counter = Counter(client, keys, found["pseudonym"])
        return {**found, "line": live(counter, found["limit"], pin)}


def _chosen(counters: list[tuple[dict[str, str], Counter]]) -> dict[str, Any]:
    """Return a customer whom all holders know, with a limit that has something to explain.

    A second demo in the same folder is somebody else's: who has a line cannot open another.

    Raises
    ------
    EnvironmentFault
        If the service knows none.
    """
    found: dict[str, Any] | None = None
    for customer, counter in counters:
        reply = counter.get(Role.CUSTOMER, f"/v1/customers/{customer['pseudonym']}/limit")
        if not reply.is_success or reply.json()["score"]["missing"] or _has_line(counter):
            continue
        limit = reply.json()
        if limit["score"]["grade"] in _PLAIN_GRADES:
            return {**customer, "limit": limit}
        if found is None or limit["limit_minor"] > found["limit"]["limit_minor"]:
            found = {**customer, "limit": limit}
    if found is None:
        raise EnvironmentFault("the limit service knows none of the platform's customers")
    return found


def _has_line(counter: Counter) -> bool:
    return bool(counter.told(Role.CUSTOMER, "/v1/lines")["items"])


@contextmanager
def _service(
    federation: Path, feeds: list[str], runs: Path, port: int
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run `confide serve` as a process of its own; stop it, whatever happens.

    Raises
    ------
    EnvironmentFault
        If it does not start; it has said why.
    """
    command = [sys.executable, "-m", "server.cli", "serve", "--format", "json"]
    command += ["--federation", str(federation), "--port", str(port), "--runs", str(runs)]
    command += [word for feed in feeds for word in ("--feeds", feed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:  # noqa: S603 - our own
        try:
            yield _address(process), process
        except KeyboardInterrupt:  # it has reached the service, too
            with suppress(subprocess.TimeoutExpired):  # only this process was told
                process.wait(_STOP_S)
        finally:
            process.terminate()
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _address(process: subprocess.Popen[bytes]) -> str:
    """Read the service's first answer: one JSON object over several lines."""
    told = b""
    stream = process.stdout
    while stream is not None and (line := stream.readline()):
        told += line
        if line == b"}\n":
            return str(json.loads(told)["data"]["url"])
    raise EnvironmentFault("the limit service did not start", hint="it says why above")
