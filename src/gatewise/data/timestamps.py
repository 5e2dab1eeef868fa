"""The time column: which one it is, and its cells as one pandas index.

Accepted: datetimes (naive or with a time zone, which is kept), periods (their start), ISO 8601
text, ``day/month/year`` text whose order the column itself proves, text in any one format that
pandas recognises in its first cell, ``yyyymmdd`` integers, and plain integers (a step counter).
Text with several UTC offsets becomes UTC.
"""

from __future__ import annotations

import re
import warnings
from typing import Any, Final

import numpy as np
import pandas as pd

from gatewise.data.places import cell_text, column_of, listed, row_name, source_name
from gatewise.errors import InvalidValueError

_NAMES: Final = ("ds", "date", "datetime", "timestamp", "time", "year", "t", "step", "index")
_DATE_TEXT: Final = re.compile(
    r"^\s*(\d{4}[-/.]\d{1,2}([-/.]\d{1,2})?([T ].*)?|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}\b.*)\s*$"
)
_SHORT_DATE: Final = re.compile(r"^\s*(\d{1,2})([-/.])(\d{1,2})[-/.](\d{4}|\d{2})\b")
_CLOCKS: Final = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p")
_YEARS: Final = (1678, 2261)  # whole years that nanoseconds in 64 bits can count
_REMEDY: Final = "Write dates as 2024-01-31 or 2024-01-31 14:00:00."


def find_time_column(frame: pd.DataFrame) -> str:
    """Return the name of the time column: ``ds``, or the only column that holds dates.

    Failing these, a numeric column called ``date``, ``time``, ``timestamp``, ``year``, ``t`` ….

    Args:
        frame: The table.

    Returns:
        The column's name.

    Raises:
        InvalidValueError: If no column, or more than one, could be the time.
    """
    if "ds" in frame.columns:
        return "ds"
    found = [name for name in frame.columns if _looks_dated(column_of(frame, name))]
    if not found:
        found = [
            name
            for name in frame.columns
            if name.lower() in _NAMES and pd.api.types.is_numeric_dtype(frame.dtypes[name])
        ]
    if len(found) == 1:
        return found[0]
    columns = listed(found or list(frame.columns))
    raise InvalidValueError(
        source_name(frame), "one time column",
        f"several: {columns}" if found else f"none among the columns {columns}",
        "Name it with time_column=…, or call it 'ds'.",
    )  # fmt: skip


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
    empty = column_of(frame, column).isna().to_numpy()
    _refuse(frame, column, empty, "a time", "Fill in the time, or remove the row.")
    times = _read(frame, column)
    if isinstance(times, pd.DatetimeIndex):
        strange = (times.year < _YEARS[0]) | (times.year > _YEARS[1])
        expected = f"a time between the years {_YEARS[0]} and {_YEARS[1]}"
        _refuse(frame, column, strange, expected, "Correct the date, or give integers as time.")
    return times


def _read(frame: pd.DataFrame, column: str) -> pd.Index:
    """Read the cells by their type."""
    values = column_of(frame, column)
    if isinstance(values.dtype, pd.PeriodDtype):
        return _trim(pd.PeriodIndex(values).to_timestamp())
    if pd.api.types.is_datetime64_any_dtype(values.dtype):
        return _trim(pd.DatetimeIndex(values))
    if pd.api.types.is_bool_dtype(values.dtype):
        return _refuse(frame, column, np.ones(len(values), dtype=bool), "a time", _REMEDY)
    if pd.api.types.is_numeric_dtype(values.dtype):
        return _from_numbers(frame, column)
    return _from_text(frame, column)


def _looks_dated(values: pd.Series) -> bool:
    """Tell whether a column's type or its first cells are those of dates."""
    if pd.api.types.is_datetime64_any_dtype(values.dtype):
        return True
    if isinstance(values.dtype, pd.PeriodDtype):
        return True
    if pd.api.types.is_numeric_dtype(values.dtype):
        return False
    sample = values.dropna().head(20)
    return len(sample) > 0 and all(_DATE_TEXT.match(str(cell)) for cell in sample)


