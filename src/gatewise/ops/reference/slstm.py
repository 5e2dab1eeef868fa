r"""The sLSTM: exponential gates, a normaliser, and a stabiliser that keeps them in range.

.. math::
    \tilde i_t, \tilde f_t, \tilde z_t, \tilde o_t &= W x_t + R h_{t-1} + b \\
    m_t &= \max(\log f_t + m_{t-1}, \tilde i_t), \qquad
        \log f_t = \log\sigma(\tilde f_t) \text{ or } \tilde f_t \\
    i'_t &= e^{\tilde i_t - m_t}, \qquad f'_t = e^{\log f_t + m_{t-1} - m_t} \\
    c_t &= f'_t \odot c_{t-1} + i'_t \odot \tanh(\tilde z_t) \\
    n_t &= f'_t \odot n_{t-1} + i'_t \\
    h_t &= \sigma(\tilde o_t) \odot c_t / n_t

R is block-diagonal, a block for each head. m begins at minus infinity: the first step forgets all.

Source: M. Beck, K. Pöppel, M. Spanring, A. Auer, O. Prudnikova, M. Kopp, G. Klambauer, J.
Brandstetter, S. Hochreiter, "xLSTM: extended long short-term memory", NeurIPS 2024, section 2.2.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from gatewise.ops.reference.layer import Cell
from gatewise.ops.reference.recurrence import Recurrence
from gatewise.ops.reference.sequence import State


def slstm_step(projected: Tensor, state: State, at: Recurrence) -> tuple[State, State]:
    """Return (h, c, n, m) after one step, and log i, log f, z, o; ``projected`` is B×4H."""
    i, f, z, o = (projected + at.product(state[0])).chunk(4, dim=-1)
    return _advance(state, i, F.logsigmoid(f), z, o)


def slstm_exponential_step(projected: Tensor, state: State, at: Recurrence) -> tuple[State, State]:
    """The same with an exponential forget gate."""
    i, f, z, o = (projected + at.product(state[0])).chunk(4, dim=-1)
    return _advance(state, i, f, z, o)


def _advance(
    state: State, log_i: Tensor, log_f: Tensor, z: Tensor, o: Tensor
) -> tuple[State, State]:
    _, c, n, before = state
    z, o = torch.tanh(z), torch.sigmoid(o)
    m = torch.maximum(log_f + before, log_i)
    i, f = torch.exp(log_i - m), torch.exp(log_f + before - m)
    c, n = f * c + i * z, f * n + i
    return (o * c / n, c, n, m), (log_i, log_f, z, o)


_STATES, _SHOWN = ("h", "c", "n", "m"), ("log_i", "log_f", "z", "o")
_BEGIN = (0.0, 0.0, 0.0, float("-inf"))

SLSTM = Cell("slstm", 4, _STATES, _SHOWN, slstm_step, initial=_BEGIN)
SLSTM_EXPONENTIAL = Cell(
    "slstm_exponential", 4, _STATES, _SHOWN, slstm_exponential_step, initial=_BEGIN
)
