"""What a table means: which column is time, target, identity and covariate, and its frequency.

A schema is learned once, from the training table, saved as JSON beside the weights, and applied to
every later table, so that columns keep their order and categories their places.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd

from gatewise.data.calendar import calendar_columns, check_calendar, choose_calendar
from gatewise.data.frequency import infer_frequency, season_length
from gatewise.data.grid import DAY, Grid
from gatewise.data.numbers import is_numeric
from gatewise.data.places import column_of, source_name
from gatewise.data.timestamps import find_time_column, parse_times
from gatewise.errors import InvalidFileError, InvalidValueError


@dataclass(frozen=True)
class PanelSchema:
    """The meaning of a table's columns.

    Args:
        id_column: Column that names the series; None where the table is one series, or wide.
        time_column: Column of timestamps or integers.
        target_column: Column to forecast (``y`` for a wide table).
        past: Covariates known up to now.
        future: Covariates known ahead.
        static: Covariates that do not change within a series.
        frequency: pandas offset alias; None for integer time.
        layout: ``long``: one row per series and time; ``wide``: one row per time, one column per
            series.
        calendar: Features taken from the date; see ``choose_calendar``.
        static_categories: For each static column of text, its categories, sorted.
        season_length: Steps in a season; see ``season_length``.
        step: Distance between neighbours, for integer time.
        series_columns: The series of a wide table, in order.
    """

    id_column: str | None
    time_column: str
    target_column: str
    past: tuple[str, ...] = ()
    future: tuple[str, ...] = ()
    static: tuple[str, ...] = ()
    frequency: str | None = None
    layout: Literal["long", "wide"] = "long"
    calendar: tuple[str, ...] = ()
    static_categories: dict[str, list[str]] = field(default_factory=dict)
    season_length: int = 1
    step: int = 1
    series_columns: tuple[str, ...] = ()

    @property
    def grid(self) -> Grid:
        """The rule from one timestamp to the next."""
        return Grid.of(self.frequency, self.step)

    @property
    def future_names(self) -> tuple[str, ...]:
        """Names of the known-future inputs: the future columns, then the calendar's."""
        return (*self.future, *calendar_columns(self.calendar))

    @property
    def static_names(self) -> tuple[str, ...]:
        """Names of the static inputs: a number, or one ``column=category`` per category."""
        return tuple(
            name
            for column in self.static
            for name in (
                [f"{column}={category}" for category in self.static_categories[column]]
                if column in self.static_categories
                else [column]
            )
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the schema as values that JSON can hold."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in dataclasses.asdict(self).items()
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PanelSchema:
        """Return the schema that ``to_dict`` described.

        Args:
            values: The dictionary, as read back from JSON.

        Returns:
            An equal schema.

        Raises:
            InvalidFileError: If a field is missing or unknown: the file is damaged or newer.
        """
        known = {entry.name for entry in dataclasses.fields(cls)}
        if set(values) != known:
            odd = ", ".join(sorted(repr(name) for name in set(values) ^ known))
            raise InvalidFileError(
                "PanelSchema", "the fields of this version", f"a difference in {odd}",
                "The file is damaged, or was written by another version of gatewise.",
            )  # fmt: skip
        fields: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in values.items()
        }
        return cls(**fields)


