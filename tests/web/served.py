"""An application on a port of this machine, and a browser to look at it with."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
from pathlib import Path

import pytest
import uvicorn

from server.hosting.listening import listen

PLACES = ("/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome")


@contextlib.contextmanager
def on_a_port(app):
    """Serve it, and give its address."""
    with listen("127.0.0.1", 0) as listener:
        config = uvicorn.Config(
            app, log_level="critical", lifespan="off", timeout_graceful_shutdown=1
        )
        server = uvicorn.Server(config)
        app.state.ending = lambda: server.should_exit
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        end = time.monotonic() + 30
        while not server.started and time.monotonic() < end:
            time.sleep(0.02)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(30)


@contextlib.contextmanager
def a_browser():
    """Start the system's own Chromium; where there is none, skip and say what is missing."""
    places = (os.environ.get("CHROMIUM", ""), *PLACES, shutil.which("chromium") or "")
    path = next((one for one in places if one and Path(one).exists()), None)
    if path is None:
        pytest.skip("there is no chromium: set $CHROMIUM, or apt-get install chromium")
    playing = pytest.importorskip("playwright.sync_api", reason="it is in the extra `test`")
    with playing.sync_playwright() as running:
        # Containers run as root, where chromium has no sandbox of its own.
        made = running.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield made
        finally:
            made.close()


def shown(page, address, seconds=30):
    """Look at a page with all its figures: some are worked out while the page is already there."""
    page.goto(address)
    end = time.monotonic() + seconds
    while page.locator("[aria-busy=true]").count():
        assert time.monotonic() < end, f"{address} is still being worked out"
        page.wait_for_timeout(100)
        page.goto(address)
