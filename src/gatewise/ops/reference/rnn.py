r"""The simple recurrent network.

.. math::
    h_t = \phi(W_{ih} x_t + b_{ih} + W_{hh} h_{t-1} + b_{hh}), \qquad \phi = \tanh \text{ or ReLU}

Source: J. L. Elman, "Finding structure in time", Cognitive Science 14(2), 1990.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from gatewise.ops.reference.sequence import State, Weights, run_layer, split_weights, widen

Nonlinearity = Literal["tanh", "relu"]


def rnn_layer(
    x: Float[Tensor, "T B I"],
    h0: Float[Tensor, "D B H"],
    weights: Sequence[Tensor],
    *,
    nonlinearity: Nonlinearity = "tanh",
    lengths: Int64[Tensor, " B"] | None = None,
    reset: Bool[Tensor, "T B"] | None = None,
    trace: bool = False,
) -> tuple[
    Float[Tensor, "T B D*H"],
    Float[Tensor, "D B H"],
    dict[str, Float[Tensor, "D T B H"]] | None,
]:
    """Run one layer of a simple RNN in all its directions, in plain torch.

    Args:
        x: Input, T×B×I.
        h0: Initial hidden state, D×B×H.
        weights: For each direction ``w_ih`` H×I, ``w_hh`` H×H, then ``b_ih`` and ``b_hh`` of H
            (both or neither); one flat sequence.
        nonlinearity: ``tanh`` or ``relu``.
        lengths: As in `lstm_layer`.
        reset: As in `lstm_layer`.
        trace: Whether to return the state of every step.

    Returns:
        y T×B×(D·H), h_n D×B×H, and None or a dict of h, D×T×B×H.
    """
    cell = partial(rnn_cell, nonlinearity=nonlinearity)
    runs = run_layer(cell, x, (h0,), weights, lengths=lengths, reset=reset, record=trace)
    y = torch.cat([run.output for run in runs], dim=-1).to(x.dtype)
    h_n = torch.stack([run.state[0] for run in runs]).to(x.dtype)
    if not trace:
        return y, h_n, None
    return y, h_n, {"h": torch.stack([run.states[0] for run in runs]).to(x.dtype)}


def rnn_step(
    x: Float[Tensor, "B I"],
    h: Float[Tensor, "B H"],
    weights: Sequence[Tensor],
    *,
    nonlinearity: Nonlinearity = "tanh",
) -> Float[Tensor, "B H"]:
    """Take a single step: what `rnn_layer` does with T = 1; returns the hidden state B×H."""
    (named,) = split_weights(weights, 1)
    projected = F.linear(widen(x), named.w_ih, named.b_ih)
    (after,), _ = rnn_cell(projected, (widen(h),), named, nonlinearity=nonlinearity)
    return after.to(x.dtype)


def rnn_cell(
    projected: Tensor, state: State, weights: Weights, *, nonlinearity: Nonlinearity
) -> tuple[State, State]:
    """Return (h,) after one step and no activations; ``projected`` is W_ih x + b_ih, B×H."""
    (h,) = state
    before = projected + F.linear(h, weights.w_hh, weights.b_hh)
    return (before.tanh() if nonlinearity == "tanh" else before.relu(),), ()
