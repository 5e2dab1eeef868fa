r"""The minimal cells: gates and candidates read the input alone, and time runs through a sum only.

The minimal GRU:

.. math::
    z_t &= \sigma(W_z x_t + b_z) \\
    n_t &= g(W_n x_t + b_n) \\
    h_t &= (1 - z_t) \odot h_{t-1} + z_t \odot n_t

The minimal LSTM, in the form whose gates add up to one:

.. math::
    f_t &= \frac{\sigma(W_f x_t + b_f)}{\sigma(W_f x_t + b_f) + \sigma(W_i x_t + b_i)},
        \qquad i_t = 1 - f_t \\
    h_t &= f_t \odot h_{t-1} + i_t \odot g(W_g x_t + b_g)

with :math:`g(a) = a`, or, for weights of the paper's form in logarithms, the positive
:math:`g(a) = a + \tfrac12` for :math:`a \ge 0` and :math:`\sigma(a)` below.

Source: L. Feng, F. Tung, M. O. Ahmed, Y. Bengio, H. Hajimirsadeghi, "Were RNNs all we needed?",
2024, sections 3.1 and 3.2 and appendix B.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from gatewise.ops.reference.layer import Cell
from gatewise.ops.reference.recurrence import Recurrence
from gatewise.ops.reference.sequence import State


def min_gru_step(projected: Tensor, state: State, _: Recurrence) -> tuple[State, State]:
    """Return (h,) after one step, and z and n; ``projected`` is W_i· x + b_i·, B×2H."""
    z, n = projected.chunk(2, dim=-1)
    return _min_gru(z, n, state)


def min_gru_positive_step(projected: Tensor, state: State, _: Recurrence) -> tuple[State, State]:
    """Do the same with positive candidates."""
    z, n = projected.chunk(2, dim=-1)
    return _min_gru(z, _positive(n), state)


def min_lstm_step(projected: Tensor, state: State, _: Recurrence) -> tuple[State, State]:
    """Return (h,) after one step, and f, i and g; ``projected`` is W_i· x + b_i·, B×3H."""
    f, i, g = projected.chunk(3, dim=-1)
    return _min_lstm(f, i, g, state)


def min_lstm_positive_step(projected: Tensor, state: State, _: Recurrence) -> tuple[State, State]:
    """Do the same with positive candidates."""
    f, i, g = projected.chunk(3, dim=-1)
    return _min_lstm(f, i, _positive(g), state)


def _min_gru(z: Tensor, n: Tensor, state: State) -> tuple[State, State]:
    (h,) = state
    z = torch.sigmoid(z)
    return ((1 - z) * h + z * n,), (z, n)


def _min_lstm(f: Tensor, i: Tensor, g: Tensor, state: State) -> tuple[State, State]:
    (h,) = state
    apart = F.logsigmoid(f) - F.logsigmoid(i)  # their ratio stays right where both gates vanish
    f, i = torch.sigmoid(apart), torch.sigmoid(-apart)
    return (f * h + i * g,), (f, i, g)


def _positive(a: Tensor) -> Tensor:
    return torch.where(a >= 0, a + 0.5, torch.sigmoid(a))


MIN_GRU = Cell("min_gru", 2, ("h",), ("z", "n"), min_gru_step, feeds_back=False)
MIN_GRU_POSITIVE = Cell(
    "min_gru_positive", 2, ("h",), ("z", "n"), min_gru_positive_step, feeds_back=False
)
MIN_LSTM = Cell("min_lstm", 3, ("h",), ("f", "i", "g"), min_lstm_step, feeds_back=False)
MIN_LSTM_POSITIVE = Cell(
    "min_lstm_positive", 3, ("h",), ("f", "i", "g"), min_lstm_positive_step, feeds_back=False
)
