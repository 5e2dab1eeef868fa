r"""The LSTM, as a person would write it.

.. math::
    i_t &= \sigma(W_{ii} x_t + b_{ii} + W_{hi} h_{t-1} + b_{hi}) \\
    f_t &= \sigma(W_{if} x_t + b_{if} + W_{hf} h_{t-1} + b_{hf}) \\
    g_t &= \tanh(W_{ig} x_t + b_{ig} + W_{hg} h_{t-1} + b_{hg}) \\
    o_t &= \sigma(W_{io} x_t + b_{io} + W_{ho} h_{t-1} + b_{ho}) \\
    c_t &= f_t \odot c_{t-1} + i_t \odot g_t \\
    h_t &= W_{hr} \, (o_t \odot \tanh(c_t)) \quad\text{(without the factor } W_{hr}
        \text{ when there is no projection)}

Sources: S. Hochreiter, J. Schmidhuber, "Long short-term memory", Neural Computation 9(8), 1997;
F. Gers, J. Schmidhuber, F. Cummins, "Learning to forget", Neural Computation 12(10), 2000, for
the forget gate; H. Sak, A. Senior, F. Beaufays, "Long short-term memory recurrent neural network
architectures for large scale acoustic modeling", Interspeech 2014, for the projection of h.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from gatewise.conventions import LSTM_GATES
from gatewise.ops.reference.sequence import State, Weights, run_layer, split_weights, widen


def lstm_layer(
    x: Float[Tensor, "T B I"],
    h0: Float[Tensor, "D B P"],
    c0: Float[Tensor, "D B H"],
    weights: Sequence[Tensor],
    *,
    lengths: Int64[Tensor, " B"] | None = None,
    reset: Bool[Tensor, "T B"] | None = None,
    trace: bool = False,
) -> tuple[
    Float[Tensor, "T B D*P"],
    Float[Tensor, "D B P"],
    Float[Tensor, "D B H"],
    dict[str, Float[Tensor, "D T B _"]] | None,
]:
    """Run one LSTM layer in all its directions, in plain torch.

    Any dtype, any device, differentiable twice. Half precision is computed in float32 and rounded
    at the end.

    Args:
        x: Input, T×B×I.
        h0: Initial hidden state, D×B×P; D is 1, or 2 with a direction against time.
        c0: Initial cell state, D×B×H.
        weights: For each direction ``w_ih`` 4H×I, ``w_hh`` 4H×P, then ``b_ih`` and ``b_hh`` of 4H
            (both or neither), then ``w_hr`` P×H with a projection; one flat sequence.
        lengths: Valid steps of each sequence, [B], each from 1 to T, any order. The output is zero
            beyond, and the direction against time starts at the last valid step.
        reset: True at t cuts the sequence between t−1 and t in both directions, T×B; at 0 it
            discards h0 and c0 of the direction with time.
        trace: Whether to return every gate and state of every step.

    Returns:
        y T×B×(D·P), h_n D×B×P, c_n D×B×H, and None or a dict of i, f, g, o, c, h, each D×T×B×H
        (h: P) in time order and zero beyond the lengths.
    """
    runs = run_layer(lstm_cell, x, (h0, c0), weights, lengths=lengths, reset=reset, record=trace)
    y = torch.cat([run.output for run in runs], dim=-1).to(x.dtype)
    h_n, c_n = (
        torch.stack(part).to(x.dtype) for part in zip(*(r.state for r in runs), strict=True)
    )
    if not trace:
        return y, h_n, c_n, None
    traced = {
        name: torch.stack([run.activations[gate] for run in runs]).to(x.dtype)
        for gate, name in enumerate(LSTM_GATES)
    }
    traced["c"] = torch.stack([run.states[1] for run in runs]).to(x.dtype)
    traced["h"] = torch.stack([run.states[0] for run in runs]).to(x.dtype)
    return y, h_n, c_n, traced


def lstm_step(
    x: Float[Tensor, "B I"],
    h: Float[Tensor, "B P"],
    c: Float[Tensor, "B H"],
    weights: Sequence[Tensor],
) -> tuple[Float[Tensor, "B P"], Float[Tensor, "B H"]]:
    """Take a single step: what `lstm_layer` does with T = 1, without the axes T and D.

    Args:
        x: Input of the step, B×I.
        h: Hidden state before it, B×P.
        c: Cell state before it, B×H.
        weights: ``w_ih``, ``w_hh``, then both biases or neither, then ``w_hr`` with a projection.

    Returns:
        Hidden state B×P and cell state B×H after the step.
    """
    (named,) = split_weights(weights, 1)
    projected = F.linear(widen(x), named.w_ih, named.b_ih)
    (h, c), _ = lstm_cell(projected, (widen(h), widen(c)), named)
    return h.to(x.dtype), c.to(x.dtype)


def lstm_cell(projected: Tensor, state: State, weights: Weights) -> tuple[State, State]:
    """Return (h, c) after one step, and i, f, g, o; ``projected`` is W_i· x + b_i·, B×4H."""
    h, c = state
    i, f, g, o = (projected + F.linear(h, weights.w_hh, weights.b_hh)).chunk(4, dim=-1)
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    c = f * c + i * g
    h = o * c.tanh()
    if weights.w_hr is not None:
        h = F.linear(h, weights.w_hr)
    return (h, c), (i, f, g, o)
