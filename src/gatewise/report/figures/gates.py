"""The gates and states of an LSTM layer over time, one heatmap each, on one time axis."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike
from plotly.subplots import make_subplots

from gatewise.errors import InvalidValueError
from gatewise.report import theme
from gatewise.report.figures.lines import axis_values, base_figure, escape

STEP_LIMIT = 512
UNIT_LIMIT = 64

TITLES = {
    "i": "input gate i",
    "f": "forget gate f",
    "o": "output gate o",
    "g": "candidate g",
    "h": "output h",
    "c": "cell state c",
}
"""The rows in their order from the top: first what lies in 0..1, then in -1..1, then unbounded."""


def gates_figure(gates: Mapping[str, ArrayLike], labels: ArrayLike | None = None) -> go.Figure:
    """Draw each gate and state as a heatmap: time to the right, one thin row for each unit.

    Args:
        gates: T×H arrays (h may be T×P) under the names i, f, g, o, c, h; any of them, at least
            one. Other names are drawn below, as unbounded states are.
        labels: T times, dates or numbers; None counts from 1.

    Returns:
        A figure. Gates (0..1) share one colour scale, g and h (-1..1) another, c has its own.
        Units are sorted by their mean forget gate, the longest memory on top. More than 512
        steps are averaged in groups and more than 64 units sampled, and the caption says so.

    Raises:
        InvalidValueError: There is no array, or their shapes do not fit together.
    """
    arrays = _checked(gates)
    steps = next(iter(arrays.values())).shape[0]
    times = np.arange(1, steps + 1) if labels is None else axis_values(labels)
    if len(times) != steps:
        raise InvalidValueError(
            "gates_figure: labels", f"{steps} times", f"{len(times)}", "Pass one for each step."
        )
    order = _order(arrays.get("f"))
    group = -(-steps // STEP_LIMIT)
    figure = make_subplots(
        rows=len(arrays),
        cols=1,
        shared_xaxes=True,
        subplot_titles=[f"<b>{escape(TITLES.get(name, name))}</b>" for name in arrays],
        vertical_spacing=0.3 / max(len(arrays), 6),
    )
    figure.update_annotations(x=0, xanchor="left")
    axes = _ColourAxes(figure, arrays)
    for row, (name, values) in enumerate(arrays.items(), start=1):
        units = order if order is not None and len(order) == values.shape[1] else None
        units = np.arange(values.shape[1]) if units is None else units
        units = units[_spread(len(units), UNIT_LIMIT)]
        heatmap = go.Heatmap(
            x=times[::group],
            z=_grouped(values[:, units], group).T.astype(np.float32),
            customdata=np.repeat(units[:, None] + 1, -(-steps // group), axis=1),
            coloraxis=axes.of(name),
            hovertemplate=f"{escape(name)} %{{z:.3f}}, unit %{{customdata}}, %{{x}}<extra></extra>",
        )
        figure.add_trace(heatmap, row=row, col=1)
    # The first unit of the order stands on top.
    figure.update_yaxes(autorange="reversed", showticklabels=False, showgrid=False)
    figure.update_xaxes(showline=False, ticks="")
    figure.update_xaxes(title_text="step" if labels is None else None, row=len(arrays), col=1)
    return base_figure(
        figure,
        height=70 + 124 * len(arrays),
        caption=_caption(arrays, order, group),
        alt=f"Heatmaps of {', '.join(TITLES.get(name, name) for name in arrays)} over {steps}"
        " steps, one row for each unit.",
        hovermode="closest",
        margin={"t": 28},
        **axes.layout(),
    )


class _ColourAxes:
    """Which colour scale a row uses, and where its bar stands: beside the rows that use it."""

    def __init__(self, figure: go.Figure, arrays: Mapping[str, np.ndarray]) -> None:
        self.figure = figure
        self.names = list(arrays)
        self.rows: dict[str, list[int]] = {}
        for row, name in enumerate(arrays, start=1):
            self.rows.setdefault(self.of(name), []).append(row)
        self.reach = {
            axis: max(_reach(arrays[self.names[row - 1]]) for row in rows)
            for axis, rows in self.rows.items()
        }

    def of(self, name: str) -> str:
        """Return the colour axis of the row ``name``."""
        if name in ("i", "f", "o"):
            return "coloraxis"
        if name in ("g", "h"):
            return "coloraxis2"
        known = [other for other in self.names if other not in ("i", "f", "o", "g", "h")]
        return f"coloraxis{3 + known.index(name)}"

    def layout(self) -> dict[str, object]:
        """Return the layout entries of all colour axes."""
        return {axis: self._axis(axis, rows) for axis, rows in self.rows.items()}

    def _axis(self, axis: str, rows: list[int]) -> dict[str, object]:
        bottom, top = self._domain(rows[-1])[0], self._domain(rows[0])[1]
        reach = {"coloraxis": 1.0, "coloraxis2": 1.0}.get(axis, self.reach[axis])
        gate = axis == "coloraxis"
        return {
            "colorscale": theme.gate_scale() if gate else theme.state_scale(),
            "cmin": 0.0 if gate else -reach,
            "cmax": reach,
            "colorbar": {
                "y": (bottom + top) / 2,
                "len": top - bottom,
                "thickness": 10,
                "outlinewidth": 0,
                "tickvals": [0, 0.5, 1] if gate else [-reach, 0, reach],
                "tickformat": ".1~f" if gate else ".2~f",
                "x": 1.01,
            },
        }

    def _domain(self, row: int) -> tuple[float, float]:
        return self.figure.layout[f"yaxis{row if row > 1 else ''}"]["domain"]  # pyright: ignore[reportReturnType]


def _checked(gates: Mapping[str, ArrayLike]) -> dict[str, np.ndarray]:
    where = "gates_figure: gates"
    if not gates:
        raise InvalidValueError(where, "at least one array", "none", "Pass a trace's gates.")
    names = [name for name in TITLES if name in gates]
    names += [name for name in gates if name not in TITLES]
    arrays = {name: np.asarray(gates[name], dtype=np.float64) for name in names}
    steps = {array.shape[0] for array in arrays.values() if array.ndim == 2 and array.size}
    if len(steps) != 1 or any(array.ndim != 2 or not array.size for array in arrays.values()):
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise InvalidValueError(
            where,
            "arrays of shape (T, H) with one T",
            shapes,
            "Take one layer and sequence of the trace.",
        )
    return arrays


def _order(forget: np.ndarray | None) -> np.ndarray | None:
    return None if forget is None else np.argsort(-forget.mean(axis=0), kind="stable")


def _spread(count: int, limit: int) -> np.ndarray:
    return np.unique(np.linspace(0, count - 1, min(count, limit)).round().astype(np.int64))


def _grouped(values: np.ndarray, group: int) -> np.ndarray:
    starts = np.arange(0, len(values), group)
    sizes = np.diff(np.append(starts, len(values)))
    return np.add.reduceat(values, starts, axis=0) / sizes[:, None]


def _reach(values: np.ndarray) -> float:
    # One extreme unit must not bleach all others: colours saturate beyond the 99th percentile.
    reach = float(np.nanpercentile(np.abs(values), 99))
    return reach if reach > 0 else 1.0


def _caption(arrays: Mapping[str, np.ndarray], order: np.ndarray | None, group: int) -> list[str]:
    parts = ["Each thin row is one unit of the layer; time runs to the right."]
    if order is not None:
        parts.append("Units are sorted by their mean forget gate, the longest memory on top.")
        forget = arrays["f"].mean(axis=0)
        steps = np.log(0.5) / np.log(np.clip(forget, 1e-6, 1 - 1e-6))
        parts.append(
            f"At its mean forget gate, the median unit keeps half of its cell state for"
            f" {np.median(steps):.2g} steps, the top one for {steps.max():.2g}."
        )
    if "c" in arrays:
        parts.append("The colours of c saturate beyond its 99th percentile.")
    if group > 1:
        parts.append(f"Each column is the mean of {group} steps.")
    units = max(array.shape[1] for array in arrays.values())
    if units > UNIT_LIMIT:
        parts.append(f"Shown: {UNIT_LIMIT} of {units} units, evenly spread over that order.")
    return parts
