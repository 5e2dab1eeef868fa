"""Tables of any kind as one pandas frame.

Text, Parquet and Feather files, pandas and polars frames, Arrow tables, and whatever else narwhals
knows. Files are read here; nothing is fetched from a network, and nothing is unpickled.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import narwhals as nw
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet

from gatewise.data.delimited import read_delimited
from gatewise.data.files import require_file
from gatewise.data.places import remember_source, source_name
from gatewise.errors import InvalidFileError, InvalidTypeError, InvalidValueError

_TEXT: Final = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
_PARQUET: Final = (".parquet", ".pq")
_FEATHER: Final = (".feather", ".arrow", ".ipc")


def read_frame(source: Any) -> pd.DataFrame:
    """Return a table as a pandas frame.

    Args:
        source: A path to a .csv or .tsv file (.gz too), .parquet or .feather file; or a pandas
            frame, a polars frame, an Arrow table.

    Returns:
        The table, its columns named by text; a pandas frame is not changed. An index of times, or
        one with names, becomes columns.

    Raises:
        InvalidFileError: If the file is missing, damaged, or no table; names the line.
        InvalidTypeError: If ``source`` is no table.
        InvalidValueError: If two columns share a name.
    """
    if isinstance(source, str | Path):
        return _plain(_read_file(require_file(source)))
    if isinstance(source, pd.DataFrame):
        return _plain(source)
    native = nw.from_native(source, pass_through=True)
    if isinstance(native, nw.LazyFrame):
        native = native.collect()
    if not isinstance(native, nw.DataFrame):
        raise InvalidTypeError(
            "read_frame", "a path, a pandas or polars frame or an Arrow table",
            type(source).__name__, "For arrays, build a pandas.DataFrame with ds and y first.",
        )  # fmt: skip
    return _plain(native.to_pandas())


def _read_file(path: Path) -> pd.DataFrame:
    """Read a file by its ending."""
    name = path.name.lower()
    where = str(path)
    if name.endswith(_TEXT):
        return read_delimited(path)
    if not name.endswith(_PARQUET + _FEATHER):
        known = ", ".join(_TEXT + _PARQUET + _FEATHER)
        raise InvalidFileError(
            where, f"a file ending in {known}", repr(path.name),
            "Convert the file, or read it with pandas and hand over the frame.",
        )  # fmt: skip
    kind = "a Parquet file" if name.endswith(_PARQUET) else "a Feather (Arrow IPC) file"
    try:
        if name.endswith(_PARQUET):
            frame = pyarrow.parquet.read_table(path).to_pandas()
        else:
            frame = pyarrow.feather.read_table(path).to_pandas()
    except (pa.ArrowException, OSError) as error:
        text = str(error).splitlines()[0].rstrip(".")
        raise InvalidFileError(where, kind, f"a file that cannot be read: {text}") from error
    if len(frame) == 0:
        raise InvalidFileError(where, "at least one row", "an empty table")
    remember_source(frame, path, None)
    return frame


def _plain(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame with text column names, and times or names of its index as columns."""
    if isinstance(frame.columns, pd.MultiIndex):
        raise InvalidValueError(
            source_name(frame), "one level of column names", f"{frame.columns.nlevels} levels"
        )
    index = frame.index
    told = [name for name in index.names if name is not None and name not in frame.columns]
    timed = isinstance(index, pd.DatetimeIndex | pd.PeriodIndex) and index.name is None
    if timed or (told and len(told) == index.nlevels):
        frame = frame.reset_index()
    names = [str(name) for name in frame.columns]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InvalidValueError(
            source_name(frame), "each column name once", f"{twice!r} more than once",
            "Rename or remove one of them.",
        )  # fmt: skip
    return frame if names == list(frame.columns) else frame.set_axis(names, axis=1)
