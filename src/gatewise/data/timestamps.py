"""The time column: which one it is, and its cells as one pandas index.

Accepted: datetimes (naive or with a time zone, which is kept), periods (their start), ISO 8601
text, ``day/month/year`` text whose order the column itself proves, ``yyyymmdd`` integers, and plain
integers (a step counter). Text with several UTC offsets becomes UTC.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from typing import Final

import numpy as np
import pandas as pd

from gatewise.data.places import row_name, source_name
from gatewise.errors import InvalidValueError

_NAMES: Final = ("ds", "date", "datetime", "timestamp", "time", "year", "t", "step")
_DATE_TEXT: Final = re.compile(
    r"^\s*(\d{4}[-/.]\d{1,2}([-/.]\d{1,2})?([T ].*)?|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}.*)\s*$"
)
_SHORT_DATE: Final = re.compile(r"^\s*(\d{1,2})([-/.])(\d{1,2})[-/.]\d{2,4}(?!\d)")
_ISO_REMEDY: Final = "Write dates as 2024-01-31 or 2024-01-31 14:00:00."


def find_time_column(frame: pd.DataFrame) -> str:
    """Return the name of the time column: ``ds``, or the only column that holds dates.

    Args:
        frame: The table.

    Returns:
        The column's name.

    Raises:
        InvalidValueError: If no column, or more than one, could be the time.
    """
    if "ds" in frame.columns:
        return "ds"
    dated = [name for name in frame.columns if _looks_dated(frame[name])]
    if len(dated) == 1:
        return dated[0]
    counters = [
        name
        for name in frame.columns
        if str(name).lower() in _NAMES and pd.api.types.is_numeric_dtype(frame[name])
    ]
    if not dated and len(counters) == 1:
        return counters[0]
    columns = ", ".join(repr(name) for name in (dated or list(frame.columns)))
    got = f"several: {columns}" if dated else f"none among the columns {columns}"
    raise InvalidValueError(
        source_name(frame), "one time column", got, "Name it with time_column=…, or call it 'ds'."
    )


def parse_times(frame: pd.DataFrame, column: str) -> pd.Index:
    """Return the time column as an index.

    Args:
        frame: The table.
        column: The name of its time column.

    Returns:
        A ``DatetimeIndex`` in microseconds (nanoseconds where they are used), or an ``Index`` of
        int64 for a step counter; one entry per row, in the order of the rows.

    Raises:
        InvalidValueError: If a cell is missing, is no time, or leaves day and month in doubt.
    """
    values = frame[column]
    _refuse(
        frame, column, values.isna().to_numpy(), "a time", "Fill in the time, or remove the row."
    )
    if isinstance(values.dtype, pd.PeriodDtype):
        return _trim(pd.PeriodIndex(values).to_timestamp())
    if pd.api.types.is_datetime64_any_dtype(values.dtype):
        return _trim(pd.DatetimeIndex(values))
    if pd.api.types.is_bool_dtype(values.dtype):
        _refuse(frame, column, np.ones(len(values), bool), "a time", _ISO_REMEDY)
    if pd.api.types.is_numeric_dtype(values.dtype):
        return _from_numbers(frame, column)
    return _from_text(frame, column)


def _looks_dated(values: pd.Series) -> bool:
    """Tell whether the first cells are dates."""
    if pd.api.types.is_datetime64_any_dtype(values.dtype):
        return True
    if isinstance(values.dtype, pd.PeriodDtype):
        return True
    if pd.api.types.is_numeric_dtype(values.dtype) or isinstance(values.dtype, pd.CategoricalDtype):
        return False
    sample = values.dropna().head(20)
    return len(sample) > 0 and all(_DATE_TEXT.match(str(cell)) for cell in sample)


def _from_numbers(frame: pd.DataFrame, column: str) -> pd.Index:
    """Read integers as a step counter, or as dates where all of them are ``yyyymmdd``."""
    values = frame[column].to_numpy(dtype=np.float64)
    _refuse(
        frame, column, values != np.floor(values), "a whole number or a date", _ISO_REMEDY
    )  # infinities and fractions
    _refuse(frame, column, np.abs(values) > 2**53, "a whole number below 2**53", _ISO_REMEDY)
    numbers = frame[column].to_numpy(dtype=np.int64)
    if len(numbers) and 18000101 <= numbers.min() and numbers.max() <= 22001231:
        dates = pd.to_datetime(pd.Series(numbers).astype(str), format="%Y%m%d", errors="coerce")
        if not dates.isna().any():
            return _trim(pd.DatetimeIndex(dates))
    return pd.Index(numbers)


def _from_text(frame: pd.DataFrame, column: str) -> pd.Index:
    """Read text, ``datetime.date`` and ``Timestamp`` objects."""
    cells = frame[column].astype(object)
    first = cells.iloc[0] if len(cells) else ""
    read: Callable[..., pd.Index]
    if isinstance(first, str) and _SHORT_DATE.match(first):
        dayfirst = _day_first(frame, column)

        def read(values: pd.Series, **options: object) -> pd.Index:
            return pd.DatetimeIndex(pd.to_datetime(values, dayfirst=dayfirst, **options))

    else:

        def read(values: pd.Series, **options: object) -> pd.Index:
            return pd.DatetimeIndex(pd.to_datetime(values, format="ISO8601", **options))

    with warnings.catch_warnings():
        # pandas warns before it guesses cell by cell; here a guess is an error.
        warnings.simplefilter("error")
        for options in ({}, {"utc": True}):
            try:
                return _trim(read(cells, **options))
            except (ValueError, TypeError, OverflowError, UserWarning, FutureWarning):
                continue
        warnings.simplefilter("ignore")
        wrong = read(cells, utc=True, errors="coerce").isna()
    if not wrong.any():
        wrong = np.ones(len(cells), bool)
    _refuse(frame, column, wrong, "a time", _ISO_REMEDY)
    raise AssertionError  # _refuse has raised


def _day_first(frame: pd.DataFrame, column: str) -> bool:
    """Decide between day/month and month/day from the whole column, or refuse."""
    parts = frame[column].astype(str).str.extract(_SHORT_DATE)
    first, second = (pd.to_numeric(parts[k]).to_numpy() for k in (0, 2))
    if (first > 12).any():
        return True
    if (second > 12).any():
        return False
    if (parts[1] == ".").all():  # dots are used where the day comes first
        return True
    _refuse(
        frame, column, np.ones(len(parts), bool), "a date whose day and month can be told apart",
        _ISO_REMEDY,
    )  # fmt: skip
    raise AssertionError  # _refuse has raised


def _trim(times: pd.DatetimeIndex) -> pd.DatetimeIndex:
    """Settle on microseconds, whose range is wide, unless nanoseconds are used."""
    times = times.rename(None)
    coarse = times.as_unit("us")
    return coarse if times.unit != "ns" or (coarse == times).all() else times


def _refuse(
    frame: pd.DataFrame, column: str, wrong: np.ndarray, expected: str, remedy: str
) -> None:
    """Raise for the first row that is wrong."""
    if wrong.any():
        row = int(np.argmax(wrong))
        cell = frame[column].iloc[row]
        got = "an empty cell" if pd.isna(cell) else repr(cell)
        where = f"{row_name(frame, row)}, column {column!r}"
        raise InvalidValueError(where, expected, got, remedy)
