"""Take htmx from its npm package: `python scripts/vendor_assets.py [--check]`.

Writes the one file that pages load, its licence, and `vendor.json` with version, licence and
SHA-256 of both. npm is needed here alone: neither who installs confide nor who serves it needs it.
With `--check` nothing is fetched: what lies there is hashed again.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

STATIC = Path(__file__).resolve().parent.parent / "server" / "web" / "static"
NOTE = STATIC / "vendor.json"
PACKAGE, VERSION = "htmx.org", "2.0.11"
#: In the package, and here.
FILES = {"package/dist/htmx.min.js": "htmx.min.js", "package/LICENSE": "htmx.LICENSE.txt"}


def packed() -> bytes:
    """Return the package as npm gives it, which checks it against the registry's integrity."""
    npm = shutil.which("npm")
    if npm is None:
        raise SystemExit("npm is not here; only who renews the file needs it")
    with tempfile.TemporaryDirectory() as folder:
        command = [npm, "pack", "--silent", f"{PACKAGE}@{VERSION}"]
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        [path] = Path(folder).glob("*.tgz")
        return path.read_bytes()


def taken(raw: bytes) -> tuple[dict[str, bytes], str]:
    """Return the files that are kept, by their names here, and the licence that is declared."""
    with tarfile.open(fileobj=io.BytesIO(raw), mode="r:gz") as archive:
        told = json.loads(archive.extractfile("package/package.json").read())
        if told["version"] != VERSION:
            raise SystemExit(f"the package says it is {told['version']}")
        kept = {here: archive.extractfile(there).read() for there, here in FILES.items()}
    return kept, told["license"]


def hashed(files: dict[str, bytes]) -> dict[str, str]:
    return {name: hashlib.sha256(raw).hexdigest() for name, raw in sorted(files.items())}


def wrong() -> list[str]:
    """Return what is not as `vendor.json` says."""
    note = json.loads(NOTE.read_text())
    here = {path.name: path.read_bytes() for path in STATIC.iterdir() if path.name in note["files"]}
    found = hashed(here)
    findings = [name for name, digest in note["files"].items() if found.get(name) != digest]
    return findings + ([] if note["version"] == VERSION else [f"version {note['version']}"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="hash what lies there, fetch nothing")
    if parser.parse_args().check:
        findings = wrong()
        print("\n".join(findings) or f"{PACKAGE} {VERSION}: as vendor.json says")
        return 1 if findings else 0
    files, licence = taken(packed())
    for name, raw in files.items():
        (STATIC / name).write_bytes(raw)
    note = {
        "package": PACKAGE,
        "version": VERSION,
        "licence": licence,
        "source": f"npm pack {PACKAGE}@{VERSION}",
        "files": hashed(files),
    }
    NOTE.write_text(json.dumps(note, indent=2) + "\n")
    print(f"{PACKAGE} {VERSION} ({licence}): {sum(map(len, files.values())):,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
