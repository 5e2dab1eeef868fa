"""Ways in and out: layers of torch, ONNX and Keras as ours, and ours as torch's and Keras'."""

from gatewise.convert.keras_layers import from_keras, to_keras
from gatewise.convert.keras_modules import (
    KerasEmbedding,
    KerasMasking,
    KerasRecurrent,
    KerasSequential,
)
from gatewise.convert.onnx_layers import from_onnx
from gatewise.convert.torch_layers import from_torch, to_torch

__all__ = [
    "KerasEmbedding",
    "KerasMasking",
    "KerasRecurrent",
    "KerasSequential",
    "from_keras",
    "from_onnx",
    "from_torch",
    "to_keras",
    "to_torch",
]
