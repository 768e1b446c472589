"""Ways to count pairs of bins over many customers: the product's three, and two that anyone has.

Every member of a way is a process of its own. It draws its bins, a small integer a customer and
feature as a party's table has them in memory; what is timed begins there and ends with the table of
counts. All ways get the same customers, so that their tables must be equal.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from _growth import Watch, peak_mb, ready
from numpy.typing import NDArray

from shared.channel import QueueChannel
from shared.contract import EVERY
from shared.identity import Identity, Roster
from shared.protocols.blocks import BlocksJob, add_blocks, assist_blocks
from shared.protocols.products import Opened, deal, multiply
from shared.protocols.products_job import OneHot, ProductJob
from shared.protocols.sample import sample_rows
from shared.scorecard.bins import Floors
from shared.scorecard.blocks import Block
from shared.scorecard.moments import pooled
from shared.sealed import SealedChannel, Session
from shared.sections import Limits, Protocol
from shared.shape import Shape

Ints = NDArray[np.integer[Any]]

HOLDERS = ("bank", "bureau", "payments")
BANKS = ("east", "north", "south")
COORDINATOR = "coordinator"
SAMPLE_CAP = Protocol().sample_cap
#: Most rows that an alternative holds as a matrix at a time: a million take it a gigabyte.
PIECE_ROWS = 1 << 20
_PATIENCE_S = 3600.0
_DRAWN_ROWS = 1 << 16
_COIN = bytes(32)


@dataclass(frozen=True, slots=True)
class Bins:
    """Which customers, and what is known of them.

    Parameters
    ----------
    rows : int
    features : int
        Of each holder.
    bins : int
        Of each feature.
    """

    rows: int
    features: int
    bins: int

    @property
    def widths(self) -> tuple[int, ...]:
        """Bins of all features, holder by holder, and of the label behind them."""
        return (self.bins,) * (self.features * len(HOLDERS)) + (2,)

    def codes(self, first: int = 0, last: int | None = None) -> NDArray[np.int16]:
        """Return the bins of some customers in all columns, the label's last."""
        last = self.rows if last is None else last
        codes = np.empty((last - first, len(self.widths)), np.int16)
        for start in range(first - first % _DRAWN_ROWS, last, _DRAWN_ROWS):
            drawn = self._drawn(start)[max(first - start, 0) : last - start]
            at = max(start, first) - first
            codes[at : at + len(drawn)] = drawn
        return codes

    def of(self, holder: str) -> NDArray[np.int16]:
        """Return the bins of all customers in one holder's columns."""
        parts = [
            self.codes(start, min(start + _DRAWN_ROWS, self.rows))[:, self.place(holder)]
            for start in range(0, self.rows, _DRAWN_ROWS)
        ]
        return np.concatenate(parts)

    def place(self, holder: str) -> list[int]:
        """Return the columns of a holder; the label is the builder's."""
        at = HOLDERS.index(holder) * self.features
        own = list(range(at, at + self.features))
        return [*own, len(self.widths) - 1] if holder == HOLDERS[0] else own

    def _drawn(self, start: int) -> NDArray[np.int16]:
        """Draw a block of customers: uneven bins, and more bad ones in the later bins."""
        rng = np.random.default_rng([start, self.features, self.bins])
        shape = (_DRAWN_ROWS, len(self.widths) - 1)
        codes = (self.bins * rng.random(shape) ** 1.2).astype(np.int16)
        bad = rng.random(_DRAWN_ROWS) < 0.1 + 0.2 * codes[:, 0] / self.bins
        return np.column_stack([codes, bad.astype(np.int16)])


@dataclass(frozen=True, slots=True)
class Cost:
    """What a member paid, from its bins in memory to the table of counts.

    Wall and CPU seconds; memory in MiB, `table` before and `above` on top of it at the peak; `sent`
    in bytes; `found` is a digest of the counts, where they are opened.
    """

    wall: float
    cpu: float
    table: float
    above: float
    sent: int = 0
    found: str = ""


class ForgetfulJournal:
    """A journal that takes no time: a disk is not what is measured here."""

    def use_seed(self, seed: bytes, columns: str, order: str) -> None:
        """Forget it."""

    def reveal(self, job_digest: str, input_digest: str, cohort: tuple[str, ...]) -> None:
        """Forget it."""


Turn = Callable[[SealedChannel], str]


