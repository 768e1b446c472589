"""The main job: one command from nothing to an explained limit, and nothing left behind."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

import httpx
import pytest

from tests.whole_runs import assert_nothing_half_written, column

pytestmark = pytest.mark.e2e

HOLDERS = ["bank", "bureau", "ecommerce", "payments"]


def running_on(folder):
    """Return the command lines of other processes that name this folder, whatever their session."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in line and path.parent.name != str(os.getpid()):
            found.append(line)
    return found


@pytest.mark.slow
def test_the_demo_tells_its_table_and_one_customers_limit_and_no_row(confide, tmp_path):
    folder = tmp_path / "demo"
    options = ("--customers", 4000, "--engine", "local", "--no-serve")
    status, out, err = confide("demo", folder, *options)
    assert status == 0, err
    # With so few customers to evaluate on, the floors leave the builder's own card alone.
    for name in ("bank", "all together"):
        assert re.search(rf"^ *{name} +0\.\d{{4}} +0\.\d{{3}}-0\.\d{{3}}", out, re.MULTILINE)
    assert "…" not in out  # a cut number would be a wrong number
    assert [line.split()[0] for line in err.splitlines() if "4/4 parties" in line] == [
        *("align", "moments", "score", "release")
    ]
    assert "warn" not in err.lower()
    assert "Traceback" not in out + err
    asked = ("Why is my limit not higher?", "What came back when I repaid?", "Is the limit itself")
    assert [question in out for question in asked] == [True] * 3
    assert re.search(r"The review is leaf \d of \d in the log signed 20\d\d-", out)
    # The one id on the screen is the platform's own customer, who asks.
    ids = {name for path in folder.glob("*/*.parquet") for name in map(str, column(path, "ID"))}
    asked = re.search(r"^(\S+) asks the platform", out, re.MULTILINE).group(1)
    assert ids & set(re.findall(r"\w+", out + err)) == {asked}
    assert_nothing_half_written(tmp_path)
    assert running_on(tmp_path) == []


def assert_lived(line):
    """Hold the customer's story against itself: each answer comes from a step of its own."""
    opened, why, proof = line["opened"], line["why"], line["proof"]
    drawn, repaid = line["drawn"]["amount_minor"], line["repaid"]
    assert drawn == 6 * (opened["limit_minor"] // 10)
    assert repaid["amount_minor"] == drawn
    assert repaid["outstanding_minor"] == 0
    # What was repaid can be drawn again at once, as far as the limit goes.
    at_once, limit = why["why_not_back"]["at_once"], why["limit_minor"]
    assert at_once["back_minor"] == limit - max(0, limit - drawn)
    assert why["available_minor"] == limit == line["reviewed"]["new_limit_minor"]
    # The limit waits, and by name: six loans within thirty days are what B01 is about.
    assert why["why_not_back"]["restoration"]["rule"] == "B01"
    assert "B01" in {reason["code"] for reason in why["reasons"]}
    assert why["not_about_you"] == []
    assert proof["decision_id"] == line["reviewed"]["decision_id"]
    assert proof["made_again"] == 1
    assert proof["leaf"] < proof["size"]


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["local", "flower"])
def test_one_command_leads_from_nothing_to_an_explained_limit(confide, tmp_path, engine):
    options = ("--customers", 4000, "--engine", engine, "--no-serve", "--format", "json")
    status, out, err = confide("demo", tmp_path / "demo", *options)
    assert status == 0, err
    data = json.loads(out)["data"]
    release, limit = data["training"]["release"], data["customer"]["limit"]
    assert release["signatures"] == HOLDERS
    assert limit["score"]["model"]["digest"] == release["digest"]
    assert limit["score"]["missing"] == []
    assert limit["limit_minor"] == min(limit["caps"].values()) // 10_000 * 10_000
    assert limit["caps"][limit["binding"][0]] == min(limit["caps"].values())
    assert 1 <= len(limit["reasons"]) <= 4
    assert_lived(data["customer"]["line"])
    assert running_on(tmp_path) == []
    status, _, err = confide("model", "verify", "-f", tmp_path / "demo/federation.toml")
    assert status == 0, err


def assert_lets_in(url, told, file):
    """Sign in as everybody whom the screen names, with what the file of secrets has."""
    assert f"The pages are at {url}/sign-in" in told
    assert file.stat().st_mode & 0o777 == 0o600
    rows = json.loads(file.read_text())["logins"]
    assert {"steady", "often", "business", "holder-missing", "capital", "repaid"} <= {
        one["name"] for one in rows
    }
    for one in rows:
        assert re.search(rf"^  {one['name']} +{one['secret']}  ", told, re.MULTILINE)
        with httpx.Client(base_url=url, trust_env=False) as browser:
            asked = {"client": one["name"], "secret": one["secret"]}
            answer = browser.post("/sign-in", data=asked, headers={"Origin": url})
            assert answer.status_code == 303, one["name"]
            if one["role"] == "customer":
                page = browser.get("/me", headers={"Accept": "text/html"})
                assert page.status_code == 200
                assert "of a limit of" in page.text


@pytest.mark.slow
def test_the_demo_stays_up_when_told_to_and_is_ended_by_ctrl_c(start, tmp_path):
    """On a terminal it does so by itself; here a flag stands in for the terminal."""
    options = ("--customers", 4000, "--engine", "local", "--serve")
    running = start("demo", tmp_path / "demo", *options)
    running.until(lambda: "Ctrl-C ends it.\n" in running.stdout)
    url = re.search(r"is up at (http://\S+)", running.stdout).group(1)
    assert "Why is my limit not higher?" in running.stdout
    line = re.search(r'^  (curl .*why\?lang=en")$', running.stdout, re.MULTILINE)
    assert line is not None
    assert httpx.get(f"{url}/readyz", trust_env=False).json()["status"] == "ready"
    assert_lets_in(url, running.stdout, tmp_path / "demo/limits/logins.json")
    os.killpg(running.process.pid, signal.SIGINT)
    assert running.end() in {0, 130}
    assert running.left_behind() == []
