r"""The simple recurrent network.

.. math::
    h_t = \phi(W_{ih} x_t + b_{ih} + W_{hh} h_{t-1} + b_{hh}), \qquad \phi = \tanh \text{ or ReLU}

Source: J. L. Elman, "Finding structure in time", Cognitive Science 14(2), 1990.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gatewise.ops.reference.layer import Cell
from gatewise.ops.reference.recurrence import Recurrence
from gatewise.ops.reference.sequence import State


def tanh_step(projected: Tensor, state: State, at: Recurrence) -> tuple[State, State]:
    """Return (h,) after one step and no activations; ``projected`` is W_ih x + b_ih, B×H."""
    return (torch.tanh(_before(projected, state, at)),), ()


def relu_step(projected: Tensor, state: State, at: Recurrence) -> tuple[State, State]:
    """Do the same with ReLU."""
    return (torch.relu(_before(projected, state, at)),), ()


def _before(projected: Tensor, state: State, at: Recurrence) -> Tensor:
    return projected + at.product(state[0])


RNN_TANH = Cell("rnn_tanh", 1, ("h",), (), tanh_step)
RNN_RELU = Cell("rnn_relu", 1, ("h",), (), relu_step)
