"""The builder's verdicts on rounds: signed, kept, and held against what is to be released."""

from __future__ import annotations

from typing import Any

from clients.lines import append_line, read_lines
from clients.party import Party
from shared.jobs import COORDINATOR, Run
from shared.neural import average
from shared.neural.judging import BETTER, PURPOSE, statement
from shared.release import refuse

_FILE = "verdicts.jsonl"


def judged(
    party: Party, run: Run, number: int, model: str, verdict: str, customers: int
) -> dict[str, Any]:
    """Write a verdict down, and return it signed: it counts for this model alone.

    Parameters
    ----------
    party : Party
        The builder.
    run : Run
    number : int
        Of the round.
    model : str
        Digest of the model that the round gave.
    verdict : str
    customers : int
        Own customers behind it.
    """
    party.store.record(
        run.name,
        phase=average.check_phase(number),
        what=f"verdict on round {number}: one of four words",
        unit="all own customers held out",
        recipient=COORDINATOR,
        rows=customers,
        values=1,
        binding=model,
    )
    line = {"round": number, "model": model, "verdict": verdict}
    append_line(party.store.run_path(run.name, _FILE), line)
    signature = party.identity.sign(PURPOSE, statement(run.name, number, model, verdict))
    return {
        "verdict": verdict,
        "model": model,
        "key": party.identity.public_key.hex(),
        "signature": signature.hex(),
    }


def check_best(party: Party, run: Run, model: str) -> None:
    """Refuse to release another model than the last one that this party found better.

    A party that judged no round (only the builder does, and only with enough customers held out)
    has nothing to hold it against.

    Parameters
    ----------
    party : Party
    run : Run
    model : str
        Digest of the model that the coordinator wants released.

    Raises
    ------
    ReleaseRefused
        With check `network`.
    """
    # A round that was trained again, since the coordinator had not written it down, counts once.
    last = {line["round"]: line for line in read_lines(party.store.run_path(run.name, _FILE))}
    better = [line["model"] for line in last.values() if line["verdict"] == BETTER]
    if last and better[-1:] != [model]:
        refuse("network", f"it is not the model that {party.name} found best of this run")
