"""The gates and states of a recurrent layer over time, one heatmap each, on one time axis."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike
from plotly.subplots import make_subplots

from gatewise.errors import InvalidValueError
from gatewise.report import theme
from gatewise.report.figures.lines import axis_values, base_figure, escape

STEP_LIMIT = 512
UNIT_LIMIT = 64

GATES = {
    "i": "input gate i",
    "f": "forget gate f",
    "r": "reset gate r",
    "z": "update gate z",
    "o": "output gate o",
}
CENTRED = {"g": "candidate g", "n": "candidate n", "h": "output h"}
STATES = {"c": "cell state c"}
EXPONENTIAL = {
    "z": "cell input z",
    "log_i": "input gate, log i",
    "log_f": "forget gate, log f",
    "q": "query q",
    "k": "key k",
    "v": "value v",
    "n": "normaliser n",
    "m": "stabiliser m",
}
"""Where the trace has a stabiliser, of sLSTM and mLSTM, these names mean this."""


def gates_figure(gates: Mapping[str, ArrayLike], labels: ArrayLike | None = None) -> go.Figure:
    """Draw each gate and state as a heatmap: time to the right, one thin row for each unit.

    Args:
        gates: T×H arrays under the names that the ``Trace`` of a layer has, at least one; rows of
            another width (P of h, one for each head) may stand among them, and other names below.
        labels: T times, dates or numbers; None counts from 1.

    Returns:
        A figure. Gates (0..1) share one colour scale, candidates and outputs another if they lie
        in -1..1, and all else has its own. Units are sorted by how much they keep of their state,
        the longest memory on top. More than 512 steps are averaged in groups and more than 64
        units sampled, and the caption says so.

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
    titles, memory = _titles(arrays), _memory(arrays)
    order = None if memory is None else np.argsort(-memory.kept, kind="stable")
    group = -(-steps // STEP_LIMIT)
    figure = make_subplots(
        rows=len(arrays),
        cols=1,
        shared_xaxes=True,
        subplot_titles=[f"<b>{escape(title)}</b>" for title in titles.values()],
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
        caption=_caption(arrays, memory, group),
        alt=f"Heatmaps of {', '.join(titles.values())} over {steps} steps, one row for each unit.",
        hovermode="closest",
        margin={"t": 28},
        **axes.layout(),
    )


class _ColourAxes:
    """Which colour scale a row uses, and where its bar stands: beside the rows that use it."""

    def __init__(self, figure: go.Figure, arrays: Mapping[str, np.ndarray]) -> None:
        self.figure = figure
        self.axes: dict[str, str] = {}
        self.rows: dict[str, list[int]] = {}
        self.reach: dict[str, float] = {}
        titles = _titles(arrays)
        centred = {EXPONENTIAL["z"]} if "m" in arrays else set(CENTRED.values())
        for row, (name, values) in enumerate(arrays.items(), start=1):
            axis = f"coloraxis{2 + row}"
            if titles[name] in GATES.values():
                axis = "coloraxis"
            elif titles[name] in centred and np.nanmax(np.abs(values)) <= 1:
                axis = "coloraxis2"
            self.axes[name] = axis
            self.rows.setdefault(axis, []).append(row)
            self.reach[axis] = 1.0 if axis == "coloraxis2" else _reach(values)

    def of(self, name: str) -> str:
        """Return the colour axis of the row ``name``."""
        return self.axes[name]

    def layout(self) -> dict[str, object]:
        """Return the layout entries of all colour axes."""
        return {axis: self._axis(axis, rows) for axis, rows in self.rows.items()}

    def _axis(self, axis: str, rows: list[int]) -> dict[str, object]:
        bottom, top = self._domain(rows[-1])[0], self._domain(rows[0])[1]
        gate = axis == "coloraxis"
        reach = 1.0 if gate else self.reach[axis]
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
    names = list(_titles(gates))
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


def _titles(gates: Mapping[str, object]) -> dict[str, str]:
    """Return the title of each row from the top: gates, then what lies in -1..1, then the rest."""
    known = GATES | CENTRED | STATES
    if "m" in gates:
        known = {"o": GATES["o"], "h": CENTRED["h"], "z": EXPONENTIAL["z"]} | STATES | EXPONENTIAL
    titles = {name: title for name, title in known.items() if name in gates}
    return titles | {name: name for name in gates if name not in known}


class _Memory(NamedTuple):
    """What the units keep of their state: on average over the steps, [H], and by which gate."""

    kept: np.ndarray
    gate: str
    state: str


def _memory(arrays: Mapping[str, np.ndarray]) -> _Memory | None:
    mean = {name: values.mean(axis=0) for name, values in arrays.items()}
    if "m" in arrays or not ({"f", "z"} & set(arrays)):
        return None
    if "f" in arrays:
        return _Memory(mean["f"], "forget gate", "cell state" if "c" in arrays else "state")
    if "r" in arrays:  # h' = (1 - z)·n + z·h
        return _Memory(mean["z"], "update gate", "state")
    return _Memory(1 - mean["z"], "1 - z", "state")


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


def _caption(arrays: Mapping[str, np.ndarray], memory: _Memory | None, group: int) -> list[str]:
    widest = max(array.shape[1] for array in arrays.values())
    narrow = any(array.shape[1] < widest for array in arrays.values()) and "m" in arrays
    row = "one unit of the layer, or one head" if narrow else "one unit of the layer"
    parts = [f"Each thin row is {row}; time runs to the right."]
    if memory is not None:
        parts.append(f"Units are sorted by their mean {memory.gate}, the longest memory on top.")
        steps = np.log(0.5) / np.log(np.clip(memory.kept, 1e-6, 1 - 1e-6))
        parts.append(
            f"At its mean {memory.gate}, the median unit keeps half of its {memory.state} for"
            f" {np.median(steps):.2g} steps, the top one for {steps.max():.2g}."
        )
    if "c" in arrays:
        parts.append("The colours of c saturate beyond its 99th percentile.")
    if group > 1:
        parts.append(f"Each column is the mean of {group} steps.")
    if widest > UNIT_LIMIT:
        spread = "all" if memory is None else "that order"
        parts.append(f"Shown: {UNIT_LIMIT} of {widest} units, evenly spread over {spread}.")
    return parts
