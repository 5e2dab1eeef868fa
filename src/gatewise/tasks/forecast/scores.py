"""How good forecasts are: squared, absolute, scaled and percentage errors, CRPS and coverage.

Sums are kept for each step ahead and added to window by window, so that any number of windows can
be scored. Values whose truth was not observed count nowhere.

======== =========================================================================================
mse      mean of (y - f)²
mae      mean of |y - f|
mase     mean of |y - f| / (mean of |y_t - y_{t-m}| over the series' training rows), m the season:
         Hyndman & Koehler, International Journal of Forecasting 22(4), 2006
smape    mean of 200 |y - f| / (|y| + |f|), in per cent, 0 where both are 0: the definition of the
         M4 competition
crps     continuous ranked probability score, in the units of y: Gneiting & Raftery, Journal of the
         American Statistical Association 102, 2007; of a single value it is the absolute error
coverage share of the truth inside an interval
======== =========================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float

Interval = tuple[Float[np.ndarray, "N h"], Float[np.ndarray, "N h"]]


class ScoreSums:
    """Sums of all scores for each step ahead.

    Args:
        horizon: h steps ahead.
    """

    def __init__(self, horizon: int) -> None:
        self.horizon = horizon
        self._sums: dict[str, np.ndarray] = {}
        self._counts: dict[str, np.ndarray] = {}

    def add(
        self,
        truth: Float[np.ndarray, "N h"],
        mask: Bool[np.ndarray, "N h"],
        forecast: Float[np.ndarray, "N h"],
        seasonal_error: Float[np.ndarray, "N"],
        *,
        crps: Float[np.ndarray, "N h"] | None = None,
        intervals: Mapping[float, Interval] | None = None,
    ) -> None:
        """Add N windows.

        Args:
            truth: What was observed; anything where the mask is False.
            mask: Which values count.
            forecast: What was said.
            seasonal_error: For each window the mean absolute seasonal difference of its series;
                NaN or 0 leaves the window out of ``mase``.
            crps: The score of every value, if the forecast is a distribution.
            intervals: For each nominal coverage in per cent, the lower and the upper ends.
        """
        error = np.abs(truth - forecast)
        self._count("mse", error**2, mask)
        self._count("mae", error, mask)
        scaled = mask & (seasonal_error > 0)[:, None]
        unit = np.where(seasonal_error > 0, seasonal_error, 1.0)
        self._count("mase", error / unit[:, None], scaled)
        size = np.abs(truth) + np.abs(forecast)
        self._count("smape", 200 * error / np.where(size > 0, size, 1.0), mask)
        if crps is not None:
            self._count("crps", crps, mask)
        for level, (low, high) in (intervals or {}).items():
            inside = (low <= truth) & (truth <= high)
            self._count(f"coverage_{level:g}", inside.astype(np.float64), mask)

    def scores(self) -> dict[str, float]:
        """Return each score over all values; NaN where nothing was counted."""
        return {
            name: float(sums.sum() / count) if (count := self._counts[name].sum()) else float("nan")
            for name, sums in self._sums.items()
        }

    def by_step(self, name: str) -> Float[np.ndarray, "h"]:
        """Return one score for each step ahead; NaN where nothing was counted."""
        counts = self._counts[name]
        return np.where(counts > 0, self._sums[name] / np.maximum(counts, 1), np.nan)

    @property
    def values(self) -> int:
        """How many observed values were scored."""
        return int(self._counts["mse"].sum()) if self._counts else 0

    def _count(self, name: str, values: np.ndarray, mask: np.ndarray) -> None:
        if name not in self._sums:
            self._sums[name] = np.zeros(self.horizon)
            self._counts[name] = np.zeros(self.horizon, dtype=np.int64)
        self._sums[name] += np.where(mask, values, 0.0).sum(0)
        self._counts[name] += mask.sum(0)
