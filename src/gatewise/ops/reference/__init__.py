"""The mathematics in plain torch: readable, any dtype and device, differentiable twice.

Each cell is one pure function of one step, plugged into the one time loop of `sequence`.
"""

from gatewise.ops.reference.gru import gru_layer, gru_step
from gatewise.ops.reference.lstm import lstm_layer, lstm_step
from gatewise.ops.reference.rnn import rnn_layer, rnn_step

__all__ = ["gru_layer", "gru_step", "lstm_layer", "lstm_step", "rnn_layer", "rnn_step"]
