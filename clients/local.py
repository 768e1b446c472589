"""A party as one process of engine `local`: `python -m clients.local`.

The launcher starts it with one end of a pipe. Frames tagged `@message` carry Flower messages for
the `ClientApp`; every other frame is a protocol message and goes to the mailbox. When the pipe
closes the party stops.
"""

from __future__ import annotations

import argparse
import queue
import signal
import sys
import threading
import traceback
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path

from flwr.app import Context, Message, RecordDict
from flwr.common import serde
from flwr.proto.message_pb2 import Message as MessageProto
from flwr.supercore.task_identity import TaskIdentity

from clients.app import app
from shared import transport
from shared.channel import ABORT, Frame, QueueChannel, pack_frame, unpack_frame
from shared.edge import logs
from shared.jobs import COORDINATOR
from shared.transport import MESSAGE, READY, REPLY, STOP


class _Pipe:
    """The party's end of the pipe: a thread reads, everybody writes in turn."""

    def __init__(self, connection: Connection, party: str) -> None:
        self._party = party
        self._connection = connection
        self._lock = threading.Lock()
        self.messages: queue.Queue[bytes | None] = queue.Queue()
        self.inbox: queue.Queue[Frame] = queue.Queue()

    def carry(self, frame: Frame) -> None:
        raw = pack_frame(frame)
        with self._lock:
            self._connection.send_bytes(raw)

    def read(self) -> None:
        try:
            while True:
                frame = unpack_frame(self._connection.recv_bytes())
                if frame.tag == STOP:
                    break
                if frame.tag == MESSAGE:
                    self.messages.put(frame.payload)
                else:
                    self.inbox.put(frame)
        except (EOFError, OSError):
            pass
        self.messages.put(None)
        self.inbox.put(Frame(COORDINATOR, self._party, ABORT, b"the coordinator is gone"))


def _answer(raw: bytes, context: Context) -> bytes:
    message: Message = serde.message_from_proto(MessageProto.FromString(raw))
    reply = app(message, context)
    return bytes(serde.message_to_proto(reply).SerializeToString())


def _name_task() -> None:
    """Tell Flower that this process runs a task; its engines do it, and replies refuse without."""
    TaskIdentity.run_id = TaskIdentity.node_id = TaskIdentity.task_id = 1


def serve(
    connection: Connection,
    federation: Path,
    party: str,
    peers: list[str],
    deadline: float,
    at: str = "",
) -> None:
    """Answer Flower messages until the pipe closes.

    Parameters
    ----------
    connection : Connection
        The party's end of the pipe.
    federation : Path
        The party's copy of the federation file.
    party : str
        Its name.
    peers : list of str
        Everybody else, the coordinator among them.
    deadline : float
        Seconds to wait for a peer.
    at : str
        The instant at which its clock stands, in a simulation; by default it goes.
    """
    pipe = _Pipe(connection, party)
    channel = QueueChannel(party, peers, pipe.inbox, pipe.carry, deadline=deadline)
    transport.use(channel.scoped)
    threading.Thread(target=pipe.read, daemon=True).start()
    config: dict[str, bool | float | int | str] = {
        "federation": str(federation),
        "party": party,
        "at": at,
    }
    context = Context(run_id=1, node_id=1, node_config=config, state=RecordDict(), run_config={})
    _name_task()
    pipe.carry(Frame(party, COORDINATOR, READY, b""))
    while (raw := pipe.messages.get()) is not None:
        pipe.carry(Frame(party, COORDINATOR, REPLY, _answer(raw, context)))


def main() -> int:
    """Run as a process."""
    parser = argparse.ArgumentParser(prog="python -m clients.local")
    parser.add_argument("--federation", type=Path, required=True)
    parser.add_argument("--party", required=True)
    parser.add_argument("--peers", required=True)
    parser.add_argument("--deadline", type=float, required=True)
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--at", default="")
    given = parser.parse_args()
    # Ctrl-C reaches the whole foreground group; the launcher decides, and closes the pipe.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logs.configure("party")
    try:
        serve(
            Connection(given.fd),
            given.federation,
            given.party,
            given.peers.split(","),
            given.deadline,
            given.at,
        )
    except BrokenPipeError:
        return 3
    except Exception:  # noqa: BLE001 - the last resort of a process: its own log, never the wire
        stamp = datetime.now(UTC).isoformat(timespec="seconds")
        sys.stderr.write(f"{stamp} {given.party}\n{traceback.format_exc()}")
        return 5
    return 0


if __name__ == "__main__":
    sys.exit(main())
