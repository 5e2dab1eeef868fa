"""The report of a forecaster: what it says, how well, how it learned, and what its gates did."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gatewise.data import Panel
from gatewise.report import Report, figures
from gatewise.tasks.course import Fitted
from gatewise.tasks.forecast.baselines import Baselines
from gatewise.tasks.forecast.evaluation import MODEL, Evaluation, evaluate
from gatewise.tasks.forecast.frames import window_times
from gatewise.tasks.forecast.model import ForecastModel, ModelWindows
from gatewise.tasks.forecast.training import HeldOut, honest_scores
from gatewise.tasks.report_parts import add_scores, add_settings, add_training

PANELS = 6
"""Windows that are drawn."""

SCORED = 8192
"""Windows that are scored for the report at most."""

HISTORY = 3
"""Horizons of history that are drawn before a forecast, at most the look-back if that is longer."""


def write_report(
    path: Path, fitted: Fitted[ForecastModel], held_out: HeldOut, settings: Mapping[str, Any]
) -> Path:
    """Write the page.

    Args:
        path: The HTML file.
        fitted: The model and its training.
        held_out: The data to show it on.
        settings: Fields of the estimator.
    """
    model = fitted.model
    windows = model.windows(held_out.panel, held_out.part)
    evaluation = evaluate(model, windows, SCORED)
    scores = honest_scores(model, evaluation) if held_out.fitted_on else evaluation.scores
    names = [series.unique_id for series in held_out.panel.series]
    subject = names[0] if len(names) == 1 else model.schema.target_column
    report = Report(
        f"Forecast of {subject}, {model.network.shape.horizon} steps ahead",
        f"{len(names)} series · {len(windows):,} windows · {held_out.name}",
    )
    _headline(report, scores)
    report.figure("Forecasts", _forecasts(model, windows))
    add_scores(report, scores, _score_note(evaluation, held_out))
    by_step = {name.replace("_", " "): y for name, y in evaluation.by_step("mae").items()}
    report.figure("Error by horizon", figures.horizon_error_figure(by_step, "MAE"))
    _calibration(report, scores[MODEL])
    add_training(report, fitted.course)
    report.figure("Gates", _gates(model, windows), note=_gates_note(model))
    add_settings(report, settings)
    return report.write(path)


def _headline(report: Report, scores: Mapping[str, Mapping[str, float]]) -> None:
    naive = scores["seasonal_naive"]
    for score in ("mase", "mae", "smape"):
        value = scores[MODEL][score]
        report.number(score.upper(), value, note=f"seasonal naive: {naive[score]:.3g}")
    if naive["mae"] > 0:
        gain = 1 - scores[MODEL]["mae"] / naive["mae"]
        report.number("Gain", f"{gain:.0%}", note="less MAE than seasonal naive")


def _forecasts(model: ForecastModel, windows: ModelWindows) -> Any:
    """The last windows of the first series, or the last few of a single one."""
    shape, panel = model.network.shape, windows.panel
    chosen = _last_windows(windows, shape.horizon)
    series, origin = windows.places(chosen)
    outputs, truth = model.outputs(windows, chosen), windows.truth(chosen)
    head = model.network.head
    forecast, intervals = head.forecast(outputs), head.intervals(outputs)
    naive = Baselines(
        [one.y for one in panel.series], model.schema.season_length, shape.horizon
    ).forecast(series, origin)
    seasonal = naive["seasonal_naive"]
    length = max(shape.lookback, HISTORY * shape.horizon)
    panels = []
    for k, (number, start) in enumerate(zip(series, origin, strict=True)):
        one = panel.series[number]
        first = max(0, start - length)
        ds = window_times(panel, series[k : k + 1], origin[k : k + 1], shape.horizon)
        panels.append(
            figures.ForecastPanel(
                name=f"{one.unique_id}, from {_time_text(ds[0])}",
                history_ds=one.ds[first:start].to_numpy(),
                history_y=one.y[first:start],
                ds=ds.to_numpy(),
                truth=truth[k],
                forecast=forecast[k],
                intervals={
                    level / 100: (low[k], high[k]) for level, (low, high) in intervals.items()
                },
                baselines={"seasonal naive": seasonal[k]},
            )
        )
    return figures.forecast_figure(panels, value_name=model.schema.target_column)


def _time_text(time: Any) -> str:
    return str(time).removesuffix(" 00:00:00")


def _last_windows(windows: ModelWindows, horizon: int) -> torch.Tensor:
    """The last window of each series; of a single series the last ones that do not overlap."""
    series, origin = windows.places(torch.arange(len(windows)))
    last = np.flatnonzero(np.append(series[1:] != series[:-1], True))[:PANELS]
    if len(last) == 1:
        ahead = (origin[-1] - origin) % horizon == 0
        last = np.flatnonzero(ahead)[-3:]
    return torch.from_numpy(last)


def _calibration(report: Report, scores: Mapping[str, float]) -> None:
    observed = {
        float(name.removeprefix("coverage_")) / 100: value
        for name, value in scores.items()
        if name.startswith("coverage_")
    }
    if observed:
        figure = figures.calibration_figure(list(observed), list(observed.values()))
        report.figure("Calibration of the intervals", figure)


def _gates(model: ForecastModel, windows: ModelWindows) -> Any:
    """Gates and states of the top layer over the last window of the first series."""
    chosen = _last_windows(windows, model.network.shape.horizon)[:1]
    batch = windows.batch(chosen, torch.device("cpu"))
    with torch.inference_mode():
        trace = model.network.trace(**batch.inputs)
    gates = {name: values[-1, :, 0].flatten(1).numpy() for name, values in trace._asdict().items()}
    return figures.gates_figure(gates, _step_times(model, windows.panel, batch, gates["h"]))


def _step_times(model: ForecastModel, panel: Panel, batch: Any, gate: np.ndarray) -> np.ndarray:
    """When each step of the layers ends: a step may be a whole segment."""
    shape = model.network.shape
    length = shape.segment_length if shape.reader == "segments" else 1
    ends = batch.origin[:1] - 1 - length * np.arange(len(gate))[::-1][:, None].ravel()
    # Before the series there are no times; steps there show the first one.
    series = np.repeat(batch.series[:1], len(gate))
    return window_times(panel, series, np.maximum(ends, 0), 1).to_numpy()


def _gates_note(model: ForecastModel) -> str:
    shape = model.network.shape
    if shape.reader == "points":
        return ""
    return (
        f"The look-back is read in segments of {shape.segment_length} steps; each column is one"
        " segment, at the time of its last step."
    )


def _score_note(evaluation: Evaluation, held_out: HeldOut) -> str:
    values = evaluation.sums[MODEL].values
    return (
        f"{evaluation.windows:,} windows, {values:,} observed values, {held_out.name} data."
        " Lower is better; coverage should be what its name says in per cent."
        + (" The best epoch was chosen on these data." if held_out.fitted_on else "")
    )
