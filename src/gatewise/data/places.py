"""Where a value stands, in the words of whoever gave the table: file and line, or row of a frame.

A frame that was read from a file carries, in its ``attrs``, the file's name and which of its lines
were blank. An index label then still leads back to the line after rows have been filtered out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

Place = Callable[[int], str]
"""Names the place of a row in a message."""

_KEY = "gatewise_source"


def remember_source(frame: pd.DataFrame, path: Path, blank_lines: Sequence[int] | None) -> None:
    """Record on ``frame`` which file it is.

    Args:
        frame: The table, with a fresh ``RangeIndex``.
        path: The file it was read from.
        blank_lines: Numbers of the file's blank lines, ascending; None when lines and rows do not
            correspond (binary formats, cells that span lines).
    """
    lines = None if blank_lines is None else [int(line) for line in blank_lines]
    frame.attrs[_KEY] = {"file": path.name, "rows": len(frame), "blank_lines": lines}


def source_name(frame: pd.DataFrame) -> str:
    """Return the file's name, or ``the frame``."""
    return str(frame.attrs.get(_KEY, {}).get("file", "the frame"))


def row_name(frame: pd.DataFrame, position: int) -> str:
    """Return how a person finds a row again: ``data.csv, line 19`` or ``the frame, row 17``.

    Args:
        frame: The table.
        position: The row, counted from 0.

    Returns:
        The source and the line (files, counted from 1 with the header) or the row (frames, counted
        from 0, with its index label where that differs).
    """
    unit, number = row_number(frame, position)
    label = frame.index[position]
    suffix = "" if unit == "line" or label == position else f" (index {cell_text(label)})"
    return f"{source_name(frame)}, {unit} {number}{suffix}"


def row_number(frame: pd.DataFrame, position: int) -> tuple[str, int]:
    """Return the unit and the number by which ``row_name`` names a row.

    Args:
        frame: The table.
        position: The row, counted from 0.

    Returns:
        ``("line", 19)`` or ``("row", 17)``.
    """
    label = frame.index[position]
    blank = _blank_lines(frame)
    if blank is not None and isinstance(label, int | np.integer):
        return "line", _line_of(int(label), blank)
    return "row", position


def column_of(frame: pd.DataFrame, name: str) -> pd.Series:
    """Return one column; names are unique in what ``read_frame`` returns."""
    column = frame[name]
    if not isinstance(column, pd.Series):
        raise TypeError(name)
    return column


def listed(names: Sequence[str]) -> str:
    """Return names as a message shows them, the first dozen if there are many."""
    shown = ", ".join(repr(name) for name in names[:12])
    return f"{shown} and {len(names) - 12} more" if len(names) > 12 else shown


def cell_text(cell: object) -> str:
    """Return a cell as a message shows it: ``5.0``, ``'abc'``, ``an empty cell``."""
    if isinstance(cell, np.generic):
        cell = cell.item()
    empty = cell is None or cell is pd.NaT or cell is pd.NA or cell != cell  # NaN
    return "an empty cell" if empty else repr(cell)


def _blank_lines(frame: pd.DataFrame) -> Sequence[int] | None:
    """Return the file's blank lines if the index labels of ``frame`` still tell its rows."""
    source = frame.attrs.get(_KEY)
    if source is None:
        return None
    index = frame.index
    renumbered = isinstance(index, pd.RangeIndex) and index.start == 0 and index.step == 1
    return None if renumbered and len(frame) != source["rows"] else source["blank_lines"]


def _line_of(row: int, blank_lines: Sequence[int]) -> int:
    """Count on from the header to the line of a row, over the blank lines."""
    line = row + 2
    for blank in blank_lines:
        if blank > line:
            break
        line += 1
    return line
