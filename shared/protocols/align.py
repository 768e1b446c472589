"""Alignment: which customers do all parties share? Diffie-Hellman intersection round a ring.

Design 4.1, after Meadows (1986) and Huberman, Franklin, Hogg (1999):

1. Everybody says how many ids it has.
2. Each party shuffles its ids, hashes them to the group and masks them with a fresh secret
   exponent. Its list travels g, g+1, ..., g-1; each re-masks it and keeps its order. So everybody
   is last exactly once; the last sends 16 bytes a value to the coordinator, never to the owner.
3. The coordinator intersects the lists and tells each party the places of the common ids in its
   shuffled list, in one order; the owner undoes its shuffle.
4. The parties prove to the builder that they hold the same ids in the same order
   (`shared.protocols.order`): a coordinator that moves a position is found out.

The coordinator learns set sizes and overlaps, never an id; a party learns set sizes and which of
its ids *all* others hold. Lists travel in batches, each hop in turn, so memory in flight stays
flat, nobody waits longer than for one batch, and bounded mailboxes cannot lock the ring.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce

import numpy as np
from numpy.typing import NDArray

from shared.arrays import pack_array, pack_value, unpack_array
from shared.channel import Channel
from shared.errors import BadPeer, ConfigError, DataError, FloorBroken
from shared.groups import GROUPS, POINT_BYTES, Mapper, in_process, mask_ids, remask
from shared.protocols.order import blaming, check_length, confirm_order, read_field

#: Points that one message of the ring carries: 1 MiB.
BATCH = 1 << 15
#: Bytes of a fully masked value that reach the coordinator; n^2 / 2^129 of a false match.
SHORT_BYTES = 16
_MAX_PARTIES = 10


@dataclass(frozen=True, slots=True)
class AlignJob:
    """What the parties agreed to align.

    Parameters
    ----------
    run : str
        Identifier of the run; ids hash to other points in another run.
    parties : tuple of str
        2 to 10 names, sorted: the ring.
    builder : str
        The party that checks the common order.
    coordinator : str
        Who intersects; holds no ids.
    group : str
        Name in `shared.groups.GROUPS`.
    max_ids : int
        Largest set of a party, below 2^32: whoever may bring every possible id learns everybody's.
    min_common : int
        Fewer common ids, at least 1, end the run.

    Raises
    ------
    ConfigError
        If a field is wrong; all findings at once.
    """

    run: str
    parties: tuple[str, ...]
    builder: str
    coordinator: str
    group: str
    max_ids: int
    min_common: int

    def __post_init__(self) -> None:
        checks = (
            (bool(self.run), "run: must have a name"),
            (2 <= len(self.parties) <= _MAX_PARTIES, "parties: 2 to 10 take part"),
            (
                self.parties == tuple(sorted(set(self.parties))),
                "parties: must be sorted, each once",
            ),
            (self.builder in self.parties, "builder: must be one of the parties"),
            (self.coordinator not in self.parties, "coordinator: cannot be a party"),
            (self.group in GROUPS, f"group: must be one of {', '.join(GROUPS)}"),
            (0 < self.max_ids < 1 << 32, "max_ids: must be between 1 and 4294967295"),
            (0 < self.min_common <= self.max_ids, "min_common: must be between 1 and max_ids"),
        )
        findings = [text for holds, text in checks if not holds]
        if findings:
            raise ConfigError("alignment job", findings)

    @property
    def domain(self) -> bytes:
        """What the points of this run are bound to."""
        return pack_value(["confide/align/1", self.run, self.group, *self.parties])

    def batches(self, sizes: Mapping[str, int], place: int) -> Iterator[tuple[str, int, int, int]]:
        """Yield (owner, hop, start, count) of each batch, in the order that `place` meets them.

        Parameters
        ----------
        sizes : mapping of str to int
            Ids by party.
        place : int
            Place in the ring; its own batches have hop 0.
        """
        for start in range(0, max(sizes.values()), BATCH):
            for hop in range(len(self.parties)):
                owner = self.parties[place - hop]
                count = min(BATCH, sizes[owner] - start)
                if count > 0:
                    yield owner, hop, start, count


@dataclass(frozen=True, slots=True, eq=False)
class Alignment:
    """What a party knows after the alignment.

    Parameters
    ----------
    positions : ndarray of int64, shape (n_common,)
        Places in the party's own ids of the common ids, in the order that all parties share.
    sizes : mapping of str to int
        Ids by party.
    check : bytes
        HMAC of the common ids in order, 32 bytes, equal at all parties and new in every run. The
        coordinator does not see it.
    """

    positions: NDArray[np.int64]
    sizes: Mapping[str, int]
    check: bytes


@dataclass(frozen=True, slots=True)
class Overlaps:
    """What the coordinator knows after the alignment.

    Parameters
    ----------
    sizes : mapping of str to int
        Ids by party.
    common : int
        Ids that all parties hold.
    """

    sizes: Mapping[str, int]
    common: int


def align_party(
    channel: Channel,
    job: AlignJob,
    ids: Sequence[str],
    *,
    rng: Callable[[int], bytes] = os.urandom,
    mapper: Mapper = in_process,
) -> Alignment:
    """Align own ids with those of the other parties.

    Parameters
    ----------
    channel : Channel
        Sealed; reaches all parties and the coordinator.
    job : AlignJob
        The same at everybody.
    ids : sequence of str
        Own ids, already in their one spelling (`contract.normalise_id`). A tag in front of each
        (``train|...``) aligns several splits at once.
    rng : callable
        Number to that many random bytes, from a cryptographic source.
    mapper : Mapper
        Where points are masked: the `map` of a process pool, on a machine with several cores.

    Returns
    -------
    Alignment

    Raises
    ------
    DataError
        If own ids are empty strings, appear twice, or are too many.
    FloorBroken
        If a set or the intersection is under the floor.
    BadPeer
        If a peer sends anything malformed, or positions do not lead to the same customers.
    """
    _check_ids(job, ids)
    sizes = _announce(channel, job, len(ids))
    order = _shuffle(len(ids), rng)
    _go_round(channel, job, sizes, [ids[i] for i in order.tolist()], rng=rng, mapper=mapper)
    positions = order[_receive_positions(channel, job, sizes)]
    common = [ids[i] for i in positions.tolist()]
    check = confirm_order(channel, job.parties, job.builder, job.domain, common, rng=rng)
    return Alignment(positions, sizes, check)


def align_coordinator(channel: Channel, job: AlignJob) -> Overlaps:
    """Intersect the masked lists of the parties and tell each its positions.

    Parameters
    ----------
    channel : Channel
        Sealed; reaches all parties.
    job : AlignJob
        The same at everybody.

    Returns
    -------
    Overlaps

    Raises
    ------
    FloorBroken
        If a set or the intersection is under the floor.
    BadPeer
        If a party sends anything malformed, or a list holds a value twice.
    """
    sizes = _hear_sizes(channel, job)
    positions = _intersect(_collect(channel, job, sizes))
    common = len(positions[job.builder])
    channel.send_all(job.parties, "align/common", pack_value({"common": common}))
    _check_floor(job, common)
    for party in job.parties:
        channel.send(party, "align/positions", pack_array(positions[party]))
    return Overlaps(sizes, common)


def _check_ids(job: AlignJob, ids: Sequence[str]) -> None:
    twice = len(ids) - len(set(ids))
    findings = []
    if twice:
        findings.append(f"{twice} of {len(ids)} ids are repeats; each customer must stand once")
    if "" in ids:
        findings.append("an id is empty")
    if len(ids) > job.max_ids:
        findings.append(f"{len(ids)} ids are more than the {job.max_ids} of the job")
    if findings:
        raise DataError("ids to align", findings)


def _announce(channel: Channel, job: AlignJob, own: int) -> Mapping[str, int]:
    others = [name for name in job.parties if name != channel.me]
    channel.send_all([*others, job.coordinator], "align/size", pack_value({"ids": own}))
    return _hear_sizes(channel, job, {channel.me: own})


def _hear_sizes(
    channel: Channel, job: AlignJob, own: Mapping[str, int] | None = None
) -> Mapping[str, int]:
    known = dict(own or {})
    for name in job.parties:
        if name not in known:
            payload = channel.receive(name, "align/size")
            known[name] = _read_count(payload, "ids", job.max_ids, name)
    sizes = {name: known[name] for name in job.parties}
    small = [f"{name!r} has {size}" for name, size in sizes.items() if size < job.min_common]
    if small:
        raise FloorBroken(f"sets under the floor of {job.min_common} ids: {', '.join(small)}")
    return sizes


def _shuffle(size: int, rng: Callable[[int], bytes]) -> NDArray[np.int64]:
    keys = np.frombuffer(rng(8 * size), dtype=np.uint64)
    return np.argsort(keys, kind="stable").astype(np.int64, copy=False)


def _go_round(
    channel: Channel,
    job: AlignJob,
    sizes: Mapping[str, int],
    shuffled: Sequence[str],
    *,
    rng: Callable[[int], bytes],
    mapper: Mapper,
) -> None:
    place, last = job.parties.index(channel.me), len(job.parties) - 1
    before, after = job.parties[place - 1], job.parties[(place + 1) % len(job.parties)]
    exponent = GROUPS[job.group].fresh_exponent(rng)
    for owner, hop, start, count in job.batches(sizes, place):
        tag = f"align/list/{owner}"
        if hop == 0:
            own = [text.encode() for text in shuffled[start : start + count]]
            points = mask_ids(job.group, own, job.domain, exponent, mapper)
        else:
            received = channel.receive(before, tag)
            with blaming(before):
                check_length(received, count * POINT_BYTES)
                points = remask(job.group, received, exponent, mapper)
        if hop == last:
            channel.send(job.coordinator, tag, _shorten(points))
        else:
            channel.send(after, tag, points)


def _shorten(points: bytes) -> bytes:
    return np.frombuffer(points, np.uint8).reshape(-1, POINT_BYTES)[:, :SHORT_BYTES].tobytes()


def _collect(
    channel: Channel, job: AlignJob, sizes: Mapping[str, int]
) -> Mapping[str, NDArray[np.bytes_]]:
    lists = {name: bytearray() for name in job.parties}
    for owner, _, _, count in job.batches(sizes, 0):
        last = job.parties[job.parties.index(owner) - 1]
        received = channel.receive(last, f"align/list/{owner}")
        with blaming(last):
            check_length(received, count * SHORT_BYTES)
        lists[owner] += received
    return {name: np.frombuffer(values, f"S{SHORT_BYTES}") for name, values in lists.items()}


def _intersect(lists: Mapping[str, NDArray[np.bytes_]]) -> dict[str, NDArray[np.uint32]]:
    # All values have one width, so numpy's blindness to trailing zero bytes cannot merge two.
    orders = {name: np.argsort(values, kind="stable") for name, values in lists.items()}
    ranked = {name: values[orders[name]] for name, values in lists.items()}
    for name, values in ranked.items():
        if (values[1:] == values[:-1]).any():
            raise BadPeer("its masked list holds a value twice", party=name)
    common = reduce(partial(np.intersect1d, assume_unique=True), ranked.values())
    return {
        name: order[np.searchsorted(lists[name], common, sorter=order)].astype(np.uint32)
        for name, order in orders.items()
    }


def _receive_positions(
    channel: Channel, job: AlignJob, sizes: Mapping[str, int]
) -> NDArray[np.uint32]:
    payload = channel.receive(job.coordinator, "align/common")
    common = _read_count(payload, "common", min(sizes.values()), job.coordinator)
    _check_floor(job, common)
    payload = channel.receive(job.coordinator, "align/positions")
    own = sizes[channel.me]
    with blaming(job.coordinator):
        positions = unpack_array(payload, np.uint32, (common,), cap=own)
        if positions.max() >= own or np.unique(positions).size != common:
            raise BadPeer(f"positions of common ids are not {common} different places under {own}")
    return positions


def _read_count(payload: bytes, field: str, most: int, sender: str) -> int:
    with blaming(sender):
        value = read_field(payload, field)
        if type(value) is not int or not 0 <= value <= most:
            raise BadPeer(f"{field!r} must be a whole number between 0 and {most}")
    return value


def _check_floor(job: AlignJob, common: int) -> None:
    if common < job.min_common:
        raise FloorBroken(f"{common} ids are common to all, under the floor of {job.min_common}")
