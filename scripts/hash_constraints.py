"""Hashes of every file of every pinned version: `constraints-hashes.txt`.

    python scripts/hash_constraints.py

asks the index that pip is configured with (its simple interface, PEP 503 or PEP 691) for each line
of `constraints.txt` but torch's, whose builds come from elsewhere. The file names no index: which
one is asked is for who installs to say, and the hashes are the same everywhere:

    pip install --require-hashes --no-deps -r constraints-hashes.txt

is for an environment with everything; `pip install -c constraints-hashes.txt PACKAGE` for a part.
"""

from __future__ import annotations

import argparse
import html
import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: Where its CPU build comes from has hashes of its own.
APART = frozenset({"torch"})
HEAD = """\
# Hashes of the versions that constraints.txt pins, but torch's: see scripts/hash_constraints.py,
# which writes this file. A test holds it against constraints.txt.
"""
_ACCEPT = "application/vnd.pypi.simple.v1+json, text/html;q=0.5"
_LINK = re.compile(r'<a[^>]*href="([^"]+)"[^>]*>([^<]+)</a>')


def normal(name: str) -> str:
    """Return the name under which an index knows a distribution (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned(text: str) -> dict[str, str]:
    """Return versions by name, of the lines of a constraints file."""
    found = {}
    for line in text.splitlines():
        name, sign, version = line.partition("#")[0].strip().partition("==")
        if sign:
            found[normal(name)] = version.strip().split()[0]
    return found


def hashed(text: str) -> dict[str, tuple[str, frozenset[str]]]:
    """Return version and hashes by name, of a file that this script has written."""
    found = {}
    for block in re.split(r"\n(?=\S)", text.replace("\\\n", " ")):
        name, sign, rest = block.strip().partition("==")
        if sign and not name.startswith("#"):
            version, *words = rest.split()
            found[normal(name)] = version, frozenset(re.findall(r"[0-9a-f]{64}", " ".join(words)))
    return found


def files(page: bytes, kind: str) -> dict[str, str]:
    """Return SHA-256 by file name, of a page of an index."""
    if "json" in kind:
        listed = json.loads(page)["files"]
        return {one["filename"]: one["hashes"].get("sha256", "") for one in listed}
    found = {}
    for href, name in _LINK.findall(page.decode()):
        digest = re.search(r"sha256=([0-9a-f]{64})", html.unescape(href))
        found[html.unescape(name).strip()] = digest.group(1) if digest else ""
    return found


def of_version(name: str, version: str, listed: dict[str, str]) -> list[str]:
    """Return the hashes of the files of one version."""
    wanted = normal(version)
    hashes = set()
    for file, digest in listed.items():
        stem = re.sub(r"\.(whl|tar\.gz|zip|tar\.bz2)$", "", file)
        if stem == file or not digest:
            continue
        if file.endswith(".whl"):
            parts = stem.split("-")
            same = len(parts) >= 5 and normal(parts[0]) == name and normal(parts[1]) == wanted
        else:
            head, _, tail = stem.rpartition("-")
            same = normal(head) == name and normal(tail) == wanted
        if same:
            hashes.add(digest)
    return sorted(hashes)


def index() -> str:
    """Return the index that pip is configured with."""
    command = [sys.executable, "-m", "pip", "config", "get", "global.index-url"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip().rstrip("/") or "https://pypi.org/simple"


def ask(base: str, name: str, version: str) -> tuple[str, list[str]]:
    """Return the name and its hashes; none if the index does not tell them."""
    request = urllib.request.Request(f"{base}/{name}/", headers={"Accept": _ACCEPT})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            kind = answer.headers.get("Content-Type", "")
            return name, of_version(name, version, files(answer.read(), kind))
    except (urllib.error.URLError, TimeoutError, ValueError):
        return name, []


def written(versions: dict[str, str], hashes: dict[str, list[str]]) -> str:
    """Return the text of the file."""
    lines = [HEAD.rstrip()]
    for name in sorted(hashes):
        lines.append(f"{name}=={versions[name]} \\")
        lines += [f"    --hash=sha256:{digest} \\" for digest in hashes[name]]
        lines[-1] = lines[-1].removesuffix(" \\")
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--constraints", type=Path, default=ROOT / "constraints.txt")
    parser.add_argument("--output", type=Path, default=ROOT / "constraints-hashes.txt")
    options = parser.parse_args()
    versions = {
        name: version
        for name, version in pinned(options.constraints.read_text()).items()
        if name not in APART
    }
    base = index()
    with ThreadPoolExecutor(4) as pool:
        hashes = dict(pool.map(lambda item: ask(base, *item), versions.items()))
    missing = sorted(name for name, found in hashes.items() if not found)
    if missing:
        print(f"the index tells no hash of {', '.join(missing)}", file=sys.stderr)
        return 1
    options.output.write_text(written(versions, hashes))
    return 0


if __name__ == "__main__":
    sys.exit(main())
