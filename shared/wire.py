"""What a link asks of a connection to the relay; `shared.edge.wire` is one of sockets."""

from __future__ import annotations

from typing import Protocol

#: Close codes of the relay, beside those of RFC 6455.
REFUSED, NO_SESSION, REPLACED = 4403, 4404, 4409


class WireClosedError(Exception):
    """A connection ended, or did not come about.

    Parameters
    ----------
    reason : str
    code : int
        Close code of the other side; 0 if it said nothing.
    """

    def __init__(self, reason: str, code: int = 0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code


class Wire(Protocol):
    """A connection to the relay, authenticated and welcomed; used by one thread but for `wake`."""

    @property
    def backlog(self) -> int:
        """Bytes handed in that are not written yet."""

    def send(self, message: bytes) -> None:
        """Hand a message in; never waits."""

    def receive(self, timeout: float) -> list[bytes]:
        """Move bytes both ways; return the messages that came.

        Returns
        -------
        list of bytes
            Empty when the time is over, something was written, or another thread called `wake`.

        Raises
        ------
        WireClosedError
            When the connection has ended and all that came before has been returned.
        """

    def wake(self) -> None:
        """Make `receive` return, or the next `receive`, if it waits for nothing yet."""

    def close(self) -> None:
        """Write what was handed in and close; never raises."""
