"""Series on a regular time grid: what every model reads.

Numbers are float64 and as the user gave them; NaN marks what is missing. Scaling is kept beside
them, in ``PanelScale``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from jaxtyping import Int64

from gatewise.data.calendar import calendar_values
from gatewise.data.observations import read_future
from gatewise.data.places import source_name
from gatewise.data.scaling import PanelScale, fit_scale
from gatewise.data.schema import PanelSchema
from gatewise.data.series import Series
from gatewise.errors import InvalidValueError


@dataclass(frozen=True)
class Panel:
    """Many series of one table.

    Args:
        series: The series, S, in order of appearance.
        schema: What the columns mean.
        ids: Their identities as the table has them (integers stay integers), S.
        counts: What was found: ``rows``, ``series``, ``missing_y`` (rows without a target),
            ``gaps_filled`` (timestamps without a row), ``future_rows`` (rows after the last
            target), ``missing_past``, ``missing_future``, ``missing_static`` (empty cells).
        unused: Columns of the table that the schema does not name.
    """

    series: list[Series]
    schema: PanelSchema
    ids: pd.Index
    counts: dict[str, int] = field(default_factory=dict)
    unused: tuple[str, ...] = ()

    @property
    def past_names(self) -> tuple[str, ...]:
        """Names of the columns of ``Series.past``."""
        return self.schema.past

    @property
    def future_names(self) -> tuple[str, ...]:
        """Names of the columns of ``Series.future``."""
        return self.schema.future_names

    @property
    def static_names(self) -> tuple[str, ...]:
        """Names of the columns of ``Series.static``."""
        return self.schema.static_names

    @property
    def lengths(self) -> Int64[np.ndarray, "S"]:
        """Steps of each series, S."""
        return np.array([len(series) for series in self.series], dtype=np.int64)

    def require_steps(self, steps: int, purpose: str) -> None:
        """Raise InvalidValueError, naming them, if series have fewer than ``steps`` steps.

        Args:
            steps: The least length.
            purpose: What it is needed for, such as ``look-back 96 + horizon 24``.
        """
        short = [series for series in self.series if len(series) < steps]
        if short:
            names = ", ".join(f"{series.unique_id!r} ({len(series)})" for series in short[:5])
            more = f" and {len(short) - 5} more" if len(short) > 5 else ""
            raise InvalidValueError(
                f"series {names}{more}", f"at least {steps} steps each ({purpose})",
                "the lengths in brackets", "Remove short series, or shorten the windows.",
            )  # fmt: skip

    def fit_scale(self, stops: Sequence[int] | None = None) -> PanelScale:
        """Compute the constants that bring targets and covariates to mean 0 and deviation 1.

        Args:
            stops: For each series, the end of its training part in steps; None: all of it.

        Returns:
            The constants, for ``WindowSet(…, scale=…)`` and for saving.
        """
        return fit_scale(self.series, self.schema, self.lengths if stops is None else stops)

    def future_ds(self, series: Series | int | str, horizon: int) -> pd.Index:
        """Return the ``horizon`` timestamps after the last step of a series.

        Args:
            series: The series, its number or its name.
            horizon: How many.

        Returns:
            Timestamps in the series' time zone, or integers.
        """
        if isinstance(series, str):
            series = next(one for one in self.series if one.unique_id == series)
        elif isinstance(series, int):
            series = self.series[series]
        steps = len(series) + np.arange(horizon)
        return self.schema.grid.times(series.ds[np.zeros(horizon, dtype=np.int64)], steps)

    def extend(self, horizon: int) -> Panel:
        """Return a panel whose known-future covariates reach ``horizon`` steps ahead.

        Args:
            horizon: Steps after the last of each series.

        Returns:
            The panel with ``Series.future`` of at least n + horizon rows, complete there.

        Raises:
            InvalidValueError: If a column that must be known ahead is not; names the series, the
                column and the first timestamp that lacks a value.
        """
        known = len(self.schema.future)
        anchors = self.series[0].ds[:0].append([one.ds[:1] for one in self.series])
        steps = (self.lengths[:, None] + np.arange(horizon)).ravel()
        times = self.schema.grid.times(anchors.repeat(horizon), steps)
        features = calendar_values(times, self.schema.calendar)
        extended = []
        for k, one in enumerate(self.series):
            n, m = len(one), max(len(one.future), len(one) + horizon)
            future = np.full((m, one.future.shape[1]), np.nan)
            future[: len(one.future)] = one.future
            future[n : n + horizon, known:] = features[k * horizon : (k + 1) * horizon]
            lacking = np.isnan(future[n : n + horizon, :known])
            if lacking.any():
                step, column = (int(i) for i in np.argwhere(lacking)[0])
                raise InvalidValueError(
                    f"series {one.unique_id!r}, column {self.schema.future[column]!r}",
                    f"values known ahead for all {horizon} steps of the horizon",
                    f"none at {times[k * horizon + step]}",
                    "Give them in future=…, or as rows without a target after the last one.",
                )  # fmt: skip
            extended.append(replace(one, future=future))
        return replace(self, series=extended)

    def with_future(self, frame: pd.DataFrame) -> Panel:
        """Return a panel that also knows the future covariates of a table.

        Args:
            frame: A table with the time column and the known-future columns; without the id
                column its values hold for every series. Rows at or before the last step of a
                series, rows of other series and other columns are left alone.

        Returns:
            The panel; values of the table replace those known before.

        Raises:
            InvalidValueError: As for ``build_panel``; and if a timestamp is off a series' grid.
        """
        rows = read_future(frame, self.schema, [one.unique_id for one in self.series])
        grid, known = self.schema.grid, len(self.schema.future)
        extended = []
        bounds = np.searchsorted(rows.series, np.arange(len(self.series) + 1))
        for k, one in enumerate(self.series):
            part = slice(bounds[k], bounds[k + 1])
            stamps = one.ds[:1].append(_like(rows.times[part], one.ds))
            steps, off = grid.number(stamps, np.zeros(len(stamps), dtype=np.int64))
            after = np.flatnonzero((steps[1:] >= len(one)) & (stamps[1:] > one.ds[-1]))
            if off[1:][after].any():
                row = bounds[k] + after[int(np.argmax(off[1:][after]))]
                raise InvalidValueError(
                    rows.place(int(row)), f"timestamps every {grid.alias or grid.width}",
                    "one between two steps", f"Continue the series after {one.ds[-1]}.",
                )  # fmt: skip
            steps = steps[1:][after]
            m = max(len(one.future), int(steps.max(initial=-1)) + 1)
            future = np.full((m, one.future.shape[1]), np.nan)
            future[: len(one.future)] = one.future
            values = rows.future[part][after]
            future[steps, :known] = np.where(np.isnan(values), future[steps, :known], values)
            horizon = np.arange(len(one), m)
            times = grid.times(one.ds[np.zeros(len(horizon), dtype=np.int64)], horizon)
            future[len(one) :, known:] = calendar_values(times, self.schema.calendar)
            extended.append(replace(one, future=future))
        return replace(self, series=extended)


def _like(times: pd.Index, other: pd.Index) -> pd.Index:
    """Return timestamps in the unit and the time zone of others; refuse a mixture of kinds."""
    if not isinstance(times, pd.DatetimeIndex) or not isinstance(other, pd.DatetimeIndex):
        return times
    if (times.tz is None) != (other.tz is None):
        raise InvalidValueError(
            "future", f"timestamps {'without' if other.tz is None else 'with'} a time zone",
            f"time zone {times.tz}", "Give them as the series has them.",
        )  # fmt: skip
    times = times.as_unit(other.unit)
    return times if other.tz is None else times.tz_convert(other.tz)
