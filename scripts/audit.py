"""Known vulnerabilities of what the constraints pin: pip-audit, or a loud word that it could not.

    python scripts/audit.py

Exits with 0 when nothing is known, with 1 when something is, and with 75 (EX_TEMPFAIL), saying so,
where the database or pip-audit cannot be reached: then nothing was checked. What was looked at and
does not matter here stands in ACCEPTED, with why and until when.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
UNREACHED = 75
#: Identifier: why, and the day on which it is looked at again.
ACCEPTED: dict[str, tuple[str, str]] = {}
#: pip-audit's words for a database, or an index, that did not answer.
_AWAY = re.compile(
    r"ConnectionError|ConnectTimeout|ReadTimeout|Max retries|NameResolution|ServiceError"
    r"|Could not connect|Failed to establish|HTTPError|ProxyError|No module named pip_audit"
    r"|SSLError|Temporary failure"
)
_SKIPPED = re.compile(r"could not be audited")
_UNREACHED_SAID = "pip-audit, or its vulnerability database, cannot be reached"


def verdict(status: int, said: str, pins: int) -> tuple[int, str]:
    """Return the exit status and a sentence for an end of pip-audit.

    Parameters
    ----------
    status : int
    said : str
        What it wrote, both streams.
    pins : int
        How many were to be looked up. An index that stands in for the public one may not know what
        is known of them: pip-audit then passes them over, and ends with 0.
    """
    skipped = len(_SKIPPED.findall(said))
    if status == 0 and 2 * skipped > pins:
        return UNREACHED, f"SKIPPED: the database knows none of {skipped} pins; NOTHING WAS CHECKED"
    if status == 0:
        return 0, "no known vulnerability in what the constraints pin"
    if _AWAY.search(said) and not re.search(r"Found \d+ known vulnerabilit", said):
        return (
            UNREACHED,
            "SKIPPED: the vulnerability database cannot be reached; NOTHING WAS CHECKED",
        )
    return 1, "known vulnerabilities: raise the version in constraints.txt, or accept with a reason"


def due(today: str) -> list[str]:
    """Return what was accepted only until a day that has passed."""
    return [
        f"{name} was accepted until {day}" for name, (_, day) in ACCEPTED.items() if day < today
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requirement", type=Path, default=ROOT / "constraints.txt")
    parser.add_argument("--timeout", type=float, default=240.0)
    options = parser.parse_args()
    if late := due(f"{datetime.now(UTC):%Y-%m-%d}"):
        print("\n".join(late), file=sys.stderr)
        return 1
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(options.requirement)]
    command += ["--no-deps", "--disable-pip", "--progress-spinner", "off", "--timeout", "15"]
    command += [word for name in ACCEPTED for word in ("--ignore-vuln", name)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=options.timeout, check=False
        )
        status, said = done.returncode, done.stdout + done.stderr
    except subprocess.TimeoutExpired:
        status, said = 1, "ReadTimeout"
    status, sentence = verdict(status, said, options.requirement.read_text().count("=="))
    if status == 1:
        print(said)
    print(sentence, file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
