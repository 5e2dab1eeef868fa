"""Calendar features: what every forecaster may know of the future, the date.

A feature is a phase φ in [0, 1) of a cycle and gives two columns, ½ sin 2πφ and ½ cos 2πφ, both in
[-0.5, 0.5]: the last hour of a day lies beside the first one, and December beside January.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd
from jaxtyping import Float64

from gatewise.data.grid import DAY, Grid
from gatewise.errors import InvalidValueError

CALENDAR_FEATURES: Final = (
    "minute_of_hour", "hour_of_day", "day_of_week", "day_of_month", "day_of_year", "month_of_year",
)  # fmt: skip
"""The cycles that can be asked for."""

_CYCLE_DAYS: Final = {
    "minute_of_hour": 1 / 24, "hour_of_day": 1.0, "day_of_week": 7.0, "day_of_month": 30.5,
    "day_of_year": 365.25, "month_of_year": 365.25,
}  # fmt: skip


def choose_calendar(frequency: str | None, span_days: float) -> tuple[str, ...]:
    """Choose features by frequency; each only where the data show its cycle twice.

    ======================= ================================================
    step                    features
    ======================= ================================================
    up to a minute          minute_of_hour, hour_of_day, day_of_week
    under a day             hour_of_day, day_of_week, day_of_year
    a day to a week         day_of_week, day_of_month, day_of_year
    a week to a month       day_of_year
    months, quarters        month_of_year
    years, integer time     none
    ======================= ================================================

    A yearly feature on less than two years would be no season but a second time axis, on which a
    network learns dates by heart.

    Args:
        frequency: A pandas offset alias, or None for integer time.
        span_days: Days from the first to the last timestamp of the longest series.

    Returns:
        Names from ``CALENDAR_FEATURES``.
    """
    grid = Grid.of(frequency)
    if grid.kind == "integer":
        return ()
    if grid.kind == "month":
        names = ("month_of_year",) if grid.width < 12 else ()
    elif grid.kind == "offset" or DAY <= grid.width < 7 * DAY:
        names = ("day_of_week", "day_of_month", "day_of_year")
    elif grid.width >= 7 * DAY:
        names = ("day_of_year",)
    elif grid.width > DAY // 1440:
        names = ("hour_of_day", "day_of_week", "day_of_year")
    else:
        names = ("minute_of_hour", "hour_of_day", "day_of_week")
    return tuple(name for name in names if span_days >= 2 * _CYCLE_DAYS[name])


def check_calendar(names: Sequence[str], frequency: str | None) -> tuple[str, ...]:
    """Return features that the user named, or refuse them.

    Args:
        names: Feature names.
        frequency: A pandas offset alias, or None for integer time, which has no calendar.

    Returns:
        The names as a tuple.

    Raises:
        InvalidValueError: If a name is unknown, or time is a step counter.
    """
    for name in names:
        if name not in CALENDAR_FEATURES:
            known = ", ".join(CALENDAR_FEATURES)
            raise InvalidValueError("calendar", f"names among {known}", repr(name))
    if names and frequency is None:
        raise InvalidValueError(
            "calendar", "timestamps to take features from", "integer time",
            "Leave out calendar=…, or give dates as time.",
        )  # fmt: skip
    return tuple(names)


def calendar_columns(names: Sequence[str]) -> tuple[str, ...]:
    """Return the column names of features: ``hour_of_day_sin``, ``hour_of_day_cos`` …."""
    return tuple(f"{name}_{part}" for name in names for part in ("sin", "cos"))


def calendar_values(times: pd.Index, names: Sequence[str]) -> Float64[np.ndarray, "N K"]:
    """Compute the columns of ``calendar_columns`` by the local clock of the timestamps.

    Args:
        times: Timestamps, N.
        names: Feature names.

    Returns:
        Values in [-0.5, 0.5], N x K with K = 2 per name.
    """
    columns = np.empty((len(times), 2 * len(names)))
    for k, name in enumerate(names):
        angle = 2 * np.pi * _phase(pd.DatetimeIndex(times), name)
        columns[:, 2 * k] = 0.5 * np.sin(angle)
        columns[:, 2 * k + 1] = 0.5 * np.cos(angle)
    return columns


def _phase(times: pd.DatetimeIndex, name: str) -> np.ndarray:
    """Return how far each timestamp is into its cycle, in [0, 1)."""
    minutes = times.minute + (times.second + times.microsecond / 1e6) / 60
    if name == "minute_of_hour":
        return np.asarray(minutes / 60)
    if name == "hour_of_day":
        return np.asarray((times.hour + minutes / 60) / 24)
    if name == "day_of_week":
        return np.asarray(times.day_of_week / 7)
    if name == "day_of_month":
        return np.asarray((times.day - 1) / times.days_in_month)
    if name == "day_of_year":
        return np.asarray((times.day_of_year - 1) / (365 + times.is_leap_year))
    return np.asarray((times.month - 1) / 12)
