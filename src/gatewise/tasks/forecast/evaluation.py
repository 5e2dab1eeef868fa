"""Scores over windows: the model beside the naive forecasts, on exactly the same values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from gatewise.data import Panel
from gatewise.tasks.forecast.baselines import Baselines, seasonal_error
from gatewise.tasks.forecast.model import ForecastModel, ModelWindows
from gatewise.tasks.forecast.scores import ScoreSums

MODEL = "model"


@dataclass(frozen=True)
class Evaluation:
    """Scores of the model and of the baselines.

    Args:
        sums: By the name of the forecast: ``model``, ``naive``, ``seasonal_naive``.
        windows: How many windows were scored.
    """

    sums: dict[str, ScoreSums]
    windows: int

    @property
    def scores(self) -> dict[str, dict[str, float]]:
        """Each score of each forecast, over all windows and steps."""
        return {name: sums.scores() for name, sums in self.sums.items()}

    def by_step(self, score: str) -> dict[str, Float[np.ndarray, "h"]]:
        """One score of each forecast for each step ahead."""
        return {name: sums.by_step(score) for name, sums in self.sums.items()}


def evaluate(model: ForecastModel, windows: ModelWindows, limit: int | None = None) -> Evaluation:
    """Score a model on windows, in the units of y.

    A value counts if it was observed and if anything was before it, so that there is a naive
    forecast. The naive forecasts have a CRPS, their absolute error, where the model has one.

    Args:
        model: The model.
        windows: From ``model.windows``.
        limit: Windows at most, evenly spread; None for all.
    """
    panel, head = windows.panel, model.network.head
    horizon = model.network.shape.horizon
    season = model.schema.season_length
    baselines = Baselines([series.y for series in panel.series], season, horizon)
    units = _mase_units(model, panel)
    sums = {MODEL: ScoreSums(horizon)}
    count = 0
    for indices in windows.indices(limit):
        series, origin = windows.places(indices)
        truth = windows.truth(indices)
        naive = baselines.forecast(series, origin)
        mask = np.isfinite(truth) & np.isfinite(naive["naive"])
        truth = np.where(mask, truth, 0.0)
        outputs = model.outputs(windows, indices)
        crps = head.crps(outputs, truth)
        unit = units[series]
        sums[MODEL].add(
            truth,
            mask,
            head.forecast(outputs),
            unit,
            crps=crps,
            intervals=head.intervals(outputs),
        )
        for name, forecast in naive.items():
            forecast = np.where(mask, forecast, 0.0)
            error = None if crps is None else np.abs(truth - forecast)
            sums.setdefault(name, ScoreSums(horizon)).add(truth, mask, forecast, unit, crps=error)
        count += len(indices)
    return Evaluation(sums, count)


def _mase_units(model: ForecastModel, panel: Panel) -> Float[np.ndarray, "S"]:
    """From the training rows of each series; of all its rows if it was not trained on."""
    known = dict(zip(model.series, model.seasonal_errors, strict=True))
    season = model.schema.season_length
    return np.array(
        [
            unit
            if np.isfinite(unit := known.get(one.unique_id, np.nan))
            else seasonal_error(one.y, season)
            for one in panel.series
        ]
    )
