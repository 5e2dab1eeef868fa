"""How the error grows with the distance of the forecast, beside the baselines."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike

from gatewise.errors import InvalidValueError
from gatewise.report.figures.lines import (
    base_figure,
    escape,
    line_places,
    line_style,
    numbers,
    thin,
)


def horizon_error_figure(errors: Mapping[str, ArrayLike], metric_name: str) -> go.Figure:
    """Draw the error of each step ahead, the model first.

    Args:
        errors: For each forecast's name: h errors, the first for one step ahead. The first entry
            is the model and stands out.
        metric_name: The name of the error, with its unit.

    Returns:
        A figure whose caption compares the model with each other entry.

    Raises:
        InvalidValueError: There is nothing to draw.
    """
    if not errors:
        raise InvalidValueError(
            "horizon_error_figure: errors", "at least one entry", "none", "Pass the model's errors."
        )
    figure = go.Figure()
    lines = {name: numbers(f"horizon_error_figure: {name!r}", y) for name, y in errors.items()}
    # The model is drawn last, on top, yet stands first in the legend.
    places = line_places(list(lines)[1:])
    for rank, (name, values) in reversed(list(enumerate(lines.items()))):
        x, y = thin(np.arange(1, len(values) + 1), values)
        figure.add_trace(
            go.Scatter(
                x=x,
                y=y,
                name=escape(name),
                mode="lines" if len(x) > 1 else "markers",
                line=line_style(places.get(name, 0), width=1.6 if rank else 2.6),
                legendrank=rank,
            )
        )
    figure.update_xaxes(title_text="steps ahead")
    figure.update_yaxes(title_text=escape(metric_name), rangemode="tozero")
    return base_figure(
        figure,
        height=360,
        caption=_caption(lines, metric_name),
        alt=f"Line chart of {metric_name} by steps ahead for {', '.join(lines)}.",
    )


def _caption(lines: Mapping[str, np.ndarray], metric_name: str) -> list[str]:
    model, *others = lines
    errors = lines[model]
    if len(errors) < 2:
        return [f"{metric_name} one step ahead."]
    parts = [
        f"{metric_name} of {model}: {errors[0]:.3g} one step ahead,"
        f" {errors[-1]:.3g} at step {len(errors)}."
    ]
    for name in others:
        if len(lines[name]) == len(errors):
            better = int((errors < lines[name]).sum())
            parts.append(f"Lower than {name} at {better} of {len(errors)} steps.")
    return parts
