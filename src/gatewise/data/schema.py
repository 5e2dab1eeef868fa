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

import pandas as pd

from gatewise.data.calendar import calendar_columns
from gatewise.data.grid import Grid
from gatewise.data.places import listed, source_name
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
    names = [str(name) for name in frame.columns]
    require_names(source_name(frame), names, columns, trained=trained, remedy=remedy)


def require_names(
    where: str,
    known: Sequence[str],
    columns: Sequence[str],
    *,
    trained: bool = False,
    remedy: str = "",
) -> None:
    """Raise InvalidValueError if a table with the columns ``known`` lacks any of ``columns``.

    Args:
        where: The table's name.
        known: The names that it has.
        columns: The names that it must have.
        trained: Whether a schema that was learned before asks for them.
        remedy: What else to do than to add the first one.
    """
    missing = [name for name in columns if name not in known]
    if not missing:
        return
    expected = f"a column {missing[0]!r}"
    remedy = remedy or f"Add the column {missing[0]!r}."
    if trained:
        expected = f"the columns {listed(columns)}, as in the training table"
        remedy = f"Add the column {missing[0]!r}, or fit a model without it."
    near = difflib.get_close_matches(missing[0], known, n=1)
    if near:
        remedy = f"Did you mean {near[0]!r}? {remedy}"
    got = f"no {listed(missing)} among {listed(known)}"
    raise InvalidValueError(where, expected, got, remedy)
