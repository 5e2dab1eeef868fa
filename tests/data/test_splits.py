"""Cutting series in time."""

from __future__ import annotations

import pandas as pd
import pytest

from gatewise.data import split_at, split_counts, split_last
from gatewise.errors import InvalidValueError

from .tables import long_frame, panel_of

PANEL = panel_of(long_frame({"a": 30, "b": 20}))


def test_the_last_steps_or_a_share_are_kept() -> None:
    assert split_last(PANEL, 5) == ([(0, 25), (0, 15)], [(25, 30), (15, 20)])
    assert split_last(PANEL, 0.1) == ([(0, 27), (0, 18)], [(27, 30), (18, 20)])
    assert split_last(PANEL, 0.999) == ([(0, 1), (0, 1)], [(1, 30), (1, 20)])
    assert split_last(PANEL, 0.001) == ([(0, 29), (0, 19)], [(29, 30), (19, 20)])


def test_dates_are_the_first_of_their_part() -> None:
    parts = split_at(PANEL, "2024-01-11", pd.Timestamp("2024-01-25 12:00"))
    assert parts == (
        [(0, 10), (0, 10)],
        [(10, 25), (10, 20)],
        [(25, 30), (20, 20)],
    )
    zoned = pd.DataFrame({"ds": pd.date_range("2024-01-01", periods=9, tz="Asia/Tokyo"), "y": 1.0})
    assert split_at(panel_of(zoned), "2024-01-04")[0] == [(0, 3)]
    counted = panel_of(pd.DataFrame({"ds": range(0, 90, 10), "y": 1.0}))
    assert split_at(counted, 25)[1] == [(3, 9)]


def test_counts_leave_the_rest() -> None:
    assert split_counts(PANEL, 8, 4, 4) == (
        [(0, 8), (0, 8)],
        [(8, 12), (8, 12)],
        [(12, 16), (12, 16)],
    )


def test_wrong_borders_are_named() -> None:
    for steps in (0, -1, 1.5, 0.0):
        with pytest.raises(InvalidValueError, match="validation: expected steps"):
            split_last(PANEL, steps)
    with pytest.raises(InvalidValueError, match=r"series 'b' \(20\)"):
        split_last(PANEL, 20)
    with pytest.raises(InvalidValueError, match="ascending"):
        split_at(PANEL, "2024-01-11", "2024-01-05")
    for border in ("soon", 5):
        with pytest.raises(InvalidValueError, match="border: expected a time"):
            split_at(PANEL, border)
    with pytest.raises(InvalidValueError, match="without a zone"):
        split_at(PANEL, "2024-01-11T00:00Z")
    with pytest.raises(InvalidValueError, match="an integer, as time is"):
        split_at(panel_of(pd.DataFrame({"ds": range(9), "y": 1.0})), "2024-01-11")
    with pytest.raises(InvalidValueError, match="at least 1 step"):
        split_counts(PANEL, 8, 0)
    with pytest.raises(InvalidValueError, match=r"series 'b' \(20\)"):
        split_counts(PANEL, 18, 3)
