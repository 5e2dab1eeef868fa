"""The kernels that this machine can run, for tests that go over all of them."""

from __future__ import annotations

from functools import partial

import torch

from gatewise.ops import dispatch

from .lstm_case import Layer

NATIVE = hasattr(torch.ops.gatewise, "lstm")
BACKENDS = ["reference", "native"] if NATIVE else ["reference"]
# What layers are set to in tests that use everything: the native kernel leaves traces, empty
# batches and function transforms to the reference, and so refuses them when it is insisted on.
CHOICES = ["reference", "auto"] if NATIVE else ["reference"]


def layer_of(backend: str) -> Layer:
    """Return ``lstm_layer`` on a backend; what no kernel does goes where ``auto`` takes it."""

    def layer(x, h0, c0, weights, *, trace=False, **options):
        left = backend == "native" and (trace or 0 in x.shape)
        run = partial(dispatch.lstm_layer, backend="auto" if left else backend)
        return run(x, h0, c0, weights, trace=trace, **options)

    return layer
