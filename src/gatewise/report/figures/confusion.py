"""Which classes are taken for which: true ones in rows, predicted ones in columns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike

from gatewise.errors import InvalidValueError
from gatewise.report import theme
from gatewise.report.figures.lines import base_figure, escape

CLASS_LIMIT = 20
"""Classes that get a row and a column of their own."""

_TEXT_LIMIT = 12
"""Classes up to which the numbers stand in the cells."""

_NAME_LIMIT = 18
"""Letters of a name on an axis."""


def confusion_figure(counts: ArrayLike, names: Sequence[str], unit: str = "texts") -> go.Figure:
    """Draw how often each class is taken for each.

    Args:
        counts: C×C numbers, a row for each true class and a column for each predicted one.
        names: Of the C classes.
        unit: What is counted, in the plural.

    Returns:
        A figure. Colours show the share of each row. Of more than 20 classes, those with the most
        of them are drawn and the others are one row and one column, which the caption says.

    Raises:
        InvalidValueError: The matrix is not C×C, or empty.
    """
    matrix = np.asarray(counts)
    if matrix.shape != (len(names), len(names)) or not len(names):
        raise InvalidValueError(
            "confusion_figure: counts",
            f"a matrix of {len(names)} by {len(names)} counts, at least one",
            f"shape {matrix.shape}",
            "Pass a row and a column for each name.",
        )
    table, shown = _thinned(matrix.astype(np.int64), list(names))
    total = table.sum(1, keepdims=True)
    share = np.where(total > 0, table / np.maximum(total, 1), np.nan)
    # Columns have the numbers of the rows: names under them would take the room of the cells.
    places = list(range(1, len(shown) + 1))
    ticks = [f"{escape(_cut(name))}  {place}" for place, name in zip(places, shown, strict=True)]
    hover = [
        [
            f"{escape(true)} taken for {escape(taken)}: {table[i, j]:,}"
            + (f", {share[i, j]:.1%} of its row" if total[i, 0] else "")
            for j, taken in enumerate(shown)
        ]
        for i, true in enumerate(shown)
    ]
    figure = go.Figure(
        go.Heatmap(
            z=share,
            x=places,
            y=places,
            text=[[f"{count:,}" if count else "" for count in row] for row in table.tolist()],
            texttemplate="%{text}" if len(shown) <= _TEXT_LIMIT else None,
            hovertext=hover,
            hovertemplate="%{hovertext}<extra></extra>",
            zmin=0.0,
            zmax=1.0,
            colorscale=theme.gate_scale(),
            showscale=False,
            xgap=1,
            ygap=1,
        )
    )
    axis = {"showgrid": False, "showline": False, "ticks": ""}
    # On a phone no more numbers than these stand side by side.
    told = places if len(places) <= _TEXT_LIMIT else [1, *range(5, len(places) + 1, 5)]
    figure.update_xaxes(
        title_text="predicted", side="top", tickangle=0, tickvals=told, tickfont_size=11, **axis
    )
    figure.update_yaxes(
        title_text="true", autorange="reversed", tickvals=places, ticktext=ticks, **axis
    )
    return base_figure(
        figure,
        height=90 + max(120, 28 * len(shown)),
        caption=_caption(table, shown, len(names), unit),
        alt=f"Heatmap of true against predicted classes, {len(shown)} rows and columns.",
        hovermode="closest",
        margin={"t": 60},
    )


def _thinned(counts: np.ndarray, names: list[str]) -> tuple[np.ndarray, list[str]]:
    """Keep the classes with the most texts, in their order, and join the others to one."""
    if len(names) <= CLASS_LIMIT:
        return counts, names
    weight = counts.sum(1) + counts.sum(0)
    kept = np.sort(np.argsort(-weight, kind="stable")[:CLASS_LIMIT])
    group = np.full(len(names), CLASS_LIMIT)
    group[kept] = np.arange(CLASS_LIMIT)
    table = np.zeros((CLASS_LIMIT + 1, CLASS_LIMIT + 1), dtype=np.int64)
    np.add.at(table, (group[:, None], group[None, :]), counts)
    return table, [*(names[k] for k in kept), f"{len(names) - CLASS_LIMIT} others"]


def _cut(name: str) -> str:
    return name if len(name) <= _NAME_LIMIT else f"{name[: _NAME_LIMIT - 1]}…"


def _caption(table: np.ndarray, shown: list[str], classes: int, unit: str) -> list[str]:
    parts = [
        f"Each cell counts {unit}, none where it is empty; the darker, the larger the share of its"
        " row. Columns have the numbers of the rows."
    ]
    wrong = table.copy()
    np.fill_diagonal(wrong, 0)
    if wrong.any():
        i, j = np.unravel_index(int(wrong.argmax()), wrong.shape)
        parts.append(
            f"Most often mistaken: {shown[i]} for {shown[j]}, {wrong[i, j]:,} of"
            f" {table[i].sum():,} {unit}."
        )
    if classes > CLASS_LIMIT:
        parts.append(
            f"Drawn are the {CLASS_LIMIT} most frequent of {classes} classes; in the last row and"
            " column are all others, whose mistakes among each other are not seen here."
        )
    return parts
