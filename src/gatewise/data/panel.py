"""Series on a regular time grid: what every model reads.

Numbers are float64 and as the user gave them; NaN marks what is missing. Scaling is kept beside
them, in ``PanelScale``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import pandas as pd
from jaxtyping import Int64

from gatewise.data.calendar import calendar_values
from gatewise.data.observations import read_future
from gatewise.data.places import listed
from gatewise.data.scaling import PanelScale, fit_scale
from gatewise.data.schema import PanelSchema
from gatewise.data.series import Series
from gatewise.errors import InvalidValueError

_FAR: Final = 1_000_000
"""Steps ahead beyond which a date is taken for a mistake."""


@dataclass(frozen=True, eq=False)
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
        whole = [len(one) for one in self.series]
        return fit_scale(self.series, self.schema, whole if stops is None else stops)

    def future_ds(self, series: Series | int | str, horizon: int) -> pd.Index:
        """Return the ``horizon`` timestamps after the last step of a series.

        Args:
            series: The series, its number or its name.
            horizon: How many.

        Returns:
            Timestamps in the series' time zone, or integers.
        """
        if isinstance(series, str):
            names = [one.unique_id for one in self.series]
            if series not in names:
                raise InvalidValueError("series", f"one of {listed(names)}", repr(series))
            series = names.index(series)
        one = series if isinstance(series, Series) else self.series[series]
        steps = len(one) + np.arange(horizon)
        return self.schema.grid.times(one.ds[:1].repeat(horizon), steps)

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
        futures = [_lengthen(one.future, len(one) + horizon) for one in self.series]
        known = len(self.schema.future)
        for one, future in zip(self.series, futures, strict=True):
            lacking = np.isnan(future[len(one) : len(one) + horizon, :known])
            if lacking.any():
                step, column = (int(i) for i in np.argwhere(lacking)[0])
                raise InvalidValueError(
                    f"series {one.unique_id!r}, column {self.schema.future[column]!r}",
                    f"values known ahead for all {horizon} steps of the horizon",
                    f"none at {self.future_ds(one, step + 1)[-1]}",
                    "Give them in future=…, or as rows without a target after the last one.",
                )  # fmt: skip
        return self._with_futures(futures)

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
        firsts, lasts = self._ends()
        times = _like(rows.times, firsts)
        steps, off = grid.number(
            firsts.append(times), np.append(np.arange(len(firsts)), rows.series)
        )
        steps, off = steps[len(firsts) :], off[len(firsts) :]
        after = times > lasts[rows.series]
        if (off & after).any():
            row = int(np.argmax(off & after))
            raise InvalidValueError(
                rows.place(row), f"steps of {grid.alias or grid.width} after the series",
                "a timestamp between two of them",
                f"Continue the series, which ends at {lasts[rows.series[row]]}.",
            )  # fmt: skip
        far = after & (steps >= self.lengths[rows.series] + _FAR)
        if far.any():
            row = int(np.argmax(far))
            raise InvalidValueError(
                rows.place(row), f"a time within {_FAR:,} steps after the series",
                f"one {steps[row] - len(self.series[rows.series[row]]):,} steps after it",
                f"Correct the timestamp; the series ends at {lasts[rows.series[row]]}.",
            )  # fmt: skip
        futures = []
        bounds = np.searchsorted(rows.series, np.arange(len(self.series) + 1))
        for k, one in enumerate(self.series):
            part = np.arange(bounds[k], bounds[k + 1])[after[bounds[k] : bounds[k + 1]]]
            at, values = steps[part], rows.future[part]
            future = _lengthen(one.future, int(at.max(initial=-1)) + 1)
            future[at, :known] = np.where(np.isnan(values), future[at, :known], values)
            futures.append(future)
        return self._with_futures(futures)

    def _ends(self) -> tuple[pd.Index, pd.Index]:
        """Return the first and the last timestamp of every series."""
        none = self.series[0].ds[:0]
        return (
            none.append([one.ds[:1] for one in self.series]),
            none.append([one.ds[-1:] for one in self.series]),
        )

    def _with_futures(self, futures: list[np.ndarray]) -> Panel:
        """Return a panel with these known-future covariates, calendar features filled in."""
        lengths = self.lengths
        ahead = np.array([len(future) for future in futures]) - lengths
        begin = np.cumsum(ahead) - ahead
        steps = np.arange(ahead.sum()) + np.repeat(lengths - begin, ahead)
        times = self.schema.grid.times(self._ends()[0].repeat(ahead.tolist()), steps)
        features = calendar_values(times, self.schema.calendar)
        series = []
        for k, (one, future) in enumerate(zip(self.series, futures, strict=True)):
            future[len(one) :, len(self.schema.future) :] = features[begin[k] :][: ahead[k]]
            series.append(replace(one, future=future))
        return replace(self, series=series)


def _lengthen(future: np.ndarray, steps: int) -> np.ndarray:
    """Return a copy with at least ``steps`` rows, NaN in the new ones."""
    rows = np.full((max(len(future), steps), future.shape[1]), np.nan)
    rows[: len(future)] = future
    return rows


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
