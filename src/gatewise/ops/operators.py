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
from gatewise.ops._operands import Grads, Kept, Operands, parted, refuse_transform
from gatewise.ops._surroundings import differentiated, is_recorded, learns
from gatewise.ops.reference import PLAIN, CellOptions


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
    cell, states = operands.cell, operands.states
    tensors = operands.tensors()
    save = learns(tensors)
    if is_recorded():
        y, final, _ = torch.ops.gatewise.recurrent(
            *_arguments(operands), save=save, **operands.options._asdict()
        )
        return y, tuple(final), None
    parts: Sequence[Tensor] = ()
    if save:
        y, *others = _Function.apply(operands, trace, *tensors)  # pyright: ignore
        final, parts = others[: len(states)], others[len(states) :]
    else:
        y, final, saved = native.forward(operands, save=trace)
        parts = native.trace(operands, saved) if trace else ()
    return y, tuple(final), _named_trace(cell, y, states[0], parts) if trace else None


def _named_trace(cell: str, y: Tensor, h0: Tensor, parts: Sequence[Tensor]) -> dict[str, Tensor]:
    """The parts of a trace by name, h among them: a view of the output."""
    mathematics = reference.CELLS[cell]
    names = mathematics.activations + mathematics.states[1:]
    h = y.unflatten(-1, (h0.shape[0], h0.shape[2])).permute(2, 0, 1, 3)
    return dict(zip(names, parts, strict=True)) | {"h": h}


class _Function(torch.autograd.Function):
    """The eager path: `native.forward` with the operator's backward."""

    @staticmethod
    def forward(ctx: Any, operands: Operands, trace: bool, *tensors: Tensor) -> tuple[Tensor, ...]:
        operands = operands.replaced(tensors)
        y, final, saved = native.forward(operands, save=True)
        _keep(ctx, operands, Kept(y, saved))
        ctx.wants_x = ctx.needs_input_grad[2]
        ctx.wants_state = any(ctx.needs_input_grad[3 : 3 + len(operands.states)])
        return (y, *final, *(native.trace(operands, saved) if trace else ()))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        grad_x, grad_states, grad_weights, grad_restart = _gradients(ctx, grads, native.backward)
        return None, None, grad_x, *grad_states, *grad_weights, *grad_restart


_library = Library("gatewise", "DEF")
_TYPES = {str: "str", float: "float", bool: "bool", int: "int"}
_OPTIONS = ", ".join(
    f"{_TYPES[type(value)]} {name}={value!r}" for name, value in PLAIN._asdict().items()
).replace("'", '"')
# Only what has no default may be differentiable or stand before such: the dispatcher drops
# arguments that equal their defaults, and then their gradients do not fit. Options are keywords.
_OPERANDS = (
    "str cell, Tensor x, Tensor[] states, Tensor[] weights, Tensor? lengths, Tensor? reset, "
    "Tensor? seed, Tensor? restart_h, Tensor? restart_c"
)
_library.define(
    f"recurrent({_OPERANDS}, *, bool save=False, {_OPTIONS}) -> (Tensor, Tensor[], Tensor)"
)
_library.define(
    f"recurrent_backward(Tensor grad_y, Tensor?[] grad_states, {_OPERANDS}, Tensor y, "
    f"Tensor saved, bool wants_x, bool wants_state, *, {_OPTIONS}) "
    "-> (Tensor, Tensor[], Tensor[], Tensor[])"
)


def _arguments(operands: Operands) -> tuple[Any, ...]:
    """The operands as the operators take them, but for the options."""
    cell, x, states, weights, lengths, reset, seed, restart, *_ = operands
    padded = (*restart, *(None,) * (2 - len(restart)))
    return cell, x, list(states), list(weights), lengths, reset, seed, *padded


def _operands(arguments: Sequence[Any], options: dict[str, Any]) -> Operands:
    """The reverse."""
    cell, x, states, weights, lengths, reset, seed, h, c = arguments[:9]
    restart = [part for part in (h, c) if part is not None]
    chosen = CellOptions(**options)
    return Operands(cell, x, states, weights, lengths, reset, seed, restart, chosen)


def _run(
    *arguments: Any, save: bool = False, **options: Any
) -> tuple[Tensor, list[Tensor], Tensor]:
    return native.forward(_operands(arguments, options), save=save)


def _fake_run(
    *arguments: Any, save: bool = False, **options: Any
) -> tuple[Tensor, list[Tensor], Tensor]:
    return native.new_outputs(_operands(arguments, options), save=save)


def _backward(
    grad_y: Tensor, grad_states: Sequence[Tensor | None], *arguments: Any, **options: Any
) -> tuple[Tensor, list[Tensor], list[Tensor], list[Tensor]]:
    operands, kept = _operands(arguments, options), Kept(*arguments[9:11])
    grads = Grads(grad_y, grad_states)
    native.check_backward(operands, kept, grads)
    wants_x, wants_state = arguments[11:]
    return native.backward(operands, kept, grads, wants_x=wants_x, wants_state=wants_state)


def _fake_backward(
    _: Tensor, __: Sequence[Tensor | None], *arguments: Any, **options: Any
) -> tuple[Tensor, list[Tensor], list[Tensor], list[Tensor]]:
    wants_x, wants_state = arguments[11:]
    operands = _operands(arguments, options)
    return native.new_gradients(operands, wants_x=wants_x, wants_state=wants_state)


