"""Write constraints-limits.txt: what the image of the limit service installs, and nothing more.

    python scripts/write_limit_constraints.py [--check]

Starts from the limit service's commands and workers, follows every import of this project, also
those inside functions, and takes the packages that are met, with all that these require of the
versions installed here. The lines are those of constraints.txt. With --check nothing is written,
and a file that would differ exits with 1.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import grimp
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "constraints-limits.txt"
OWN = ("server", "clients", "shared")
#: Commands that need Flower: the limit service's image has them, and they do not run there.
ELSEWHERE = {
    "cycle",
    "demo",
    "demo_story",
    "doctor",
    "federation",
    "model_audit",
    "neural",
    "nodes",
    "simulation",
    "train",
}
STARTS = ("server.cli", "server.worker", "server.supervisor")
#: Imported inside a function that the limit service never calls: it adds no noise.
UNUSED = {"dp_accounting"}
#: Loaded by name or by others: time zones, the database's driver, and what makes uvicorn faster.
BY_NAME = ("tzdata", "psycopg[binary]", "httptools", "uvloop")
HEADER = """\
# What the image of the limit service installs: constraints.txt, less what it never imports.
# Written by scripts/write_limit_constraints.py; a test holds it against the imports.
"""


def starts() -> list[str]:
    """Return the modules that the limit service's processes and commands begin with."""
    commands = (ROOT / "server" / "commands").glob("*.py")
    names = sorted(path.stem for path in commands if path.stem != "__init__")
    return [*STARTS, *(f"server.commands.{name}" for name in names if name not in ELSEWHERE)]


def imported() -> set[str]:
    """Return the packages that the limit service imports, as they are spelt in an import."""
    graph = grimp.build_graph(*OWN, include_external_packages=True, cache_dir=None)
    reached = {name for start in starts() for name in graph.find_upstream_modules(start)}
    apart = {*OWN, *UNUSED, *_standard()}
    return {name for name in reached if name.partition(".")[0] not in apart}


def distributions(modules: Iterable[str]) -> set[str]:
    """Return what is to be installed for some imports, with all that it requires."""
    known = packages_distributions()
    lost = sorted(name for name in modules if name not in known)
    if lost:
        raise SystemExit(f"not installed here: {', '.join(lost)}")
    wanted = [Requirement(one) for one in (*BY_NAME, *(known[name][0] for name in modules))]
    found: set[str] = set()
    seen: set[tuple[str, str]] = set()
    while wanted:
        one = wanted.pop()
        name = canonicalize_name(one.name)
        found.add(name)
        for extra in ("", *sorted(one.extras)):
            if (name, extra) not in seen:
                seen.add((name, extra))
                wanted += _required(one.name, extra)
    return found


def _required(name: str, extra: str) -> Iterator[Requirement]:
    for text in requires(name) or ():
        one = Requirement(text)
        if one.marker is None or one.marker.evaluate({"extra": extra}):
            yield one


def written(found: set[str], constraints: str) -> str:
    """Return the lines of constraints.txt that pin some packages, with whatever belongs to them."""
    # A pin may go on over lines that end with a backslash (hashes).
    pins = re.findall(r"(?m)^(([A-Za-z0-9._-]+)==(?:.*\\\n)*.*\n)", constraints)
    lines = {canonicalize_name(name): re.sub(r"  #.*", "", text) for text, name in pins}
    lost = sorted(found - set(lines))
    if lost:
        raise SystemExit(f"constraints.txt does not pin {', '.join(lost)}")
    return HEADER + "".join(lines[name] for name in lines if name in found)


def _standard() -> frozenset[str]:
    return sys.stdlib_module_names


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; differ: exit with 1")
    options = parser.parse_args()
    text = written(distributions(imported()), (ROOT / "constraints.txt").read_text())
    if options.check:
        same = TARGET.is_file() and TARGET.read_text() == text
        print(f"{TARGET.name}: {'as the imports' if same else 'is not what the imports say'}")
        return 0 if same else 1
    TARGET.write_text(text)
    print(f"{TARGET.name}: {text.count('==')} packages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
