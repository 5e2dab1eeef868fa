"""Forecasts from origins in the past, each beside what was observed afterwards."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from jaxtyping import Int

from gatewise.data import Panel
from gatewise.errors import InvalidValueError
from gatewise.tasks.forecast.fields import ForecastFields
from gatewise.tasks.forecast.frames import forecast_frame, window_times
from gatewise.tasks.forecast.model import ForecastModel
from gatewise.tasks.forecast.training import fit_forecast


def last_origins(
    panel: Panel, horizon: int, windows: int, stride: int
) -> Int[np.ndarray, "windows S"]:
    """Return the last origins of each series, the earliest first.

    Args:
        panel: The series.
        horizon: h steps ahead; the last origin is h steps before the end.
        windows: How many.
        stride: Steps from one to the next.

    Returns:
        First step to forecast; below 1 where a series is too short.

    Raises:
        InvalidValueError: A number is below 1, or no series is long enough for all windows.
    """
    for name, value in (("windows", windows), ("stride", stride)):
        if value < 1:
            raise InvalidValueError(f"Forecaster.backtest: {name}", "at least 1", str(value))
    back = horizon + stride * np.arange(windows)[::-1]
    origins = panel.lengths - back[:, None]
    if origins[0].max() < 1:
        longest = max(panel.series, key=len)
        raise InvalidValueError(
            f"Forecaster.backtest: series '{longest.unique_id}', the longest",
            f"more than {back[0]} steps for {windows} windows of {horizon} steps",
            f"{len(longest)}",
            "Ask for fewer windows or a smaller stride.",
        )
    return origins


def backtest(
    model: ForecastModel,
    panel: Panel,
    origins: Int[np.ndarray, "windows S"],
    refit: ForecastFields | None,
) -> pd.DataFrame:
    """Return the forecasts from all origins.

    Args:
        model: The model.
        panel: The series.
        origins: From ``last_origins``.
        refit: Settings to fit anew with before each origin; None keeps the model.

    Returns:
        ``cutoff``, ``unique_id``, ``ds``, ``y``, ``forecast`` and what else a forecast has, ordered
        by series and cutoff.
    """
    tables = []
    for row in origins:
        if refit is not None:
            model = fit_forecast(refit, _until(panel, row), None)[0].model
        tables.append(_forecast_from(model, panel, row))
    table = pd.concat(tables)
    order = table.pop("_series")
    return table.iloc[np.argsort(order, kind="stable")].reset_index(drop=True)


def _forecast_from(model: ForecastModel, panel: Panel, origins: np.ndarray) -> pd.DataFrame:
    horizon = model.network.shape.horizon
    part = [(int(o), int(o) + horizon) if o >= 1 else (0, 0) for o in origins]
    windows = model.windows(panel, part, allow_short=True)
    outputs, truth, places = [], [], []
    for indices in windows.indices():
        outputs.append(model.outputs(windows, indices))
        truth.append(windows.truth(indices))
        places.append(windows.places(indices))
    series, origin = (np.concatenate(one) for one in zip(*places, strict=True))
    head = model.network.head
    table = forecast_frame(panel, head, np.concatenate(outputs), series, origin)
    cutoff = window_times(panel, series, origin - 1, 1)
    table.insert(0, "cutoff", cutoff[np.repeat(np.arange(len(series)), horizon)])
    table.insert(3, "y", np.concatenate(truth).ravel())
    return table.assign(_series=np.repeat(series, horizon))


def _until(panel: Panel, stops: np.ndarray) -> Panel:
    """The panel as it was known before an origin; covariates known ahead stay."""
    series = [
        replace(one, ds=one.ds[:stop], y=one.y[:stop], past=one.past[:stop])
        for one, stop in zip(panel.series, stops, strict=True)
        if stop >= 1
    ]
    kept = np.flatnonzero(stops >= 1)
    return replace(panel, series=series, ids=panel.ids[kept])
