"""A table's meaning, found in its columns: layout, time, frequency, season, categories."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from gatewise.data.calendar import check_calendar, choose_calendar
from gatewise.data.frequency import infer_frequency, season_length
from gatewise.data.grid import DAY, Grid
from gatewise.data.numbers import is_numeric
from gatewise.data.places import column_of, source_name
from gatewise.data.schema import PanelSchema, require_columns
from gatewise.data.timestamps import find_time_column, parse_times
from gatewise.errors import InvalidValueError


def infer_schema(
    frame: pd.DataFrame,
    *,
    target: str = "y",
    id_column: str = "unique_id",
    time_column: str | None = None,
    future: str | Sequence[str] = (),
    static: str | Sequence[str] = (),
    past: str | Sequence[str] = (),
    calendar: bool | str | Sequence[str] = True,
    frequency: str | None = None,
    season_length: int | None = None,
) -> PanelSchema:
    """Find out what a table means.

    A table with the target column is *long*; it holds one series if it lacks the id column. A
    table without the target column is *wide*: every column that is neither time nor a named
    covariate is a series. Further columns of a long table are left alone unless named.

    Args:
        frame: The table, from ``read_frame``.
        target: Column to forecast.
        id_column: Column that names the series.
        time_column: Column of timestamps; None: ``ds``, or the only column with dates.
        future: Covariates known ahead.
        static: Covariates that do not change within a series; text becomes categories.
        past: Covariates known up to now.
        calendar: True: features chosen by the frequency; False: none; or their names.
        frequency: pandas offset alias; None: inferred, or integer time.
        season_length: Steps in a season; None: by the frequency.

    Returns:
        The schema.

    Raises:
        InvalidValueError: If a named column is missing, time is not found or not regular enough to
            have a frequency, or a value is out of range.
    """
    if len(frame) == 0:
        raise InvalidValueError(source_name(frame), "at least one row", "an empty table")
    past, future, static = _names(past), _names(future), _names(static)
    time = time_column or find_time_column(frame)
    covariates = (*past, *future, *static)
    _check_roles((time, id_column, target, *covariates))
    require_columns(frame, [time, *covariates])
    layout, has_ids = "long", id_column in frame.columns
    series_columns: tuple[str, ...] = ()
    if target not in frame.columns:
        layout = "wide"
        series_columns = tuple(c for c in frame.columns if c != time and c not in covariates)
        numeric = [c for c in series_columns if is_numeric(column_of(frame, c))]
        if has_ids or static or target != "y" or not numeric:
            require_columns(frame, [target], remedy="Name the column to forecast with target=….")
    times = parse_times(frame, time)
    codes = np.zeros(len(frame), dtype=np.int64)
    if has_ids:
        codes = np.asarray(pd.factorize(column_of(frame, id_column))[0], dtype=np.int64)
    dated = isinstance(times, pd.DatetimeIndex)
    step = 1
    if frequency is None:
        frequency, step = infer_frequency(times, codes)
    elif not dated:
        raise InvalidValueError(
            "frequency", "none, as time is counted in integers", repr(frequency),
            "Leave out frequency=…, or give dates as time.",
        )  # fmt: skip
    span, longest = _longest(times, codes)
    if isinstance(calendar, bool):
        features = choose_calendar(frequency, span / DAY if dated else 0.0) if calendar else ()
    else:
        features = check_calendar(_names(calendar), frequency)
    return PanelSchema(
        id_column=id_column if has_ids else None,
        time_column=time,
        target_column=target,
        past=past,
        future=future,
        static=static,
        frequency=Grid.of(frequency).alias if frequency else None,
        layout=layout,
        calendar=features,
        static_categories=_categories(frame, static),
        season_length=_season(season_length, frequency, longest),
        step=step,
        series_columns=series_columns,
    )


def _names(names: str | Sequence[str]) -> tuple[str, ...]:
    """Return names as a tuple; one name alone is one name, not its letters."""
    return (names,) if isinstance(names, str) else tuple(names)


def _check_roles(columns: Sequence[str]) -> None:
    """Refuse a column with two roles."""
    for name in columns:
        if columns.count(name) > 1:
            raise InvalidValueError(
                f"column {name!r}", "one role (id, time, target, past, future or static)",
                "several", "Name it once.",
            )  # fmt: skip


def _longest(times: pd.Index, codes: np.ndarray) -> tuple[int, int]:
    """Return the span of the longest series (nanoseconds or units) and the most rows of one."""
    values = times.as_unit("ns").asi8 if isinstance(times, pd.DatetimeIndex) else times.to_numpy()
    order = np.argsort(codes, kind="stable")
    first = np.flatnonzero(np.diff(codes[order], prepend=-2))
    values = values[order]
    spans = np.maximum.reduceat(values, first) - np.minimum.reduceat(values, first)
    return int(spans.max()), int(np.diff(first, append=len(order)).max())


def _categories(frame: pd.DataFrame, static: Sequence[str]) -> dict[str, list[str]]:
    """Return the sorted categories of every static column that is not numeric."""
    return {
        name: sorted({str(cell) for cell in column_of(frame, name).dropna().unique()})
        for name in static
        if not is_numeric(column_of(frame, name))
    }


def _season(given: int | None, frequency: str | None, longest: int) -> int:
    """Return the season that was given, checked, or that of the frequency."""
    if given is None:
        return season_length(frequency, longest)
    if given < 1:
        raise InvalidValueError("season_length", "at least 1 step", str(given))
    return given
