"""The report as one file: no request, no script, and a policy in its head that allows neither."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

from server.report.figures import Costs, Results, costs_of, results_of
from server.report.pictures import CURVES, Pictures, draw, named
from server.report.sources import Source
from server.web import charts
from server.web.assets import assets
from server.web.charts import STYLE, Chart, csv_of
from server.web.language import Language, texts_in
from server.web.render import environment
from shared.manifest import Manifest
from shared.scorecard.card import Card
from shared.scorecard.spread import FEWEST, FEWEST_OF_A_CLASS

CSP: Final = "default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
_OWN: Final = (
    ".pictures { display: grid; gap: 1rem 2rem; "
    "grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); }\n"
    ".pictures > figure { min-width: 0; }\n"
    "@media print { details::details-content { content-visibility: visible; block-size: auto; } }\n"
)


@dataclass(frozen=True, slots=True)
class Report:
    """A report, ready to be written.

    Parameters
    ----------
    html : str
    pictures : tuple of Chart
    """

    html: str
    pictures: tuple[Chart, ...]


@dataclass(frozen=True, slots=True)
class Party:
    """A party as the release knows it.

    Parameters
    ----------
    name, fingerprint : str
    signed : bool
    share : float or None
        Of what the card explains; None of a network.
    baseline_points : int
    ledger_head : str
    ledger_lines : int
    privacy : mapping or None
        What its ledger comes to, where anything left with noise; see `shared.manifest.Noised`.
    """

    name: str
    fingerprint: str
    signed: bool
    share: float | None
    baseline_points: int
    ledger_head: str
    ledger_lines: int
    privacy: Mapping[str, Any] | None


def report_of(source: Source, wanted: Language, now: str) -> Report:
    """Write a report.

    Parameters
    ----------
    source : Source
    wanted : {'en', 'zh'}
    now : str
        Instant.

    Raises
    ------
    ReleaseRefused, EnvironmentFault
        See `results_of` and `costs_of`.
    """
    texts = texts_in(wanted)
    results = results_of(source.release.manifest)
    costs = None if source.outcome is None else costs_of(source.outcome)
    pictures = draw(results, costs, texts)
    style, csp = head_of()
    view = _view(source, results, costs, pictures)
    html = environment().get_template("report/report.html").render(
        t=texts.say,
        texts=texts,
        lang=wanted,
        csp=csp,
        style=style,
        csv=csv_address,
        named=lambda party: named(party, texts),
        day=lambda instant: texts.day(datetime.fromisoformat(instant).date()),
        signed=lambda gap: f"{'+' if gap > 0 else ''}{charts.number(gap, 4)}",
        phase_name=lambda name: texts.sentences.get(f"report_phase.{name}", name),
        missing=[texts.say(f"report_{name}.title") for name in CURVES],
        fewest=FEWEST,
        fewest_of_a_class=FEWEST_OF_A_CLASS,
        now=now,
        **view,
    )  # fmt: skip
    return Report(html, pictures.every())


def head_of() -> tuple[str, str]:
    """Return the style of a file that stands alone, and the policy that allows nothing else."""
    style = f"{assets()['confide.css'].body.decode()}{STYLE}{_OWN}"
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return style, CSP.format(digest=digest)


def csv_address(chart: Chart) -> str:
    """Return the figures of a chart as an address that holds them."""
    told = base64.b64encode(csv_of(chart.table).encode()).decode()
    return f"data:text/csv;charset=utf-8;base64,{told}"


def parties_of(manifest: Manifest, signed: frozenset[str], results: Results) -> tuple[Party, ...]:
    """Return the parties of a release by name.

    Parameters
    ----------
    manifest : Manifest
    signed : frozenset of str
        Whose signatures are there.
    results : Results
    """
    shares = dict(results.worth)
    return tuple(
        Party(
            name,
            one.fingerprint,
            name in signed,
            shares.get(name),
            one.baseline_points,
            one.ledger_head,
            one.ledger_lines,
            None if one.privacy is None else asdict(one.privacy),
        )
        for name, one in sorted(manifest.parties.items())
    )


def _view(
    source: Source, results: Results, costs: Costs | None, pictures: Pictures
) -> dict[str, Any]:
    manifest = source.release.manifest
    model = manifest.model
    return {
        "release": manifest,
        "entry": source.entry,
        "expired": source.expired,
        "quorum": source.federation.quorum,
        "parties": parties_of(manifest, frozenset(source.release.signatures), results),
        "card": model if isinstance(model, Card) else None,
        "network": None if isinstance(model, Card) else model,
        "results": results,
        "costs": costs,
        "pictures": pictures,
    }
