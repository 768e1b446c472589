"""The software bill of materials: every installed distribution, as CycloneDX 1.6 JSON.

    python scripts/make_sbom.py --output sbom.json [--constraints constraints.txt]

It tells what *is* installed where it runs, not what was asked for: run it in the environment or
image that is to be described. Equal environments give equal files, but for `serialNumber` and
`timestamp`, which come from what is in them and from SOURCE_DATE_EPOCH.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
import uuid
from datetime import UTC, datetime
from importlib.metadata import Distribution, distributions
from pathlib import Path

OWN = "confide"
#: What runs nothing at run time.
TOOLS = frozenset({"pip", "setuptools", "wheel"})


def normal(name: str) -> str:
    """Return the name under which an index knows a distribution (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def purl(name: str, version: str) -> str:
    """Return the package URL."""
    return f"pkg:pypi/{normal(name)}@{version.replace('+', '%2B')}"


def licence(found: Distribution) -> list[dict]:
    """Return the licence that a distribution states, if it states one."""
    metadata = found.metadata
    if expression := metadata.get("License-Expression"):
        return [{"expression": expression}]
    names = [one for one in metadata.get_all("Classifier", []) if one.startswith("License ::")]
    if names:
        return [{"license": {"name": names[0].rpartition(" :: ")[2]}}]
    text = (metadata.get("License") or "").strip()
    if text and "\n" not in text and len(text) < 80:
        return [{"license": {"name": text}}]
    return []


def component(found: Distribution) -> dict:
    """Return one component."""
    name, version = found.metadata["Name"], found.version
    value = {
        "type": "library",
        "bom-ref": purl(name, version),
        "name": normal(name),
        "version": version,
        "purl": purl(name, version),
    }
    if stated := licence(found):
        value["licenses"] = stated
    return value


def needs(found: Distribution, known: dict[str, str]) -> list[str]:
    """Return what a distribution depends on, of what is installed; extras are left out."""
    names = set()
    for text in found.requires or ():
        requirement, _, marker = text.partition(";")
        if "extra" not in marker:
            names.add(normal(re.split(r"[^A-Za-z0-9._-]", requirement.strip())[0]))
    return sorted(known[name] for name in names if name in known)


def bill(installed: list[Distribution]) -> dict:
    """Return the bill of some distributions."""
    by_name = {normal(one.metadata["Name"]): one for one in installed if one.metadata["Name"]}
    for tool in TOOLS:
        by_name.pop(tool, None)
    refs = {name: purl(name, one.version) for name, one in by_name.items()}
    own = by_name.pop(OWN, None)
    components = [component(by_name[name]) for name in sorted(by_name)]
    subject = {
        "type": "application",
        "bom-ref": refs.get(OWN, OWN),
        "name": OWN,
        "version": own.version if own else "0",
    }
    everyone = {**by_name, **({OWN: own} if own else {})}
    depends = [
        {"ref": refs[name], "dependsOn": needs(one, refs)} for name, one in sorted(everyone.items())
    ]
    when = float(os.environ.get("SOURCE_DATE_EPOCH", time.time()))
    content = json.dumps(components, sort_keys=True)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, content)}",
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": subject,
        },
        "components": components,
        "dependencies": depends,
    }


def strays(value: dict, constraints: Path) -> list[str]:
    """Return components whose version is not the one that the constraints pin."""
    pinned = {}
    for line in constraints.read_text().splitlines():
        name, found, version = line.partition("#")[0].strip().partition("==")
        if found:
            pinned[normal(name)] = version.strip()
    return [
        f"{one['name']} {one['version']} (pinned: {pinned[one['name']]})"
        for one in value["components"]
        if one["name"] in pinned and one["version"].partition("+")[0] != pinned[one["name"]]
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, help="Where; by default standard output.")
    parser.add_argument("--constraints", type=Path, help="Fail if something else is installed.")
    options = parser.parse_args()
    value = bill(list(distributions()))
    text = json.dumps(value, indent=2) + "\n"
    if options.output:
        options.output.write_text(text)
    else:
        sys.stdout.write(text)
    wrong = strays(value, options.constraints) if options.constraints else []
    for one in wrong:
        print(f"not as pinned: {one}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
