"""Forecasts beside what happened: history, truth, forecast, intervals and baselines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike
from plotly.subplots import make_subplots

from gatewise.errors import InvalidValueError
from gatewise.report import theme
from gatewise.report.figures.lines import (
    POINT_LIMIT,
    axis_values,
    base_figure,
    escape,
    line_places,
    line_style,
    numbers,
    thin,
)

PANEL_LIMIT = 6
"""Panels that one figure may show; more would not be looked at."""

HISTORY_HORIZONS = 3
"""Observed values drawn before a forecast, in forecast lengths: more would squeeze the forecast."""

HISTORY_FLOOR = 60
"""Observed values drawn in any case."""


@dataclass(frozen=True)
class ForecastPanel:
    """One series in a forecast figure.

    Args:
        name: The series' name, as the user wrote it.
        history_ds: n times, dates or numbers.
        history_y: n observed values up to the origin of the forecast; NaN where missing.
        ds: h times of the forecast.
        truth: h values that were observed later, NaN where unknown; or None.
        forecast: h forecast values.
        intervals: For each nominal coverage in (0, 1): the lower and the upper h values.
        baselines: For each baseline's name: its h forecast values.
    """

    name: str
    history_ds: ArrayLike
    history_y: ArrayLike
    ds: ArrayLike
    truth: ArrayLike | None
    forecast: ArrayLike
    intervals: Mapping[float, tuple[ArrayLike, ArrayLike]] = field(default_factory=dict)
    baselines: Mapping[str, ArrayLike] = field(default_factory=dict)


def forecast_figure(panels: Sequence[ForecastPanel], *, value_name: str = "") -> go.Figure:
    """Draw forecasts, one series under the other.

    Args:
        panels: At least one series; only the first 6 are drawn, and the caption says so.
        value_name: What the values are, with their unit, for the axis.

    Returns:
        A figure whose caption counts how often each interval held the truth.

    Raises:
        InvalidValueError: There is no panel, or arrays of one panel differ in length.
    """
    if not panels:
        raise InvalidValueError(
            "forecast_figure: panels", "at least one series", "none", "Pass a ForecastPanel."
        )
    shown = panels[:PANEL_LIMIT]
    figure = make_subplots(
        rows=len(shown),
        cols=1,
        subplot_titles=[f"<b>{escape(panel.name)}</b>" for panel in shown],
        vertical_spacing=0.28 / len(shown),
    )
    figure.update_annotations(x=0, xanchor="left")
    for row, panel in enumerate(shown, start=1):
        _draw_panel(figure, panel, row)
    figure.update_yaxes(title_text=escape(value_name) or None)
    return base_figure(
        figure,
        height=400 if len(shown) == 1 else 110 + 250 * len(shown),
        caption=_caption(panels, shown),
        alt=f"Line chart of {len(shown)} series: history, forecast and what was observed.",
        margin={"t": 76},
    )


def _draw_panel(figure: go.Figure, panel: ForecastPanel, row: int) -> None:
    ds = axis_values(panel.ds)
    history_ds = axis_values(panel.history_ds)[-_history_length(panel) :]
    where = f"forecast_figure: series {panel.name!r}"

    def add(name: str, x: np.ndarray, y: np.ndarray, line: dict[str, object], rank: int) -> None:
        x, y = thin(x, y)
        trace = go.Scatter(x=x, y=y, name=name, mode="lines", line=line, legendgroup=name)
        figure.add_trace(trace.update(legendrank=rank, showlegend=row == 1), row=row, col=1)

    for place, level in enumerate(sorted(panel.intervals, reverse=True)):
        lower, upper = (numbers(f"{where}, interval", v, len(ds)) for v in panel.intervals[level])
        band = _band(f"{level:.0%} interval", ds, lower, upper)
        band.update(showlegend=row == 1, fillcolor=theme.colour("band_inner" if place else "band"))
        figure.add_trace(band, row=row, col=1)
    places = line_places(panel.baselines)
    for name, values in panel.baselines.items():
        y = numbers(f"{where}, baseline {name!r}", values, len(ds))
        add(escape(name), ds, y, line_style(places[name], width=1.3), 4)
    history_y = numbers(f"{where}, history_y", panel.history_y, np.size(panel.history_ds))
    history = history_y[-_history_length(panel) :]
    observed_ds, observed = history_ds, history
    if panel.truth is not None:
        truth = numbers(f"{where}, truth", panel.truth, len(ds))
        # One line: there is no gap in what was observed.
        observed_ds = np.concatenate([history_ds, ds])
        observed = np.concatenate([history, truth])
    add("observed", observed_ds, observed, {"color": theme.colour("ink"), "width": 1.5}, 2)
    forecast = numbers(f"{where}, forecast", panel.forecast, len(ds))
    add("forecast", ds, forecast, line_style(0, width=2.4), 1)
    if len(ds):
        start = {"color": theme.colour("muted"), "dash": "dot", "width": 1}
        # plotly takes row numbers, and declares text.
        figure.add_vline(x=ds[0], line=start, row=row, col=1)  # pyright: ignore[reportArgumentType]


def _history_length(panel: ForecastPanel) -> int:
    return max(HISTORY_FLOOR, HISTORY_HORIZONS * np.size(panel.ds))


def _band(name: str, x: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> go.Scatter:
    known = np.isfinite(lower) & np.isfinite(upper)
    low_x, low_y = thin(x[known], lower[known])
    high_x, high_y = thin(x[known], upper[known])
    return go.Scatter(
        x=np.concatenate([high_x, low_x[::-1]]),
        y=np.concatenate([high_y, low_y[::-1]]),
        name=name,
        legendgroup=name,
        legendrank=3,
        fill="toself",
        line={"width": 0},
        mode="lines",
        hoverinfo="skip",
    )


def _caption(panels: Sequence[ForecastPanel], shown: Sequence[ForecastPanel]) -> list[str]:
    steps = max(np.asarray(panel.forecast).size for panel in shown)
    parts = [f"The forecast starts at the dotted line and reaches {steps} steps ahead."]
    if any(np.size(panel.history_y) > _history_length(panel) for panel in shown):
        parts.append(f"Before it: the last {_history_length(shown[0])} observed steps.")
    held: dict[float, list[int]] = {}
    for panel in shown:
        if panel.truth is None:
            continue
        truth = numbers("forecast_figure: truth", panel.truth)
        known = np.isfinite(truth)
        for level, (lower, upper) in panel.intervals.items():
            inside = (np.asarray(lower) <= truth) & (truth <= np.asarray(upper)) & known
            count = held.setdefault(level, [0, 0])
            count[0] += int(inside.sum())
            count[1] += int(known.sum())
    parts += [
        f"The {level:.0%} interval holds {inside} of the {known} values observed later"
        f" ({inside / known:.0%})."
        for level, (inside, known) in sorted(held.items())
        if known
    ]
    if len(panels) > len(shown):
        parts.append(f"Shown: the first {len(shown)} of {len(panels)} series.")
    if max(HISTORY_HORIZONS * steps, HISTORY_FLOOR) > POINT_LIMIT:
        parts.append("Long lines are thinned; peaks, troughs and gaps are kept.")
    return parts
