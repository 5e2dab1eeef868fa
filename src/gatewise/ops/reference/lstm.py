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

import torch.nn.functional as F
from torch import Tensor

from gatewise.conventions import LSTM_GATES
from gatewise.ops.reference.layer import Cell
from gatewise.ops.reference.sequence import State, Weights


def lstm_step(projected: Tensor, state: State, weights: Weights) -> tuple[State, State]:
    """Return (h, c) after one step, and i, f, g, o; ``projected`` is W_i· x + b_i·, B×4H."""
    h, c = state
    i, f, g, o = (projected + F.linear(h, weights.w_hh, weights.b_hh)).chunk(4, dim=-1)
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    c = f * c + i * g
    h = o * c.tanh()
    if weights.w_hr is not None:
        h = F.linear(h, weights.w_hr)
    return (h, c), (i, f, g, o)


LSTM = Cell("lstm", 4, ("h", "c"), LSTM_GATES, lstm_step)
