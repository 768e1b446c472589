"""The Flower app bundle: it names the installed apps and holds no code of its own.

Flower sends a bundle to every node before a run. Ours is a `pyproject.toml` that points at
`server.app` and `clients.app`, which every member has installed. It is built the same way
everywhere, so a party knows its digest beforehand and refuses any other: whoever reaches Flower's
control interface, which has no authentication, cannot bring code to a party.
"""

from __future__ import annotations

import hashlib
import io
import zipfile

_APP = """\
[project]
name = "{name}"
version = "1.0.0"
license = "Apache-2.0"
dependencies = []

[tool.flwr.app]
publisher = "confide"

[tool.flwr.app.components]
serverapp = "{server}:app"
clientapp = "{client}:app"

[tool.flwr.app.config]
{config}
"""
# What a run is started with, and the values by default.
_CONFIG = """\
federation = ""
run = ""
relay = ""
nodes = ""
model = "scorecard"
resume = false"""
_PYPROJECT = _APP.format(
    name="confide", server="server.app", client="clients.app", config=_CONFIG
).encode()
_SIMULATION = _APP.format(
    name="confide-simulation",
    server="server.engines.simulation",
    client="clients.simulated.app",
    config='simulation = ""',
).encode()
_FILE = "pyproject.toml"
# Flower dates every file of a bundle so, that equal files give equal bundles.
_DATE = (2024, 10, 1, 0, 0, 0)


def bundle(*, simulation: bool = False) -> bytes:
    """Return the bundle (Flower's FAB format): equal bytes on every machine.

    Stored, not deflated: what deflate makes of the same bytes differs between zlib's versions.

    Parameters
    ----------
    simulation : bool
        Whether to return that of simulated holders, which no party takes.
    """
    text = _SIMULATION if simulation else _PYPROJECT
    content = f"{_FILE},{hashlib.sha256(text).hexdigest()},{len(text) * 8}"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in ((_FILE, text), (".info/CONTENT", content.encode())):
            archive.writestr(zipfile.ZipInfo(name, _DATE), data)
    return buffer.getvalue()


def digest(*, simulation: bool = False) -> str:
    """Return the SHA-256 of the bundle, in hex; see `bundle`."""
    return hashlib.sha256(bundle(simulation=simulation)).hexdigest()
