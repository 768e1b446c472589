"""`confide serve` as processes that can be harmed and are started again on the same port."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from drills.links import within
from tests.service.fault_kit import World
from tests.service.live import Service

_NOBODY = {"Authorization": ""}


@dataclass
class Serving:
    """`confide serve` over a world, started again on the same port whenever it is asked for.

    Parameters
    ----------
    world : World
    url : str
        Of the store, as the service sees it.
    environment : dict
    space : str
        Network namespace in which it is.
    """

    world: World
    url: str
    environment: dict[str, str]
    space: str = ""
    service: Service | None = None

    def start(self) -> None:
        """Start it if it is not there."""
        if self.service is not None:
            with suppress(ProcessLookupError):
                self.service.process.wait(60)
            self.service.process.stdout.close()
        port = str(self.service.port) if self.service else "0"
        with within(self.space):
            words = ("--store", self.url, "--port", port)
            self.service = Service(self.world.kit, *words, workers=2, env=self.environment)

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self.service is not None
        return int(self.service.port)

    def ready(self) -> bool:
        """Return whether it answers that it is ready."""
        assert self.service is not None
        with within(self.space), suppress(OSError):
            return bool(self.service.ask("/readyz", headers=_NOBODY)[0] == 200)
        return False
