"""What `confide demo` shows of one customer: what was done, and the answers to what people ask."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from server.demo_people.logins import Login

_OUT = Console(highlight=False, soft_wrap=True)
_WIDTH: Final = 112
_CODE: Final = 17  # columns of a reason's code

Money = Callable[[int], str]


def customer(found: Mapping[str, Any], digits: int) -> None:
    """Print one customer's story, why the limit is what it is, and when it comes back.

    Parameters
    ----------
    found : mapping
        `customer` (the platform's own id), `pseudonym`, `limit` as the service answers, and `line`
        as `server.commands.demo_story.live` returns it.
    digits : int
        Decimals of the currency.
    """
    line, limit = found["line"], found["limit"]
    score, opened = limit["score"], line["opened"]
    currency = limit["limit"].split()[-1]

    def money(minor: int) -> str:
        return f"{Decimal(minor).scaleb(-digits):,.{digits}f} {currency}"

    asked = f"which asks the service about {found['pseudonym'][:12]}"
    _OUT.print()
    _head(f"{found['customer']} asks the platform, {asked}")
    chance = f"score {score['score']} of {score['high']}, chance of default"
    _say(f"{chance} {score['default_prob']:.1%}; limit {money(opened['limit_minor'])}")
    bound = " and ".join(opened["decision"]["binding"])
    _head(f"Why is my limit not higher? It is bound by {bound}")
    _reasons(line["why_so_much"])
    if opened["line_id"] is not None:
        _used(line, money)
        _came_back(line["why"], money)
        _proven(line["proof"])
    golden = "`confide replay golden` plays two of them through a year and a downturn"
    _say(f"(People are simulated. {golden}.)")


def _used(line: Mapping[str, Any], money: Money) -> None:
    """Tell what was done with the line, and what a review in between made of it."""
    drawn, review, repaid = line["drawn"], line["reviewed"], line["repaid"]
    old, new = review["old_limit_minor"], review["new_limit_minor"]
    moved = "lowers the limit to" if new < old else "leaves the limit at"
    _head(f"{drawn['loans']} loans, a review, everything repaid")
    taken, due = money(drawn["amount_minor"]), drawn["due"][0]["due_on"]
    _say(f"{taken} is drawn, due from {due}; a review {moved} {money(new)}")
    told_below = {one["code"] for one in line["why"]["reasons"]}
    for one in line["why_reviewed"]["reasons"]:
        if one["family"] != "score" and one["code"] not in told_below:
            _reason(one)
    when = "on time" if repaid["value_date"] <= due else "late"
    _say(f"{money(repaid['amount_minor'])} is repaid on {repaid['value_date']}, {when}")


def _came_back(why: Mapping[str, Any], money: Money) -> None:
    """Tell what came back at once, and what of the limit did not."""
    back = why["why_not_back"]
    _head("What came back when I repaid?")
    _lines(back["at_once"]["text"])
    _head(f"Is the limit itself back? {why['headline']}")
    _reasons(why)
    if not why["not_about_you"]:
        _say("Not about you: nothing.")
    way = back["restoration"]
    if way is not None:
        if way["needs"]:
            _say(f"{way['rule']} waits for {way['needs']}: {way['progress']} so far.")
        steps = [f"{money(one['limit_minor'])} on {one['on']}" for one in way["steps"]]
        if steps:
            _say(f"If every review is clean: {', '.join(steps)}.")
    _lines(f"{one['action']} {one['result']}" for one in why["advice"])


def _reasons(told: Mapping[str, Any]) -> None:
    """Print reasons, those that are not about the customer apart."""
    for one in told["reasons"]:
        _reason(one)
    if told["not_about_you"]:
        _say("Not about you:")
    for one in told["not_about_you"]:
        _reason(one)


def _reason(one: Mapping[str, Any]) -> None:
    _say(one["text"], f"{one['code']:<{_CODE}}")


def _proven(proof: Mapping[str, Any]) -> None:
    _head("Was it decided so?")
    where = f"leaf {proof['leaf']} of {proof['size']} in the log signed {proof['signed']}"
    same = "the record leads to the same decision again, bit for bit"
    _say(f"The review is {where}: it verifies, and {same}.")


def _head(text: str) -> None:
    _OUT.print(text, style="bold", markup=False)


def _lines(texts: Iterable[str]) -> None:
    for text in texts:
        _say(text)


def _say(text: str, label: str = "") -> None:
    """Print a sentence, on lines that fit a page."""
    first = f"  {label}"
    rest = " " * len(first)
    _OUT.print(
        textwrap.fill(text, _WIDTH, initial_indent=first, subsequent_indent=rest), markup=False
    )


def try_it(url: str, found: Mapping[str, Any], federation: Path) -> None:
    """Say what may be tried while the service is up.

    Parameters
    ----------
    url : str
    found : mapping
        As of `customer`.
    federation : Path
    """
    name, line = found["pseudonym"], found["line"]["opened"]["line_id"]
    _OUT.print(f"\nThe limit service is up at {url} (Ctrl-C ends it). Try, in another terminal:")
    token = f"confide token --role customer --subject {name} --federation {federation}"
    asked = f"/v1/lines/{line}/why?lang=en" if line else f"/v1/customers/{name}/limit"
    for text in (
        f'curl -s -H "Authorization: Bearer $({token})" "{url}{asked}"',
        f"curl -s {url}/openapi.json",
        f"confide line list --federation {federation}",
        f"confide log head --federation {federation}",
        f"confide model list --federation {federation}",
    ):
        _OUT.print(f"  {text}", markup=False)


def pages(url: str, people: Sequence[Login], file: Path) -> None:
    """Say where the pages are, and who may sign in.

    Parameters
    ----------
    url : str
    people : sequence of Login
    file : Path
        Where their secrets are kept.
    """
    _OUT.print()
    _head(f"The pages are at {url}/sign-in, in English and Chinese")
    logins(people)
    _say(f"These secrets are of this folder alone, and kept in {file}, for you only.")
    _OUT.print("Ctrl-C ends it.")


def logins(people: Sequence[Login]) -> None:
    """Print who may sign in, one a line: name, secret, and who that is."""
    for one in people:
        name, about = one.person.name, one.person.about
        _OUT.print(f"  {name:<15} {one.secret}  {about}", markup=False)
