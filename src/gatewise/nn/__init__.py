"""Layers: drop-ins for torch's recurrent layers, and what is built from them."""

from gatewise.nn.cell import GRUCell, LSTMCell, RNNCell
from gatewise.nn.crf import CRF, ScoredTags
from gatewise.nn.freeze import freeze, unfreeze
from gatewise.nn.gru import GRU, GRUTrace
from gatewise.nn.linear_cross_entropy import LinearCrossEntropy
from gatewise.nn.lstm import LSTM, Trace
from gatewise.nn.minimal import MinGRU, MinGRUTrace, MinLSTM, MinLSTMTrace
from gatewise.nn.mlstm import MLSTM, MLSTMTrace
from gatewise.nn.mlstm_block import MLSTMBlock, MLSTMBlockTrace
from gatewise.nn.recurrent import Recurrent
from gatewise.nn.replace import replace
from gatewise.nn.rnn import RNN, RNNTrace
from gatewise.nn.slstm import SLSTM, SLSTMTrace
from gatewise.nn.slstm_block import SLSTMBlock
from gatewise.nn.stack import Stack, StackState
from gatewise.nn.tag_constraints import TagConstraints, tag_constraints
from gatewise.nn.xlstm import XLSTM

__all__ = [
    "CRF",
    "GRU",
    "LSTM",
    "MLSTM",
    "RNN",
    "SLSTM",
    "XLSTM",
    "GRUCell",
    "GRUTrace",
    "LSTMCell",
    "LinearCrossEntropy",
    "MLSTMBlock",
    "MLSTMBlockTrace",
    "MLSTMTrace",
    "MinGRU",
    "MinGRUTrace",
    "MinLSTM",
    "MinLSTMTrace",
    "RNNCell",
    "RNNTrace",
    "Recurrent",
    "SLSTMBlock",
    "SLSTMTrace",
    "ScoredTags",
    "Stack",
    "StackState",
    "TagConstraints",
    "Trace",
    "freeze",
    "replace",
    "tag_constraints",
    "unfreeze",
]