@dataclass(frozen=True, slots=True)
class Seat:
    """Who somebody is in a way of counting, and with whom."""

    me: str
    others: tuple[str, ...]
    bins: Bins
    cap: int


def blind_holder(seat: Seat) -> Turn:
    """Take part in blind products, over the agreed sample where there are more customers."""
    codes = seat.bins.of(seat.me)
    sizes = tuple(seat.bins.widths[at] for at in seat.bins.place(seat.me))

    def play(channel: SealedChannel) -> str:
        job = blind_job(seat)
        rows = sample_rows(_COIN, len(codes), job.n_rows)
        mine = OneHot(codes[rows], sizes, b"", "order")
        limits = Limits()
        opened = multiply(
            channel,
            job,
            mine,
            minimum=Floors(limits.rows, limits.share).minimum(job.n_rows),
            max_rank_share=limits.builder_rank,
            journal=ForgetfulJournal(),
        )
        return "" if opened is None else digest_of(*unlabelled(side_by_side(opened), sizes[:-1]))

    return play


def dealer(seat: Seat) -> Turn:
    """Deal the randomness of blind products."""

    def play(channel: SealedChannel) -> str:
        deal(channel, blind_job(seat))
        return ""

    return play


def blind_job(seat: Seat) -> ProductJob:
    rows = min(seat.bins.rows, seat.cap)
    return ProductJob("bench", "moments", 1, HOLDERS, HOLDERS[0], COORDINATOR, rows)


def side_by_side(opened: Opened) -> Ints:
    """Return the builder's tables as one."""
    tables = {(name, name): table for name, table in opened.own.items()} | dict(opened.cross)
    return np.block(
        [[tables[a, b] if (a, b) in tables else tables[b, a].T for b in HOLDERS] for a in HOLDERS]
    )


def bank(seat: Seat) -> Turn:
    """Be one of several banks with the same columns: count the own customers, and add."""
    edges = np.linspace(0, seat.bins.rows, len(BANKS) + 1).astype(int).tolist()
    at = BANKS.index(seat.me)
    codes = seat.bins.codes(edges[at], edges[at + 1])

    def play(channel: SealedChannel) -> str:
        matrix = OneHot(codes, seat.bins.widths, b"", "")
        opened = add_blocks(
            channel,
            banks_job(),
            {seat.me: matrix},
            minimum=1,  # of holders of columns, and there are none
            max_rank_share=1.0,
            journal=ForgetfulJournal(),
        )
        return "" if opened is None else digest_of(*unlabelled(opened.own[EVERY], None))

    return play


def adder(_: Seat) -> Turn:
    """Add the banks' masked counts."""

    def play(channel: SealedChannel) -> str:
        assist_blocks(channel, banks_job())
        return ""

    return play


def banks_job() -> BlocksJob:
    return BlocksJob("bench", "moments", 1, Shape(BANKS, (), BANKS[0]), COORDINATOR, {})


def in_one_place(count: Callable[[Bins, NDArray[np.int16]], str]) -> Callable[[Seat], Turn]:
    """Count alone over all customers, of whom no more are taken than the cap says."""

    def begin(seat: Seat) -> Turn:
        codes = seat.bins.codes()
        if seat.cap < len(codes):
            codes = codes[sample_rows(_COIN, len(codes), seat.cap)]
        return lambda _: count(seat.bins, codes)

    return begin


def count_pooled(bins: Bins, codes: NDArray[np.int16]) -> str:
    """Count as the product does where rows lie in one place."""
    ladder = np.tril(np.ones((bins.bins, bins.bins - 1), np.uint8), -1)
    signs = np.zeros(bins.bins - 1, np.int8)
    thresholds = [f"> {at}" for at in range(bins.bins - 1)]
    blocks = [
        Block("", (str(at),), tuple(f"{at} {one}" for one in thresholds), ladder, signs)
        for at in range(len(bins.widths) - 1)
    ]
    moments = pooled(blocks, list(codes.T[:-1]), codes[:, -1])
    return digest_of(moments.counts, moments.bads)


def count_dense(bins: Bins, codes: NDArray[np.int16]) -> str:
    """Multiply whole 0/1 matrices by numpy: what is written first."""
    whole = np.zeros((sum(bins.widths),) * 2, np.int64)
    for start in range(0, len(codes), PIECE_ROWS):
        part = places(bins, codes[start : start + PIECE_ROWS])
        matrix = np.zeros((len(part), len(whole)), np.float32)
        np.put_along_axis(matrix, part, np.float32(1), axis=1)
        whole += np.rint(matrix.T @ matrix).astype(np.int64)  # exact below 2^24 rows
    return digest_of(*unlabelled(whole, None))


