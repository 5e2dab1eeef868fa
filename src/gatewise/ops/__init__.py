"""The mathematics: the reference in plain torch, native kernels as torch operators, dispatch."""

from gatewise.ops.backends import use_backend
from gatewise.ops.dispatch import KernelChoice, LayerResult, explain, run_layer

__all__ = ["KernelChoice", "LayerResult", "explain", "run_layer", "use_backend"]
