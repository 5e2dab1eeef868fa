"""What torch is doing around a call: recording it, transforming it, or learning from it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.autograd import forward_ad


def learns(tensors: Sequence[Tensor]) -> bool:
    """Say whether autograd wants a gradient of one of the tensors."""
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)


def is_recorded() -> bool:
    """Say whether torch records or fakes the operations: it must see operators then."""
    return torch.compiler.is_compiling() or bool(torch._C._len_torch_dispatch_stack())  # noqa: SLF001


def is_transformed(tensors: Sequence[Tensor]) -> bool:
    """Say whether a function transform (torch.func, forward-mode differentiation) is under way."""
    if torch.compiler.is_compiling():
        return False
    if torch._C._functorch.peek_interpreter_stack() is not None:  # noqa: SLF001 # pyright: ignore
        return True
    level = forward_ad._current_level  # noqa: SLF001 - there is no public query
    return level >= 0 and any(forward_ad.unpack_dual(t).tangent is not None for t in tensors)
