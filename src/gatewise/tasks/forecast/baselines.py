"""The forecasts that any model must beat: the last value, and the value of a season ago."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

NAIVE = "naive"
SEASONAL_NAIVE = "seasonal_naive"


class Baselines:
    """Naive and seasonal naive forecasts from any origin of any series.

    Missing values are passed over: the naive forecast is the last observed value, the seasonal one
    the last observed value of the same season step, and the naive one where there is none.

    Args:
        series: y of each series, NaN where missing.
        season_length: m steps of a season.
        horizon: h steps ahead.
    """

    def __init__(self, series: Sequence[np.ndarray], season_length: int, horizon: int) -> None:
        self.season_length, self.horizon = season_length, horizon
        lengths = [len(y) for y in series]
        self._starts = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)
        self._last = np.concatenate([_carried(y, 1) for y in series])
        self._season = np.concatenate([_carried(y, season_length) for y in series])

    def forecast(
        self, series: Int[np.ndarray, "N"], origin: Int[np.ndarray, "N"]
    ) -> dict[str, Float[np.ndarray, "N h"]]:
        """Return both forecasts.

        Args:
            series: Number of each series.
            origin: Index of the first step to forecast in it, ≥ 1.

        Returns:
            For each baseline's name N×h values; NaN where nothing was observed before.
        """
        start = self._starts[series]
        naive = np.repeat(self._last[start + origin - 1][:, None], self.horizon, axis=1)
        step = np.arange(self.horizon)
        back = self.season_length * (step // self.season_length + 1)
        index = origin[:, None] + step - back
        seasonal = self._season[start[:, None] + np.maximum(index, 0)]
        known = (index >= 0) & np.isfinite(seasonal)
        return {NAIVE: naive, SEASONAL_NAIVE: np.where(known, seasonal, naive)}


def seasonal_error(y: Float[np.ndarray, "n"], season_length: int) -> float:
    """Return the mean of |y_t - y_{t-m}| over observed pairs, the unit of MASE.

    Args:
        y: Values of one series, NaN where missing.
        season_length: m; with no pair that far apart, neighbours are compared instead.

    Returns:
        The mean; NaN when there is no pair at all.
    """
    for m in (season_length, 1):
        differences = np.abs(y[m:] - y[:-m])
        if np.isfinite(differences).any():
            return float(np.nanmean(differences))
    return float("nan")


def _carried(y: np.ndarray, season_length: int) -> np.ndarray:
    """Each value, or the last observed one a whole number of seasons before it."""
    rows = -(-len(y) // season_length)
    grid = np.full(rows * season_length, np.nan)
    grid[: len(y)] = y
    grid = grid.reshape(rows, season_length)
    seen = np.where(np.isfinite(grid), np.arange(rows)[:, None], -1)
    latest = np.maximum.accumulate(seen, axis=0)
    carried = np.take_along_axis(grid, np.maximum(latest, 0), axis=0)
    return np.where(latest >= 0, carried, np.nan).reshape(-1)[: len(y)]
