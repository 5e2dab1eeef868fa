"""The kernels that this machine can run, for tests that go over all of them."""

from __future__ import annotations

from functools import partial

import torch

from gatewise.ops import dispatch, kernels
from gatewise.ops.reference import CELLS

from .layer_case import Layer

NATIVE = hasattr(torch.ops.gatewise, "recurrent")
BACKENDS = ["reference", "native"] if NATIVE else ["reference"]
# The cells that every backend has.
KERNELS = [cell for cell in CELLS if cell in kernels.CELLS] if NATIVE else list(CELLS)
# What layers are set to in tests that use everything: the native kernel leaves empty batches and
# function transforms to the reference, and so refuses them when it is insisted on.
CHOICES = ["reference", "auto"] if NATIVE else ["reference"]


def layer_of(backend: str, cell: str = "lstm") -> Layer:
    """Return a cell on a backend; what no kernel does goes where ``auto`` takes it."""

    def layer(x, *arguments, trace=False, **options):
        *states, weights = arguments
        left = backend == "native" and 0 in x.shape
        run = partial(dispatch.run_layer, cell, backend="auto" if left else backend)
        y, final, traced = run(x, tuple(states), weights, trace=trace, **options)
        return y, *final, traced

    return layer
