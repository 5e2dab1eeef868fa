"""Whether probabilities hold what they promise: confidence against the share that is right."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike
from plotly.subplots import make_subplots

from gatewise.report import theme
from gatewise.report.figures.lines import base_figure, line_style, numbers


def reliability_figure(
    confidence: ArrayLike, accuracy: ArrayLike, count: ArrayLike, error: float
) -> go.Figure:
    """Draw the share of right decisions against their confidence, and how many there are of each.

    Args:
        confidence: Mean confidence of the decisions in each of K bins, 0 to 1.
        accuracy: Share of them that is right.
        count: How many they are.
        error: Expected calibration error, 0 to 1.

    Returns:
        A figure; points on the diagonal are perfectly calibrated.

    Raises:
        InvalidValueError: The lists differ in length.
    """
    sure = numbers("reliability_figure: confidence", confidence)
    right = numbers("reliability_figure: accuracy", accuracy, len(sure))
    many = numbers("reliability_figure: count", count, len(sure))
    figure = make_subplots(
        rows=2, cols=1, shared_xaxes=True, row_heights=[0.72, 0.28], vertical_spacing=0.06
    )
    perfect = go.Scatter(
        x=[0, 1],
        y=[0, 1],
        name="perfect",
        mode="lines",
        line={"color": theme.colour("muted"), "dash": "dot", "width": 1},
        hoverinfo="skip",
    )
    figure.add_trace(perfect, row=1, col=1)
    model = go.Scatter(
        x=sure,
        y=right,
        name="model",
        mode="lines+markers",
        marker={"size": 9},
        line=line_style(0, width=2.4),
        hovertemplate="confidence %{x:.1%}, right %{y:.1%}<extra></extra>",
    )
    figure.add_trace(model, row=1, col=1)
    bars = go.Bar(
        x=sure,
        y=many,
        width=0.03,
        marker={"color": theme.colour("blue")},
        showlegend=False,
        hovertemplate="%{y:,} decisions<extra></extra>",
    )
    figure.add_trace(bars, row=2, col=1)
    percent = {"tickformat": ".0%", "dtick": 0.2}
    figure.update_xaxes(range=[-0.02, 1.03], **percent)
    figure.update_xaxes(title_text="confidence", row=2, col=1)
    figure.update_yaxes(title_text="right", range=[-0.02, 1.05], row=1, col=1, **percent)
    figure.update_yaxes(title_text="decisions", rangemode="tozero", nticks=4, row=2, col=1)
    return base_figure(
        figure,
        height=460,
        caption=_caption(sure, right, many, error),
        alt="Line chart of the share of right decisions against confidence, and their number.",
        hovermode="closest",
    )


def _caption(sure: np.ndarray, right: np.ndarray, many: np.ndarray, error: float) -> list[str]:
    parts = [f"The mean gap between confidence and truth is {error:.1%}."]
    if many.sum() > 0:
        gap = float(((sure - right) * many).sum() / many.sum())
        word = "too sure" if gap > 0 else "too cautious"
        if abs(gap) >= 0.005:
            parts.append(f"On the whole the model is {word}, by {abs(gap):.1%}.")
    parts.append("Points below the diagonal mean overconfidence, points above it caution.")
    return parts
