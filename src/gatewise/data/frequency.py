"""The frequency of a table, found in its timestamps, and the season that goes with it.

The step is the most common distance between neighbours of one series, so gaps and missing rows do
not disturb it. Where fewer than nine in ten distances are multiples of that step, the greatest
common divisor is taken instead, provided that it leaves at least a quarter of the steps filled.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd

from gatewise.data.grid import DAY, Grid, to_offset
from gatewise.errors import InvalidValueError

_UNITS: Final = (
    ("h", 3_600_000_000_000), ("min", 60_000_000_000), ("s", 1_000_000_000),
    ("ms", 1_000_000), ("us", 1_000), ("ns", 1),
)  # fmt: skip
_WEEKDAYS: Final = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
_MONTHS: Final = (
    "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC",
)  # fmt: skip
_COMMON: Final = 0.9
_FILLED: Final = 0.25


def infer_frequency(times: pd.Index, series: np.ndarray) -> tuple[str | None, int]:
    """Find the frequency of many series at once.

    Args:
        times: All timestamps, N, in any order.
        series: For each, the number of its series: int64, N.

    Returns:
        A pandas offset alias and 1; or None and the step, for integer time.

    Raises:
        InvalidValueError: If no series has two different timestamps.

    Example:
        >>> import pandas as pd, numpy as np
        >>> infer_frequency(pd.date_range("2024-01-01", periods=9, freq="15min"), np.zeros(9, int))
        ('15min', 1)
    """
    integers = not isinstance(times, pd.DatetimeIndex)
    wall = times.to_numpy() if integers else times.tz_localize(None).as_unit("ns").to_numpy()
    order = np.lexsort((wall, series))
    distances = _distances(wall.astype(np.int64), series, order)
    if len(distances) == 0:
        raise InvalidValueError(
            "frequency", "a series with at least two timestamps", "one timestamp in each",
            "Give the frequency, for example frequency='D'.",
        )  # fmt: skip
    if integers:
        return None, _common_step(distances)
    step = _common_step(distances)
    if np.median(distances) >= 28 * DAY:
        alias = _monthly(wall, series, order)
        if alias:
            return alias, 1
    weekdays = (wall.astype("datetime64[D]").astype(np.int64) + 3) % 7  # 1970-01-01: a Thursday
    if step == DAY and _skips_weekends(weekdays, distances):
        return "B", 1
    if step % (7 * DAY) == 0:
        weeks = step // (7 * DAY)
        if (weekdays == weekdays[0]).all():
            return f"{_count(weeks)}W-{_WEEKDAYS[weekdays[0]]}", 1
        return f"{7 * weeks}D", 1
    if step % DAY == 0:
        return f"{_count(step // DAY)}D", 1
    instants = times.as_unit("ns").asi8  # a zone's clock jumps twice a year; instants do not
    step = _common_step(_distances(instants, series, order))
    unit, size = next((unit, size) for unit, size in _UNITS if step % size == 0)
    return f"{_count(step // size)}{unit}", 1


def season_length(frequency: str | None, longest: int) -> int:
    """Return the number of steps in a season, by the frequency alone.

    ===================== ===================================================================
    frequency             steps in a season
    ===================== ===================================================================
    seconds and finer     an hour if the longest series has two of them, else a minute, else 1
    minutes               a day if the longest series has two of them, else an hour, else 1
    hours                 24 (k hours: 24 / k)
    days                  7 (k days: 1)
    weeks                 52 (k weeks: 52 / k)
    months                12 (k months: 12 / k), so quarters 4 and years 1
    business days         5
    integers, all others  1
    ===================== ===================================================================

    Args:
        frequency: A pandas offset alias, or None for integer time.
        longest: Steps in the longest series.

    Returns:
        Steps, at least 1. Where a season is no whole number of steps: 1.
    """
    grid = Grid.of(frequency)
    if grid.kind == "integer":
        return 1
    if grid.kind == "month":
        return _whole(12, grid.width)
    if grid.kind == "offset":
        name = type(to_offset(grid.alias)).__name__
        known = {"BusinessDay": 5, "BusinessMonthBegin": 12, "BusinessMonthEnd": 12}
        return known.get(name, 1)
    if grid.width % (7 * DAY) == 0:
        return _whole(52, grid.width // (7 * DAY))
    if grid.width >= DAY:
        return 7 if grid.width == DAY else 1
    hour, minute = DAY // 24, DAY // 1440
    if grid.width >= hour:
        return _whole(DAY, grid.width)
    seasons = (DAY, hour) if grid.width >= minute else (hour, minute)
    lengths = (_whole(season, grid.width) for season in seasons)
    return next((steps for steps in lengths if 1 < steps <= longest // 2), 1)


def _distances(values: np.ndarray, series: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Return the positive distances between neighbours of one series."""
    steps = np.diff(values[order])
    return steps[(np.diff(series[order]) == 0) & (steps > 0)]


def _common_step(distances: np.ndarray) -> int:
    """Return the step by the rule at the head of this file."""
    sizes, counts = np.unique(distances, return_counts=True)
    mode = int(sizes[np.argmax(counts)])
    divisor = int(np.gcd.reduce(sizes))
    if counts[sizes % mode == 0].sum() >= _COMMON * counts.sum():
        return mode
    filled = len(distances) * divisor / float(distances.sum(dtype=np.float64))
    return divisor if filled >= _FILLED else mode


def _monthly(wall: np.ndarray, series: np.ndarray, order: np.ndarray) -> str | None:
    """Return an alias of months if the timestamps keep their place in the month, else None."""
    months = wall.astype("datetime64[M]")
    from_start = wall - months.astype(wall.dtype)
    from_end = (months + 1).astype(wall.dtype) - wall
    _, starts = _most_common(from_start.astype(np.int64))
    to_end, ends = _most_common(from_end.astype(np.int64))
    if max(starts, ends) < _COMMON * len(wall):
        return None
    numbers = months.astype(np.int64)
    step = _common_step(_distances(numbers, series, order))
    # Every 30 June keeps its place from either side; the last day of a month counts from the end.
    from_the_end = ends > starts or (ends == starts and to_end <= DAY)
    side, month = ("E" if from_the_end else "S"), int(numbers[0] % 12)
    if step % 12 == 0:
        return f"{_count(step // 12)}Y{side}-{_MONTHS[month]}"
    if step % 3 == 0:
        return f"{_count(step // 3)}Q{side}-{_MONTHS[month % 3 + (9 if side == 'E' else 0)]}"
    return f"{_count(step)}M{side}"


def _most_common(values: np.ndarray) -> tuple[int, int]:
    """Return the most common value and how often it is there."""
    found, counts = np.unique(values, return_counts=True)
    return int(found[np.argmax(counts)]), int(counts.max())


def _skips_weekends(weekdays: np.ndarray, distances: np.ndarray) -> bool:
    """Tell whether daily timestamps pass over at least one weekend and touch none."""
    return bool((weekdays < 5).all() and (distances >= 3 * DAY).any())


def _count(number: int) -> str:
    """Write a multiple as aliases have it: nothing for 1."""
    return "" if number == 1 else str(number)


def _whole(season: int, step: int) -> int:
    """Return season / step where that is a whole number, else 1."""
    return season // step if season % step == 0 else 1
