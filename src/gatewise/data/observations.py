"""A table, long or wide, as flat rows: series number, time, target and covariates, all checked.

This is the last place that knows the user's table; from here on there are only arrays. What it
refuses, it names by file and line (or row), series, timestamp and column.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from jaxtyping import Float64, Int64

from gatewise.data.numbers import is_numeric, numeric_column, numeric_columns
from gatewise.data.places import Place, column_of, row_name, source_name
from gatewise.data.schema import PanelSchema, require_columns
from gatewise.data.statics import static_values
from gatewise.data.timestamps import parse_times
from gatewise.errors import InvalidValueError


@dataclass(frozen=True, eq=False)
class Observations:
    """Rows of a table, grouped by series and ascending in time within each.

    Args:
        ids: The series' identities as in the table, S, in order of appearance.
        series: For each row, its series: int64, R, ascending.
        times: R timestamps, strictly ascending within a series.
        y: Target, R; NaN where missing.
        past: Past covariates, R x Kp.
        future: Known-future columns (without calendar features), R x Ku.
        static: Static covariates, S x Ks; NaN where missing.
        places: For each row, its row in the table: int64, R.
        frame: The table.
    """

    ids: pd.Index
    series: Int64[np.ndarray, "R"]
    times: pd.Index
    y: Float64[np.ndarray, "R"]
    past: Float64[np.ndarray, "R Kp"]
    future: Float64[np.ndarray, "R Ku"]
    static: Float64[np.ndarray, "S Ks"]
    places: Int64[np.ndarray, "R"]
    frame: pd.DataFrame

    def place(self, row: int) -> str:
        """Return ``file, line n (series 'a', timestamp)`` for a row of these arrays."""
        position = int(self.places[row])
        name = str(self.ids[self.series[row]])
        return f"{row_name(self.frame, position)} (series {name!r}, {self.times[row]})"


def read_observations(
    frame: pd.DataFrame, schema: PanelSchema, *, require_target: bool
) -> Observations:
    """Read a whole table by its schema.

    Args:
        frame: The table.
        schema: Its meaning. A wide schema also accepts a long table (``unique_id``, the time
            column, ``y``), so that some series alone can be given.
        require_target: Whether the target must be there; without it, ``y`` is all NaN.

    Returns:
        Its rows.

    Raises:
        InvalidValueError: For a lacking column, an empty table, duplicate or unsorted timestamps,
            text or infinity for a number, a missing identity, an unknown category.
    """
    schema = _accept_long(frame, schema)
    wide = schema.layout == "wide"
    needed = [] if schema.id_column is None else [schema.id_column]
    needed += [schema.time_column, *schema.past, *schema.future, *schema.static]
    targets = list(schema.series_columns) if wide else [schema.target_column]
    require_columns(frame, needed + (targets if require_target else []), trained=True)
    if len(frame) == 0:
        raise InvalidValueError(source_name(frame), "at least one row", "an empty table")
    times = parse_times(frame, schema.time_column)
    _check_kind(frame, times, schema)
    codes, ids = _identities(frame, schema)

    def place(position: int) -> str:
        named = schema.id_column is not None
        series = f"series {str(ids[codes[position]])!r}, " if named else ""
        return f"{row_name(frame, position)} ({series}{times[position]})"

    order = _check_order(times, codes, place)
    past = numeric_columns(frame, schema.past, place)
    future = numeric_columns(frame, schema.future, place)
    if wide:
        ids, y = _wide_targets(frame, schema, place, require_target=require_target)
        tile = np.tile(order, len(ids))
        codes = np.repeat(np.arange(len(ids)), len(order))
        return Observations(
            ids, codes, times[tile], y[order].T.ravel(), past[tile], future[tile],
            np.empty((len(ids), 0)), tile, frame,
        )  # fmt: skip
    if schema.target_column in frame.columns:
        y = numeric_column(frame, schema.target_column, place)
    else:
        y = np.full(len(frame), np.nan)
    static = static_values(frame, schema, codes, ids)
    return Observations(
        ids, codes[order], times[order], y[order], past[order], future[order], static, order, frame
    )


def read_future(frame: pd.DataFrame, schema: PanelSchema, ids: Sequence[str]) -> Observations:
    """Read known-future values for series that are already known.

    Args:
        frame: A table with the time column and the known-future columns. Without the id column
            its values hold for every series.
        schema: The schema of the panel.
        ids: Names of the panel's series, S.

    Returns:
        Rows whose series number counts in ``ids``; rows of other series are left out.
    """
    require_columns(frame, [schema.time_column, *schema.future], trained=True)
    if len(frame) == 0:
        raise InvalidValueError(source_name(frame), "at least one row", "an empty table")
    shared = schema.id_column is None or schema.id_column not in frame.columns
    reading = replace(
        schema, layout="long", past=(), static=(), static_categories={},
        id_column=None if shared else schema.id_column, target_column="",
    )  # fmt: skip
    rows = read_observations(frame, reading, require_target=False)
    if shared:
        tile = np.tile(np.arange(len(rows.times)), len(ids))
        codes = np.repeat(np.arange(len(ids)), len(rows.times))
    else:
        found = pd.Index(ids).get_indexer(pd.Index([str(name) for name in rows.ids]))
        codes = np.asarray(found, dtype=np.int64)[rows.series]
        tile = np.flatnonzero(codes >= 0)
        tile = tile[np.argsort(codes[tile], kind="stable")]
        codes = codes[tile]
    return Observations(
        pd.Index(ids), codes, rows.times[tile], rows.y[tile], rows.past[tile], rows.future[tile],
        np.empty((len(ids), 0)), rows.places[tile], frame,
    )  # fmt: skip


def _accept_long(frame: pd.DataFrame, schema: PanelSchema) -> PanelSchema:
    """Let a wide schema read a long table of the same series."""
    long = {"unique_id", schema.time_column, schema.target_column}
    if schema.layout == "wide" and long <= set(frame.columns):
        return replace(schema, layout="long", id_column="unique_id")
    return schema


def _check_kind(frame: pd.DataFrame, times: pd.Index, schema: PanelSchema) -> None:
    """Refuse dates where integers were learned, and the reverse."""
    dated = isinstance(times, pd.DatetimeIndex)
    if dated != (schema.frequency is not None):
        kinds = ("integers", "timestamps")
        raise InvalidValueError(
            f"{source_name(frame)}, column {schema.time_column!r}",
            f"{kinds[not dated]}, as in training", kinds[dated],
            "Give time as it was given in training.",
        )  # fmt: skip


def _identities(frame: pd.DataFrame, schema: PanelSchema) -> tuple[np.ndarray, pd.Index]:
    """Return the series number of every row and the identities in order of appearance."""
    if schema.id_column is None:
        return np.zeros(len(frame), dtype=np.int64), pd.Index([schema.target_column or "y"])
    codes, found = pd.factorize(frame[schema.id_column])
    if (codes < 0).any():
        row = int(np.argmax(codes < 0))
        raise InvalidValueError(
            f"{row_name(frame, row)}, column {schema.id_column!r}", "the name of a series",
            "an empty cell", "Fill in the name, or remove the row.",
        )  # fmt: skip
    ids = pd.Index(found)
    names = pd.Index([str(name) for name in ids])
    if names.has_duplicates:
        twice = names[names.duplicated()][0]
        raise InvalidValueError(
            f"{source_name(frame)}, column {schema.id_column!r}", "names of one type",
            f"{twice!r} both as text and as a number", "Convert the column to text.",
        )  # fmt: skip
    return codes.astype(np.int64), ids


def _check_order(times: pd.Index, codes: np.ndarray, place: Place) -> np.ndarray:
    """Return the rows grouped by series, having refused duplicate and unsorted timestamps."""
    values = times.asi8 if isinstance(times, pd.DatetimeIndex) else times.to_numpy()
    order = np.argsort(codes, kind="stable")
    later = np.diff(values[order])
    within = np.diff(codes[order]) == 0
    if not (within & (later <= 0)).any():
        return order
    ranked = np.lexsort((values, codes))
    equal = (np.diff(values[ranked]) == 0) & (np.diff(codes[ranked]) == 0)
    if equal.any():
        first, second = ranked[np.argmax(equal) : np.argmax(equal) + 2]
        raise InvalidValueError(
            place(int(second)), "each timestamp once in a series",
            f"the timestamp of {place(int(first))} again",
            "Remove or aggregate duplicates; local times that occur twice when daylight saving "
            "ends need a time zone.",
        )  # fmt: skip
    row = int(order[1:][np.argmax(within & (later < 0))])
    before = int(order[:-1][np.argmax(within & (later < 0))])
    raise InvalidValueError(
        place(row), "time ascending within a series", f"a time before that of {place(before)}",
        "Sort the table by series and time.",
    )  # fmt: skip


def _wide_targets(
    frame: pd.DataFrame, schema: PanelSchema, place: Place, *, require_target: bool
) -> tuple[pd.Index, np.ndarray]:
    """Return the series of a wide table, those of the schema first, and their values, R x S."""
    other = {schema.time_column, *schema.past, *schema.future, *schema.series_columns}
    columns = [c for c in schema.series_columns if require_target or c in frame.columns]
    columns += [c for c in frame.columns if c not in other]
    for name in columns:
        cells = column_of(frame, name)
        if not is_numeric(cells) and all(isinstance(cell, str) for cell in cells):
            raise InvalidValueError(
                f"{place(0)}, column {name!r}",
                "a number, as each column of a table without a target is a series of its own",
                repr(cells.iloc[0]),
                "Remove the column, or name the target with target=… and the column that names "
                "the series with id_column=….",
            )
    return pd.Index(columns), numeric_columns(frame, columns, place)
