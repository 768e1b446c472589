"""Write docs/openapi.json: what the limit service says of itself, the same on every machine.

python scripts/write_openapi.py
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from server.accounts.desk import open_desk
from server.accounts.scores import HOME
from server.api.app import create_app
from shared.config import parse_federation

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "docs" / "openapi.json"
# The document tells nothing of a federation: any will do.
_FEDERATION = """
name = "any"
builder = "one"
contract = "contract.toml"
[coordinator]
fingerprint = "{0}"
[parties.one]
fingerprint = "{1}"
[parties.two]
fingerprint = "{2}"
"""


def document() -> dict[str, Any]:
    """Return the OpenAPI document of a service over an empty store."""
    with tempfile.TemporaryDirectory() as temporary:
        base = Path(temporary)
        text = _FEDERATION.format(*(f"{number:064x}" for number in (1, 2, 3)))
        federation, _ = parse_federation(text, "federation.toml", {})
        (base / HOME).mkdir()
        desk = open_desk(base, federation, f"sqlite:///{base}/limits.db", create=True)
        try:
            return create_app(desk).openapi()
        finally:
            desk.store.close()


def spelt(found: dict[str, Any]) -> str:
    """Return a document as the file has it."""
    return json.dumps(found, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


if __name__ == "__main__":
    TARGET.write_text(spelt(document()), encoding="utf-8")
    print(f"wrote {TARGET.relative_to(ROOT)}")
