"""One look for every picture and for the page around it: colours, colour scales, template.

Each colour is a pair, light and dark. Figures are drawn in the light colours; the page swaps each
for its partner when the reader's system asks for a dark scheme, so a figure must take every colour
from here. The line colours are those of Okabe and Ito (2008), which people with any kind of colour
blindness can tell apart, darkened or lightened until they stand on white and on near-black.
"""

from __future__ import annotations

from typing import Final

import plotly.graph_objects as go

COLOURS: Final[dict[str, tuple[str, str]]] = {
    "paper": ("#ffffff", "#11161d"),
    "raised": ("#f5f7fa", "#1a212b"),
    "ink": ("#18202b", "#e9edf3"),
    "muted": ("#566375", "#a3b0c0"),
    "rule": ("#d9dfe7", "#323d4b"),
    "grid": ("#e9edf2", "#262f3b"),
    "blue": ("#0069a8", "#58b4f0"),
    "orange": ("#c95200", "#f59a55"),
    "green": ("#00805d", "#3fcb9f"),
    "purple": ("#a8508a", "#e29ac6"),
    "gold": ("#946c00", "#e8bf4d"),
    "band": ("rgba(0, 105, 168, 0.14)", "rgba(88, 180, 240, 0.18)"),
    "band_inner": ("rgba(0, 105, 168, 0.26)", "rgba(88, 180, 240, 0.30)"),
    "highlight": ("rgba(0, 105, 168, 0.07)", "rgba(88, 180, 240, 0.12)"),
    "gate_1": ("#d3e5f3", "#16344c"),
    "gate_2": ("#8fbfe0", "#1f5f8c"),
    "gate_3": ("#3c8fc4", "#45a3dc"),
    "gate_4": ("#0a4673", "#d8efff"),
    "minus_2": ("#7c3200", "#ffb680"),
    "minus_1": ("#e08a4a", "#c2661d"),
    "plus_1": ("#4d97c9", "#2a78ad"),
    "plus_2": ("#08395f", "#97d0ff"),
}
"""Every colour by name: (on light paper, on dark paper)."""

SERIES: Final = ("blue", "orange", "green", "purple", "gold")
"""The order in which lines take their colours."""

DASHES: Final = ("solid", "dash", "dot", "dashdot", "longdash")
"""The dash of each of ``SERIES``: lines differ in print without colour, too."""

FONT: Final = (
    'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", sans-serif'
)
"""Fonts that the reader's system has; the page loads none."""


def colour(name: str) -> str:
    """Return the light partner of a colour: the one that figures are drawn in."""
    return COLOURS[name][0]


def gate_scale() -> list[list[float | str]]:
    """Return the colour scale of gates, 0 (closed, paper) to 1 (open, strongest)."""
    return _scale("paper", "gate_1", "gate_2", "gate_3", "gate_4")


def state_scale() -> list[list[float | str]]:
    """Return the diverging colour scale of candidates and states: orange, paper at 0, blue."""
    return _scale("minus_2", "minus_1", "paper", "plus_1", "plus_2")


def template() -> go.layout.Template:
    """Return the plotly template that all figures share: transparent, quiet axes, legend on top."""
    axis = {
        "gridcolor": colour("grid"),
        "linecolor": colour("rule"),
        "zerolinecolor": colour("rule"),
        "tickcolor": colour("rule"),
        "ticks": "outside",
        "ticklen": 4,
        "zeroline": False,
        "automargin": True,
        "title": {"standoff": 10, "font": {"size": 13}},
    }
    label = {"family": FONT, "size": 13, "color": colour("ink")}
    return go.layout.Template(
        layout={
            "font": {"family": FONT, "size": 13, "color": colour("muted")},
            "colorway": [colour(name) for name in SERIES],
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "xaxis": {**axis, "showgrid": False, "showline": True},
            "yaxis": {**axis, "showline": False, "ticks": ""},
            "margin": {"l": 8, "r": 8, "t": 48, "b": 8},
            "legend": {
                "orientation": "h",
                "x": 0,
                "xanchor": "left",
                "y": 1,
                "yanchor": "top",
                "yref": "container",
                "font": label,
            },
            "hovermode": "x unified",
            "hoverlabel": {
                "bgcolor": colour("raised"),
                "bordercolor": colour("rule"),
                "font": label,
            },
            "modebar": {
                "bgcolor": "rgba(0,0,0,0)",
                "color": colour("muted"),
                "activecolor": colour("ink"),
            },
            "annotationdefaults": {"font": label, "showarrow": False},
        }
    )


def _scale(*names: str) -> list[list[float | str]]:
    return [[place / (len(names) - 1), colour(name)] for place, name in enumerate(names)]
