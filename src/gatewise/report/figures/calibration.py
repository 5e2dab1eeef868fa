"""Whether intervals hold what they promise: nominal coverage against observed coverage."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike

from gatewise.report import theme
from gatewise.report.figures.lines import base_figure, line_style, numbers


def calibration_figure(levels: ArrayLike, observed: ArrayLike) -> go.Figure:
    """Draw the share of values that fell inside each interval against the share it promises.

    Args:
        levels: K nominal coverages or quantile levels in [0, 1].
        observed: K observed shares in [0, 1].

    Returns:
        A figure; points on the diagonal are perfectly calibrated.

    Raises:
        InvalidValueError: The two differ in length.
    """
    nominal = numbers("calibration_figure: levels", levels)
    share = numbers("calibration_figure: observed", observed, len(nominal))
    order = np.argsort(nominal)
    nominal, share = nominal[order], share[order]
    figure = go.Figure()
    figure.add_trace(
        go.Scatter(
            x=[0, 1],
            y=[0, 1],
            name="perfect",
            mode="lines",
            line={"color": theme.colour("muted"), "dash": "dot", "width": 1},
            hoverinfo="skip",
        )
    )
    figure.add_trace(
        go.Scatter(
            x=nominal,
            y=share,
            name="model",
            mode="lines+markers",
            marker={"size": 9},
            line=line_style(0, width=2.4),
            hovertemplate="promised %{x:.0%}, held %{y:.1%}<extra></extra>",
        )
    )
    percent = {"tickformat": ".0%", "range": [-0.02, 1.02], "dtick": 0.2}
    figure.update_xaxes(title_text="promised", **percent)
    figure.update_yaxes(title_text="observed", **percent)
    return base_figure(
        figure,
        height=400,
        caption=_caption(nominal, share),
        alt="Line chart of the observed share inside each interval against the promised share.",
        hovermode="closest",
    )


def _caption(nominal: np.ndarray, share: np.ndarray) -> list[str]:
    known = np.isfinite(share)
    if not known.any():
        return []
    gap = np.where(known, share - nominal, 0.0)
    worst = int(np.abs(gap).argmax())
    parts = [
        f"The largest gap: {share[worst]:.0%} observed where {nominal[worst]:.0%} was promised."
    ]
    parts.append("Points below the diagonal mean overconfidence, points above it caution.")
    return parts
