"""The two passes that are timed of anything that maps a tensor to a tensor."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

PASSES = ("forward", "training")


def forward(call: Callable[[Tensor], Tensor], x: Tensor) -> Callable[[], Tensor]:
    """Return what runs ``call`` on ``x`` without gradients."""

    def run() -> Tensor:
        with torch.no_grad():
            return call(x)

    return run


def training(
    call: Callable[[Tensor], Tensor], weights: Sequence[Tensor], x: Tensor, grad_y: Tensor
) -> Callable[[], tuple[Tensor, ...]]:
    """Return what runs ``call`` and gives the gradients of ``x`` and of every weight."""
    leaves = [x.detach().requires_grad_(), *weights]

    def run() -> tuple[Tensor, ...]:
        return torch.autograd.grad(call(leaves[0]), leaves, grad_y)

    return run
