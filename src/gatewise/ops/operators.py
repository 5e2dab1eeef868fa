"""The native layers in torch's autograd and among torch's operators.

``torch.ops.gatewise.recurrent`` and its backward are registered with fake implementations and
autograd, so that ``torch.compile``, ``torch.export`` and ``opcheck`` work. Function transforms
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


def recurrent(
    operands: Operands, *, trace: bool = False
) -> tuple[Tensor, tuple[Tensor, ...], dict[str, Tensor] | None]:
    """Run a layer on its native kernel, differentiably.

    Args:
        operands: Of the layer.
        trace: Whether to lay open the gates and states of every step; not where `is_recorded`.

    Returns:
        y T×B×(D·P), the final states, shaped like the initial ones, and what
        `gatewise.ops.reference.layer` calls a trace.
    """
    cell, x, states, weights, lengths, reset = operands
    save = torch.is_grad_enabled() and any(t.requires_grad for t in (x, *states, *weights))
    if is_recorded():
        y, final, _ = torch.ops.gatewise.recurrent(
            cell, x, list(states), list(weights), lengths, reset, save
        )
        return y, tuple(final), None
    parts: Sequence[Tensor] = ()
    if save:
        y, *others = _Function.apply(  # pyright: ignore
            cell, lengths, reset, trace, x, len(states), *states, *weights
        )
        final, parts = others[: len(states)], others[len(states) :]
    else:
        y, final, saved = native.forward(operands, save=trace)
        parts = native.trace(operands, saved) if trace else ()
    return y, tuple(final), _named_trace(cell, y, states[0], parts) if trace else None


def is_recorded() -> bool:
    """Say whether torch records or fakes the operations: it must see the operator then."""
    return torch.compiler.is_compiling() or bool(torch._C._len_torch_dispatch_stack())  # noqa: SLF001


def _named_trace(cell: str, y: Tensor, h0: Tensor, parts: Sequence[Tensor]) -> dict[str, Tensor]:
    """The parts of a trace by name, h among them: a view of the output."""
    mathematics = reference.CELLS[cell]
    names = mathematics.activations + mathematics.states[1:]
    h = y.unflatten(-1, (h0.shape[0], h0.shape[2])).permute(2, 0, 1, 3)
    return dict(zip(names, parts, strict=True)) | {"h": h}


class _Function(torch.autograd.Function):
    """The eager path: `native.forward` with the operator's backward."""

    @staticmethod
    def forward(
        ctx: Any,
        cell: str,
        lengths: Tensor | None,
        reset: Tensor | None,
        trace: bool,
        x: Tensor,
        count: int,
        *tensors: Tensor,
    ) -> tuple[Tensor, ...]:
        operands = Operands(cell, x, tensors[:count], tensors[count:], lengths, reset)
        y, final, saved = native.forward(operands, save=True)
        _keep(ctx, operands, Kept(y, saved))
        ctx.wants_x = ctx.needs_input_grad[4]
        ctx.wants_state = any(ctx.needs_input_grad[6 : 6 + count])
        return (y, *final, *(native.trace(operands, saved) if trace else ()))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        grad_x, grad_states, grad_weights = _gradients(ctx, grads, native.backward)
        return None, None, None, None, grad_x, None, *grad_states, *grad_weights


_library = Library("gatewise", "DEF")
_OPERANDS = (
    "str cell, Tensor x, Tensor[] states, Tensor[] weights, Tensor? lengths=None, "
    "Tensor? reset=None"
)
_library.define(f"recurrent({_OPERANDS}, bool save=False) -> (Tensor, Tensor[], Tensor)")
_library.define(
    "recurrent_backward(Tensor grad_y, Tensor?[] grad_states, "
    f"{_OPERANDS.replace('=None', '')}, Tensor y, Tensor saved, "
    "bool wants_x, bool wants_state) -> (Tensor, Tensor[], Tensor[])"
)


def _takes_operands(run: Callable[..., Any]) -> Callable[..., Any]:
    """``run(operands, save=…)`` with the arguments of the operator ``recurrent``."""

    def operator(
        cell: str,
        x: Tensor,
        states: Sequence[Tensor],
        weights: Sequence[Tensor],
        lengths: Tensor | None = None,
        reset: Tensor | None = None,
        save: bool = False,
    ) -> tuple[Any, ...]:
        return run(Operands(cell, x, states, weights, lengths, reset), save=save)

    return operator


def _backward(*arguments: Any) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    grads, operands, kept, (wants_x, wants_state) = _parted(arguments)
    native.check_backward(operands, kept, grads)
    return native.backward(operands, kept, grads, wants_x=wants_x, wants_state=wants_state)


def _fake_backward(*arguments: Any) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    _, operands, _, (wants_x, wants_state) = _parted(arguments)
    return native.new_gradients(operands, wants_x=wants_x, wants_state=wants_state)


