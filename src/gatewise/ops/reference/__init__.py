"""The mathematics in plain torch: readable, any dtype and device, differentiable twice.

Each cell is one pure function of one step, plugged into the one time loop of `sequence`.
"""

from gatewise.ops.reference.gru import GRU, GRU_BEFORE
from gatewise.ops.reference.layer import Cell, layer, step
from gatewise.ops.reference.lstm import LSTM, LSTM_COUPLED, LSTM_NO_FORGET
from gatewise.ops.reference.minimal import (
    MIN_GRU,
    MIN_GRU_POSITIVE,
    MIN_LSTM,
    MIN_LSTM_POSITIVE,
)
from gatewise.ops.reference.options import PLAIN, CellOptions
from gatewise.ops.reference.rnn import RNN_RELU, RNN_TANH
from gatewise.ops.reference.slstm import SLSTM, SLSTM_EXPONENTIAL

CELLS = {
    cell.name: cell
    for cell in (
        LSTM,
        GRU,
        RNN_TANH,
        RNN_RELU,
        LSTM_COUPLED,
        LSTM_NO_FORGET,
        GRU_BEFORE,
        MIN_GRU,
        MIN_GRU_POSITIVE,
        MIN_LSTM,
        MIN_LSTM_POSITIVE,
        SLSTM,
        SLSTM_EXPONENTIAL,
    )
}
"""Every cell by its name. A new one is registered here."""

__all__ = [
    "CELLS",
    "GRU",
    "GRU_BEFORE",
    "LSTM",
    "LSTM_COUPLED",
    "LSTM_NO_FORGET",
    "MIN_GRU",
    "MIN_GRU_POSITIVE",
    "MIN_LSTM",
    "MIN_LSTM_POSITIVE",
    "PLAIN",
    "RNN_RELU",
    "RNN_TANH",
    "SLSTM",
    "SLSTM_EXPONENTIAL",
    "Cell",
    "CellOptions",
    "layer",
    "step",
]
