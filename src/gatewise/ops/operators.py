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
from gatewise.ops._operands import Grads, Kept, Operands, refuse_transform


def lstm(operands: Operands) -> tuple[Tensor, Tensor, Tensor]:
    """Run a layer on the native kernel, differentiably.

    Returns:
        y T×B×(D·P), h_n D×B×P and c_n D×B×H.
    """
    x, h0, c0, weights, lengths, reset = operands
    save = torch.is_grad_enabled() and any(t.requires_grad for t in (x, h0, c0, *weights))
    if torch.compiler.is_compiling() or torch._C._len_torch_dispatch_stack():  # noqa: SLF001
        return torch.ops.gatewise.lstm(*operands, save)[:3]
    if save:
        return _Function.apply(x, h0, c0, lengths, reset, *weights)  # pyright: ignore
    return native.forward(operands, save=False)[:3]


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
        operands = Operands(x, h0, c0, weights, lengths, reset)
        y, h_n, c_n, saved = native.forward(operands, save=True)
        _keep(ctx, operands, Kept(y, saved))
        return y, h_n, c_n

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        grad_x, grad_h0, grad_c0, grad_weights = _gradients(ctx, grads, native.backward)
        return grad_x, grad_h0, grad_c0, None, None, *grad_weights


_library = Library("gatewise", "DEF")
_OPERANDS = (
    "Tensor x, Tensor h0, Tensor c0, Tensor[] weights, Tensor? lengths=None, Tensor? reset=None"
)
_library.define(f"lstm({_OPERANDS}, bool save=False) -> (Tensor, Tensor, Tensor, Tensor)")
_library.define(
    "lstm_backward(Tensor grad_y, Tensor? grad_h_n, Tensor? grad_c_n, "
    f"{_OPERANDS.replace('=None', '')}, Tensor y, Tensor saved, "
    "bool wants_x, bool wants_state) -> (Tensor, Tensor, Tensor, Tensor[])"
)


def _takes_operands(run: Callable[..., Any]) -> Callable[..., Any]:
    """``run(operands, save=…)`` with the arguments of the operator ``lstm``."""

    def operator(
        x: Tensor,
        h0: Tensor,
        c0: Tensor,
        weights: Sequence[Tensor],
        lengths: Tensor | None = None,
        reset: Tensor | None = None,
        save: bool = False,
    ) -> tuple[Tensor, ...]:
        return run(Operands(x, h0, c0, weights, lengths, reset), save=save)

    return operator


def _backward(*arguments: Any) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
    grads, operands, kept, (wants_x, wants_state) = _parted(arguments)
    native.check_backward(operands, kept, grads)
    return native.backward(operands, kept, grads, wants_x=wants_x, wants_state=wants_state)


def _fake_backward(*arguments: Any) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
    _, operands, _, (wants_x, wants_state) = _parted(arguments)
    return native.new_gradients(operands, wants_x=wants_x, wants_state=wants_state)


def _parted(arguments: tuple[Any, ...]) -> tuple[Grads, Operands, Kept, tuple[bool, bool]]:
    """The arguments of the operator ``lstm_backward``, which has no defaults."""
    grads, operands, kept = arguments[:3], arguments[3:9], arguments[9:11]
    return Grads(*grads), Operands(*operands), Kept(*kept), (arguments[11], arguments[12])


_library.impl("lstm", _takes_operands(native.forward), "CPU")
_library.impl("lstm_backward", _backward, "CPU")
torch.library.register_fake("gatewise::lstm", _takes_operands(native.new_outputs), lib=_library)
torch.library.register_fake("gatewise::lstm_backward", _fake_backward, lib=_library)
for _name in ("lstm", "lstm_backward"):
    # Where torch.func would otherwise put its fallback, which takes tangents for zeros.
    _library.impl(_name, refuse_transform, "FuncTorchDynamicLayerFrontMode")


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    y, _, _, saved = output
    ctx.mark_non_differentiable(saved)
    _keep(ctx, Operands(*inputs[:6]), Kept(y, saved))


def _operator_backward(ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
    def run(operands: Operands, kept: Kept, grads: Grads, *, wants_x: bool, wants_state: bool):
        return torch.ops.gatewise.lstm_backward(*grads, *operands, *kept, wants_x, wants_state)

    return *_gradients(ctx, grads[:3], run), None, None, None


def _keep(ctx: Any, operands: Operands, kept: Kept) -> None:
    x, h0, c0, weights, lengths, reset = operands
    ctx.set_materialize_grads(False)
    ctx.count = len(weights)
    ctx.save_for_backward(x, h0, c0, *weights, lengths, reset, *kept)


def _gradients(
    ctx: Any, grads: Sequence[Tensor | None], backward: Callable[..., Any]
) -> tuple[Tensor | None, Tensor | None, Tensor | None, Sequence[Tensor | None]]:
    x, h0, c0, *rest = ctx.saved_tensors
    weights, (lengths, reset, *kept) = rest[: ctx.count], rest[ctx.count :]
    operands, kept = Operands(x, h0, c0, weights, lengths, reset), Kept(*kept)
    grad_y, grad_h_n, grad_c_n = grads
    arrived = Grads(torch.zeros_like(kept.y) if grad_y is None else grad_y, grad_h_n, grad_c_n)
    if torch.is_grad_enabled():
        return _differentiable(operands, arrived)
    if kept.saved.numel() == 0:
        raise InvalidStateError(
            "gatewise::lstm", "save=True for a backward", "save=False", "Pass save=True."
        )
    wants_x, *wants_states = ctx.needs_input_grad[:3]
    wants_state = any(wants_states)
    grad_x, grad_h0, grad_c0, grad_weights = backward(
        operands, kept, arrived, wants_x=wants_x, wants_state=wants_state
    )
    return (
        grad_x if wants_x else None,
        grad_h0 if wants_state else None,
        grad_c0 if wants_state else None,
        grad_weights,
    )


def _differentiable(
    operands: Operands, grads: Grads
) -> tuple[Tensor | None, Tensor | None, Tensor | None, list[Tensor | None]]:
    """Backward of a graph that is to be differentiated again: through the reference."""
    x, h0, c0, weights, lengths, reset = operands
    inputs = [x, h0, c0, *weights]
    outputs = reference.lstm_layer(x, h0, c0, weights, lengths=lengths, reset=reset)[:3]
    pairs = [(out, grad) for out, grad in zip(outputs, grads, strict=True) if grad is not None]
    found = iter(
        torch.autograd.grad(
            [out for out, _ in pairs],
            [t for t in inputs if t.requires_grad],
            [grad for _, grad in pairs],
            create_graph=True,
            allow_unused=True,
            materialize_grads=True,
        )
    )
    gradients = [next(found) if t.requires_grad else None for t in inputs]
    return gradients[0], gradients[1], gradients[2], gradients[3:]


torch.library.register_autograd(
    "gatewise::lstm", _operator_backward, setup_context=_setup_context, lib=_library
)
