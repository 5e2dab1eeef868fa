"""How training went: the training loss and each validation score by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike
from plotly.subplots import make_subplots

from gatewise.report import theme
from gatewise.report.figures.lines import base_figure, escape, line_style, numbers, thin

SCORE_LIMIT = 3
"""Scores besides the loss that get a panel of their own."""


def training_curves_figure(
    epochs: ArrayLike,
    train_loss: ArrayLike,
    scores: Mapping[str, Sequence[float] | np.ndarray],
    best_epoch: int | None,
) -> go.Figure:
    """Draw the loss and the scores of every epoch, and mark the epoch that was kept.

    Args:
        epochs: E epoch numbers.
        train_loss: E values.
        scores: For each validation score's name: E values. ``loss`` shares the first panel with
            the training loss; the others, in units of their own, stand under it.
        best_epoch: The epoch whose weights were kept; None without one.

    Returns:
        A figure.

    Raises:
        InvalidValueError: A list has not E values.
    """
    x = numbers("training_curves_figure: epochs", epochs)
    train = numbers("training_curves_figure: train_loss", train_loss, len(x))
    curves = {
        name: numbers(f"training_curves_figure: {name!r}", values, len(x))
        for name, values in scores.items()
    }
    validation = curves.pop("loss", None)
    panels = dict(list(curves.items())[:SCORE_LIMIT])
    figure = make_subplots(
        rows=1 + len(panels), cols=1, shared_xaxes=True, vertical_spacing=0.07 if panels else 0
    )
    _curve(figure, 1, "training", x, train, place=1)
    if validation is not None:
        _curve(figure, 1, "validation", x, validation, place=0)
    figure.update_yaxes(title_text="loss", row=1, col=1)
    for row, (name, values) in enumerate(panels.items(), start=2):
        # Once is enough in the legend.
        _curve(figure, row, "validation", x, values, place=0, legend=validation is None)
        figure.update_yaxes(title_text=escape(name), row=row, col=1)
    figure.update_xaxes(title_text="epoch", row=1 + len(panels), col=1)
    if len(x) <= 10:
        figure.update_xaxes(dtick=1)
    if best_epoch is not None:
        line = {"color": theme.colour("muted"), "dash": "dot", "width": 1}
        figure.add_vline(x=best_epoch, line=line)  # pyright: ignore[reportArgumentType]
    return base_figure(
        figure,
        height=340 if not panels else 260 + 150 * len(panels),
        caption=_caption(x, train, best_epoch, list(curves)[SCORE_LIMIT:]),
        alt=f"Line chart of the training loss and of {len(scores)} validation score(s) by epoch.",
    )


def _curve(
    figure: go.Figure,
    row: int,
    name: str,
    x: np.ndarray,
    y: np.ndarray,
    *,
    place: int,
    legend: bool = True,
) -> None:
    x, y = thin(x, y)
    # A mark for each epoch while they can be told apart.
    mode = "lines+markers" if len(x) <= 60 else "lines"
    trace = go.Scatter(
        x=x,
        y=y,
        name=name,
        mode=mode,
        marker={"size": 5},
        line=line_style(place, width=2.0),
        legendgroup=name,
        showlegend=legend,
    )
    figure.add_trace(trace, row=row, col=1)


def _caption(
    epochs: np.ndarray, train: np.ndarray, best_epoch: int | None, left_out: Sequence[str]
) -> list[str]:
    parts = []
    if len(epochs) > 1:
        parts.append(
            f"The training loss went from {train[0]:.3g} to {train[-1]:.3g}"
            f" in {len(epochs)} epochs."
        )
    if best_epoch is not None:
        parts.append(
            f"The dotted line marks epoch {best_epoch}, the best on validation: its weights are"
            " the ones that were kept."
        )
    if left_out:
        parts.append(f"Not drawn: {', '.join(left_out)}.")
    return parts
