"""Comma- and tab-separated text, read strictly: what cannot be a table is refused by its line.

Every cell is read as text first, and a column becomes numbers only if all of its cells are numbers,
so that one bad cell shows up where it stands instead of turning a column into something else. The
parser is Arrow's, which, unlike pandas', refuses lines that are too short.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv

from gatewise.data.files import UTF16_MARKS, open_bytes
from gatewise.data.places import remember_source
from gatewise.errors import InvalidFileError

_MISSING: Final = [
    "", "NA", "N/A", "n/a", "NaN", "nan", "NAN", "null", "NULL", "Null", "None", "none", "<NA>",
    "#N/A", "NaT",
]  # fmt: skip
_DELIMITERS: Final = (",", ";", "\t", "|")
_VALUE: Final = re.compile(r"^\s*([-+]?[\d.]+([eE][-+]?\d+)?|\d{4}-\d\d?-\d\d?.*)\s*$")


def read_delimited(path: Path) -> pd.DataFrame:
    """Read a .csv or .tsv file, gzipped or not.

    The delimiter is a tab for .tsv; else the one of ``, ; tab |`` that parts the header. A first
    column without a name that counts the rows is the index of ``DataFrame.to_csv`` and left out;
    any other column without a name is called ``index``.

    Args:
        path: The file, UTF-8 (or UTF-16 with its mark), with a header line.

    Returns:
        Its table; columns are int64, float64, bool or text.

    Raises:
        InvalidFileError: If the file is empty, damaged, no text, without header or rows, or has a
            line with too many or too few cells.
    """
    where = str(path)
    with open_bytes(path) as file:
        data = file.read()
    text = _decode(data, where)
    lines = text.split(b"\n")
    filled = [k for k, line in enumerate(lines, 1) if line not in (b"", b"\r")]
    if not filled:
        raise InvalidFileError(where, "a header line and rows", "an empty file")
    if len(filled) == 1:
        raise InvalidFileError(where, "a header line and rows", "one line only")
    header, row = (lines[k - 1].decode().rstrip("\r") for k in filled[:2])
    top = f"{where}, line {filled[0]}"
    tabs = path.name.lower().endswith((".tsv", ".tsv.gz"))
    delimiter = "\t" if tabs else find_delimiter(header, row, top)
    names = _header(header, delimiter, top)
    frame = _parse(text, delimiter, names, filled, where).to_pandas()
    if _counts_rows(frame[names[0]], _cells(header, delimiter, top)[0]):
        frame = frame.drop(columns=names[0])
    blank = [k for k, line in enumerate(lines[: filled[-1]], 1) if line in (b"", b"\r")]
    # A quoted cell may span lines; line numbers are then not to be had from row numbers.
    remember_source(frame, path, blank if len(filled) == len(frame) + 1 else None)
    return frame


def find_delimiter(header: str, row: str, where: str) -> str:
    """Return the one of ``, ; tab |`` that parts header and first row alike, into most columns.

    Args:
        header: The line of names.
        row: The line after it.
        where: The place of the header, for a message.

    Returns:
        The delimiter.

    Raises:
        InvalidFileError: If a line cannot be parted at all.
    """

    def columns(mark: str) -> tuple[bool, int]:
        count = len(_cells(header, mark, where))
        return count > 1 and count == len(_cells(row, mark, where)), count

    return max(_DELIMITERS, key=columns)


def _decode(data: bytes, where: str) -> bytes:
    """Return the text as UTF-8 without a mark, or refuse it."""
    wide = data.startswith(UTF16_MARKS)
    try:
        text = data.decode("utf-16" if wide else "utf-8-sig").encode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InvalidFileError(
            f"{where}, line {line}", "text in UTF-8", f"the byte 0x{data[error.start]:02x}",
            "Save the file as UTF-8, or read it with pandas.read_csv(…, encoding='latin-1') and "
            "hand over the frame.",
        ) from error  # fmt: skip
    if b"\0" in text or text.startswith(b"PK\x03\x04"):
        raise InvalidFileError(
            where, "text", "binary data", "Export the table as CSV, or give it its true ending."
        )
    return text if b"\n" in text else text.replace(b"\r", b"\n")


def _cells(line: str, delimiter: str, where: str) -> list[str]:
    """Part one line."""
    try:
        return next(csv.reader([line], delimiter=delimiter))
    except csv.Error as error:
        raise InvalidFileError(where, "a line of cells", str(error)) from error


def _header(line: str, delimiter: str, where: str) -> list[str]:
    """Return the column names, or refuse a line that names no columns."""
    names = [name.strip() for name in _cells(line, delimiter, where)]
    if len(names) == 1:
        raise InvalidFileError(
            where, "at least two columns, parted by comma, semicolon, tab or bar", repr(line),
            "Use one of these delimiters; a table needs a time column and a target.",
        )  # fmt: skip
    if all(_VALUE.match(name) for name in names):
        raise InvalidFileError(
            where, "a header line with column names", repr(line), "Add a line of names."
        )
    names[0] = names[0] or "index"
    if "" in names[:-1]:
        raise InvalidFileError(
            where, "a name for each column", f"none for column {names.index('') + 1}", "Add one."
        )
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InvalidFileError(where, "each column name once", f"{twice!r} more than once")
    return names


def _counts_rows(column: pd.Series, heading: str) -> bool:
    """Tell whether a first column is the numbered index that pandas writes."""
    unnamed = heading.strip() in ("", "Unnamed: 0")
    return unnamed and np.array_equal(column.to_numpy(), np.arange(len(column)))


def _parse(
    text: bytes, delimiter: str, names: list[str], filled: list[int], where: str
) -> pa.Table:
    """Parse the text after its header into typed columns."""
    refused: list[arrow_csv.InvalidRow] = []

    def refuse(row: arrow_csv.InvalidRow) -> str:
        refused.append(row)
        return "error"

    try:
        table = arrow_csv.read_csv(
            pa.BufferReader(text),
            # One thread, since only then does the parser know row numbers.
            read_options=arrow_csv.ReadOptions(
                use_threads=False, column_names=names, skip_rows=filled[0]
            ),
            parse_options=arrow_csv.ParseOptions(
                delimiter=delimiter, invalid_row_handler=refuse, newlines_in_values=True
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                null_values=_MISSING,
                strings_can_be_null=True,
            ),
        )
    except pa.ArrowException as error:
        if not refused:
            raise InvalidFileError(where, "a table", str(error)) from error
        row = refused[0]
        line = _line_of(row, text.split(b"\n"), filled)
        raise InvalidFileError(
            f"{where}, line {line}", f"{row.expected_columns} cells, as in the header",
            f"{row.actual_columns}: {row.text[:80]!r}", "Correct the line.",
        ) from error  # fmt: skip
    if names[-1] == "":  # each line ends with a delimiter
        if table.column(len(names) - 1).null_count < len(table):
            raise InvalidFileError(where, "a name for each column", "none for the last one")
        table = table.remove_column(len(names) - 1)
    return pa.table({name: _typed(table[name]) for name in table.column_names})


def _line_of(row: arrow_csv.InvalidRow, lines: list[bytes], filled: list[int]) -> int:
    """Return the line of a refused row."""
    if row.number is not None and row.number <= len(filled):
        return filled[row.number - 1]
    return lines.index(row.text.encode()) + 1


def _typed(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column of text as integers, floats or booleans if every cell is one."""
    if column.null_count == len(column):
        return column.cast(pa.float64())
    bare = pc.call_function("utf8_trim_whitespace", [column])
    # 007 is a name, not a number; 0x1F would be read as 31.
    code = pc.MatchSubstringOptions(r"^[-+]?0[0-9xX]")
    if True in pc.call_function("match_substring_regex", [bare], code).unique().to_pylist():
        return column
    for kind in (pa.int64(), pa.float64(), pa.bool_()):
        try:
            return bare.cast(kind)
        except pa.ArrowInvalid:
            continue
    return column
