"""Texts from files and frames of any layout, one at a time, with their labels and places.

Where a text stands in a file is said by a layout; ``tables`` and ``jsonl`` know two of them, lines
are read here. Nothing is passed over silently but blank lines.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal

from gatewise.data.files import require_file
from gatewise.data.text.jsonl import read_jsonl
from gatewise.data.text.lines import read_lines
from gatewise.data.text.records import Place, Text, label_names, require_text
from gatewise.data.text.tables import read_cells
from gatewise.errors import InvalidFileError, InvalidValueError

Layout = Literal["auto", "lines", "label-first", "label-last", "table", "jsonl"]
Row = tuple[Any, Any, Place]
"""A text, its labels as they stand there, and the place."""

_TABLES: Final = (
    ".csv",
    ".tsv",
    ".csv.gz",
    ".tsv.gz",
    ".parquet",
    ".pq",
    ".feather",
    ".arrow",
    ".ipc",
)
_JSON: Final = (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz")


def read_texts(
    source: Any,
    *,
    layout: Layout = "auto",
    text: str | None = None,
    label: str | None = None,
    separator: str | None = None,
    label_separator: str | None = None,
    cut_label: str | None = None,
    keep_blank: bool = False,
    quotes: bool = True,
    encoding: str = "utf-8",
) -> Iterator[Text]:
    """Read texts, and their labels where there are some, one at a time.

    Args:
        source: A file (.gz too), or a pandas or polars frame or an Arrow table.
        layout: ``lines``: a text a line. ``label-first``: a label and a text a line;
            ``label-last``: the other way round. ``table``: a column of a .csv, .tsv, .parquet or
            .feather file, or of a frame. ``jsonl``: a field of a JSON object a line. ``auto``: by
            the file's ending, ``lines`` for endings that say nothing.
        text: Column or field of the texts; None: ``text``, or the only one.
        label: Column or field of the labels; None: the texts have none.
        separator: What stands between label and text; None: white space.
        label_separator: What stands between several labels of one text; None: a text has one,
            or, where the file can say so, a list.
        cut_label: Keep of each label what stands before this, as of ``NUM:date`` before ``:``.
        keep_blank: Whether texts of nothing but white space are kept. Else blank lines are
            passed over, and blank cells refused.
        quotes: Whether ``"`` quotes the cells of a .csv or .tsv file, or is a character as others.
        encoding: Of a text file.

    Yields:
        Each text.

    Raises:
        InvalidFileError: The file is absent, damaged or holds no text; names the line.
        InvalidTypeError: A cell is no text; names the line.
        InvalidValueError: A column is absent, a label or a text is missing, or an option does not
            belong to the layout.
    """
    if isinstance(source, str | Path):
        require_file(source)
    layout = _layout_of(source, layout)
    _check_options(layout, text, label, separator, quotes)
    labelled = layout.startswith("label") or label is not None
    rows: Iterator[Row]
    if layout == "table":
        rows = read_cells(source, text, label, quotes=quotes, encoding=encoding)
    elif layout == "jsonl":
        rows = _fields(source, text, label, encoding)
    else:
        rows = _lines(source, layout, separator, encoding, skip_blank=labelled or not keep_blank)
    count = 0
    for cell, labels, place in rows:
        words = require_text("" if keep_blank and cell is None else cell, place)
        if not keep_blank and not words.strip():
            raise InvalidValueError(
                str(place), "a text", "a blank", "Remove the row, or keep blank texts."
            )
        names = label_names(labels, place, label_separator) if labelled else ()
        if cut_label is not None:
            names = tuple(name.partition(cut_label)[0] for name in names)
        count += 1
        yield Text(words, names, place)
    if not count:
        name = str(source) if isinstance(source, str | Path) else "the frame"
        raise InvalidFileError(
            name, "at least one text", "none", "Check that it is the right file."
        )


def _layout_of(source: Any, layout: Layout) -> Layout:
    """Find the layout by the file's ending where none is named."""
    if not isinstance(source, str | Path):
        if layout not in ("auto", "table"):
            raise InvalidValueError("layout", "'table' for a frame", repr(layout))
        return "table"
    if layout != "auto":
        return layout
    name = Path(source).name.lower()
    return "table" if name.endswith(_TABLES) else "jsonl" if name.endswith(_JSON) else "lines"


def _check_options(
    layout: Layout, text: str | None, label: str | None, separator: str | None, quotes: bool
) -> None:
    """Refuse what would not be used."""
    named = layout in ("table", "jsonl")
    given = (
        ("text", text, named, "'table' and 'jsonl'"),
        ("label", label, named, "'table' and 'jsonl'"),
        ("separator", separator, layout.startswith("label"), "'label-first' and 'label-last'"),
        ("quotes", None if quotes else quotes, layout == "table", "'table'"),
    )
    for name, value, belongs, layouts in given:
        if value is not None and not belongs:
            raise InvalidValueError(
                name, f"a layout that has it: {layouts}", repr(layout), "Name the layout."
            )
        if value == "":
            raise InvalidValueError(name, "at least one character", "none")


def _lines(
    source: str | Path, layout: Layout, separator: str | None, encoding: str, *, skip_blank: bool
) -> Iterator[Row]:
    """Read a text a line, or a label and a text."""
    for number, line in read_lines(source, encoding, split_long=layout == "lines"):
        place = Place(str(source), "line", number)
        if skip_blank and not line.strip():
            continue
        if layout == "lines":
            yield line, None, place
            continue
        first = layout == "label-first"
        parts = line.strip().split(separator, 1) if first else line.strip().rsplit(separator, 1)
        if len(parts) < 2:
            mark = "white space" if separator is None else repr(separator)
            raise InvalidFileError(
                str(place), f"a label and a text with {mark} between them", f"{line!r:.60}"
            )
        label, text = parts if first else reversed(parts)
        yield text, label, place


def _fields(
    source: str | Path, text: str | None, label: str | None, encoding: str
) -> Iterator[Row]:
    """Read two fields of the objects of a JSON Lines file."""
    name = "text" if text is None else text
    for fields, place in read_jsonl(source, encoding, (name,) if label is None else (name, label)):
        yield fields[name], None if label is None else fields[label], place
