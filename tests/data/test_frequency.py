"""Frequencies found in timestamps, with rows missing and strays among them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewise.data import infer_frequency, season_length
from gatewise.errors import InvalidValueError

FREQUENCIES = [
    "250ms", "s", "15min", "h", "6h", "D", "3D", "W-SUN", "2W-WED", "MS", "ME", "2MS", "QS-FEB",
    "QE-NOV", "YS-APR", "YE-JUN", "B",
]  # fmt: skip


def infer(times: pd.Index) -> tuple[str | None, int]:
    return infer_frequency(times, np.zeros(len(times), dtype=np.int64))


@given(
    frequency=st.sampled_from(FREQUENCIES),
    start=st.dates(pd.Timestamp("1950-01-01").date(), pd.Timestamp("2080-01-01").date()),
    zone=st.sampled_from([None, "Europe/Berlin"]),
    gone=st.sets(st.integers(0, 79), max_size=25),
)
def test_frequencies_are_found_despite_missing_rows(
    frequency: str, start: object, zone: str | None, gone: set[int]
) -> None:
    axis = pd.date_range(start, periods=80, freq=frequency, tz=zone).as_unit("us")
    found, step = infer(axis[[k for k in range(80) if k not in gone]])
    assert step == 1
    rest = pd.date_range(axis[0], periods=80, freq=found)
    assert rest.as_unit("us").equals(axis)


def test_the_order_of_rows_does_not_matter() -> None:
    axis = pd.date_range("2024-01-01", periods=50, freq="h")
    assert infer(axis[np.random.default_rng(0).permutation(50)]) == ("h", 1)


def test_distances_are_taken_within_series() -> None:
    times = pd.DatetimeIndex(
        ["2024-01-01", "2024-01-08", "2024-01-15", "2024-01-02", "2024-01-09", "2024-01-16"]
    )
    assert infer_frequency(times, np.array([0, 0, 0, 1, 1, 1])) == ("7D", 1)
    assert infer_frequency(times[:3], np.zeros(3, int)) == ("W-MON", 1)


def test_a_stray_timestamp_does_not_make_the_grid_fine() -> None:
    axis = pd.date_range("2024-01-01", periods=50, freq="h")
    assert infer(axis.append(pd.DatetimeIndex(["2024-01-01 07:23"]))) == ("h", 1)
    months = pd.date_range("2020-01-01", periods=40, freq="MS")
    assert infer(months.append(pd.DatetimeIndex(["2021-03-13"]))) == ("MS", 1)


def test_alternating_distances_have_their_divisor() -> None:
    assert infer(pd.Index([1, 3, 5, 6, 8, 10, 11])) == (None, 1)
    assert infer(pd.Index([0, 20, 40, 70, 90, 120])) == (None, 10)


def test_weekdays_alone_are_business_days_only_if_a_weekend_is_passed() -> None:
    assert infer(pd.date_range("2024-01-01", periods=5, freq="D")) == ("D", 1)
    assert infer(pd.bdate_range("2024-01-01", periods=6)) == ("B", 1)
    with_saturday = pd.bdate_range("2024-01-01", periods=10).append(
        pd.DatetimeIndex(["2024-01-13"])
    )
    assert infer(with_saturday) == ("D", 1)


def test_hours_across_daylight_saving_stay_hours() -> None:
    axis = pd.date_range("2024-10-26", periods=60, freq="h", tz="Europe/Berlin")
    assert infer(axis) == ("h", 1)
    assert infer(axis[::24]) == ("24h", 1)  # not days: the clock goes back to 23:00


def test_one_timestamp_has_no_frequency() -> None:
    with pytest.raises(InvalidValueError, match="at least two timestamps"):
        infer_frequency(pd.DatetimeIndex(["2024-01-01", "2024-01-02"]), np.array([0, 1]))


@pytest.mark.parametrize(
    ("frequency", "longest", "season"),
    [
        ("h", 10, 24), ("2h", 10, 12), ("5h", 10, 1), ("D", 3, 7), ("2D", 99, 1), ("W-SUN", 9, 52),
        ("2W-SUN", 9, 26), ("7D", 9, 52), ("MS", 9, 12), ("ME", 9, 12), ("QS-JAN", 9, 4),
        ("YE-DEC", 9, 1), ("B", 9, 5), ("BME", 9, 12), (None, 9, 1), ("15min", 192, 96),
        ("15min", 191, 4), ("min", 2880, 1440), ("min", 2879, 60), ("min", 119, 1),
        ("s", 7200, 3600), ("s", 7199, 60), ("s", 100, 1), ("7min", 10_000, 1), ("SMS", 9, 1),
    ],
)  # fmt: skip
def test_seasons_follow_the_table(frequency: str | None, longest: int, season: int) -> None:
    assert season_length(frequency, longest) == season
