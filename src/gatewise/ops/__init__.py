"""The mathematics: the reference in plain torch, native kernels as torch operators, dispatch."""

from gatewise.ops.dispatch import KernelChoice, LayerResult, explain, run_layer

__all__ = ["KernelChoice", "LayerResult", "explain", "run_layer"]
