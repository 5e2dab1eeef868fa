"""The picture of a problem: how its nets learned, and how far back each can learn at all."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
from gradients import state_gradients
from plotly.subplots import make_subplots
from problem import TEST_SEED, Problem
from train import Run, built

from gatewise.report import theme
from gatewise.report.figures.lines import base_figure, line_style

FLOOR = 1e-12
"""Where the axis of gradients ends: what is below cannot be seen in float32 sums."""

NOTHING = "remembers nothing"
"""What stands at the line of the baseline."""


def gradients_of(problem: Problem) -> dict[str, list[float]]:
    """Return `state_gradients` of the nets with the weights that seed 0 begins with.

    Nets in two directions, and twins of others that are told or answer later, are left out.
    """
    batch = next(problem.batches(TEST_SEED))
    nets = {name: built(problem, name, 0) for name in problem.nets}
    return {
        name: state_gradients(net, batch, problem.answer)
        for name, net in nets.items()
        if not (net.stack[0].bidirectional or net.told_resets or net.delay)
    }


def drawn(
    problem: Problem, runs: Sequence[Run], gradients: Mapping[str, Sequence[float]]
) -> go.Figure:
    """Draw the learning curves of all runs beside the gradients of untrained nets.

    Args:
        problem: The problem.
        runs: Of any of its nets and seeds; a line for each.
        gradients: What `gradients_of` returned.

    Returns:
        A figure. A curve that ends in a dot ends there because the problem was solved.
    """
    figure = make_subplots(
        rows=1,
        cols=2,
        subplot_titles=["<b>loss in training</b>", "<b>gradient by an earlier state</b>"],
        horizontal_spacing=0.12,
    )
    figure.update_annotations(xanchor="left")
    for place, annotation in enumerate(figure.layout.annotations):
        annotation.x = (0.0, 0.56)[place]
    styles = {name: line_style(place, width=1.8) for place, name in enumerate(problem.nets)}
    shown: set[str] = set()
    for run in runs:
        seen, losses = zip(*run.curve, strict=True)
        figure.add_trace(
            go.Scatter(
                x=seen,
                y=losses,
                name=run.net,
                mode="lines+markers" if run.solved else "lines",
                marker={"size": [0] * (len(seen) - 1) + [9]},
                line=styles[run.net],
                legendgroup=run.net,
                showlegend=run.net not in shown,
            ),
            row=1,
            col=1,
        )
        shown.add(run.net)
    for name, norms in gradients.items():
        figure.add_trace(
            go.Scatter(
                x=list(range(len(norms))),
                y=[max(norm, FLOOR / 10) for norm in norms],
                name=name,
                mode="lines",
                line=styles[name],
                legendgroup=name,
                showlegend=name not in shown,
            ),
            row=1,
            col=2,
        )
    if problem.baseline is not None:
        _mark_baseline(figure, problem.baseline, max(run.seen for run in runs))
    figure.update_yaxes(type="log", **_ticks(runs), row=1, col=1)
    largest = max((max(norms) for norms in gradients.values()), default=1.0)
    top = math.log10(max(largest, 1.0)) + 0.5
    figure.update_yaxes(
        type="log",
        exponentformat="power",
        range=[math.log10(FLOOR), top],
        row=1,
        col=2,
    )
    figure.update_xaxes(title_text=f"{problem.items} seen", row=1, col=1)
    figure.update_xaxes(title_text="steps before the answer", row=1, col=2)
    return base_figure(
        figure,
        height=380,
        caption=[
            "Left: mean loss on fresh batches, a line for each seed; a dot where the criterion was"
            " met. Right: the norm of the derivative of the loss of the last answer by the state"
            " that many steps before, relative to that at the answer, in nets that have not learned"
            " yet; the median over sequences."
        ],
        alt=f"{problem.title}: learning curves of {', '.join(problem.nets)}, and how the gradient"
        " falls with the distance to the answer.",
        margin={"t": 84},
        hovermode="closest",
        legend_itemwidth=48,  # as long as the longest dash and its gap
    )


def _mark_baseline(figure: go.Figure, baseline: float, end: int) -> None:
    """Draw the line at the baseline, last and so above the curves that lie on it, and name it."""
    line = {"color": theme.colour("ink"), "width": 2, "dash": "dash"}
    trace = go.Scatter(
        x=[0, end], y=[baseline] * 2, name=NOTHING, mode="lines", line=line, showlegend=False
    )
    figure.add_trace(trace, row=1, col=1)
    figure.add_annotation(
        x=end,
        y=math.log10(baseline),  # a log axis places annotations by their power of ten
        text=NOTHING,
        showarrow=False,
        xanchor="right",
        yanchor="bottom",
        font={"color": theme.colour("ink")},
        row=1,
        col=1,
    )


def _ticks(runs: Sequence[Run]) -> dict[str, Any]:
    """Return the ticks of the losses' axis: powers of ten, or numbers where those are too few."""
    losses = [loss for run in runs for _, loss in run.curve]
    if max(losses) > 100 * min(losses):
        return {"dtick": 1, "exponentformat": "power"}
    return {"dtick": "D2", "tickformat": ".1g"}
