"""Cells as numbers: float64 with NaN for what is missing; text and infinities are refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import pandas as pd
from jaxtyping import Float64

from gatewise.errors import InvalidValueError

_DECIMAL_COMMA: Final = re.compile(r"^\s*[-+]?\d+(\.\d{3})*,\d+\s*$")


def numeric_column(
    frame: pd.DataFrame, column: str, place: Callable[[int], str]
) -> Float64[np.ndarray, "N"]:
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
    values = _numbers(frame[column])
    if values is None:
        cells = frame[column].astype(object)
        cells = cells.where(cells.map(lambda cell: not isinstance(cell, str) or bool(cell.strip())))
        values = _numbers(pd.Series(pd.to_numeric(cells, errors="coerce")))
        wrong = np.isnan(values) & cells.notna().to_numpy()  # pyright: ignore[reportArgumentType]
        if wrong.any():
            row = int(np.argmax(wrong))
            _refuse_text(place(row), column, cells.iloc[row])
    infinite = np.isinf(values)  # pyright: ignore[reportArgumentType]
    if infinite.any():
        row = int(np.argmax(infinite))
        raise InvalidValueError(
            f"{place(row)}, column {column!r}", "a finite number", str(values[row]),  # pyright: ignore[reportOptionalSubscript]
            "Correct the cell, or leave it empty to count it as missing.",
        )  # fmt: skip
    return values  # pyright: ignore[reportReturnType]


def numeric_columns(
    frame: pd.DataFrame, columns: Sequence[str], place: Callable[[int], str]
) -> Float64[np.ndarray, "N K"]:
    """Return several columns as float64, N x K; see ``numeric_column``."""
    table = np.empty((len(frame), len(columns)))
    for k, column in enumerate(columns):
        table[:, k] = numeric_column(frame, column, place)
    return table


def is_numeric(values: pd.Series) -> bool:
    """Tell whether a column's type is one of numbers, booleans included."""
    kind = values.dtype
    return pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_complex_dtype(kind)


def _numbers(values: pd.Series) -> np.ndarray | None:
    """Return a column whose type is numeric as float64, or None for another type."""
    return values.to_numpy(dtype=np.float64, na_value=np.nan) if is_numeric(values) else None


def _refuse_text(where: str, column: str, cell: object) -> None:
    """Raise for a cell that is no number."""
    remedy = "Correct the cell, or leave it empty to count it as missing."
    if isinstance(cell, str) and _DECIMAL_COMMA.match(cell):
        remedy = (
            "Write numbers with a decimal point, or read the file with "
            "pandas.read_csv(…, decimal=',') and hand over the frame."
        )
    raise InvalidValueError(f"{where}, column {column!r}", "a number", repr(cell), remedy)
