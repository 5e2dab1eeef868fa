r"""The simple recurrent network.

.. math::
    h_t = \phi(W_{ih} x_t + b_{ih} + W_{hh} h_{t-1} + b_{hh}), \qquad \phi = \tanh \text{ or ReLU}

Source: J. L. Elman, "Finding structure in time", Cognitive Science 14(2), 1990.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from gatewise.ops.reference.layer import Cell
from gatewise.ops.reference.sequence import State, Weights


def tanh_step(projected: Tensor, state: State, weights: Weights) -> tuple[State, State]:
    """Return (h,) after one step and no activations; ``projected`` is W_ih x + b_ih, B×H."""
    return (torch.tanh(_before(projected, state, weights)),), ()


def relu_step(projected: Tensor, state: State, weights: Weights) -> tuple[State, State]:
    """Do the same with ReLU."""
    return (torch.relu(_before(projected, state, weights)),), ()


def _before(projected: Tensor, state: State, weights: Weights) -> Tensor:
    return projected + F.linear(state[0], weights.w_hh, weights.b_hh)


RNN_TANH = Cell("rnn_tanh", 1, ("h",), (), tanh_step)
RNN_RELU = Cell("rnn_relu", 1, ("h",), (), relu_step)
