"""From a table to a panel: every series on its own regular grid, gaps filled with NaN."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd

from gatewise.data.calendar import calendar_values
from gatewise.data.frequency import infer_frequency
from gatewise.data.observations import Observations, read_observations
from gatewise.data.panel import Panel
from gatewise.data.schema import PanelSchema
from gatewise.data.series import Series
from gatewise.errors import GatewiseError, InvalidValueError

_SPARSE: Final = 50
"""Steps per row beyond which a frequency is taken for a mistake …"""
_LARGE: Final = 5_000_000
"""… once that makes a grid which would not fit into memory gracefully."""


def build_panel(frame: pd.DataFrame, schema: PanelSchema, *, require_target: bool = True) -> Panel:
    """Check a table and lay its series on their grids.

    Missing targets (empty cells) and gaps (absent timestamps) are accepted, become NaN and are
    counted. Rows after the last target of a series are its known future.

    Args:
        frame: The table, from ``read_frame``.
        schema: Its meaning, from ``infer_schema`` or from training.
        require_target: Whether each series must have an observed target. Without one, all of its
            rows count as steps, with a missing target.

    Returns:
        The panel, its series in order of appearance.

    Raises:
        InvalidValueError: For a lacking column, an empty table, duplicate, unsorted or off-grid
            timestamps, text or infinity where a number is expected, a static column that changes,
            an unknown category, a series without any target; names file and line (or row), series,
            timestamp and column.

    Example:
        >>> import pandas as pd
        >>> table = pd.DataFrame({"ds": [1, 2, 4], "y": [5.0, 6.0, 7.0]})
        >>> panel = build_panel(table, infer_schema(table))
        >>> panel.series[0].y, panel.counts["gaps_filled"]
        (array([ 5.,  6., nan,  7.]), 1)
    """
    rows = read_observations(frame, schema, require_target=require_target)
    S, R = len(rows.ids), len(rows.series)
    starts = np.searchsorted(rows.series, np.arange(S + 1))
    first = starts[rows.series]
    steps, off = schema.grid.number(rows.times, first)
    if off.any():
        _refuse_off_grid(rows, schema, int(np.argmax(off)))
    spans = steps[starts[1:] - 1] + 1  # from the first row to the last, gaps included
    _check_sparse(rows, schema, spans)
    seen = np.flatnonzero(~np.isnan(rows.y))
    lengths = np.zeros(S, dtype=np.int64)
    np.maximum.at(lengths, rows.series[seen], steps[seen] + 1)
    if require_target and (lengths == 0).any():
        name = str(rows.ids[int(np.argmax(lengths == 0))])
        raise InvalidValueError(
            f"series {name!r}", "at least one observed target", "none", "Remove the series."
        )
    lengths = np.where(lengths == 0, spans, lengths)

    offsets = np.concatenate([[0], np.cumsum(spans)])
    cells = offsets[rows.series] + steps
    total = int(offsets[-1])
    owner = np.repeat(np.arange(S), spans)
    step = np.arange(total) - offsets[owner]
    times = schema.grid.times(rows.times[starts[owner]], step)
    known = step < lengths[owner]

    y = np.full(total, np.nan)
    y[cells] = rows.y
    past = _carry_forward(_scatter(rows.past, cells, total), offsets[owner])
    columns = _scatter(rows.future, cells, total)
    columns = np.where(known[:, None], _carry_forward(columns, offsets[owner]), columns)
    future = np.concatenate([columns, calendar_values(times, schema.calendar)], axis=1)

    series = []
    for s in range(S):
        a, b = int(offsets[s]), int(offsets[s + 1])
        n = a + int(lengths[s])
        name = str(rows.ids[s])
        series.append(Series(name, times[a:n], y[a:n], past[a:n], future[a:b], rows.static[s]))
    inside = steps < lengths[rows.series]
    counts = {
        "rows": R,
        "series": S,
        "missing_y": int(np.isnan(rows.y[inside]).sum()),
        "gaps_filled": int(lengths.sum() - inside.sum()),
        "future_rows": int((~inside).sum()),
        "missing_past": int(np.isnan(rows.past[inside]).sum()),
        "missing_future": int(np.isnan(rows.future).sum()),
        "missing_static": int(np.isnan(rows.static).sum()),
    }
    return Panel(series, schema, rows.ids, counts, _unused(frame, schema))


def _scatter(values: np.ndarray, cells: np.ndarray, total: int) -> np.ndarray:
    """Put rows R x K into their cells of a grid, total x K."""
    grid = np.full((total, values.shape[1]), np.nan)
    grid[cells] = values
    return grid


def _carry_forward(values: np.ndarray, begin: np.ndarray) -> np.ndarray:
    """Fill NaN with the last value of the same series; ``begin``: first cell of each's series."""
    at = np.where(np.isnan(values), begin[:, None], np.arange(len(values))[:, None])
    return np.take_along_axis(values, np.maximum.accumulate(at, axis=0), axis=0)


def _refuse_off_grid(rows: Observations, schema: PanelSchema, row: int) -> None:
    """Raise for a timestamp between two steps of its series."""
    start = int(np.searchsorted(rows.series, rows.series[row]))
    try:
        alias, step = infer_frequency(rows.times, rows.series)
        looks = repr(alias) if alias else f"step {step}"
    except GatewiseError:
        looks = ""
    wanted = repr(schema.frequency) if schema.frequency else f"step {schema.step}"
    hint = f"; the timestamps look like {looks}" if looks and looks != wanted else ""
    raise InvalidValueError(
        rows.place(row), f"steps of frequency {wanted} from {rows.times[start]} on",
        f"a timestamp between two of them{hint}", "Correct the timestamp, or give frequency=….",
    )  # fmt: skip


def _check_sparse(rows: Observations, schema: PanelSchema, spans: np.ndarray) -> None:
    """Refuse a grid that is nearly all gaps: the frequency is far too fine, or a date is wrong."""
    total = int(spans.sum())
    if total > _LARGE and total > _SPARSE * len(rows.series):
        s = int(np.argmax(spans))
        part = rows.times[rows.series == s]
        raise InvalidValueError(
            f"series {str(rows.ids[s])!r}", f"rows for most steps of {schema.frequency!r}",
            f"{len(part)} rows on {spans[s]} steps from {part[0]} to {part[-1]}",
            "Correct the date that lies far from the others, or give frequency=….",
        )  # fmt: skip


def _unused(frame: pd.DataFrame, schema: PanelSchema) -> tuple[str, ...]:
    """Return the columns that the schema does not name."""
    if schema.layout == "wide":
        return ()
    used = {schema.id_column, schema.time_column, schema.target_column}
    used |= {*schema.past, *schema.future, *schema.static}
    return tuple(name for name in frame.columns if name not in used)
