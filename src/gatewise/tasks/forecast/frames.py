"""Forecasts as tables: one row for each series and step, times as the user's table has them."""

from __future__ import annotations

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from gatewise.data import Panel
from gatewise.tasks.forecast.heads import AbstractHead


def forecast_frame(
    panel: Panel,
    head: AbstractHead,
    outputs: Float[np.ndarray, "N h P"],
    series: Int[np.ndarray, "N"],
    origin: Int[np.ndarray, "N"],
) -> pd.DataFrame:
    """Return N forecasts as a table.

    Args:
        panel: The series.
        head: Of the network, to read its outputs.
        outputs: In the units of y.
        series: Number of the series of each window.
        origin: First step that it forecasts.

    Returns:
        ``unique_id``, ``ds``, ``forecast``, then the intervals' ends, ``lo_80``, ``hi_80`` …, and
        what else the head has.
    """
    horizon = outputs.shape[1]
    columns: dict[str, object] = {
        "unique_id": panel.ids[np.repeat(series, horizon)],
        "ds": window_times(panel, series, origin, horizon),
        "forecast": head.forecast(outputs).ravel(),
    }
    for level, (low, high) in head.intervals(outputs).items():
        columns[f"lo_{level:g}"], columns[f"hi_{level:g}"] = low.ravel(), high.ravel()
    for name, values in head.extra_columns(outputs).items():
        columns[name] = values.ravel()
    return pd.DataFrame(columns)


def window_times(
    panel: Panel,
    series: Int[np.ndarray, "N"],
    first: Int[np.ndarray, "N"],
    steps: int,
) -> pd.Index:
    """Return the times of ``steps`` steps from ``first`` on, of N windows one after another."""
    starts = panel.series[0].ds[:0].append([one.ds[:1] for one in panel.series])
    numbers = first[:, None] + np.arange(steps)
    return panel.schema.grid.times(starts[np.repeat(series, steps)], numbers.ravel())