_library.impl("recurrent", _run, "CPU")
_library.impl("recurrent_backward", _backward, "CPU")
torch.library.register_fake("gatewise::recurrent", _fake_run, lib=_library)
torch.library.register_fake("gatewise::recurrent_backward", _fake_backward, lib=_library)
for _name in ("recurrent", "recurrent_backward"):
    # Where torch.func would otherwise put its fallback, which takes tangents for zeros.
    _library.impl(_name, refuse_transform, "FuncTorchDynamicLayerFrontMode")


def _setup_context(
    ctx: Any, inputs: tuple[Any, ...], keyword_only_inputs: dict[str, Any], output: tuple[Any, ...]
) -> None:
    y, _, saved = output
    ctx.mark_non_differentiable(saved)
    options = {name: value for name, value in keyword_only_inputs.items() if name != "save"}
    operands = _operands(inputs, options)
    _keep(ctx, operands, Kept(y, saved))
    ctx.wants_x = operands.x.requires_grad
    ctx.wants_state = any(state.requires_grad for state in operands.states)


def _operator_backward(
    ctx: Any, grad_y: Tensor | None, grad_final: Sequence[Tensor | None], _: Tensor | None
) -> tuple[Any, ...]:
    def run(operands: Operands, kept: Kept, grads: Grads, *, wants_x: bool, wants_state: bool):
        return torch.ops.gatewise.recurrent_backward(
            *grads,
            *_arguments(operands),
            *kept,
            wants_x,
            wants_state,
            **operands.options._asdict(),
        )

    grad_x, grad_states, grad_weights, grad_restart = _gradients(ctx, (grad_y, *grad_final), run)
    restart = (*grad_restart, *(None,) * (2 - len(grad_restart)))
    return None, grad_x, list(grad_states), list(grad_weights), None, None, None, *restart


_Gradients = tuple[
    Tensor | None,
    Sequence[Tensor | None],
    Sequence[Tensor | None],
    Sequence[Tensor | None],
]
"""Of x, the states, the weights and the states after a cut."""


def _keep(ctx: Any, operands: Operands, kept: Kept) -> None:
    ctx.set_materialize_grads(False)
    ctx.counts = operands.counts()
    # The rest of the operands, without a tensor that autograd must watch.
    ctx.options = operands.cell, operands.options
    tensors = operands.tensors()
    ctx.save_for_backward(*tensors, operands.lengths, operands.reset, operands.seed, *kept)


def _gradients(
    ctx: Any, grads: Sequence[Tensor | None], backward: Callable[..., Any]
) -> _Gradients:
    """Return the gradients of everything that has one.

    Args:
        ctx: What `_keep` has filled.
        grads: As they arrive: of y, the final states, and the parts of a trace if there is one.
        backward: `native.backward` or its operator.
    """
    cell, options = ctx.options
    (x,), states, weights, restart, (lengths, reset, seed), kept = parted(
        ctx.saved_tensors, [*ctx.counts, 3, 2]
    )
    operands = Operands(cell, x, states, weights, lengths, reset, seed, restart, options)
    kept, count = Kept(*kept), len(states)
    grad_y, grad_final, grad_trace = grads[0], grads[1 : 1 + count], grads[1 + count :]
    if torch.is_grad_enabled() or any(grad is not None for grad in grad_trace):
        return _through_reference(operands, grads)
    if kept.saved.dim() == 1:
        raise InvalidStateError(
            "gatewise::recurrent", "save=True for a backward", "save=False", "Pass save=True."
        )
    arrived = Grads(torch.zeros_like(kept.y) if grad_y is None else grad_y, list(grad_final))
    grad_x, grad_states, grad_weights, grad_restart = backward(
        operands, kept, arrived, wants_x=ctx.wants_x, wants_state=ctx.wants_state
    )
    return (
        grad_x if ctx.wants_x else None,
        grad_states if ctx.wants_state else [None] * count,
        grad_weights,
        grad_restart,
    )


def _through_reference(operands: Operands, grads: Sequence[Tensor | None]) -> _Gradients:
    """Return what `_gradients` does, for gradients that are differentiated again or of a trace."""
    twice = torch.is_grad_enabled()
    inputs = operands.tensors()
    if not twice:
        inputs = [t.detach().requires_grad_(t.requires_grad) for t in inputs]
    traced = len(grads) > 1 + len(operands.states)
    with torch.enable_grad():
        y, final, parts = through_reference(operands.replaced(inputs), trace=traced)
    outputs = (y, *final, *list((parts or {"h": y}).values())[:-1])
    all_of_them = differentiated(outputs, grads, inputs, again=twice)
    (grad_x,), states, weights, restart = parted(all_of_them, operands.counts())
    return grad_x, states, weights, restart


def through_reference(
    operands: Operands, *, trace: bool
) -> tuple[Tensor, tuple[Tensor, ...], dict[str, Tensor] | None]:
    """Run a layer in plain torch; returns what `recurrent` does."""
    cell, x, states, weights, lengths, reset, seed, restart, options, statistics, _ = operands
    return reference.layer(
        reference.CELLS[cell],
        x,
        tuple(states),
        weights,
        lengths=lengths,
        reset=reset,
        trace=trace,
        options=options,
        seed=seed,
        restart=tuple(restart),
        statistics=statistics,
    )


torch.library.register_autograd(
    "gatewise::recurrent", _operator_backward, setup_context=_setup_context, lib=_library
)
