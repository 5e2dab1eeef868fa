"""What commands print and write: score tables, descriptions, frames."""

from __future__ import annotations

import math
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gatewise.errors import InvalidFileError, InvalidValueError

_WRITERS: dict[str, Callable[[pd.DataFrame, Path], None]] = {
    ".csv": lambda frame, path: frame.to_csv(path, index=False),
    ".tsv": lambda frame, path: frame.to_csv(path, index=False, sep="\t"),
    ".parquet": lambda frame, path: frame.to_parquet(path, index=False),
}


def console() -> Console:
    """Return the console for results, on stdout."""
    return Console(highlight=False)


def check_frame_path(path: Path | None) -> None:
    """Raise an error if ``write_frame`` would not know the kind of file: before any work is done.

    Raises:
        InvalidValueError: The suffix is not one of .csv, .tsv and .parquet.
    """
    if path is not None and path.suffix.lower() not in _WRITERS:
        kinds = ", ".join(_WRITERS)
        raise InvalidValueError(
            "--out", f"a file name that ends in {kinds}", f"'{path}'", "Choose one of these."
        )


def write_frame(frame: pd.DataFrame, path: Path | None) -> None:
    """Write a frame as CSV or Parquet, by the suffix; to stdout as CSV without a path.

    Raises:
        InvalidFileError: It cannot be written; what was there is untouched.
    """
    if path is None:
        frame.to_csv(sys.stdout, index=False)
        return
    writer = _WRITERS[path.suffix.lower()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
            part = Path(folder) / path.name
            writer(frame, part)
            os.replace(part, path)  # noqa: PTH105 - the one call that is atomic on every system
    except OSError as fault:
        raise InvalidFileError(
            f"'{path}'", "a place to write to", fault.strerror or str(fault), "Choose another one."
        ) from fault
    console().print(f"{len(frame):,} rows written to", Text(str(path)), soft_wrap=True)


def score_table(scores: Mapping[str, Mapping[str, float]]) -> Table:
    """Return scores with one row for each metric: that shape fits narrow terminals.

    Args:
        scores: For the model and for each baseline: its scores by name.
    """
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("", overflow="fold")
    for place, name in enumerate(scores):
        style = "bold" if place == 0 else ""
        table.add_column(name.replace("_", " "), justify="right", style=style, overflow="fold")
    metrics = list(dict.fromkeys(metric for row in scores.values() for metric in row))
    for metric in metrics:
        cells = [format_value(row.get(metric)) for row in scores.values()]
        table.add_row(Text(metric), *(Text(cell) for cell in cells))
    return table


def verdict(scores: Mapping[str, Mapping[str, float]], metric: str, mode: str) -> str:
    """Return what the scores say in one sentence; empty when there is nothing to compare.

    Args:
        scores: As for ``score_table``, the model first.
        metric: The score to compare by.
        mode: Whether a lower (``min``) or a higher (``max``) one is better.
    """
    model, *others = (row.get(metric, math.nan) for row in scores.values())
    known = [score for score in others if score > 0]
    if not known or math.isnan(model):
        return ""
    best, word = (min if mode == "min" else max)(known), metric.replace("_", " ")
    if mode == "min" and model < best:
        return f"The model's {word} is {1 - model / best:.0%} below that of the best baseline."
    if mode == "max" and model > best:
        ours, theirs = format_value(model), format_value(best)
        return f"The model's {word} is {ours}, that of the best baseline {theirs}."
    better = "lower" if mode == "min" else "higher"
    return (
        f"The model's {word} is no {better} than that of a baseline: more data or epochs may help."
    )


def description(facts: Mapping[str, Any]) -> list[Table | Text]:
    """Return a nested description as tables: plain facts first, then one table for each list."""
    plain = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    plain.add_column(style="dim", overflow="fold")
    plain.add_column(overflow="fold")
    parts: list[Table | Text] = []
    for name, value in facts.items():
        if isinstance(value, Mapping):
            parts += [_heading(name), *description(value)]
        elif _is_rows(value):
            parts += [_heading(name), _row_table(value)]
        else:
            plain.add_row(Text(_words(name)), Text(format_value(value)))
    return [plain, *parts] if plain.row_count else parts


def format_value(value: Any) -> str:
    """Return a value as text: numbers grouped and short, a missing one as a dash."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.4g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(format_value(item) for item in value) or "-"
    return str(value)


def _is_rows(value: Any) -> bool:
    return (
        isinstance(value, Sequence)
        and not isinstance(value, str)
        and bool(value)
        and all(isinstance(row, Mapping) for row in value)
    )


def _row_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    columns = list(dict.fromkeys(name for row in rows for name in row))
    for name in columns:
        numeric = all(isinstance(row.get(name), (int, float, type(None))) for row in rows)
        table.add_column(_words(name), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(format_value(row.get(name))) for name in columns))
    return table


def _heading(name: str) -> Text:
    return Text(f"\n{_words(name)}", style="bold")


def _words(name: str) -> str:
    return str(name).replace("_", " ")
