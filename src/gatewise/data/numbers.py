"""Cells as numbers: float64 with NaN for what is missing; text and infinities are refused."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd
from jaxtyping import Float64

from gatewise.data.places import Place, cell_text, column_of
from gatewise.errors import InvalidValueError

_DECIMAL_COMMA: Final = re.compile(r"^\s*[-+]?\d+(\.\d{3})*,\d+\s*$")
_REMEDY: Final = "Correct the cell, or leave it empty to count it as missing."


def numeric_column(frame: pd.DataFrame, column: str, place: Place) -> Float64[np.ndarray, "N"]:
    """Return a column as float64.

    Booleans count as 0 and 1; empty and missing cells become NaN.

    Args:
        frame: The table, N rows.
        column: Its name.
        place: Names the place of a row in a message.

    Returns:
        The numbers, N.

    Raises:
        InvalidValueError: If a cell is text, another kind of value, or infinite.
    """
    cells = column_of(frame, column)
    if is_numeric(cells):
        values = cells.to_numpy(dtype=np.float64, na_value=np.nan)
    else:
        values = _from_objects(cells.astype(object), column, place)
    infinite = np.isinf(values)
    if infinite.any():
        row = int(np.argmax(infinite))
        where = f"{place(row)}, column {column!r}"
        raise InvalidValueError(where, "a finite number", str(values[row]), _REMEDY)
    return values


def numeric_columns(
    frame: pd.DataFrame, columns: Sequence[str], place: Place
) -> Float64[np.ndarray, "N K"]:
    """Return several columns as float64, N x K; see ``numeric_column``."""
    table = np.empty((len(frame), len(columns)))
    for k, column in enumerate(columns):
        table[:, k] = numeric_column(frame, column, place)
    return table


def is_numeric(cells: pd.Series) -> bool:
    """Tell whether a column's type is one of real numbers, booleans included."""
    kind = cells.dtype
    return pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_complex_dtype(kind)


def _from_objects(cells: pd.Series, column: str, place: Place) -> np.ndarray:
    """Read text, ``Decimal``, and booleans beside missing cells."""
    values = np.full(len(cells), np.nan)
    for row, cell in enumerate(cells):
        if pd.isna(cell) or (isinstance(cell, str) and not cell.strip()):
            continue
        try:
            values[row] = float(cell)
        except (TypeError, ValueError):
            _refuse(f"{place(row)}, column {column!r}", cell)
        if isinstance(cell, str) and "_" in cell:  # Python's own 1_000
            _refuse(f"{place(row)}, column {column!r}", cell)
    return values


def _refuse(where: str, cell: object) -> None:
    """Raise for a cell that is no number."""
    remedy = _REMEDY
    if isinstance(cell, str) and _DECIMAL_COMMA.match(cell):
        remedy = (
            "Write numbers with a decimal point, or read the file with "
            "pandas.read_csv(…, decimal=',') and hand over the frame."
        )
    raise InvalidValueError(where, "a number", cell_text(cell), remedy)
