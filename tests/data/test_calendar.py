"""Calendar features: the clock and the calendar on the unit circle."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gatewise.data import CALENDAR_FEATURES
from gatewise.data.calendar import (
    calendar_columns,
    calendar_values,
    check_calendar,
    choose_calendar,
)
from gatewise.errors import InvalidValueError


@pytest.mark.parametrize(
    ("name", "stamp", "phase"),
    [
        ("minute_of_hour", "2024-05-05 10:15:36", 0.26),
        ("hour_of_day", "2024-05-05 06:00", 0.25),
        ("hour_of_day", "2024-05-05 18:30", 18.5 / 24),
        ("day_of_week", "2024-05-05 23:00", 6 / 7),  # a Sunday
        ("day_of_month", "2024-02-16", 15 / 29),
        ("day_of_year", "2024-12-31", 365 / 366),
        ("day_of_year", "2023-07-02", 182 / 365),
        ("month_of_year", "2024-04-30", 0.25),
    ],
)
def test_phases(name: str, stamp: str, phase: float) -> None:
    values = calendar_values(pd.DatetimeIndex([stamp]), [name])[0]
    expected = [0.5 * np.sin(2 * np.pi * phase), 0.5 * np.cos(2 * np.pi * phase)]
    np.testing.assert_allclose(values, expected, atol=1e-12)


def test_the_local_clock_counts() -> None:
    utc = pd.DatetimeIndex(["2024-07-01 22:00"], tz="UTC")
    local = calendar_values(utc.tz_convert("Europe/Berlin"), ["hour_of_day"])
    np.testing.assert_allclose(local, [[0.0, 0.5]], atol=1e-12)  # midnight


def test_columns_are_bounded_and_named() -> None:
    times = pd.date_range("2024-01-01", periods=9000, freq="67min")
    values = calendar_values(times, CALENDAR_FEATURES)
    assert values.shape == (9000, len(calendar_columns(CALENDAR_FEATURES)))
    np.testing.assert_allclose((values.reshape(9000, -1, 2) ** 2).sum(2), 0.25)
    assert calendar_columns(["hour_of_day"]) == ("hour_of_day_sin", "hour_of_day_cos")


@pytest.mark.parametrize(
    ("frequency", "days", "names"),
    [
        ("s", 1, ("minute_of_hour",)),
        ("15min", 20, ("hour_of_day", "day_of_week")),
        ("h", 725, ("hour_of_day", "day_of_week")),
        ("h", 731, ("hour_of_day", "day_of_week", "day_of_year")),
        ("D", 13, ()),
        ("D", 100, ("day_of_week", "day_of_month")),
        ("B", 1000, ("day_of_week", "day_of_month", "day_of_year")),
        ("W-SUN", 1000, ("day_of_year",)),
        ("QS-JAN", 1000, ("month_of_year",)),
        ("MS", 700, ()),
        ("YS-JAN", 9999, ()),
        (None, 9999, ()),
    ],
)
def test_features_are_chosen_by_frequency_and_span(
    frequency: str | None, days: float, names: tuple[str, ...]
) -> None:
    assert choose_calendar(frequency, float(days)) == names


def test_named_features_are_checked() -> None:
    assert check_calendar(["day_of_week"], "D") == ("day_of_week",)
    with pytest.raises(InvalidValueError, match="got 'phase_of_moon'"):
        check_calendar(["phase_of_moon"], "D")
    with pytest.raises(InvalidValueError, match="integer time"):
        check_calendar(["day_of_week"], None)
