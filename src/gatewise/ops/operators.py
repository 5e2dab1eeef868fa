"""The native LSTM in torch's autograd and among torch's operators.

``torch.ops.gatewise.lstm`` and its backward are registered with fake implementations and autograd,
so that ``torch.compile``, ``torch.export`` and ``opcheck`` work. Function transforms
(``torch.func``, forward-mode AD) are not defined on them and raise; `gatewise.ops.dispatch` sends
those to the reference. Eager calls go through a plain ``autograd.Function`` with the same backward:
the operators' machinery in Python costs 0.2 ms a training step when the kernels have just filled
the caches (measured at T=100, B=32, H=128: 3 % of the step).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.library import Library

from gatewise.errors import InvalidStateError
from gatewise.ops import native, reference
from gatewise.ops._operands import refuse_transform


def lstm(
    x: Tensor,
    h0: Tensor,
    c0: Tensor,
    weights: Sequence[Tensor],
    lengths: Tensor | None,
    reset: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Run a layer on the native kernel, differentiably; `native.forward` has the arguments.

    Returns:
        y T×B×(D·P), h_n D×B×P and c_n D×B×H.
    """
    save = torch.is_grad_enabled() and any(t.requires_grad for t in (x, h0, c0, *weights))
    if torch.compiler.is_compiling() or torch._C._len_torch_dispatch_stack():  # noqa: SLF001
        return torch.ops.gatewise.lstm(x, h0, c0, weights, lengths, reset, save)[:3]
    if save:
        return _Function.apply(x, h0, c0, lengths, reset, *weights)  # pyright: ignore
    return native.forward(x, h0, c0, weights, lengths, reset)[:3]


class _Function(torch.autograd.Function):
    """The eager path: `native.forward` with the operator's backward."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        h0: Tensor,
        c0: Tensor,
        lengths: Tensor | None,
        reset: Tensor | None,
        *weights: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        y, h_n, c_n, gates, cells = native.forward(x, h0, c0, weights, lengths, reset, save=True)
        _keep(ctx, (x, h0, c0, weights, lengths, reset), (y, gates, cells))
        return y, h_n, c_n

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        grad_x, grad_h0, grad_c0, grad_weights = _gradients(ctx, grads, native.backward)
        return grad_x, grad_h0, grad_c0, None, None, *grad_weights


_library = Library("gatewise", "DEF")
_library.define(
    "lstm(Tensor x, Tensor h0, Tensor c0, Tensor[] weights, Tensor? lengths=None, "
    "Tensor? reset=None, bool save=False) -> (Tensor, Tensor, Tensor, Tensor, Tensor)"
)
_library.define(
    "lstm_backward(Tensor grad_y, Tensor grad_h_n, Tensor grad_c_n, Tensor x, Tensor h0, "
    "Tensor c0, Tensor[] weights, Tensor? lengths, Tensor? reset, Tensor y, Tensor gates, "
    "Tensor cells, bool wants_x) -> (Tensor, Tensor, Tensor, Tensor[])"
)


@torch.library.register_fake("gatewise::lstm", lib=_library)
def _(
    x: Tensor,
    h0: Tensor,
    c0: Tensor,
    weights: Sequence[Tensor],
    lengths: Tensor | None = None,
    reset: Tensor | None = None,
    save: bool = False,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    del weights, lengths, reset
    return native.new_outputs(x, h0, c0, save=save)


@torch.library.register_fake("gatewise::lstm_backward", lib=_library)
def _(
    grad_y: Tensor,
    grad_h_n: Tensor,
    grad_c_n: Tensor,
    x: Tensor,
    h0: Tensor,
    c0: Tensor,
    weights: Sequence[Tensor],
    lengths: Tensor | None,
    reset: Tensor | None,
    y: Tensor,
    gates: Tensor,
    cells: Tensor,
    wants_x: bool,
) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
    del grad_y, grad_h_n, grad_c_n, lengths, reset, y, gates, cells
    return native.new_gradients(x, h0, c0, weights, wants_x=wants_x)


_library.impl("lstm", native.forward, "CPU")
_library.impl("lstm_backward", native.backward, "CPU")
for _name in ("lstm", "lstm_backward"):
    # Where torch.func would otherwise put its fallback, which takes tangents for zeros.
    _library.impl(_name, refuse_transform, "FuncTorchDynamicLayerFrontMode")


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    y, _, _, gates, cells = output
    ctx.mark_non_differentiable(gates, cells)
    _keep(ctx, inputs[:6], (y, gates, cells))


def _operator_backward(ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
    return *_gradients(ctx, grads[:3], torch.ops.gatewise.lstm_backward), None, None, None


def _keep(
    ctx: Any,
    inputs: tuple[Tensor, Tensor, Tensor, Sequence[Tensor], Tensor | None, Tensor | None],
    results: tuple[Tensor, Tensor, Tensor],
) -> None:
    x, h0, c0, weights, lengths, reset = inputs
    ctx.set_materialize_grads(False)
    ctx.count = len(weights)
    ctx.save_for_backward(x, h0, c0, *weights, lengths, reset, *results)


def _gradients(
    ctx: Any, grads: Sequence[Tensor | None], backward: Callable[..., Any]
) -> tuple[Tensor | None, Tensor | None, Tensor | None, Sequence[Tensor | None]]:
    x, h0, c0, *rest = ctx.saved_tensors
    weights, (lengths, reset, y, gates, cells) = rest[: ctx.count], rest[ctx.count :]
    grad_y, grad_h_n, grad_c_n = (
        torch.zeros_like(like) if grad is None else grad
        for grad, like in zip(grads, (y, h0, c0), strict=True)
    )
    if torch.is_grad_enabled():
        return _differentiable(grad_y, grad_h_n, grad_c_n, x, h0, c0, weights, lengths, reset)
    if gates.numel() == 0:
        raise InvalidStateError(
            "gatewise::lstm", "save=True for a backward", "save=False", "Pass save=True."
        )
    layer = (x, h0, c0, weights, lengths, reset)
    wants_x = ctx.needs_input_grad[0]
    grad_x, *others = backward(grad_y, grad_h_n, grad_c_n, *layer, y, gates, cells, wants_x)
    return grad_x if wants_x else None, *others


def _differentiable(
    grad_y: Tensor,
    grad_h_n: Tensor,
    grad_c_n: Tensor,
    x: Tensor,
    h0: Tensor,
    c0: Tensor,
    weights: list[Tensor],
    lengths: Tensor | None,
    reset: Tensor | None,
) -> tuple[Tensor | None, Tensor | None, Tensor | None, list[Tensor | None]]:
    """Backward of a graph that is to be differentiated again: through the reference."""
    inputs = [x, h0, c0, *weights]
    outputs = reference.lstm_layer(x, h0, c0, weights, lengths=lengths, reset=reset)[:3]
    wanted = [t for t in inputs if t.requires_grad]
    grads = (grad_y, grad_h_n, grad_c_n)
    found = iter(
        torch.autograd.grad(
            outputs, wanted, grads, create_graph=True, allow_unused=True, materialize_grads=True
        )
    )
    gradients = [next(found) if t.requires_grad else None for t in inputs]
    return gradients[0], gradients[1], gradients[2], gradients[3:]


torch.library.register_autograd(
    "gatewise::lstm", _operator_backward, setup_context=_setup_context, lib=_library
)
