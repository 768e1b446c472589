"""Colours of all charts in light, dark and print, as one style sheet.

Pages serve `STYLE` with their own sheet; `standalone` embeds it. A chart itself carries classes
only, so a strict Content-Security-Policy has nothing to object to. Contrast on the ground: text at
least 4.5 to 1, marks at least 3 to 1. Series differ by dash, marker or pattern as well.
"""

from __future__ import annotations

from typing import Final

_LIGHT: Final = {
    "ink": "#1c2430",
    "soft": "#566070",
    "grid": "#d9dee5",
    "ground": "#ffffff",
    "s1": "#0b5cad",
    "s2": "#b3460d",
    "s3": "#2b7a3d",
    "s4": "#7b3fa0",
    "s5": "#836200",
    "s6": "#5c6673",
}
_DARK: Final = {
    "ink": "#e8ecf2",
    "soft": "#a9b4c2",
    "grid": "#3a4452",
    "ground": "#141a22",
    "s1": "#7db8f5",
    "s2": "#ffa76b",
    "s3": "#83d292",
    "s4": "#cf9df2",
    "s5": "#e3c452",
    "s6": "#aab4c0",
}
_PRINT: Final = {**_LIGHT, "ink": "#000000", "soft": "#333333", "grid": "#bbbbbb"}


def _names(colours: dict[str, str]) -> str:
    return ".ch{" + "".join(f"--ch-{name}:{value};" for name, value in colours.items()) + "}"


def _series() -> str:
    return "".join(
        f".ch-s{at}{{stroke:var(--ch-s{at})}}.ch-f{at}{{fill:var(--ch-s{at})}}"
        for at in range(1, 7)
    )


FONT: Final = "font-family:system-ui,'Segoe UI',Roboto,'Noto Sans','Noto Sans SC',sans-serif;"
"""Of pictures outside the pages; within them the page's font is taken."""

STYLE: Final = (
    "\n".join(
        (
            _names(_LIGHT),
            f"@media (prefers-color-scheme:dark){{{_names(_DARK)}}}",
            f"@media print{{{_names(_PRINT)}.ch{{print-color-adjust:exact}}}}",
            ".ch{display:block;width:100%;max-width:40rem;height:auto;font-variant-numeric:tabular-nums}",
            ".ch text{fill:var(--ch-ink)}",
            ".ch .ch-soft{fill:var(--ch-soft)}",
            ".ch .ch-strong{font-weight:600}",
            ".ch .ch-halo{paint-order:stroke;stroke:var(--ch-ground);stroke-width:3px}",
            ".ch .ch-on{fill:var(--ch-ground)}",
            ".ch-bg{fill:var(--ch-ground)}",
            ".ch-grid{stroke:var(--ch-grid)}",
            ".ch-axis{stroke:var(--ch-soft)}",
            ".ch-ink{stroke:var(--ch-ink)}",
            ".ch-under{stroke:var(--ch-ground)}",
            ".ch-inkfill{fill:var(--ch-ink)}",
            ".ch-track{fill:var(--ch-grid)}",
            _series(),
        )
    )
    + "\n"
)
"""Style sheet of every chart; all selectors begin with ``.ch``."""
