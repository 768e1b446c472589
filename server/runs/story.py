"""A run as it went: out of its events, its checkpoint and its outcome, one value that pages show.

Pure: what lies on disk is handed in (`server.runs.folder`). Of a party's reply only sizes, seconds
and counts are taken, and of a release what identifies it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

State = Literal["running", "silent", "ended", "failed"]
JOIN: Final = "join"
NEURAL: Final = "neural"
SCORECARD: Final = "scorecard"
ROUND: Final = "neural_"
_LAST: Final = frozenset({"release", "neural_release"})


@dataclass(frozen=True, slots=True)
class Part:
    """What a phase took at a party.

    Parameters
    ----------
    party : str
    seconds : float
        By its own clock.
    bytes_sent, bytes_received : int
    peak_mb : float
        Most memory so far, in MB.
    """

    party: str
    seconds: float
    bytes_sent: int
    bytes_received: int
    peak_mb: float


@dataclass(frozen=True, slots=True)
class Phase:
    """A phase or a round.

    Parameters
    ----------
    name : str
    start : float
        Seconds since the run was first told of.
    seconds : float or None
        None while it is under way.
    parts : tuple of Part
        Of the parties that ended it.
    """

    name: str
    start: float
    seconds: float | None
    parts: tuple[Part, ...] = ()

    @property
    def round(self) -> int:
        """The round of the neural model that it is; 0 for a phase."""
        number = self.name.removeprefix(ROUND) if self.name.startswith(ROUND) else ""
        return int(number) if number.isdecimal() else 0


@dataclass(frozen=True, slots=True)
class Loss:
    """A party that the others went on without.

    Parameters
    ----------
    party, phase : str
    at : float or None
        Seconds since the run was first told of; None if only the checkpoint tells of it.
    left : tuple of str
    """

    party: str
    phase: str
    at: float | None
    left: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Failure:
    """What ended a run.

    Parameters
    ----------
    code, message, hint, party : str
        Of the error, as the command told it.
    """

    code: str
    message: str
    hint: str
    party: str


@dataclass(frozen=True, slots=True)
class Round:
    """A round of the neural model, as the coordinator opened it.

    Parameters
    ----------
    number : int
    loss : float or None
        Mean over the cohort's customers; None where noise leaves nothing to tell.
    customers : int
    verdict : str
        Of the builder.
    """

    number: int
    loss: float | None
    customers: int
    verdict: str


@dataclass(frozen=True, slots=True)
class Story:
    """A run.

    Parameters
    ----------
    run : str
    kind : {'scorecard', 'neural'}
    state : {'running', 'silent', 'ended', 'failed'}
        Silent: no end was told, and nothing else for longer than a party may be waited for.
    began, told : float
        The first and the last word of it, in seconds since 1970.
    phases : tuple of Phase
        As they came; the last one may be under way.
    ahead : tuple of str
        Phases that come after those, where that is known.
    parties : tuple of str
        Everybody who took part.
    lost : tuple of Loss
    attempt : int
        From 1 on.
    resumed : bool
    contracts : mapping of str to str
        Digest of the contract that each party came with.
    customers : mapping of str to int
        ``train`` and ``test``: in common, where that is known.
    measures : mapping of str to float
        ``auc`` and ``ks`` on the customers held out, once they are known.
    release, digest : str
        Name and digest of the release; empty before there is one.
    failure : Failure or None
    rounds : tuple of Round
    """

    run: str
    kind: str
    state: State
    began: float
    told: float
    phases: tuple[Phase, ...] = ()
    ahead: tuple[str, ...] = ()
    parties: tuple[str, ...] = ()
    lost: tuple[Loss, ...] = ()
    attempt: int = 1
    resumed: bool = False
    contracts: Mapping[str, str] = field(default_factory=dict)
    customers: Mapping[str, int] = field(default_factory=dict)
    measures: Mapping[str, float] = field(default_factory=dict)
    release: str = ""
    digest: str = ""
    failure: Failure | None = None
    rounds: tuple[Round, ...] = ()

    @property
    def under_way(self) -> Phase | None:
        """The phase that has begun and not ended."""
        last = self.phases[-1] if self.phases else None
        return last if last is not None and last.seconds is None and not self.over else None

    @property
    def over(self) -> bool:
        """Whether nothing more is to come."""
        return self.state in {"ended", "failed"}

    @property
    def seconds(self) -> float:
        """From its first word to its last, where it is over."""
        return max(0.0, self.told - self.began)

    @property
    def bytes_sent(self) -> int:
        """Bytes that all parties sent in all phases."""
        return sum(part.bytes_sent for phase in self.phases for part in phase.parts)


@dataclass(frozen=True, slots=True)
class Written:
    """What lies on disk of a run.

    Parameters
    ----------
    events : tuple of mapping
        Each with ``event``, ``details`` and ``at``; see `server.engines.run_files`.
    checkpoint : mapping or None
        Body of `server.checkpoint`'s file.
    outcome : mapping or None
        ``ok``, and the outcome or the error.
    rounds : tuple of mapping
        Of `server.neural.checkpoint`.
    touched : float
        When any of it was last written, in seconds since 1970.
    """

    events: tuple[Mapping[str, Any], ...]
    checkpoint: Mapping[str, Any] | None
    outcome: Mapping[str, Any] | None
    rounds: tuple[Mapping[str, Any], ...]
    touched: float


def story_of(run: str, written: Written, now: float, patience: float) -> Story:
    """Return a run as it went.

    Parameters
    ----------
    run : str
    written : Written
    now : float
        Seconds since 1970.
    patience : float
        Seconds without a word after which a run counts as silent.

    Raises
    ------
    KeyError, TypeError, ValueError
        If what was written is not what a run writes.
    """
    events = written.events
    began = float(events[0]["at"]) if events else written.touched
    told = float(events[-1]["at"]) if events else written.touched
    phases = tuple(_phases(events, began))
    if written.checkpoint:
        phases = _with_earlier(written.checkpoint, phases)
        if not events:
            began -= sum(phase.seconds or 0.0 for phase in phases)
    story = Story(run, _kind(phases, written), "running", began, told, phases)
    story = replace(
        story,
        ahead=_ahead(written.checkpoint, phases),
        parties=_parties(written, phases),
        lost=tuple(_lost(events, written, began)),
        attempt=int((written.checkpoint or {}).get("attempt", 1)),
        resumed=any(one["event"] == "resumed" for one in events),
        rounds=tuple(_round(one) for one in written.rounds),
    )
    story = _learned(story, written)
    return replace(story, state=_state(story, written, now, patience), failure=_failure(written))


def _state(story: Story, written: Written, now: float, patience: float) -> State:
    if written.outcome is not None:
        return "ended" if written.outcome["ok"] else "failed"
    if story.phases and story.phases[-1].name in _LAST and story.phases[-1].seconds is not None:
        return "ended"
    return "silent" if now - max(story.told, written.touched) > patience else "running"


def _phases(events: Sequence[Mapping[str, Any]], began: float) -> Iterator[Phase]:
    """Yield the phases that events tell of; one that was started again is told once a start."""
    under_way: Phase | None = None
    for one in events:
        at, details = float(one["at"]) - began, one["details"]
        if one["event"] in {"joining", "phase", "resumed"}:
            if under_way is not None:
                yield replace(under_way, seconds=at - under_way.start)
            name = JOIN if one["event"] == "joining" else str(details["name"])
            under_way = Phase(name, at, None) if one["event"] != "resumed" else None
        elif one["event"] == "done":
            name, seconds = str(details["name"]), float(details["seconds"])
            start = under_way.start if under_way and under_way.name == name else at - seconds
            yield Phase(name, start, seconds, _parts(details["replies"]))
            under_way = None
    if under_way is not None:
        yield under_way


def _parts(replies: Mapping[str, Mapping[str, Any]]) -> tuple[Part, ...]:
    return tuple(
        Part(
            name,
            float(reply.get("seconds", 0.0)),
            int(reply.get("bytes_sent", 0)),
            int(reply.get("bytes_received", 0)),
            float(reply.get("peak_rss_mb", 0.0)),
        )
        for name, reply in sorted(replies.items())
    )


def _with_earlier(kept: Mapping[str, Any], phases: tuple[Phase, ...]) -> tuple[Phase, ...]:
    """Put before the phases those that only the checkpoint knows: of before a run went on."""
    outcome, told = kept["outcome"], {phase.name for phase in phases}
    earlier, at = [], 0.0
    for name in kept["order"]:
        if name in outcome and name not in told:
            seconds = float(outcome["seconds"][name])
            earlier.append(Phase(name, at, seconds, _parts(outcome[name])))
            at += seconds
    return (*earlier, *(replace(phase, start=phase.start + at) for phase in phases))


def _ahead(kept: Mapping[str, Any] | None, phases: Sequence[Phase]) -> tuple[str, ...]:
    known = {phase.name for phase in phases}
    return tuple(name for name in kept["order"] if name not in known) if kept else ()


def _kind(phases: Iterable[Phase], written: Written) -> str:
    neural = any(phase.name.startswith(NEURAL) for phase in phases)
    return NEURAL if neural or written.rounds else SCORECARD


def _parties(written: Written, phases: Iterable[Phase]) -> tuple[str, ...]:
    named = {part.party for phase in phases for part in phase.parts}
    if written.checkpoint:
        named |= set(written.checkpoint["outcome"].get("join", {}))
    return tuple(sorted(named | {loss.party for loss in _lost(written.events, written, 0.0)}))


def _lost(events: Sequence[Mapping[str, Any]], written: Written, began: float) -> Iterator[Loss]:
    told, phase = set(), ""
    for one in events:
        details = one["details"]
        if one["event"] == "phase":
            phase = str(details["name"])
        elif one["event"] == "lost":
            told.add(str(details["party"]))
            left = tuple(str(name) for name in details.get("left", ()))
            where = str(details.get("name", phase))
            yield Loss(str(details["party"]), where, float(one["at"]) - began, left)
    for name, where in ((written.checkpoint or {}).get("outcome") or {}).get("lost", {}).items():
        if name not in told:
            yield Loss(str(name), str(where), None)


def _learned(story: Story, written: Written) -> Story:
    """Add what the replies of phases say of the run as a whole."""
    ended: dict[str, Mapping[str, Any]] = {}
    if written.checkpoint:
        ended |= {
            name: value
            for name, value in written.checkpoint["outcome"].items()
            if isinstance(value, Mapping) and name != "seconds"
        }
    for one in written.events:
        if one["event"] == "done":
            ended[str(one["details"]["name"])] = one["details"]["replies"]
    joined = {
        name: str(reply["contract"])
        for name, reply in ended.get(JOIN, {}).items()
        if "contract" in reply
    }
    outcome = (written.outcome or {}).get("outcome") or {}
    measures = _first(ended.get("score", {}), "auc") or outcome.get("test") or {}
    aligned = _first(ended.get("align", {}), "n_train")
    counted = {"train": aligned["n_train"], "test": aligned["n_test"]} if aligned else {}
    if not counted:
        counted = _first(ended.get("score", {}), "customers").get("customers", {})
    counted = counted or outcome.get("customers") or {}
    released = _first(ended.get("release", ended.get("neural_release", {})), "name")
    return replace(
        story,
        contracts=joined,
        customers={name: int(counted[name]) for name in ("train", "test") if name in counted},
        measures={name: float(measures[name]) for name in ("auc", "ks") if name in measures},
        release=str(released.get("name", "")),
        digest=str(released.get("digest", "")),
    )


def _first(replies: Mapping[str, Mapping[str, Any]], key: str) -> Mapping[str, Any]:
    """Return the first reply that says something; empty if none does."""
    return next((one for one in replies.values() if key in one), {})


def _failure(written: Written) -> Failure | None:
    if written.outcome is None or written.outcome["ok"]:
        return None
    error = written.outcome["error"]
    code = str(error.get("reported") or error["code"])
    message = error.get("message") or "; ".join(map(str, error.get("findings", ())))
    return Failure(code, str(message), str(error.get("hint", "")), str(error.get("party", "")))


def _round(one: Mapping[str, Any]) -> Round:
    loss = one.get("loss")
    told = float(loss) if loss is not None and loss == loss else None  # noqa: PLR0124 - not a number
    return Round(int(one["round"]), told, int(one["customers"]), str(one["verdict"]))
