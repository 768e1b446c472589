"""What is installed is told, hashed, and held against the constraints."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys

import pytest

from tests.support import ROOT


def script(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


hashes, audit, sbom = script("hash_constraints"), script("audit"), script("make_sbom")
CONSTRAINTS = (ROOT / "constraints.txt").read_text()
HASHED = (ROOT / "constraints-hashes.txt").read_text()


def test_every_pin_but_torchs_has_a_hash_and_nothing_else_has_one():
    pins = {name: one for name, one in hashes.pinned(CONSTRAINTS).items() if name != "torch"}
    found = hashes.hashed(HASHED)
    assert {name: version for name, (version, _) in found.items()} == pins
    assert all(digests for _, digests in found.values())


def test_the_file_names_no_index_and_no_path():
    assert not re.search(
        r"://|--(extra-)?index|--find-links|^\s*[-/]", HASHED.replace("    --hash=", "")
    )


@pytest.mark.parametrize(
    ("kind", "page"),
    [
        (
            "application/vnd.pypi.simple.v1+json",
            json.dumps(
                {
                    "files": [
                        {"filename": name, "hashes": {"sha256": digest * 64}}
                        for name, digest in (
                            ("A_b-1.0-py3-none-any.whl", "1"),
                            ("a-b-1.0.tar.gz", "2"),
                            ("a_b-1.0.1-py3-none-any.whl", "3"),
                            ("a_b_c-1.0-py3-none-any.whl", "4"),
                        )
                    ]
                }
            ),
        ),
        (
            "text/html",
            "".join(
                f'<a href="x/{name}#sha256={digest * 64}" data-y="z">{name}</a>\n'
                for name, digest in (
                    ("A_b-1.0-py3-none-any.whl", "1"),
                    ("a-b-1.0.tar.gz", "2"),
                    ("a_b-1.0.1-py3-none-any.whl", "3"),
                    ("a_b_c-1.0-py3-none-any.whl", "4"),
                )
            ),
        ),
    ],
)
def test_only_files_of_that_version_count(kind, page):
    listed = hashes.files(page.encode(), kind)
    assert hashes.of_version("a-b", "1.0", listed) == ["1" * 64, "2" * 64]
    text = hashes.written({"a-b": "1.0"}, {"a-b": ["1" * 64, "2" * 64]})
    assert hashes.hashed(text) == {"a-b": ("1.0", frozenset({"1" * 64, "2" * 64}))}


def test_the_bill_tells_what_is_installed(tmp_path):
    file = tmp_path / "sbom.json"
    command = [sys.executable, ROOT / "scripts" / "make_sbom.py", "--output", file]
    subprocess.run(command, check=True, timeout=60)
    value = json.loads(file.read_text())
    assert (value["bomFormat"], value["specVersion"]) == ("CycloneDX", "1.6")
    parts = {one["name"]: one for one in value["components"]}
    assert parts["cryptography"]["purl"].startswith("pkg:pypi/cryptography@")
    assert parts["cryptography"]["licenses"]
    assert "pip" not in parts
    refs = {one["bom-ref"] for one in value["components"]}
    refs.add(value["metadata"]["component"]["bom-ref"])
    assert len(refs) == len(value["components"]) + 1
    depends = {one["ref"]: one["dependsOn"] for one in value["dependencies"]}
    assert depends.keys() <= refs
    assert parts["cffi"]["purl"] in depends[parts["cryptography"]["purl"]]
    assert str(ROOT) not in file.read_text()


def test_what_is_installed_otherwise_than_pinned_is_named(tmp_path):
    value = {"components": [{"name": "a-b", "version": "1.0"}, {"name": "c", "version": "2+cpu"}]}
    file = tmp_path / "constraints.txt"
    file.write_text("A_b==1.1\nc==2\n")
    assert sbom.strays(value, file) == ["a-b 1.0 (pinned: 1.1)"]


def test_a_database_that_is_away_is_told_and_is_no_clean_bill():
    assert audit.verdict(0, "No known vulnerabilities found", 9)[0] == 0
    passed_over = "xlrd Dependency not found and could not be audited\n"
    assert audit.verdict(0, passed_over, 9)[0] == 0
    assert audit.verdict(0, passed_over * 9, 9)[0] == audit.UNREACHED
    for said in ("requests.exceptions.ConnectionError: x", "No module named pip_audit"):
        status, sentence = audit.verdict(1, said, 9)
        assert status == audit.UNREACHED
        assert "NOTHING WAS CHECKED" in sentence
    assert audit.verdict(1, "Found 2 known vulnerabilities in 1 package", 9)[0] == 1
    assert audit.verdict(1, "Found 2 known vulnerabilities\nConnectionError", 9)[0] == 1
    assert audit.verdict(1, "some defect", 9)[0] == 1


def test_what_was_accepted_is_looked_at_again(monkeypatch):
    monkeypatch.setattr(audit, "ACCEPTED", {"CVE-1": ("not called", "2026-01-31")})
    assert audit.due("2026-01-31") == []
    assert audit.due("2026-02-01") == ["CVE-1 was accepted until 2026-01-31"]


@pytest.mark.slow
def test_nothing_that_is_pinned_is_known_to_be_vulnerable():
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "audit.py"],
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    if done.returncode == audit.UNREACHED:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stdout
