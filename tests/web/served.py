"""An application on a port of this machine, for browsers."""

from __future__ import annotations

import contextlib
import threading
import time

import uvicorn

from server.hosting.listening import listen


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