def _from_numbers(frame: pd.DataFrame, column: str) -> pd.Index:
    """Read integers as a step counter, or as dates where all of them are ``yyyymmdd``."""
    cells = column_of(frame, column)
    values = cells.to_numpy(dtype=np.float64)
    wrong = (values != np.floor(values)) | (np.abs(values) > 2**53)  # infinities are beyond
    _refuse(frame, column, wrong, "a date or a whole number below 2**53", _REMEDY)
    numbers = cells.to_numpy(dtype=np.int64)
    if len(numbers) and numbers.min() >= 1800_01_01 and numbers.max() <= 2200_12_31:
        text = pd.Series(numbers).astype(str)
        dates = pd.DatetimeIndex(pd.to_datetime(text, format="%Y%m%d", errors="coerce"))
        if not dates.hasnans:
            return _trim(dates)
    return pd.Index(numbers)


def _from_text(frame: pd.DataFrame, column: str) -> pd.Index:
    """Read text, ``datetime.date`` and ``Timestamp`` objects, all cells in one format."""
    cells = column_of(frame, column).astype(object)
    first = str(cells.iloc[0]) if len(cells) else ""
    formats: list[str | None] = ["ISO8601"]
    short = _SHORT_DATE.match(first)
    if short:
        date = ("%d{0}%m{0}" if _day_first(frame, column) else "%m{0}%d{0}").format(short[2])
        date += "%Y" if len(short[4]) == 4 else "%y"
        formats = [date + clock for clock in _CLOCKS]
    elif re.search("[A-Za-z]{3}", first):
        formats.append(None)  # months by name: pandas takes the format from the first cell
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # pandas warns before it guesses cell by cell
        for form in formats:
            for utc in (False, True):  # several offsets in one column can only be read as UTC
                try:
                    return _trim(pd.DatetimeIndex(pd.to_datetime(cells, format=form, utc=utc)))
                except (ValueError, TypeError, OverflowError, Warning):
                    continue
    wrong = np.ones(len(cells), dtype=bool)
    for form in formats:
        if form is not None:
            read = pd.to_datetime(cells, format=form, utc=True, errors="coerce")
            wrong &= np.asarray(read.isna())
    if not wrong.any():
        return _refuse(frame, column, ~wrong, "one format of time in all rows", _REMEDY)
    return _refuse(frame, column, wrong, "a time", _REMEDY)


def _day_first(frame: pd.DataFrame, column: str) -> bool:
    """Decide between day/month and month/day from the whole column, or refuse."""
    parts = column_of(frame, column).astype(str).str.extract(_SHORT_DATE)
    first, second = (np.asarray(parts[k], dtype=np.float64) for k in (0, 2))
    if (first > 12).any():
        return True
    if (second > 12).any():
        return False
    if (parts[1] == ".").all():  # dots are used where the day comes first
        return True
    everywhere = np.ones(len(parts), dtype=bool)
    _refuse(frame, column, everywhere, "a date whose day and month can be told apart", _REMEDY)
    return False


def _trim(times: pd.DatetimeIndex) -> pd.DatetimeIndex:
    """Settle on microseconds, whose range is wide, unless nanoseconds are used."""
    times = times.rename(None)
    coarse = times.as_unit("us")
    return coarse if times.unit != "ns" or (coarse == times).all() else times


def _refuse(frame: pd.DataFrame, column: str, wrong: Any, expected: str, remedy: str) -> Any:
    """Raise for the first row that is wrong, if there is one."""
    if not np.any(wrong):
        return
    row = int(np.argmax(wrong))
    where = f"{row_name(frame, row)}, column {column!r}"
    got = cell_text(column_of(frame, column).iloc[row])
    raise InvalidValueError(where, expected, got, remedy)
