"""What the limit service's image installs is what its processes import, and nothing else."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys

import pytest

from server import cli
from shared.errors import EnvironmentFault
from tests.support import ROOT

write = importlib.import_module("scripts.write_limit_constraints")


@pytest.fixture(scope="module")
def found():
    return write.distributions(write.imported())


def pins(name):
    text = (ROOT / name).read_text()
    return {
        write.canonicalize_name(one): version
        for one, version in re.findall(r"(?m)^([A-Za-z0-9._-]+)==([^\s\\]+)", text)
    }


def test_the_file_is_what_the_imports_say(found):
    text = write.written(found, (ROOT / "constraints.txt").read_text())
    assert (ROOT / "constraints-limits.txt").read_text() == text, "scripts/write_limit_constraints"


def test_it_has_neither_flower_nor_torch_and_no_version_of_its_own():
    small, whole = pins("constraints-limits.txt"), pins("constraints.txt")
    assert not {"flwr", "torch", "grpcio", "pyarrow", "opacus"} & set(small)
    assert {"fastapi", "sqlalchemy", "psycopg-binary", "uvicorn", "tzdata"} <= set(small)
    assert small.items() <= whole.items()
    assert "flwr" in whole  # the control


@pytest.mark.slow
def test_every_module_of_the_limit_service_loads_with_these_packages_alone():
    program = (
        "import importlib, importlib.abc, json, sys\n"
        "blocked, starts = json.loads(sys.argv[1])\n"
        "class Door(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name.partition('.')[0] in blocked:\n"
        "            raise ModuleNotFoundError(f'{name} is not there', name=name)\n"
        "sys.meta_path.insert(0, Door())\n"
        "more = ['server.api.app', 'server.hosting.connections', 'psycopg', 'sqlite3']\n"
        "for name in starts + more:\n"
        "    importlib.import_module(name)\n"
        "try:\n"
        "    import flwr\n"
        "except ModuleNotFoundError:\n"
        "    print('closed')\n"
    )
    known = write.packages_distributions()
    small = set(pins("constraints-limits.txt"))
    small |= {"confide"}
    blocked = [
        name
        for name, by in known.items()
        if not small & {write.canonicalize_name(one) for one in by} and name not in write.OWN
    ]
    told = json.dumps([blocked, write.starts()])
    done = subprocess.run(
        [sys.executable, "-c", program, told], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "closed\n"), done.stderr[-2000:]


def test_hashes_stay_with_their_pins():
    constraints = "a==1 \\\n    --hash=sha256:00 \\\n    --hash=sha256:11\nb==2  # why\nc==3\n"
    text = write.written({"a", "b"}, constraints).removeprefix(write.HEADER)
    assert text == "a==1 \\\n    --hash=sha256:00 \\\n    --hash=sha256:11\nb==2\n"
    with pytest.raises(SystemExit, match="d"):
        write.written({"d"}, constraints)


def run_without(monkeypatch, capsys, missing, *arguments):
    """Run the command line where a package is not installed; return the status and what is said."""
    for name in [one for one in sys.modules if one.partition(".")[0] in {missing, "clients"}]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.setattr(sys, "argv", ["confide", *arguments])
    cli.command_line.cache_clear()
    try:
        return cli.main(), capsys.readouterr()
    finally:
        cli.command_line.cache_clear()


def test_help_is_of_the_commands_that_can_run_and_another_says_what_it_lacks(monkeypatch, capsys):
    status, said = run_without(monkeypatch, capsys, "pyarrow", "--help")
    assert status == 0
    assert "Serve scores" in said.out
    assert "fetch and split tables" not in said.out
    status, said = run_without(monkeypatch, capsys, "pyarrow", "data", "check", "x")
    assert status == EnvironmentFault.exit_status
    assert "pyarrow is not installed here" in said.err
