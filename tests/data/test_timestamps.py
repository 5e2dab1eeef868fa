"""The time column: found, read, and refused where it is no time or in doubt."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest

from gatewise.data.timestamps import find_time_column, parse_times
from gatewise.errors import InvalidValueError


def times(cells: object) -> pd.Index:
    return parse_times(pd.DataFrame({"ds": cells}), "ds")


@pytest.mark.parametrize(
    ("columns", "found"),
    [
        ({"ds": [1, 2], "date": ["2024-01-01", "2024-01-02"]}, "ds"),
        ({"y": [1, 2], "when": pd.to_datetime(["2024-01-01", "2024-01-02"])}, "when"),
        ({"when": ["2024-01-01 00:00", "2024-01-02 00:00"], "shop": ["a", "b"]}, "when"),
        ({"month": pd.period_range("2024-01", periods=2, freq="M"), "y": [1, 2]}, "month"),
        ({"Year": [1990, 1991], "y": [1, 2]}, "Year"),
        ({"date": [1, 2], "when": ["31/12/2024", "01/01/2025"]}, "when"),
    ],
)
def test_finds_the_time_column(columns: dict[str, object], found: str) -> None:
    assert find_time_column(pd.DataFrame(columns)) == found


def test_refuses_to_choose_a_time_column() -> None:
    day = pd.to_datetime(["2024-01-01"])
    with pytest.raises(InvalidValueError, match="several: 'a', 'b'"):
        find_time_column(pd.DataFrame({"a": day, "b": day}))
    with pytest.raises(InvalidValueError, match="none among the columns 'a', 'y'"):
        find_time_column(pd.DataFrame({"a": ["x"], "y": [1]}))


@pytest.mark.parametrize(
    "cells",
    [
        ["2024-01-31", "2024-02-01"],
        ["2024-01-31 00:00:00", "2024-02-01"],
        ["2024-01-31T00:00:00.000", "2024-02-01T00:00:00"],
        ["2024/01/31", "2024/02/01"],
        ["31/01/2024", "01/02/2024"],
        ["01/31/2024", "02/01/2024"],
        ["31.01.2024", "01.02.2024"],
        ["31-Jan-2024", "01-Feb-2024"],
        [20240131, 20240201],
        [20240131.0, 20240201.0],
        [dt.date(2024, 1, 31), dt.date(2024, 2, 1)],
        pd.to_datetime(["2024-01-31", "2024-02-01"]).as_unit("s"),
        pd.period_range("2024-01-31", periods=2, freq="D"),
    ],
)
def test_reads_dates_however_they_are_written(cells: object) -> None:
    read = times(cells)
    assert isinstance(read, pd.DatetimeIndex)
    assert read.unit == "us"
    assert read.equals(pd.DatetimeIndex(["2024-01-31", "2024-02-01"]).as_unit("us"))


def test_reads_the_hours_of_day_first_and_month_first_dates() -> None:
    assert times(["31/01/2024 17:05", "1/2/2024 0:00"])[0] == pd.Timestamp("2024-01-31 17:05")
    assert times(["1/31/24 5:05 PM", "2/1/24 12:00 AM"]).tolist() == [
        pd.Timestamp("2024-01-31 17:05"),
        pd.Timestamp("2024-02-01"),
    ]


def test_dots_put_the_day_first() -> None:
    assert times(["01.02.2024", "02.02.2024"])[0] == pd.Timestamp("2024-02-01")


def test_keeps_time_zones() -> None:
    zoned = pd.date_range("2024-03-30", periods=3, tz="Europe/Berlin")
    assert str(times(zoned).tz) == "Europe/Berlin"
    one_offset = times(["2024-01-01T00:00+05:30", "2024-01-01T01:00+05:30"])
    assert one_offset[0].utcoffset() == dt.timedelta(hours=5.5)
    two = times(["2024-03-31T01:00+01:00", "2024-03-31T03:00+02:00"])
    assert str(two.tz) == "UTC"
    assert two[1] - two[0] == pd.Timedelta("1h")


def test_keeps_nanoseconds_where_they_are_used() -> None:
    fine = pd.DatetimeIndex(np.array([1, 2], dtype="datetime64[ns]"))
    assert times(fine).equals(fine)
    assert times(fine).unit == "ns"


def test_years_beyond_nanoseconds_are_refused() -> None:
    stamps = pd.DatetimeIndex(np.array(["2024-01-01", "9999-12-31"], dtype="datetime64[us]"))
    with pytest.raises(InvalidValueError, match=r"row 1.* between the years 1678 and 2261"):
        times(stamps)
    with pytest.raises(InvalidValueError, match=r"row 1, column 'ds': .* got '9999-12-31'"):
        times(["2024-01-01", "9999-12-31"])


def test_integers_count_steps() -> None:
    assert times([3, 1, 2]).tolist() == [3, 1, 2]
    assert times([3.0, 1.0]).dtype == np.int64
    assert times([20240131, 20240299]).tolist() == [20240131, 20240299]  # no dates


@pytest.mark.parametrize(
    ("cells", "row", "message"),
    [
        (["2024-01-01", None], 1, "expected a time, got an empty cell"),
        (["2024-01-01", "2024-02-30"], 1, "got '2024-02-30'"),
        (["2024-01-01", "2024-01-02", "soon"], 2, "got 'soon'"),
        (["01/02/2024", "02/03/2024"], 0, "day and month can be told apart"),
        (["31/12/2024", "12/31/2024"], 1, "got '12/31/2024'"),
        (["31/12/2024", "31/12/2024 10:00"], 0, "one format of time in all rows"),
        ([1.0, 1.5], 1, r"got 1\.5"),
        ([1.0, np.inf], 1, "whole number"),
        ([True, False], 0, "got True"),
    ],
)
def test_names_the_cell_that_is_no_time(cells: list[object], row: int, message: str) -> None:
    with pytest.raises(InvalidValueError, match=message) as caught:
        times(cells)
    assert f"row {row}, column 'ds'" in str(caught.value)
