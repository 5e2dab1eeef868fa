"""The mathematics in plain torch: readable, any dtype and device, differentiable twice.

Each cell is one pure function of one step, plugged into the one time loop of `sequence`.
"""

from gatewise.ops.reference.gru import GRU
from gatewise.ops.reference.layer import Cell, layer, step
from gatewise.ops.reference.lstm import LSTM
from gatewise.ops.reference.rnn import RNN_RELU, RNN_TANH

CELLS = {cell.name: cell for cell in (LSTM, GRU, RNN_TANH, RNN_RELU)}
"""Every cell by its name. A new one is registered here."""

__all__ = ["CELLS", "GRU", "LSTM", "RNN_RELU", "RNN_TANH", "Cell", "layer", "step"]