def count_sparse(bins: Bins, codes: NDArray[np.int16]) -> str:
    """Multiply sparse 0/1 matrices by scipy."""
    from scipy import sparse  # noqa: PLC0415 - the others' memory is measured without it

    whole = np.zeros((sum(bins.widths),) * 2, np.int64)
    for start in range(0, len(codes), PIECE_ROWS):
        part = places(bins, codes[start : start + PIECE_ROWS]).astype(np.int32)
        ends = np.arange(0, part.size + 1, part.shape[1], dtype=np.int32)
        ones = np.ones(part.size, np.int32)
        matrix = sparse.csr_matrix((ones, part.ravel(), ends), (len(part), len(whole)))
        whole += (matrix.T @ matrix).toarray()
    return digest_of(*unlabelled(whole, None))


def places(bins: Bins, codes: NDArray[np.int16]) -> NDArray[np.int64]:
    """Return the column of each row's bin in the 0/1 matrix of all columns."""
    starts = np.concatenate([[0], np.cumsum(bins.widths)[:-1]])
    return codes + starts


def unlabelled(whole: Ints, before: tuple[int, ...] | None) -> tuple[Ints, Ints]:
    """Take the label's two bins out of a table; they stand behind some widths, or last."""
    at = len(whole) - 2 if before is None else sum(before)
    kept = np.delete(np.arange(len(whole)), [at, at + 1])
    return whole[np.ix_(kept, kept)], whole[kept, at + 1]


def digest_of(counts: Ints, bads: Ints) -> str:
    whole = np.ascontiguousarray(np.column_stack([counts, bads]), "<i8")
    return hashlib.sha256(whole.tobytes()).hexdigest()


@dataclass(frozen=True, slots=True)
class Way:
    """A way to count.

    Parameters
    ----------
    members : mapping of str to callable
        Who takes part, and what each does.
    cap : int
        Most customers that are counted; 0 for all.
    """

    members: Mapping[str, Callable[[Seat], Turn]]
    cap: int = 0


_BLIND = dict.fromkeys(HOLDERS, blind_holder) | {COORDINATOR: dealer}
_SUMMED = dict.fromkeys(BANKS, bank) | {COORDINATOR: adder}
WAYS: Mapping[str, Way] = {
    "blind, sample": Way(_BLIND, SAMPLE_CAP),
    "pooled, sample": Way({"all": in_one_place(count_pooled)}, SAMPLE_CAP),
    "blind, all": Way(_BLIND),
    "summed": Way(_SUMMED),
    "pooled": Way({"all": in_one_place(count_pooled)}),
    "dense": Way({"all": in_one_place(count_dense)}),
    "sparse": Way({"all": in_one_place(count_sparse)}),
}


def member(name: str, me: str, bins: Bins, inboxes: dict[str, Any], start: Any, out: Any) -> None:
    """Be one member, in a process of its own."""
    way = WAYS[name]
    seat = Seat(me, tuple(one for one in inboxes if one != me), bins, way.cap or bins.rows)
    channel = QueueChannel(
        me,
        seat.others,
        inboxes[me],
        lambda frame: inboxes[frame.recipient].put(frame),
        deadline=_PATIENCE_S,
    )
    try:
        out.put((me, measured(way.members[me](seat), seat, channel, start)))
    except Exception as error:  # noqa: BLE001 - told to the one who prints
        start.abort()
        channel.abort(str(error))
        out.put((me, f"{type(error).__name__}: {error}"))


def measured(turn: Turn, seat: Seat, channel: QueueChannel, start: Any) -> Cost:
    before = ready(start)
    watch = Watch.started()
    found = turn(sealed(channel, seat))
    watch.stop()
    sent = channel.traffic.total_sent
    return Cost(watch.wall, watch.cpu, before, peak_mb() - before, sent, found)


def sealed(channel: QueueChannel, seat: Seat) -> SealedChannel:
    everybody = sorted([seat.me, *seat.others])
    people = {name: Identity(name, bytes([at + 1]) * 32) for at, name in enumerate(everybody)}
    roster = Roster({name: one.fingerprint for name, one in people.items()}, COORDINATOR)
    session = Session("bench", "moments", 1, "0" * 64)
    return SealedChannel.open(channel, people[seat.me], roster, session)
