"""Columns of texts and labels from tables: .csv and .tsv as they stream, Parquet, and frames.

What ``data.reading`` does for numbers is not what texts need: here a cell is never a number, ``NA``
and ``None`` are words, lines within quoted cells are counted, and a table may be larger than
memory.
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet

from gatewise.data.delimited import find_delimiter
from gatewise.data.files import require_file
from gatewise.data.places import column_of, listed, row_number, source_name
from gatewise.data.reading import read_frame
from gatewise.data.schema import require_names
from gatewise.data.text.lines import read_lines
from gatewise.data.text.records import Place
from gatewise.errors import InvalidFileError, InvalidValueError

Cells = Iterator[tuple[Any, Any, Place]]
_DELIMITED: Final = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
_PARQUET: Final = (".parquet", ".pq")


def read_cells(
    source: Any,
    text: str | None,
    label: str | None,
    *,
    quotes: bool = True,
    encoding: str = "utf-8",
) -> Cells:
    """Read a column of texts, and one of labels.

    Args:
        source: A .csv, .tsv (.gz too), .parquet or .feather file, or a frame.
        text: Name of the one column; None: ``text``, or the only one.
        label: Name of the other; None: none.
        quotes: Whether ``"`` quotes the cells of a .csv or .tsv file.
        encoding: Of a .csv or .tsv file.

    Yields:
        The text cell, the label cell (None without ``label``), and their place.

    Raises:
        InvalidFileError: The file is absent, damaged or no table; names the line.
        InvalidValueError: A column is absent, or an option is not for such a table.
    """
    if isinstance(source, str | Path):
        name = Path(source).name.lower()
        if name.endswith(_DELIMITED):
            return _delimited(require_file(source), text, label, quotes, encoding)
        if encoding != "utf-8" or not quotes:
            option = "quotes" if not quotes else "encoding"
            raise InvalidValueError(option, "a .csv or .tsv file to use it for", repr(str(source)))
        if name.endswith(_PARQUET):
            return _parquet(require_file(source), text, label)
    return _frame(source, text, label)


def _delimited(
    path: Path, text: str | None, label: str | None, quotes: bool, encoding: str
) -> Cells:
    """Read .csv or .tsv, rows that span lines included, as it streams."""
    rows = _rows(path, quotes, encoding)
    first = next(rows, None)
    if first is None:
        raise InvalidFileError(str(path), "a header line and rows", "an empty file")
    names, top = [name.strip() for name in first[0]], str(first[1])
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InvalidFileError(top, "each column name once", f"{twice!r} more than once")
    text_at, label_at = _columns(top, names, text, label)
    for cells, place in rows:
        if len(cells) != len(names):
            raise InvalidFileError(
                str(place), f"{len(names)} cell(s), as in the header",
                f"{len(cells)}: {cells!r:.80}",
                "Correct the line; a cell that holds the delimiter stands in quotes.",
            )  # fmt: skip
        yield cells[text_at], None if label_at is None else cells[label_at], place


def _rows(path: Path, quotes: bool, encoding: str) -> Iterator[tuple[list[str], Place]]:
    """Part the file into rows of cells; blank lines are passed over."""
    lines = (line + "\n" for _, line in read_lines(path, encoding))
    head: list[str] = []
    for line in lines:
        head.append(line)
        if sum(not one.isspace() for one in head) == 2:
            break
    # The delimiter is that of the first two filled lines.
    filled = [line.rstrip("\n") for line in head if not line.isspace()] or [""]
    tabs = path.name.lower().endswith((".tsv", ".tsv.gz"))
    delimiter = "\t" if tabs else find_delimiter(filled[0], filled[-1], f"{path}, line 1")
    reader = csv.reader(
        itertools.chain(head, lines), delimiter=delimiter, strict=True,
        quoting=csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE,
    )  # fmt: skip
    while True:
        place = Place(str(path), "line", reader.line_num + 1)
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise InvalidFileError(
                str(place), "a row of cells", str(error),
                "Correct the row, or read quotes as characters with quotes=False.",
            ) from error  # fmt: skip
        if cells:
            yield cells, place


def _parquet(path: Path, text: str | None, label: str | None) -> Cells:
    """Read Parquet, a batch of rows in memory at a time."""
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            columns = _columns(str(path), names, text, label)
            wanted = [names[at] for at in columns if at is not None]
            row = 0
            for batch in file.iter_batches(1024, columns=wanted):
                values = [batch.column(name).to_pylist() for name in wanted]
                for k in range(len(batch)):
                    cell = None if label is None else values[-1][k]
                    yield values[0][k], cell, Place(str(path), "row", row + k)
                row += len(batch)
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, InvalidFileError):
            raise
        reason = str(error).splitlines()[0].rstrip(".")
        raise InvalidFileError(
            str(path), "a Parquet file", f"a file that cannot be read: {reason}"
        ) from error


def _frame(source: Any, text: str | None, label: str | None) -> Cells:
    """Read a frame, or a file that becomes one."""
    frame = read_frame(source)
    names = list(frame.columns)
    text_at, label_at = _columns(source_name(frame), names, text, label)
    texts = column_of(frame, names[text_at])
    labels = None if label_at is None else column_of(frame, names[label_at])
    for k, cell in enumerate(texts):
        place = Place(source_name(frame), *row_number(frame, k))
        yield cell, None if labels is None else labels.iloc[k], place


def _columns(
    where: str, names: Sequence[str], text: str | None, label: str | None
) -> tuple[int, int | None]:
    """Find the two columns by name."""
    others = [name for name in names if name != label]
    if text is None and "text" not in names and len(others) != 1:
        raise InvalidValueError(
            where,
            "a column 'text'",
            f"the columns {listed(names)}",
            "Name the column of the texts; one without a header needs layout='label-last' or so.",
        )
    chosen = text or ("text" if "text" in names else others[0])
    require_names(where, names, [chosen] if label is None else [chosen, label])
    return names.index(chosen), None if label is None else names.index(label)
