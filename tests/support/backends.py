"""The kernels that this machine can run, for tests that go over all of them."""

from __future__ import annotations

from functools import partial

import torch

from gatewise.ops import dispatch

from .lstm_case import Layer

NATIVE = hasattr(torch.ops.gatewise, "lstm")
BACKENDS = ["reference", "native"] if NATIVE else ["reference"]


def layer_of(backend: str) -> Layer:
    """Return ``lstm_layer`` bound to a backend."""
    return partial(dispatch.lstm_layer, backend=backend)
