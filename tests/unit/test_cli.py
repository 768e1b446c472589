"""The command line without a run: help for everything, origins, and one form for every error."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version

import click
import pytest

from server import cli
from shared.errors import BudgetSpent, ConfideError, EnvironmentFault, Interrupted
from shared.sections import SECTIONS
from tests.whole_runs import build


@pytest.fixture(scope="module")
def federation(tmp_path_factory):
    return build(tmp_path_factory.mktemp("cli"), customers=300)


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch):
    for section in SECTIONS:
        monkeypatch.delenv(f"CONFIDE_{section.upper()}_ROWS", raising=False)


def commands():
    found, todo = {}, [("confide", cli.command_line())]
    while todo:
        name, command = todo.pop()
        found[name] = command
        todo += [
            (f"{name} {key}", child) for key, child in getattr(command, "commands", {}).items()
        ]
    return found


COMMANDS = commands()


def test_the_commands_of_the_parties_are_found():
    for name in (
        "train",
        "demo",
        "serve",
        "model export",
        "init",
        "config show",
        "data check",
        "data make",
        "data split",
    ):
        assert f"confide {name}" in COMMANDS


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_has_its_help(name):
    command = COMMANDS[name]
    assert command.help
    assert len(command.help.splitlines()[0]) <= 100
    for parameter in command.params:
        if not isinstance(parameter, click.Option):
            continue
        assert parameter.help, f"{name} {parameter.name}"
        assert parameter.help.endswith((".", "]", "?")), f"{name} {parameter.name}"


@pytest.mark.skipif(
    tuple(map(int, version("click").split(".")[:2])) >= (8, 5),
    reason="Typer 0.20 loses the help of arguments under click 8.5 and later",
)
@pytest.mark.parametrize("name", COMMANDS)
def test_every_argument_has_its_help(name):
    for parameter in COMMANDS[name].params:
        assert parameter.help.endswith((".", "]", "?")), f"{name} {parameter.name}"


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_printed_and_ends_well(confide, name):
    status, out, _ = confide(*name.split()[1:], "--help")
    assert status == 0
    assert "Usage" in out


def test_the_version_is_the_packages(confide):
    assert confide("--version") == (0, f"confide {version('confide')}\n", "")


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["trian"], "trian"),
        (["train", "--fedration", "x"], "--fedration"),
        (["train", "--engine", "warp"], "warp"),
        (["train", "--format", "yaml"], "yaml"),
        (["data", "check"], "FILE"),
        (["demo", "--customers", "3"], "3"),
    ],
)
def test_a_wrong_call_is_status_2_and_names_the_word(confide, arguments, word):
    status, out, err = confide(*arguments)
    assert (status, out) == (2, "")
    assert word in err


def test_a_wrong_call_is_json_where_json_was_asked_for(confide):
    status, out, _ = confide("train", "--fedration", "x", "--format", "json")
    assert status == 2
    error = json.loads(out)["error"]
    assert (error["code"], "--fedration" in error["message"]) == ("usage", True)


def test_config_show_tells_every_setting_and_where_it_is_from(confide, federation, monkeypatch):
    monkeypatch.setenv("CONFIDE_FLOORS_SHARE", "0.01")
    status, out, _ = confide(
        "config", "show", "-f", federation, "--origin", "--set", "scorecard.pdo=20"
    )
    assert status == 0
    lines = out.splitlines()
    assert "protocol.max_ids = 5000000  # default" in lines
    assert "protocol.min_common = 100  # file" in lines
    assert "floors.share = 0.01  # environment" in lines
    assert "scorecard.pdo = 20.0  # flag" in lines
    _, out, _ = confide("config", "show", "-f", federation, "--format", "json")
    data = json.loads(out)["data"]
    assert data["floors.share"] == {"value": 0.01, "origin": "environment"}
    assert len(data) == len(lines)
    _, plain, _ = confide("config", "show", "-f", federation)
    assert "#" not in plain


def test_a_setting_that_is_none_or_has_no_value_is_refused_all_at_once(confide, federation):
    status, _, err = confide(
        "config", "show", "-f", federation, "--set", "floors.row=3", "--set", "pdo"
    )
    assert status == 2
    assert "floors.row=3: must be one of" in err
    assert "pdo: must be one of" in err
    status, _, err = confide("config", "show", "-f", federation, "--set", "floors.rows=many")
    assert status == 2
    assert "floors.rows: must be a whole number. Got 'many'" in err


def test_an_unknown_variable_is_refused_by_name(confide, federation, monkeypatch):
    monkeypatch.setenv("CONFIDE_FLOORS_ROW", "3")
    status, _, err = confide("config", "show", "-f", federation)
    assert status == 2
    assert "did you mean CONFIDE_FLOORS_ROWS" in err


def test_a_dry_run_tells_the_plan_and_starts_nothing(confide, federation, monkeypatch):
    def never(*_, **__):
        raise AssertionError("something was started")

    monkeypatch.setattr("subprocess.Popen", never)
    status, out, _ = confide("train", "-f", federation, "--dry-run")
    assert status == 0
    assert "nothing was started" in out
    status, _, err = confide("train", "-f", federation.parent / "none.toml", "--dry-run")
    assert status == 3
    assert "none.toml" in err


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (EnvironmentFault("no disk", hint="buy one"), 3),
        (BudgetSpent("enough", party="bank"), 4),
        (KeyboardInterrupt(), 130),
        (click.exceptions.Abort(), 130),
        (ZeroDivisionError("a defect"), 5),
    ],
)
@pytest.mark.parametrize("form", ["text", "json"])
def test_whatever_happens_has_its_status_and_its_form(
    confide, federation, monkeypatch, error, status, form
):
    def fail(*_):
        raise error

    monkeypatch.setattr("server.commands.config.load_federation", fail)
    got, out, err = confide("config", "show", "-f", federation, "--format", form)
    assert got == status
    if isinstance(error, ZeroDivisionError):
        assert "Traceback" in err
        return
    kind = type(error) if isinstance(error, ConfideError) else Interrupted
    if form == "json":
        told = json.loads(out)
        assert told["status"] == "error"
        assert told["error"]["code"] == kind.code
        assert told["error"]["party"] == getattr(error, "party", "")
    else:
        assert out == ""
        assert err.strip().startswith("error ")
        assert getattr(error, "hint", "") in err


def loaded(*words):
    """Return which heavy libraries and commands a call of the command line loads."""
    code = (
        "import sys; from server import cli; sys.argv[1:] = sys.argv[1].split(); cli.main();"
        "print(' '.join(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, " ".join(words)], capture_output=True, text=True, check=True
    )
    names = set(done.stdout.splitlines()[-1].split())
    commands = {name for name in names if name.startswith("server.commands.")}
    return names & {"numpy", "sqlalchemy", "alembic", "flwr", "fastapi"}, commands


@pytest.mark.slow
def test_a_command_loads_no_more_than_it_needs():
    assert loaded("--version") == (set(), {"server.commands.common"})
    libraries, commands = loaded("policy", "lint", "--help")
    assert libraries == {"numpy"}
    assert "server.commands.policy_show" not in commands
    libraries, commands = loaded("line", "show", "--help")
    assert libraries == {"numpy", "sqlalchemy"}
    assert "server.commands.line_why" not in commands
    assert "server.commands.line_why" in loaded("line", "--help")[1]  # the control


def test_a_group_has_its_commands_whichever_module_they_stand_in():
    whole = cli.command_line().commands["policy"].commands
    assert {"lint", "diff", "show", "history", "activate", "approve", "pause"} <= set(whole)
    for inner in whole:
        assert inner in cli.command_line("policy", inner).commands["policy"].commands
    assert set(cli.command_line("policy", "nothing").commands["policy"].commands) == set(whole)
