r"""The LSTM, as a person would write it, with every option it has taken since.

.. math::
    i_t &= \sigma(W_{ii} x_t + b_{ii} + W_{hi} h_{t-1} + b_{hi}) \\
    f_t &= \sigma(W_{if} x_t + b_{if} + W_{hf} h_{t-1} + b_{hf}) \\
    g_t &= \tanh(W_{ig} x_t + b_{ig} + W_{hg} h_{t-1} + b_{hg}) \\
    o_t &= \sigma(W_{io} x_t + b_{io} + W_{ho} h_{t-1} + b_{ho}) \\
    c_t &= f_t \odot c_{t-1} + i_t \odot g_t \\
    h_t &= W_{hr} \, (o_t \odot \tanh(c_t)) \quad\text{(without the factor } W_{hr}
        \text{ when there is no projection)}

Options, each of which may join any other:

- peepholes: :math:`p_i \odot c_{t-1}` is added inside :math:`i_t`, :math:`p_f \odot c_{t-1}` inside
  :math:`f_t`, and :math:`p_o \odot c_t` inside :math:`o_t`;
- coupled gates: :math:`i_t = 1 - f_t`; without the forget gate: :math:`f_t = 1`;
- a limit: :math:`c_t` is held to :math:`\pm` ``cell_clip``;
- layer norm: :math:`\mathrm{LN}(W_{i\cdot} x_t) + \mathrm{LN}(W_{h\cdot} h_{t-1})`, each over all
  gates together, and :math:`\tanh(\mathrm{LN}(c_t))`, biases outside; batch norm: BN in place of
  LN, see `gatewise.ops.reference.batch_norm`;
- other functions for :math:`\sigma` and :math:`\tanh`; dropout and zoneout: `CellOptions`.

Sources: S. Hochreiter, J. Schmidhuber, "Long short-term memory", Neural Computation 9(8), 1997;
F. Gers, J. Schmidhuber, F. Cummins, "Learning to forget", Neural Computation 12(10), 2000, for
the forget gate; H. Sak, A. Senior, F. Beaufays, "Long short-term memory recurrent neural network
architectures for large scale acoustic modeling", Interspeech 2014, for the projection of h; F.
Gers, J. Schmidhuber, "Recurrent nets that time and count", IJCNN 2000, for peepholes; K. Greff et
al., "LSTM: a search space odyssey", IEEE TNNLS 28(10), 2017, for coupled gates; J. Ba, J. Kiros, G.
Hinton, "Layer normalization", 2016.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from gatewise.conventions import LSTM_GATES
from gatewise.ops.reference.layer import Cell
from gatewise.ops.reference.recurrence import Recurrence
from gatewise.ops.reference.sequence import State


def lstm_step(projected: Tensor, state: State, at: Recurrence) -> tuple[State, State]:
    """Return (h, c) after one step, and i, f, g, o; ``projected`` is W_i· x + b_i·, B×4H."""
    h, c = state
    i, f, g, o = (projected + at.product(h)).chunk(4, dim=-1)
    i, f = at.gate(i + at.peephole(0, c)), at.gate(f + at.peephole(1, c))
    g = at.activation(g)
    after, o = _advance(at, c, i, f, g, o, peephole=2)
    return after, (i, f, g, o)


def coupled_step(projected: Tensor, state: State, at: Recurrence) -> tuple[State, State]:
    """The same with coupled gates: f, g, o; ``projected`` is B×3H."""
    h, c = state
    f, g, o = (projected + at.product(h)).chunk(3, dim=-1)
    f, g = at.gate(f + at.peephole(0, c)), at.activation(g)
    after, o = _advance(at, c, 1 - f, f, g, o, peephole=1)
    return after, (f, g, o)


def no_forget_step(projected: Tensor, state: State, at: Recurrence) -> tuple[State, State]:
    """The LSTM of 1997, without the forget gate: i, g, o; ``projected`` is B×3H."""
    h, c = state
    i, g, o = (projected + at.product(h)).chunk(3, dim=-1)
    i, g = at.gate(i + at.peephole(0, c)), at.activation(g)
    after, o = _advance(at, c, i, 1.0, g, o, peephole=1)
    return after, (i, g, o)


def _advance(
    at: Recurrence,
    c: Tensor,
    i: Tensor,
    f: Tensor | float,
    g: Tensor,
    raw_o: Tensor,
    *,
    peephole: int,
) -> tuple[State, Tensor]:
    """Return (h, c) after the step, and o; ``peephole`` is the number of the output gate."""
    c = at.clip(f * c + i * at.candidate(g))
    o = at.gate(raw_o + at.peephole(peephole, c))
    h = o * at.leave(c)
    if at.weights.w_hr is not None:
        h = F.linear(h, at.weights.w_hr)
    return (h, c), o


LSTM = Cell("lstm", 4, ("h", "c"), LSTM_GATES, lstm_step)
LSTM_COUPLED = Cell("lstm_coupled", 3, ("h", "c"), ("f", "g", "o"), coupled_step)
LSTM_NO_FORGET = Cell("lstm_no_forget", 3, ("h", "c"), ("i", "g", "o"), no_forget_step)
