"""What a model has learned of which tag follows which: a heatmap of scores, from row to column."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike

from gatewise.errors import InvalidValueError
from gatewise.report import theme
from gatewise.report.figures.lines import base_figure, escape

TAG_LIMIT = 48
"""Tags that are drawn: more could not be told apart."""


def transitions_figure(names: Sequence[str], scores: ArrayLike) -> go.Figure:
    """Draw the score of each step from one tag to another.

    Args:
        names: Of K tags.
        scores: From each to each, (K + 1) × (K + 1): the last row holds those of the first tag of a
            sentence, the last column those of the last one. NaN where a step is impossible.

    Returns:
        A figure; blue for steps that are favoured, orange for those that are avoided, nothing where
        they are impossible. Of more than 48 tags the first are drawn, which the caption says.

    Raises:
        InvalidValueError: There is no tag, or the scores have another shape.
    """
    values = np.asarray(scores, dtype=np.float64)
    size = len(names) + 1
    if not names or values.shape != (size, size):
        raise InvalidValueError(
            "transitions_figure: scores", f"shape {(size, size)} for {len(names)} tags",
            f"{values.shape}", "Give a row and a column for each tag, and one for the ends.",
        )  # fmt: skip
    kept = [*range(min(len(names), TAG_LIMIT)), size - 1]
    shown = values[np.ix_(kept, kept)]
    tags = [escape(names[k]) for k in kept[:-1]]
    befores, afters = [*tags, "(start)"], [*tags, "(end)"]
    possible = np.abs(shown[np.isfinite(shown)])
    reach = float(possible.max()) if possible.size and possible.max() > 0 else 1.0
    heatmap = go.Heatmap(
        x=afters,
        y=befores,
        z=shown,
        zmin=-reach,
        zmax=reach,
        colorscale=theme.state_scale(),
        # On top, so that on a narrow screen all of its width is for the tags.
        colorbar={
            "orientation": "h",
            "y": 1,
            "yanchor": "bottom",
            "ypad": 12,
            "xpad": 0,
            "thickness": 10,
            "outlinewidth": 0,
            "ticklen": 3,
        },
        xgap=1,
        ygap=1,
        hoverongaps=False,
        hovertemplate="%{y} then %{x}: %{z:.2f}<extra></extra>",
    )
    figure = go.Figure(heatmap)
    figure.update_xaxes(title_text="tag", type="category", tickangle=-90, showline=False, ticks="")
    figure.update_yaxes(
        title_text="tag before", type="category", autorange="reversed", showgrid=False, dtick=1
    )
    return base_figure(
        figure,
        height=220 + max(14 * len(kept), 140),
        caption=_caption(befores, afters, shown, len(names)),
        alt=f"Heatmap of the scores of steps between {len(tags)} tags.",
        hovermode="closest",
        margin={"t": 60},
        xaxis_tickfont={"size": 11},
        yaxis_tickfont={"size": 11},
    )


def _caption(
    befores: Sequence[str], afters: Sequence[str], shown: np.ndarray, known: int
) -> list[str]:
    parts = ["What a step from one tag to the next adds to the score of a sentence."]
    inner = shown[:-1, :-1]
    if np.isfinite(inner).any():
        for word, place in (("favoured", np.nanargmax(inner)), ("avoided", np.nanargmin(inner))):
            row, column = divmod(int(place), inner.shape[1])
            parts.append(
                f"Most {word}: {befores[row]} then {afters[column]}, {inner[row, column]:+.2f}."
            )
    impossible = np.isnan(shown)
    impossible[-1, -1] = False  # no sentence is empty, in any scheme
    if impossible.any():
        parts.append("Empty cells are impossible by the scheme of the tags.")
    if known > TAG_LIMIT:
        parts.append(f"Shown: {TAG_LIMIT} of {known} tags.")
    return parts
