"""torch's layer and ours with the same weights, called alike, and their results by name."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

import gatewise.nn

from .compare import jitter

# Constructor options between them covering every one of torch's.
CONFIGURATIONS = [
    {},
    {"bias": False},
    {"batch_first": True},
    {"bidirectional": True},
    {"proj_size": 3},
    {"num_layers": 3},
    {"num_layers": 2, "bidirectional": True, "proj_size": 2, "batch_first": True},
    {"num_layers": 2, "bidirectional": True, "bias": False, "proj_size": 3},
]


def twins(
    *sizes: int,
    kind: str = "LSTM",
    backend: str = "auto",
    dtype: torch.dtype = torch.float64,
    moved: int = 0,
    **options,
) -> tuple:
    """Return torch's layer and ours, with the same weights, ``moved`` by a rounding error."""
    theirs = getattr(nn, kind)(*sizes, **options)
    draw = torch.Generator().manual_seed(0)
    for weight in theirs.parameters():
        nn.init.uniform_(weight, -0.7, 0.7, generator=draw)
        weight.data = jitter(weight.data, moved)
    # Drawn in float32, so that all dtypes but the halves hold the same numbers.
    theirs = theirs.to(dtype)
    ours = getattr(gatewise.nn, kind)(*sizes, **options, backend=backend).to(dtype)
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def results(layer: nn.Module, *call) -> dict[str, Tensor]:
    """Return the outputs of a call and the gradients of every tensor in it and every weight."""
    inputs = [value for value in _tensors(call) if value.is_floating_point()]
    inputs = [value if value.requires_grad else value.requires_grad_() for value in inputs]
    layer.zero_grad()
    for value in inputs:
        value.grad = None
    with warnings.catch_warnings():
        # oneDNN says once that it has no projections.
        warnings.filterwarnings("ignore", message="LSTM with projections", category=UserWarning)
        output, final = layer(*call)
    y = output.data if isinstance(output, PackedSequence) else output
    states = (final,) if isinstance(final, Tensor) else final
    named = {"y": y} | dict(zip(("h_n", "c_n"), states, strict=False))
    draw = torch.Generator().manual_seed(1)
    pulls = [torch.randn(v.shape, generator=draw).to(v.dtype) for v in named.values()]
    torch.autograd.backward(list(named.values()), pulls)
    # A compiled module stands before its original under this name.
    weights = getattr(layer, "_orig_mod", layer).named_parameters()
    named |= {f"grad.{name}": weight.grad for name, weight in weights}
    named |= {f"grad.{n}": value.grad for n, value in enumerate(inputs)}
    return {name: value.detach().clone() for name, value in named.items()}


def _tensors(call) -> list[Tensor]:
    if isinstance(call, PackedSequence):
        return [call.data]
    if isinstance(call, Tensor):
        return [call]
    return [tensor for part in call or () for tensor in _tensors(part)]