def infer_schema(
    frame: pd.DataFrame,
    *,
    target: str = "y",
    id_column: str = "unique_id",
    time_column: str | None = None,
    future: str | Sequence[str] = (),
    static: str | Sequence[str] = (),
    past: str | Sequence[str] = (),
    calendar: bool | str | Sequence[str] = True,
    frequency: str | None = None,
    season_length: int | None = None,
) -> PanelSchema:
    """Find out what a table means.

    A table with the target column is *long*; it holds one series if it lacks the id column. A
    table without the target column is *wide*: every column that is neither time nor a named
    covariate is a series. Further columns of a long table are left alone unless named.

    Args:
        frame: The table, from ``read_frame``.
        target: Column to forecast.
        id_column: Column that names the series.
        time_column: Column of timestamps; None: ``ds``, or the only column with dates.
        future: Covariates known ahead.
        static: Covariates that do not change within a series; text becomes categories.
        past: Covariates known up to now.
        calendar: True: features chosen by the frequency; False: none; or their names.
        frequency: pandas offset alias; None: inferred, or integer time.
        season_length: Steps in a season; None: by the frequency.

    Returns:
        The schema.

    Raises:
        InvalidValueError: If a named column is missing, time is not found or not regular enough to
            have a frequency, or a value is out of range.
    """
    if len(frame) == 0:
        raise InvalidValueError(source_name(frame), "at least one row", "an empty table")
    past, future, static = _names(past), _names(future), _names(static)
    time = time_column or find_time_column(frame)
    covariates = (*past, *future, *static)
    _check_roles((time, id_column, target, *covariates))
    require_columns(frame, [time, *covariates])
    layout, has_ids = "long", id_column in frame.columns
    series_columns: tuple[str, ...] = ()
    if target not in frame.columns:
        layout = "wide"
        series_columns = tuple(c for c in frame.columns if c != time and c not in covariates)
        numeric = [c for c in series_columns if is_numeric(column_of(frame, c))]
        if has_ids or static or target != "y" or not numeric:
            require_columns(frame, [target], remedy="Name the column to forecast with target=….")
    times = parse_times(frame, time)
    codes = np.zeros(len(frame), dtype=np.int64)
    if has_ids:
        codes = np.asarray(pd.factorize(column_of(frame, id_column))[0], dtype=np.int64)
    dated = isinstance(times, pd.DatetimeIndex)
    step = 1
    if frequency is None:
        frequency, step = infer_frequency(times, codes)
    elif not dated:
        raise InvalidValueError(
            "frequency", "none, as time is counted in integers", repr(frequency),
            "Leave out frequency=…, or give dates as time.",
        )  # fmt: skip
    span, longest = _longest(times, codes)
    if isinstance(calendar, bool):
        features = choose_calendar(frequency, span / DAY if dated else 0.0) if calendar else ()
    else:
        features = check_calendar(_names(calendar), frequency)
    return PanelSchema(
        id_column=id_column if has_ids else None,
        time_column=time,
        target_column=target,
        past=past,
        future=future,
        static=static,
        frequency=Grid.of(frequency).alias if frequency else None,
        layout=layout,
        calendar=features,
        static_categories=_categories(frame, static),
        season_length=_season(season_length, frequency, longest),
        step=step,
        series_columns=series_columns,
    )


def require_columns(
    frame: pd.DataFrame, columns: Sequence[str], *, trained: bool = False, remedy: str = ""
) -> None:
    """Raise InvalidValueError if ``frame`` lacks any of ``columns``.

    Args:
        frame: The table.
        columns: The names that it must have.
        trained: Whether a schema that was learned before asks for them.
        remedy: What else to do than to add the first one.
    """
    missing = [name for name in columns if name not in frame.columns]
    if not missing:
        return
    present = ", ".join(repr(name) for name in frame.columns)
    expected = f"a column {missing[0]!r}"
    remedy = remedy or f"Add the column {missing[0]!r}."
    if trained:
        asked = ", ".join(repr(name) for name in columns)
        expected = f"the columns {asked}, as in the training table"
        remedy = f"Add the column {missing[0]!r}, or fit a model without it."
    near = difflib.get_close_matches(missing[0], list(frame.columns), n=1)
    if near:
        remedy = f"Did you mean {near[0]!r}? {remedy}"
    got = f"no {', '.join(repr(name) for name in missing)} among {present}"
    raise InvalidValueError(source_name(frame), expected, got, remedy)


def _names(names: str | Sequence[str]) -> tuple[str, ...]:
    """Return names as a tuple; one name alone is one name, not its letters."""
    return (names,) if isinstance(names, str) else tuple(names)


def _check_roles(columns: Sequence[str]) -> None:
    """Refuse a column with two roles."""
    for name in columns:
        if columns.count(name) > 1:
            raise InvalidValueError(
                f"column {name!r}", "one role (id, time, target, past, future or static)",
                "several", "Name it once.",
            )  # fmt: skip


def _longest(times: pd.Index, codes: np.ndarray) -> tuple[int, int]:
    """Return the span of the longest series (nanoseconds or units) and the most rows of one."""
    values = times.as_unit("ns").asi8 if isinstance(times, pd.DatetimeIndex) else times.to_numpy()
    order = np.argsort(codes, kind="stable")
    first = np.flatnonzero(np.diff(codes[order], prepend=-2))
    values = values[order]
    spans = np.maximum.reduceat(values, first) - np.minimum.reduceat(values, first)
    return int(spans.max()), int(np.diff(first, append=len(order)).max())


def _categories(frame: pd.DataFrame, static: Sequence[str]) -> dict[str, list[str]]:
    """Return the sorted categories of every static column that is not numeric."""
    return {
        name: sorted({str(cell) for cell in column_of(frame, name).dropna().unique()})
        for name in static
        if not is_numeric(column_of(frame, name))
    }


def _season(given: int | None, frequency: str | None, longest: int) -> int:
    """Return the season that was given, checked, or that of the frequency."""
    if given is None:
        return season_length(frequency, longest)
    if given < 1:
        raise InvalidValueError("season_length", "at least 1 step", str(given))
    return given
