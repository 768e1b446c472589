"""Charts of the pages and reports: pure functions from figures to SVG, a table and a state.

Nothing here reads a file, a clock or a request, or imports another part of the server. Words come
in as `Words`, so that both languages work; figures about fewer than 20 people neither get drawn nor
tabled (`people`). `NAMES` lists which further words each function needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from server.web.charts import bars as _bars
from server.web.charts import curves as _curves
from server.web.charts import fits as _fits
from server.web.charts import grids as _grids
from server.web.charts import series as _series
from server.web.charts import swaps as _swaps
from server.web.charts import times as _times
from server.web.charts.bars import (
    Step,
    bars,
    funnel,
    holders,
    stacked,
    waterfall,
    worth,
)
from server.web.charts.curves import gains, ks_curve, lift, roc
from server.web.charts.fits import calibration, limit_changes, score_distribution
from server.web.charts.frame import empty, failed, loading, too_few
from server.web.charts.grids import heat_strip, migration
from server.web.charts.people import FLOOR
from server.web.charts.rows import Bar
from server.web.charts.scores import ScoreBins
from server.web.charts.series import (
    Cutoff,
    Month,
    Series,
    burn_down,
    cutoff_curve,
    lines,
    stability_months,
)
from server.web.charts.style import STYLE
from server.web.charts.swaps import Bin, Swap, bin_bars, swap_set
from server.web.charts.times import Lane, Span, WayBack, lanes, timeline
from server.web.charts.units import FIGURE, PERCENT, Unit, number
from server.web.charts.value import Cell, Chart, State, Table, csv_of, standalone
from server.web.charts.words import Told, Words

NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "bars": _bars.BAR_NAMES,
    "bin_bars": _swaps.BIN_NAMES,
    "burn_down": _series.BURN_NAMES,
    "calibration": _fits.CALIBRATION_NAMES,
    "cutoff_curve": _series.CUTOFF_NAMES,
    "funnel": _bars.FUNNEL_NAMES,
    "gains": _curves.GAINS_NAMES,
    "heat_strip": _grids.HEAT_NAMES,
    "holders": _bars.HOLDER_NAMES,
    "ks_curve": _curves.KS_NAMES,
    "lanes": _times.LANES_NAMES,
    "lift": _curves.LIFT_NAMES,
    "limit_changes": _fits.CHANGES_NAMES,
    "lines": _series.LINES_NAMES,
    "migration": _grids.MIGRATION_NAMES,
    "roc": _curves.ROC_NAMES,
    "score_distribution": _fits.DISTRIBUTION_NAMES,
    "stability_months": _series.STABILITY_NAMES,
    "stacked": _bars.STACKED_NAMES,
    "swap_set": _swaps.SWAP_NAMES,
    "timeline": _times.TIMELINE_NAMES,
    "waterfall": _bars.WATERFALL_NAMES,
    "worth": _bars.WORTH_NAMES,
}
"""The names that `Words.names` must hold, by chart function."""

__all__ = [
    "FIGURE",
    "FLOOR",
    "NAMES",
    "PERCENT",
    "STYLE",
    "Bar",
    "Bin",
    "Cell",
    "Chart",
    "Cutoff",
    "Lane",
    "Month",
    "ScoreBins",
    "Series",
    "Span",
    "State",
    "Step",
    "Swap",
    "Table",
    "Told",
    "Unit",
    "WayBack",
    "Words",
    "bars",
    "bin_bars",
    "burn_down",
    "calibration",
    "csv_of",
    "cutoff_curve",
    "empty",
    "failed",
    "funnel",
    "gains",
    "heat_strip",
    "holders",
    "ks_curve",
    "lanes",
    "lift",
    "limit_changes",
    "lines",
    "loading",
    "migration",
    "number",
    "roc",
    "score_distribution",
    "stability_months",
    "stacked",
    "standalone",
    "swap_set",
    "timeline",
    "too_few",
    "waterfall",
    "worth",
]
