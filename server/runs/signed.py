"""What the parties signed of a run: its release in the registry, verified once as long as it stays.

To verify a release takes some 30 ms, and a page that is watched asks for it again and again.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Final

from server.releases.registry import Registry
from server.runs.story import Story
from shared.config import Federation
from shared.errors import ConfideError, ReleaseRefused
from shared.release import MANIFEST_FILE, SIGNATURES_FILE, Manifest

_KEPT: Final = 64
Answer = tuple[Manifest | None, str]


class Signed:
    """Releases of runs.

    Parameters
    ----------
    registry : Registry
    federation : Federation
    """

    def __init__(self, registry: Registry, federation: Federation) -> None:
        self._registry, self._federation = registry, federation
        self._lock = threading.Lock()
        self._known: OrderedDict[object, Answer] = OrderedDict()

    def of(self, story: Story, states: dict[str, str]) -> Answer:
        """Return the manifest of a run's release; or None, and the check that it fails.

        It is verified as of the instant at which it came in: a ledger that was signed stays signed
        after the release has expired. Neither is there where the registry has no such release.

        Parameters
        ----------
        story : Story
        states : dict of str to str
            Of the releases in the registry.
        """
        if not story.release or story.release not in states:
            return None, ""
        key = (story.release, story.run, self._registry.stamp(), self._files(story.release))
        with self._lock:
            answer = self._known.get(key)
            if answer is None:
                answer = self._known[key] = self._verified(story)
                if len(self._known) > _KEPT:
                    self._known.popitem(last=False)
        return answer

    def _verified(self, story: Story) -> Answer:
        try:
            taken = self._registry.book().entry(story.release).taken
            manifest = self._registry.verified(story.release, self._federation, taken).manifest
        except ReleaseRefused as error:
            return None, error.check
        except ConfideError as error:
            return None, error.code
        return (manifest, "") if manifest.run == story.run else (None, "run")

    def _files(self, name: str) -> tuple[tuple[int, int], ...]:
        found = []
        for file in (MANIFEST_FILE, SIGNATURES_FILE):
            try:
                told = (self._registry.folder / name / file).stat()
                found.append((told.st_size, told.st_mtime_ns))
            except OSError:
                found.append((0, 0))
        return tuple(found)
