"""What each token of a passage cost a language model, and what rare tokens cost."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike

from gatewise.errors import InvalidValueError
from gatewise.report import theme
from gatewise.report.figures.lines import base_figure, escape, numbers


def surprise_figure(tokens: Sequence[str], bits: ArrayLike) -> go.Figure:
    """Draw what each token of a passage cost.

    Args:
        tokens: N ≥ 1 tokens in order.
        bits: −log₂ of the probability of each, N.

    Returns:
        A figure whose caption names the token that was expected least.

    Raises:
        InvalidValueError: There is no token, or numbers differ.
    """
    if not tokens:
        raise InvalidValueError("surprise_figure: tokens", "at least one token", "none")
    values = numbers("surprise_figure: bits", bits, len(tokens))
    shown = [_shown(token) for token in tokens]
    figure = go.Figure(
        go.Bar(
            x=list(range(len(tokens))),
            y=values,
            marker={"color": theme.colour("blue")},
            customdata=[escape(token) for token in shown],
            hovertemplate="%{customdata}: %{y:.2f} bits<extra></extra>",
        )
    )
    figure.update_xaxes(
        tickmode="array",
        tickvals=list(range(len(tokens))),
        ticktext=[escape(token) for token in shown],
        tickangle=-60,
    )
    figure.update_yaxes(title_text="bits", rangemode="tozero")
    worst = int(values.argmax())
    return base_figure(
        figure,
        height=340,
        caption=[
            f"{values.mean():.2f} bits a token on average;"
            f" expected least: “{shown[worst]}”, {values[worst]:.1f} bits."
        ],
        alt=f"Bar chart of the bits of {len(tokens)} tokens in the order of the passage.",
        showlegend=False,
    )


def rarity_figure(groups: Sequence[str], bits: ArrayLike, shares: ArrayLike) -> go.Figure:
    """Draw what tokens cost on average, by how often they stood in the training text.

    Args:
        groups: G names, from rare to frequent.
        bits: Mean of −log₂ p of the tokens of each group, G.
        shares: Part of the text that each group is, G, 0 to 1.

    Returns:
        A figure.

    Raises:
        InvalidValueError: There is no group, or numbers differ.
    """
    if not groups:
        raise InvalidValueError("rarity_figure: groups", "at least one group", "none")
    values = numbers("rarity_figure: bits", bits, len(groups))
    parts = numbers("rarity_figure: shares", shares, len(groups))
    figure = go.Figure(
        go.Bar(
            x=[escape(group) for group in groups],
            y=values,
            marker={"color": theme.colour("blue")},
            customdata=np.round(100 * parts, 1),
            hovertemplate="%{x}: %{y:.2f} bits, %{customdata} % of the text<extra></extra>",
        )
    )
    figure.update_xaxes(title_text="times in the training text", type="category")
    figure.update_yaxes(title_text="bits a token", rangemode="tozero")
    return base_figure(
        figure,
        height=320,
        caption=[
            f"{groups[0]}: {100 * parts[0]:.1f} % of the text at {values[0]:.1f} bits a token;"
            f" {groups[-1]}: {100 * parts[-1]:.1f} % at {values[-1]:.1f} bits."
        ],
        alt=f"Bar chart of the mean bits of a token in {len(groups)} groups by frequency.",
        showlegend=False,
    )


def _shown(token: str) -> str:
    """Return a token with its white space to be seen."""
    return token.replace("\n", "↵").replace(" ", "␣").replace("\t", "⇥")
