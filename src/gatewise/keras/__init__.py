"""Layers for Keras 3 on its torch backend that run on our kernels.

Importing this imports Keras; ``KERAS_BACKEND=torch`` has to be set before that.
"""

from gatewise.keras.layers import GRU, LSTM

__all__ = ["GRU", "LSTM"]
