"""Three banks out of one table, made by commands alone."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

from clients.holdings import write_table
from tests.support import ROOT

BANKS = ("north", "south", "west")
NEEDS_TORCH = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None,
    reason="torch is not installed: pip install 'confide[neural]'",
)
_CONTRACT = """\
name = "cards"
version = 1
id_column = "ID"
label_column = "DEFAULT"
label_owner = "bank"
positive = 1
"""


def by_command(*arguments, status=0):
    """Run a command as a process of its own; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "server.cli", *map(str, arguments)],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == status, done.stderr
    return done.stdout if status == 0 else done.stderr


def federation_of(folder, table, **features):
    """Split a table among the banks, and set them up; return the federation file.

    Parameters
    ----------
    folder : Path
    table : mapping of str to ndarray
        With columns ID and DEFAULT.
    features : str
        What the contract says of each feature besides its name and owner, in TOML.
    """
    parts = [
        f'[[features]]\nname = "{n}"\nowner = "bank"\n{rest}\n' for n, rest in features.items()
    ]
    (folder / "cards.toml").write_text("\n".join([_CONTRACT, *parts]))
    write_table(folder / "cards.parquet", table)
    files = (folder / "cards.parquet", folder / "out", "--contract", folder / "cards.toml")
    by_command("data", "split", *files, *[word for bank in BANKS for word in ("--bank", bank)])
    by_command("init", folder / "out", *[word for bank in BANKS for word in ("--party", bank)])
    return folder / "out" / "federation.toml"
