"""The README's pictures are those that the stored figures give."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from xml.etree import ElementTree as ET

from tests.support import ROOT

PICTURES = ROOT / "docs" / "pictures"
SCRIPT = ROOT / "scripts" / "make_pictures.py"


def check(folder):
    command = [sys.executable, str(SCRIPT), "--check", "--folder", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


def test_no_picture_has_drifted_from_its_figures():
    done = check(PICTURES)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_figure_that_changed_is_found(tmp_path):
    """The control: another AUC is another picture, and the others stay."""
    folder = shutil.copytree(PICTURES, tmp_path / "pictures")
    told = json.loads((folder / "figures.json").read_text())
    told["models"][0]["auc"] += 0.003
    (folder / "figures.json").write_text(json.dumps(told))
    done = check(folder)
    assert done.returncode == 1
    assert done.stdout.split("\n")[1:-1] == ["  auc.svg"]


def test_the_readme_shows_every_picture_and_no_picture_asks_for_anything():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for path in sorted(PICTURES.glob("*.svg")):
        assert f"docs/pictures/{path.name}" in readme
        text = path.read_text(encoding="utf-8")
        ET.fromstring(text)
        asked = text.replace("http://www.w3.org/2000/svg", "")
        assert not any(word in asked for word in ("http:", "https:", "<script", "@import"))
