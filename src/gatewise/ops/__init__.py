"""The mathematics: the reference in plain torch, native kernels as torch operators, dispatch."""

from gatewise.ops.dispatch import KernelChoice, LSTMLayerResult, explain_lstm, lstm_layer

__all__ = ["KernelChoice", "LSTMLayerResult", "explain_lstm", "lstm_layer"]
