"""What travels over the relay: frames cut in numbered pieces, and what is said about them.

A message is ``kind | length of name | name | rest``, all numbers big-endian::

    DATA   recipient | number u64 | flag u8 | piece     up to 256 KiB of one frame
    ACK    recipient | number u64                       all up to that number have arrived
    UP     member    | epoch, 8 bytes                   from the relay: it is connected
    DOWN   member                                       from the relay: it is not, any more

On its way through, the relay writes the sender it has authenticated where the recipient stood. It
keeps no piece: the sender keeps each one until its recipient has confirmed it (`Outbox`), and the
recipient takes each number once, in order (`Intake`). So whatever is lost is sent again, whatever
comes twice is dropped, and neither needs a relay that remembers.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from shared.errors import BadPeer

DATA, ACK, UP, DOWN = 1, 2, 3, 4
#: Flags of a piece: more of its frame follows, it is the frame's last, or its sender leaves.
MORE, LAST, GOODBYE = 0, 1, 2

PIECE_BYTES = 256 * 1024
#: Largest message: a piece, and a header with a name of up to 255 bytes.
MESSAGE_BYTES = PIECE_BYTES + 1024
EPOCH_BYTES = 8
#: Most bytes of one frame: beyond, its sender wants this party's memory, not its answer.
FRAME_BYTES = 1 << 30
# What a kept piece costs beside its bytes.
_PIECE_COST = 256


@dataclass(frozen=True, slots=True)
class Message:
    """One message on the wire.

    Parameters
    ----------
    kind : int
        `DATA`, `ACK`, `UP` or `DOWN`.
    name : str
        Recipient on the way to the relay, sender or member on the way from it.
    number : int
        Of `DATA` and `ACK`.
    flag : int
        Of `DATA`: `MORE`, `LAST` or `GOODBYE`.
    body : bytes-like
        The piece of `DATA`, the epoch of `UP`.
    """

    kind: int
    name: str
    number: int = 0
    flag: int = 0
    body: bytes | memoryview = b""


def pack_message(message: Message) -> bytes:
    """Return the wire form."""
    name = message.name.encode()
    head = struct.pack(">BB", message.kind, len(name)) + name
    if message.kind == DATA:
        return b"".join((head, struct.pack(">QB", message.number, message.flag), message.body))
    if message.kind == ACK:
        return head + struct.pack(">Q", message.number)
    return head + bytes(message.body)


def unpack_message(raw: bytes) -> Message:
    """Read the wire form.

    Raises
    ------
    BadPeer
        If it is cut short, too long, or of no known kind.
    """
    kind, name, rest = _split(raw)
    if kind == DATA and len(rest) >= 9:
        number, flag = struct.unpack(">QB", rest[:9])
        return Message(DATA, name, number, flag, rest[9:])
    if kind == ACK and len(rest) == 8:
        return Message(ACK, name, *struct.unpack(">Q", rest))
    if kind == UP and len(rest) == EPOCH_BYTES:
        return Message(UP, name, body=bytes(rest))
    if kind == DOWN and not rest:
        return Message(DOWN, name)
    raise BadPeer("a message of the relay is malformed")


def readdress(raw: bytes, sender: str) -> tuple[str, bytes]:
    """Return the recipient of a member's message, and the message as the recipient gets it.

    Raises
    ------
    BadPeer
        If it is malformed, or of a kind that only the relay sends.
    """
    kind, recipient, rest = _split(raw)
    if not ((kind == DATA and len(rest) >= 9) or (kind == ACK and len(rest) == 8)):
        raise BadPeer("a message is malformed, or of a kind that members do not send")
    name = sender.encode()
    return recipient, b"".join((struct.pack(">BB", kind, len(name)), name, rest))


def _split(raw: bytes) -> tuple[int, str, memoryview]:
    view = memoryview(raw)
    try:
        kind, length = raw[0], raw[1]
        name = bytes(view[2 : 2 + length])
        if len(name) != length or len(raw) > MESSAGE_BYTES:
            raise BadPeer("a message is cut short or too long")
        return kind, name.decode(), view[2 + length :]
    except (IndexError, UnicodeDecodeError) as error:
        raise BadPeer("a message is cut short or misspelt") from error


def cut(frame: bytes) -> Iterator[tuple[int, memoryview]]:
    """Yield the pieces of a frame with their flags, without copying it."""
    view = memoryview(frame)
    for start in range(0, len(frame), PIECE_BYTES):
        stop = start + PIECE_BYTES
        yield (LAST if stop >= len(frame) else MORE), view[start:stop]


class Outbox:
    """Pieces for one recipient: numbered from 1, kept until the recipient has confirmed them."""

    __slots__ = ("_confirmed", "_sent", "_unsent", "frames", "size")

    def __init__(self) -> None:
        self._sent: deque[tuple[int, memoryview | bytes]] = deque()
        self._unsent: deque[tuple[int, memoryview | bytes]] = deque()
        self._confirmed = 0
        #: Bytes kept, with what each piece costs on top.
        self.size = 0
        #: Pieces kept that carry a part of a frame: all but a goodbye.
        self.frames = 0

    def __len__(self) -> int:
        return len(self._sent) + len(self._unsent)

    @property
    def confirmed(self) -> int:
        """Number of the newest piece that has arrived."""
        return self._confirmed

    def add(self, flag: int, piece: memoryview | bytes) -> None:
        """Keep a piece, to be sent after all others."""
        self._unsent.append((flag, piece))
        self.size += len(piece) + _PIECE_COST
        self.frames += flag != GOODBYE

    def next(self, name: str) -> Message | None:
        """Return the next piece to send, or None when all are on their way."""
        if not self._unsent:
            return None
        flag, piece = self._unsent.popleft()
        self._sent.append((flag, piece))
        return Message(DATA, name, self._confirmed + len(self._sent), flag, piece)

    def confirm(self, number: int) -> bool:
        """Drop every piece up to a number; return whether there were any.

        After a rewind a piece may be confirmed that waits to be sent again.
        """
        before = self._confirmed
        while self._confirmed < number and len(self):
            flag, piece = (self._sent or self._unsent).popleft()
            self._confirmed += 1
            self.size -= len(piece) + _PIECE_COST
            self.frames -= flag != GOODBYE
        return self._confirmed > before

    def rewind(self) -> None:
        """Send everything again that is not confirmed: the connection was lost."""
        self._unsent.extendleft(reversed(self._sent))
        self._sent.clear()

    def reset(self) -> None:
        """Forget everything and count from 1 again: the recipient is another process."""
        self._sent.clear()
        self._unsent.clear()
        self._confirmed = self.size = self.frames = 0


class Intake:
    """Pieces from one sender: each number is taken once, in order, and put together to frames."""

    __slots__ = ("_pieces", "_size", "taken")

    def __init__(self) -> None:
        self._pieces: list[memoryview | bytes] = []
        self._size = 0
        #: Number of the newest piece taken.
        self.taken = 0

    def take(self, message: Message) -> bytes | None:
        """Take a piece; return the frame it completes, if it does.

        A number taken before is dropped. So is one that leaves a gap: its connection took over
        while earlier pieces were on their way, and their sender will send all of them again.

        Raises
        ------
        BadPeer
            If the frame grows beyond `FRAME_BYTES`.
        """
        if message.number != self.taken + 1:
            return None
        self.taken = message.number
        if message.flag == GOODBYE:
            return None
        self._pieces.append(message.body)
        self._size += len(message.body)
        if self._size > FRAME_BYTES:
            raise BadPeer(f"sends a frame of more than {FRAME_BYTES} bytes", party=message.name)
        if message.flag == MORE:
            return None
        pieces, self._pieces, self._size = self._pieces, [], 0
        return b"".join(pieces)
