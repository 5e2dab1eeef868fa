"""Regular time axes, against pandas' own date ranges."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewise.data.grid import Grid
from gatewise.errors import InvalidValueError

FREQUENCIES = [
    "s", "15min", "h", "6h", "D", "3D", "W-SUN", "2W-WED", "MS", "ME", "2MS", "QS-FEB", "QE-NOV",
    "YS-APR", "YE-JUN", "B", "2B", "BME", "SMS",
]  # fmt: skip
STARTS = st.dates(pd.Timestamp("1950-01-01").date(), pd.Timestamp("2080-01-01").date())


def zeros(n: int) -> np.ndarray:
    return np.zeros(n, dtype=np.int64)


@given(
    start=STARTS,
    frequency=st.sampled_from(FREQUENCIES),
    zone=st.sampled_from([None, "UTC", "Europe/Berlin", "America/New_York"]),
    kept=st.lists(st.integers(1, 60), max_size=20, unique=True).map(sorted),
)
def test_numbers_and_times_agree_with_pandas(
    start: object, frequency: str, zone: str | None, kept: list[int]
) -> None:
    axis = pd.date_range(start, periods=61, freq=frequency, tz=zone).as_unit("us")
    steps = np.array([0, *kept])
    grid, seen = Grid.of(frequency), axis[steps]
    numbers, off = grid.number(seen, zeros(len(seen)))
    assert not off.any()
    assert numbers.tolist() == steps.tolist()
    assert grid.times(axis[zeros(61)], np.arange(61)).equals(axis)


@given(
    start=STARTS,
    frequency=st.sampled_from(["h", "D", "W-SUN", "MS", "ME", "QS-FEB", "B"]),
    shift=st.integers(1, 59),
    row=st.integers(1, 9),
)
def test_a_timestamp_between_two_steps_is_seen(
    start: object, frequency: str, shift: int, row: int
) -> None:
    axis = pd.date_range(start, periods=10, freq=frequency).as_unit("us").to_series()
    axis.iloc[row] += pd.Timedelta(minutes=shift)
    off = Grid.of(frequency).number(pd.DatetimeIndex(axis), zeros(10))[1]
    assert np.flatnonzero(off).tolist() == [row]


def test_each_series_has_its_own_anchor() -> None:
    times = pd.DatetimeIndex(
        ["2024-01-01 00:10", "2024-01-01 02:10", "2024-01-01 00:40", "2024-01-01 01:40"]
    ).as_unit("us")
    steps, off = Grid.of("h").number(times, np.array([0, 0, 2, 2]))
    assert steps.tolist() == [0, 2, 0, 1]
    assert not off.any()


def test_days_keep_their_hour_over_daylight_saving_and_hours_do_not_skip() -> None:
    noon = pd.DatetimeIndex(["2024-03-30 12:00"], tz="Europe/Berlin").as_unit("us")
    assert Grid.of("D").times(noon, np.array([1]))[0].hour == 12
    assert Grid.of("24h").times(noon, np.array([1]))[0].hour == 13
    midnight = pd.DatetimeIndex(["2024-10-27 00:00"], tz="Europe/Berlin").as_unit("us")
    hours = Grid.of("h").times(midnight[zeros(5)], np.arange(5))
    assert [stamp.hour for stamp in hours] == [0, 1, 2, 2, 3]


def test_a_midnight_that_does_not_exist_is_the_next_hour() -> None:
    days = pd.DatetimeIndex(["2018-11-03 00:00", "2018-11-04 01:00", "2018-11-05 00:00"])
    days = days.tz_localize("America/Sao_Paulo").as_unit("us")
    numbers, off = Grid.of("D").number(days, zeros(3))
    assert numbers.tolist() == [0, 1, 2]
    assert not off.any()


def test_mid_month_days_are_kept() -> None:
    times = pd.DatetimeIndex(["2024-01-15", "2024-02-15", "2024-04-15"]).as_unit("us")
    assert Grid.of("MS").number(times, zeros(3))[0].tolist() == [0, 1, 3]
    ends = pd.DatetimeIndex(["2024-01-31", "2024-02-29", "2024-04-30"]).as_unit("us")
    assert Grid.of("MS").number(ends, zeros(3))[1].tolist() == [False, True, True]
    assert Grid.of("ME").number(ends, zeros(3))[0].tolist() == [0, 1, 3]


def test_integers_step_by_their_width() -> None:
    grid = Grid.of(None, 10)
    steps, off = grid.number(pd.Index([5, 15, 26, 45]), zeros(4))
    assert steps.tolist() == [0, 1, 2, 4]
    assert off.tolist() == [False, False, True, False]
    assert grid.times(pd.Index([5, 5]), np.array([0, 4])).tolist() == [5, 45]


def test_nanosecond_steps_need_nanosecond_stamps() -> None:
    fine = pd.DatetimeIndex(np.array([0, 250, 500], dtype="datetime64[ns]"))
    assert Grid.of("250ns").number(fine, zeros(3))[0].tolist() == [0, 1, 2]
    with pytest.raises(InvalidValueError, match="microseconds or coarser"):
        Grid.of("250ns").number(fine.as_unit("us"), zeros(3))


@pytest.mark.parametrize(
    ("old", "new"), [("H", "h"), ("15T", "15min"), ("M", "ME"), ("Q-NOV", "QE-NOV"), ("AS", "YS")]
)
def test_aliases_of_older_pandas_are_known(old: str, new: str) -> None:
    assert Grid.of(old) == Grid.of(new)


@pytest.mark.parametrize("alias", ["fortnight", "", "-1D", "0h"])
def test_unknown_frequencies_are_refused(alias: str) -> None:
    with pytest.raises(InvalidValueError, match="frequency: expected a pandas offset alias"):
        Grid.of(alias)
