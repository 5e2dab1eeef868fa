r"""The gated recurrent unit, with torch's place for the reset gate.

.. math::
    r_t &= \sigma(W_{ir} x_t + b_{ir} + W_{hr} h_{t-1} + b_{hr}) \\
    z_t &= \sigma(W_{iz} x_t + b_{iz} + W_{hz} h_{t-1} + b_{hz}) \\
    n_t &= \tanh(W_{in} x_t + b_{in} + r_t \odot (W_{hn} h_{t-1} + b_{hn})) \\
    h_t &= (1 - z_t) \odot n_t + z_t \odot h_{t-1}

The reset gate acts after the recurrent product, as in cuDNN and torch; in the paper it acts before
it. Source: K. Cho et al., "Learning phrase representations using RNN encoder-decoder for
statistical machine translation", EMNLP 2014 (whose z is 1 − z here).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from gatewise.conventions import GRU_GATES
from gatewise.ops.reference.sequence import State, Weights, run_layer, split_weights, widen


def gru_layer(
    x: Float[Tensor, "T B I"],
    h0: Float[Tensor, "D B H"],
    weights: Sequence[Tensor],
    *,
    lengths: Int64[Tensor, " B"] | None = None,
    reset: Bool[Tensor, "T B"] | None = None,
    trace: bool = False,
) -> tuple[
    Float[Tensor, "T B D*H"],
    Float[Tensor, "D B H"],
    dict[str, Float[Tensor, "D T B H"]] | None,
]:
    """Run one GRU layer in all its directions, in plain torch.

    Args:
        x: Input, T×B×I.
        h0: Initial hidden state, D×B×H.
        weights: For each direction ``w_ih`` 3H×I, ``w_hh`` 3H×H, then ``b_ih`` and ``b_hh`` of 3H
            (both or neither); one flat sequence.
        lengths: As in `lstm_layer`.
        reset: As in `lstm_layer`.
        trace: Whether to return every gate and state of every step.

    Returns:
        y T×B×(D·H), h_n D×B×H, and None or a dict of r, z, n, h, each D×T×B×H.
    """
    runs = run_layer(gru_cell, x, (h0,), weights, lengths=lengths, reset=reset, record=trace)
    y = torch.cat([run.output for run in runs], dim=-1).to(x.dtype)
    h_n = torch.stack([run.state[0] for run in runs]).to(x.dtype)
    if not trace:
        return y, h_n, None
    traced = {
        name: torch.stack([run.activations[gate] for run in runs]).to(x.dtype)
        for gate, name in enumerate(GRU_GATES)
    }
    traced["h"] = torch.stack([run.states[0] for run in runs]).to(x.dtype)
    return y, h_n, traced


def gru_step(
    x: Float[Tensor, "B I"], h: Float[Tensor, "B H"], weights: Sequence[Tensor]
) -> Float[Tensor, "B H"]:
    """Take a single step: what `gru_layer` does with T = 1; returns the hidden state B×H."""
    (named,) = split_weights(weights, 1)
    (after,), _ = gru_cell(F.linear(widen(x), named.w_ih, named.b_ih), (widen(h),), named)
    return after.to(x.dtype)


def gru_cell(projected: Tensor, state: State, weights: Weights) -> tuple[State, State]:
    """Return (h,) after one step, and r, z, n; ``projected`` is W_i· x + b_i·, B×3H."""
    (h,) = state
    x_r, x_z, x_n = projected.chunk(3, dim=-1)
    h_r, h_z, h_n = F.linear(h, weights.w_hh, weights.b_hh).chunk(3, dim=-1)
    r, z = (x_r + h_r).sigmoid(), (x_z + h_z).sigmoid()
    n = (x_n + r * h_n).tanh()
    return ((1 - z) * n + z * h,), (r, z, n)