def _parted(arguments: tuple[Any, ...]) -> tuple[Grads, Operands, Kept, tuple[bool, bool]]:
    """The arguments of the operator ``recurrent_backward``, which has no defaults."""
    grads, operands, kept = arguments[:2], arguments[2:8], arguments[8:10]
    return Grads(*grads), Operands(*operands), Kept(*kept), (arguments[10], arguments[11])


_library.impl("recurrent", _takes_operands(native.forward), "CPU")
_library.impl("recurrent_backward", _backward, "CPU")
torch.library.register_fake(
    "gatewise::recurrent", _takes_operands(native.new_outputs), lib=_library
)
torch.library.register_fake("gatewise::recurrent_backward", _fake_backward, lib=_library)
for _name in ("recurrent", "recurrent_backward"):
    # Where torch.func would otherwise put its fallback, which takes tangents for zeros.
    _library.impl(_name, refuse_transform, "FuncTorchDynamicLayerFrontMode")


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Any, ...]) -> None:
    y, _, saved = output
    ctx.mark_non_differentiable(saved)
    operands = Operands(*inputs[:6])
    _keep(ctx, operands, Kept(y, saved))
    ctx.wants_x = operands.x.requires_grad
    ctx.wants_state = any(state.requires_grad for state in operands.states)


def _operator_backward(
    ctx: Any, grad_y: Tensor | None, grad_final: Sequence[Tensor | None], _: Tensor | None
) -> tuple[Any, ...]:
    def run(operands: Operands, kept: Kept, grads: Grads, *, wants_x: bool, wants_state: bool):
        return torch.ops.gatewise.recurrent_backward(*grads, *operands, *kept, wants_x, wants_state)

    grad_x, grad_states, grad_weights = _gradients(ctx, (grad_y, *grad_final), run)
    return None, grad_x, list(grad_states), list(grad_weights), None, None, None


def _keep(ctx: Any, operands: Operands, kept: Kept) -> None:
    cell, x, states, weights, lengths, reset = operands
    ctx.set_materialize_grads(False)
    ctx.cell, ctx.counts = cell, (len(states), len(weights))
    ctx.save_for_backward(x, *states, *weights, lengths, reset, *kept)


def _gradients(
    ctx: Any, grads: Sequence[Tensor | None], backward: Callable[..., Any]
) -> tuple[Tensor | None, Sequence[Tensor | None], Sequence[Tensor | None]]:
    """Return the gradients of x, the states and the weights.

    Args:
        ctx: What `_keep` has filled.
        grads: As they arrive: of y, the final states, and the parts of a trace if there is one.
        backward: `native.backward` or its operator.
    """
    x, *rest = ctx.saved_tensors
    states, weights = ctx.counts
    lengths, reset, *kept = rest[states + weights :]
    operands = Operands(ctx.cell, x, rest[:states], rest[states : states + weights], lengths, reset)
    kept = Kept(*kept)
    grad_y, grad_final, grad_trace = grads[0], grads[1 : 1 + states], grads[1 + states :]
    if torch.is_grad_enabled() or any(grad is not None for grad in grad_trace):
        return _through_reference(operands, grads)
    if kept.saved.dim() == 1:
        raise InvalidStateError(
            "gatewise::recurrent", "save=True for a backward", "save=False", "Pass save=True."
        )
    arrived = Grads(torch.zeros_like(kept.y) if grad_y is None else grad_y, list(grad_final))
    grad_x, grad_states, grad_weights = backward(
        operands, kept, arrived, wants_x=ctx.wants_x, wants_state=ctx.wants_state
    )
    return (
        grad_x if ctx.wants_x else None,
        grad_states if ctx.wants_state else [None] * states,
        grad_weights,
    )


def _through_reference(
    operands: Operands, grads: Sequence[Tensor | None]
) -> tuple[Tensor | None, Sequence[Tensor | None], Sequence[Tensor | None]]:
    """Return what `_gradients` does, for gradients that are differentiated again or of a trace."""
    cell, x, states, weights, lengths, reset = operands
    twice = torch.is_grad_enabled()
    inputs = [x, *states, *weights]
    if not twice:
        inputs = [t.detach().requires_grad_(t.requires_grad) for t in inputs]
    x, *others = inputs
    count = len(states)
    with torch.enable_grad():
        y, final, traced = reference.layer(
            reference.CELLS[cell],
            x,
            tuple(others[:count]),
            others[count:],
            lengths=lengths,
            reset=reset,
            trace=len(grads) > 1 + count,
        )
    outputs = (y, *final, *list((traced or {"h": y}).values())[:-1])
    pairs = zip(outputs, grads, strict=True)
    arrived = [(out, grad) for out, grad in pairs if grad is not None]
    found = iter(
        torch.autograd.grad(
            [out for out, _ in arrived],
            [t for t in inputs if t.requires_grad],
            [grad for _, grad in arrived],
            create_graph=twice,
            allow_unused=True,
            materialize_grads=True,
        )
    )
    grad_x, *found_others = (next(found) if t.requires_grad else None for t in inputs)
    return grad_x, found_others[:count], found_others[count:]


torch.library.register_autograd(
    "gatewise::recurrent", _operator_backward, setup_context=_setup_context, lib=_library
)
