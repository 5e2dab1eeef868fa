r"""The gated recurrent unit, with torch's place for the reset gate.

.. math::
    r_t &= \sigma(W_{ir} x_t + b_{ir} + W_{hr} h_{t-1} + b_{hr}) \\
    z_t &= \sigma(W_{iz} x_t + b_{iz} + W_{hz} h_{t-1} + b_{hz}) \\
    n_t &= \tanh(W_{in} x_t + b_{in} + r_t \odot (W_{hn} h_{t-1} + b_{hn})) \\
    h_t &= (1 - z_t) \odot n_t + z_t \odot h_{t-1}

The reset gate acts after the recurrent product, as in cuDNN and torch; in the paper, and in
`gru_before_step`, it acts before:

.. math::
    n_t = \tanh(W_{in} x_t + b_{in} + W_{hn} (r_t \odot h_{t-1}) + b_{hn})

Source: K. Cho et al., "Learning phrase representations using RNN encoder-decoder for
statistical machine translation", EMNLP 2014 (whose z is 1 − z here).
"""

from __future__ import annotations

from torch import Tensor

from gatewise.conventions import GRU_GATES
from gatewise.ops.reference.layer import Cell
from gatewise.ops.reference.recurrence import Recurrence
from gatewise.ops.reference.sequence import State


def gru_step(projected: Tensor, state: State, at: Recurrence) -> tuple[State, State]:
    """Return (h,) after one step, and r, z, n; ``projected`` is W_i· x + b_i·, B×3H."""
    (h,) = state
    x_r, x_z, x_n = projected.chunk(3, dim=-1)
    h_r, h_z, h_n = at.product(h).chunk(3, dim=-1)
    r, z = (x_r + h_r).sigmoid(), (x_z + h_z).sigmoid()
    n = (x_n + r * h_n).tanh()
    return ((1 - z) * at.candidate(n) + z * h,), (r, z, n)


def gru_before_step(projected: Tensor, state: State, at: Recurrence) -> tuple[State, State]:
    """Do the same with the reset gate before the product.

    With layer norm, the products of r and z are normalised together and that of n alone.
    """
    (h,) = state
    x_r, x_z, x_n = projected.chunk(3, dim=-1)
    h_r, h_z = at.product(h, slice(0, 2)).chunk(2, dim=-1)
    r, z = (x_r + h_r).sigmoid(), (x_z + h_z).sigmoid()
    n = (x_n + at.product(r * h, slice(2, 3))).tanh()
    return ((1 - z) * at.candidate(n) + z * h,), (r, z, n)


GRU_BEFORE = Cell("gru_before", 3, ("h",), GRU_GATES, gru_before_step)
GRU = Cell("gru", 3, ("h",), GRU_GATES, gru_step)
