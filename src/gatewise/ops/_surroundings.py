"""What torch is doing around a call: recording it, transforming it, or learning from it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.autograd import forward_ad


def learns(tensors: Sequence[Tensor]) -> bool:
    """Say whether autograd wants a gradient of one of the tensors."""
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)


def differentiated(
    outputs: Sequence[Tensor],
    grads: Sequence[Tensor | None],
    inputs: Sequence[Tensor | None],
    *,
    again: bool = True,
) -> list[Tensor | None]:
    """Return the gradient of each input that learns, given those of outputs in plain torch.

    Args:
        outputs: Made of the inputs.
        grads: Of the outputs; None for zeros.
        inputs: None where there is none.
        again: Whether the gradients are differentiated in turn.
    """
    pairs = [
        (output, grad)
        for output, grad in zip(outputs, grads, strict=True)
        if grad is not None and output.requires_grad
    ]
    found = iter(
        torch.autograd.grad(
            [output for output, _ in pairs],
            [part for part in inputs if part is not None and part.requires_grad],
            [grad for _, grad in pairs],
            create_graph=again,
            allow_unused=True,
            materialize_grads=True,
        )
    )
    return [next(found) if part is not None and part.requires_grad else None for part in inputs]


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
