"""Where frames wait that a link brought, and where whoever waits learns that no more will come."""

from __future__ import annotations

import queue
from collections.abc import Callable

from shared.channel import Frame
from shared.errors import ConfideError

_END = Frame("", "", "", b"")


class Inbox(queue.Queue[Frame]):
    """Frames that arrived; once the link has failed, whoever asks for more gets the reason.

    Parameters
    ----------
    excuse : callable
        Returns why nothing can come at the moment, if that is so.
    """

    def __init__(self, excuse: Callable[[], ConfideError | None]) -> None:
        super().__init__()
        self._excuse = excuse
        self._failure: BaseException | None = None

    def get(self, block: bool = True, timeout: float | None = None) -> Frame:
        """Return the next frame; raise the link's failure when no more will come."""
        try:
            frame = super().get(block, timeout)
        except queue.Empty:
            if (reason := self._excuse()) is not None:  # no peer is to blame
                raise reason from None
            raise
        if frame is not _END:
            return frame
        self.put(_END)
        assert self._failure is not None
        raise self._failure

    def end(self, failure: BaseException) -> None:
        """Put the link's failure behind all frames."""
        self._failure = failure
        self.put(_END)
