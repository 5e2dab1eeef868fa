"""Ways in and out: layers of torch and ONNX as ours, and ours as torch's."""

from gatewise.convert.onnx_layers import from_onnx
from gatewise.convert.torch_layers import from_torch, to_torch

__all__ = ["from_onnx", "from_torch", "to_torch"]
