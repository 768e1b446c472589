"""Do harm to every member in every phase, and see that nothing is lost, doubled or left hanging.

    python scripts/drill.py --quick
    python scripts/drill.py --full --json drill.jsonl
    python scripts/drill.py --full --only fault=kill,pause --only target=bank --json drill.jsonl
    python scripts/drill.py --compose --json drill.jsonl

`docs/drill.md` says what each fault is, what is checked, and what was measured. `--full` can be
stopped at any time: what is in the file is not tried again. Status 1 if anything was lost, doubled,
hung, or refused without a name.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from drills.plan import Systems, plan
from drills.table import Book, Drill, findings, markdown, text


def main() -> int:
    """Run as a command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--quick", action="store_true", help="the drills of the tests (the default)")
    kind.add_argument("--full", action="store_true", help="everything, on processes")
    kind.add_argument("--compose", action="store_true", help="on the demo's containers")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="FIELD=A,B",
        help="system, fault, target or phase; may be given several times",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="rows, a line each, as they end")
    parser.add_argument("--minutes", type=float, default=0.0, help="begin none after so long")
    parser.add_argument("--list", action="store_true", help="say what would be tried")
    parser.add_argument("--markdown", action="store_true", help="print the table for a page")
    given = parser.parse_args()
    # What is mounted and started is taken down however the drill ends.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    size = "full" if given.full else "compose" if given.compose else "quick"
    only = dict(one.split("=", 1) for one in given.only)
    wanted = plan(size, {field: frozenset(words.split(",")) for field, words in only.items()})
    if given.list:
        print("\n".join("/".join(drill.key) for drill in wanted))
        return 0
    book = Book(given.json)
    todo = [drill for drill in wanted if drill.key not in book.done]
    play(todo, book, size, given.minutes)
    keys = {drill.key for drill in wanted}
    rows = [row for row in book.rows if row.drill.key in keys]
    print(markdown(rows) if given.markdown else text(rows))
    wrong = findings(rows)
    for sentence in wrong:
        print(f"FAIL {sentence}", file=sys.stderr)
    skipped = [row for row in rows if row.skipped]
    for why in sorted({row.note for row in skipped}):
        print(f"SKIPPED {sum(row.note == why for row in skipped)}: {why}", file=sys.stderr)
    return 1 if wrong else 0


def play(todo: list[Drill], book: Book, size: str, minutes: float) -> None:
    """Play drills one after the other, each row kept as it ends."""
    end = time.monotonic() + 60 * minutes if minutes else float("inf")
    with (
        tempfile.TemporaryDirectory(prefix="drill-") as place,
        Systems(Path(place), size) as systems,
    ):
        for number, drill in enumerate(todo, start=1):
            if time.monotonic() > end:
                break
            row = systems.play(drill)
            book.add(row)
            word = "ok" if row.good else "FAIL"
            print(
                f"{number}/{len(todo)} {word} {'/'.join(drill.key)}: {row.outcome} "
                f"{row.ended:.1f} {row.recovered:.1f}",
                file=sys.stderr,
                flush=True,
            )


if __name__ == "__main__":
    sys.exit(main())
