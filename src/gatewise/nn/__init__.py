"""Layers: drop-ins for torch's recurrent layers, and what is built from them."""

from gatewise.nn.cell import LSTMCell
from gatewise.nn.lstm import LSTM, Trace
from gatewise.nn.replace import replace
from gatewise.nn.stack import Stack, StackState

__all__ = ["LSTM", "LSTMCell", "Stack", "StackState", "Trace", "replace"]
