"""Nothing in `shared` can reach a statistical generator: masks come from 256-bit keys alone."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"
WEAK_MODULES = ("random", "numpy.random")
# Bootstrap replicates are no secrets: these modules may name the type of a generator handed in.
STATISTICS = ("metrics.py", "challenger/compare.py")
# The simulated world's luck, which protects nobody; nothing else of `shared` may import it.
WORLD = "world"


def weak_randomness(source, *, may_name_a_generator=False):
    """Return a line for every way in which a module reaches `random` or `numpy.random`."""
    tree = ast.parse(source)
    if may_name_a_generator:
        for argument in (node for node in ast.walk(tree) if isinstance(node, ast.arg)):
            named = argument.annotation and ast.unparse(argument.annotation)
            argument.annotation = None if named == "np.random.Generator" else argument.annotation
    findings = []
    numpy_names = {"np", "numpy"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "numpy" and alias.asname:
                    numpy_names.add(alias.asname)
    for node in ast.walk(tree):
        reached = _reached(node, numpy_names)
        findings += [f"line {node.lineno}: {name}" for name in reached if _is_weak(name)]
    return findings


def _reached(node, numpy_names):
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.level == 0:
        return [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return [f"numpy.{node.attr}"] if node.value.id in numpy_names else []
    if isinstance(node, ast.Constant) and node.value in WEAK_MODULES:
        return [node.value]  # importlib.import_module("random"), getattr(np, "random")
    return []


def _is_weak(name):
    return any(name == weak or name.startswith(weak + ".") for weak in WEAK_MODULES)


MODULES = sorted(path for path in SHARED.rglob("*.py") if WORLD not in path.parts)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SHARED)))
def test_no_module_in_shared_reaches_a_statistical_generator(path):
    statistics = str(path.relative_to(SHARED)) in STATISTICS
    assert weak_randomness(path.read_text(), may_name_a_generator=statistics) == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SHARED)))
def test_no_other_module_in_shared_imports_the_simulated_worlds_luck(path):
    assert "shared.world" not in path.read_text()


def test_the_modules_that_draw_masks_are_among_those_looked_at():
    names = {str(path.relative_to(SHARED)) for path in MODULES}
    assert {"masks.py", "sealed.py", "protocols/sum.py"} <= names


@pytest.mark.parametrize(
    "source",
    [
        "import random",
        "import random as r",
        "from random import getrandbits",
        "import numpy.random",
        "import numpy.random as nr",
        "from numpy import random",
        "from numpy.random import default_rng",
        "import numpy as np\nx = np.random.default_rng(1).bytes(32)",
        "import numpy as n\nx = n.random.RandomState(7)",
        "def mask():\n    import numpy\n    return numpy.random.bytes(8)",
        "import importlib\nr = importlib.import_module('random')",
        "import numpy as np\nr = getattr(np, 'random')",
    ],
)
def test_a_planted_statistical_generator_is_found(source):
    assert weak_randomness(source)


def test_a_module_that_may_name_a_generator_may_not_make_one():
    named = "import numpy as np\ndef f(rng: np.random.Generator): ...\n"
    assert weak_randomness(named)
    assert weak_randomness(named, may_name_a_generator=True) == []
    made = named + "x = np.random.default_rng(1)"
    assert weak_randomness(made, may_name_a_generator=True)
    default = "import numpy as np\ndef f(rng: np.random.Generator = np.random.default_rng()): ..."
    assert weak_randomness(default, may_name_a_generator=True)


@pytest.mark.parametrize(
    "source",
    [
        "from os import urandom",
        "import secrets\nx = secrets.token_bytes(32)",
        "import numpy as np\nx = np.zeros(3)",
        "class A:\n    pass\nA.random = 1",
    ],
)
def test_what_is_no_statistical_generator_is_let_pass(source):
    assert weak_randomness(source) == []
