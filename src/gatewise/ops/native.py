"""The native LSTM as torch operators: ``torch.ops.gatewise.lstm`` and its backward.

Registered with a fake implementation and autograd, so that ``torch.compile``, ``torch.export`` and
``opcheck`` work. The kernels get addresses and sizes; what they expect of them is in
``native/gatewise.h``, and whoever calls the operators directly is held to it by `_operands`.
Function transforms (``torch.func``, forward-mode AD) are not defined on them and raise;
`gatewise.ops.dispatch` sends those to the reference.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.library import Library

from gatewise import _native
from gatewise.errors import InvalidStateError, InvalidValueError
from gatewise.ops import reference
from gatewise.ops._operands import Shape, check_gradients, check_layer, refuse_transform

DTYPES = {torch.float32: _native.Dtype.float32, torch.float64: _native.Dtype.float64}
"""The dtypes with a kernel."""


def _load_kernels() -> _native.Kernels:
    asked = os.environ.get("GATEWISE_ISA")
    if not asked:
        return _native.best_kernels()
    kernels = _native.kernels(asked)
    if kernels is None:
        raise InvalidValueError(
            "GATEWISE_ISA",
            f"an instruction set of this build and machine (the best is {isa_name()})",
            repr(asked),
            "Unset it to take the best.",
        )
    return kernels


def isa_name() -> str:
    """Return the name of the instruction set in use: ``avx512``, ``avx2``, ``neon``, ``scalar``."""
    return _kernels.isa


_kernels = _native.best_kernels()
_kernels = _load_kernels()

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


class _Sizes(NamedTuple):
    """T, B, I, D, H, P, and the hidden size padded to whole vectors."""

    T: int
    B: int
    I: int  # noqa: E741 - the field's letter
    D: int
    H: int
    P: int
    padded: int


def _sizes(x: Tensor, h0: Tensor, c0: Tensor) -> _Sizes:
    T, B, I = x.shape  # noqa: E741
    D, _, P = h0.shape
    H = c0.shape[2]
    lanes = _kernels.lanes(DTYPES[x.dtype])
    return _Sizes(T, B, I, D, H, P, (H + lanes - 1) // lanes * lanes)


def _saved_shapes(sizes: _Sizes, *, save: bool) -> tuple[Shape, Shape]:
    """Shapes of what backward needs beside the outputs: activations and cell states."""
    if not save:
        return (0,), (0,)
    rows = sizes.T * sizes.B
    return (sizes.D, rows, 4 * sizes.padded), (sizes.D, rows, sizes.padded)


def _outputs(
    x: Tensor, h0: Tensor, c0: Tensor, *, save: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    sizes = _sizes(x, h0, c0)
    gates, cells = _saved_shapes(sizes, save=save)
    return (
        x.new_empty((sizes.T, sizes.B, sizes.D * sizes.P)),
        x.new_empty((sizes.D, sizes.B, sizes.P)),
        x.new_empty((sizes.D, sizes.B, sizes.H)),
        x.new_empty(gates),
        x.new_empty(cells),
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
    return _outputs(x, h0, c0, save=save)


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
    return _gradients(x, h0, c0, weights, wants_x=wants_x)


def _gradients(
    x: Tensor, h0: Tensor, c0: Tensor, weights: Sequence[Tensor], *, wants_x: bool
) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
    return (
        x.new_empty(x.shape if wants_x else (0,)),
        x.new_empty(h0.shape),
        x.new_empty(c0.shape),
        [x.new_empty(weight.shape) for weight in weights],
    )


def _forward(
    x: Tensor,
    h0: Tensor,
    c0: Tensor,
    weights: Sequence[Tensor],
    lengths: Tensor | None = None,
    reset: Tensor | None = None,
    save: bool = False,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    call = _Call(x, h0, c0, weights, lengths, reset)
    outputs = y, h_n, c_n, gates, cells = _outputs(call.x, h0, c0, save=save)
    threads = torch.get_num_threads()
    y_step, y_row, _ = y.stride()
    for d, layer in enumerate(call.layers):
        status = _kernels.lstm_forward(
            call.dtype,
            layer,
            _address(y, d * call.sizes.P),
            y_step,
            y_row,
            _address(h_n, d * h_n.stride(0)),
            _address(c_n, d * c_n.stride(0)),
            _address(gates, d * gates.stride(0)) if save else 0,
            _address(cells, d * cells.stride(0)) if save else 0,
            threads,
        )
        _raise_unless_ok(status)
    return outputs


def _backward(
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
    call = _Call(x, h0, c0, weights, lengths, reset)
    sizes = call.sizes
    check_gradients(
        (grad_y, grad_h_n, grad_c_n),
        (y, gates, cells),
        ((sizes.T, sizes.B, sizes.D * sizes.P), h0.shape, c0.shape),
        _saved_shapes(sizes, save=True),
        x.dtype,
    )
    grad_y, grad_h_n, grad_c_n, y = (
        _rows_contiguous(grad_y),
        grad_h_n.contiguous(),
        grad_c_n.contiguous(),
        _rows_contiguous(y),
    )
    grad_x, grad_h0, grad_c0, grad_weights = _gradients(x, h0, c0, weights, wants_x=wants_x)
    per_direction = len(weights) // sizes.D
    biased = per_direction >= 4
    parts = []
    threads = torch.get_num_threads()
    for d, layer in enumerate(call.layers):
        mine = grad_weights[d * per_direction : (d + 1) * per_direction]
        # The kernel overwrites; the directions' gradients of x are summed here.
        part_x = torch.empty_like(grad_x) if d and wants_x else grad_x
        status = _kernels.lstm_backward(
            call.dtype,
            layer,
            _address(y, d * sizes.P),
            *y.stride()[:2],
            _address(gates, d * gates.stride(0)),
            _address(cells, d * cells.stride(0)),
            _address(grad_y, d * sizes.P),
            *grad_y.stride()[:2],
            _address(grad_h_n, d * grad_h_n.stride(0)),
            _address(grad_c_n, d * grad_c_n.stride(0)),
            part_x.data_ptr() if wants_x else 0,
            _address(grad_h0, d * grad_h0.stride(0)),
            _address(grad_c0, d * grad_c0.stride(0)),
            mine[0].data_ptr(),
            mine[1].data_ptr(),
            mine[2].data_ptr() if biased else 0,
            mine[-1].data_ptr() if per_direction in (3, 5) else 0,
            threads,
        )
        _raise_unless_ok(status)
        if biased:
            mine[3].copy_(mine[2])
        parts.append(part_x)
    if wants_x and len(parts) > 1:
        grad_x += parts[1]
    return grad_x, grad_h0, grad_c0, grad_weights


_library.impl("lstm", _forward, "CPU")
_library.impl("lstm_backward", _backward, "CPU")
for _name in ("lstm", "lstm_backward"):
    # Where torch.func would otherwise put its fallback, which takes tangents for zeros.
    _library.impl(_name, refuse_transform, "FuncTorchDynamicLayerFrontMode")


class _Call:
    """The checked arguments of one call as the kernels take them, kept alive while they run."""

    def __init__(
        self,
        x: Tensor,
        h0: Tensor,
        c0: Tensor,
        weights: Sequence[Tensor],
        lengths: Tensor | None,
        reset: Tensor | None,
    ) -> None:
        check_layer(x, h0, c0, weights, lengths, reset, tuple(DTYPES))
        self.x = x = _rows_contiguous(x)
        self.h0, self.c0 = h0, c0 = h0.contiguous(), c0.contiguous()
        self.weights = weights = [weight.contiguous() for weight in weights]
        self.lengths = None if lengths is None else lengths.contiguous()
        self.reset = None if reset is None else reset.contiguous()
        self.dtype = DTYPES[x.dtype]
        self.sizes = sizes = _sizes(x, h0, c0)
        count = len(weights) // sizes.D
        x_step, x_row, _ = x.stride()
        self.layers = []
        for d in range(sizes.D):
            w = [weight.data_ptr() for weight in weights[d * count : (d + 1) * count]]
            self.layers.append(
                _native.Layer(
                    sizes.T,
                    sizes.B,
                    sizes.I,
                    sizes.H,
                    sizes.P,
                    d == 1,
                    x.data_ptr(),
                    x_step,
                    x_row,
                    _address(h0, d * h0.stride(0)),
                    _address(c0, d * c0.stride(0)),
                    w[0],
                    w[1],
                    w[2] if count >= 4 else 0,
                    w[3] if count >= 4 else 0,
                    w[-1] if count in (3, 5) else 0,
                    0 if self.lengths is None else self.lengths.data_ptr(),
                    0 if self.reset is None else self.reset.data_ptr(),
                )
            )


def _raise_unless_ok(status: int) -> None:
    if status == _native.BAD_LENGTH:
        raise InvalidValueError("lengths", "values from 1 to T", "one outside")


def _rows_contiguous(x: Tensor) -> Tensor:
    """Return x with its last axis dense; any strides will do for the others."""
    return x if x.stride(-1) == 1 or x.shape[-1] == 1 else x.contiguous()


def _address(x: Tensor, offset: int) -> int:
    """Address of the element at ``offset`` elements."""
    return x.data_ptr() + offset * x.element_size()


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    x, h0, c0, weights, lengths, reset, _ = inputs
    y, _, _, gates, cells = output
    ctx.mark_non_differentiable(gates, cells)
    ctx.set_materialize_grads(False)
    ctx.count = len(weights)
    ctx.save_for_backward(x, h0, c0, *weights, lengths, reset, y, gates, cells)


def _autograd(
    ctx: Any, grad_y: Tensor | None, grad_h_n: Tensor | None, grad_c_n: Tensor | None, *_: None
) -> tuple[Any, ...]:
    x, h0, c0, *rest = ctx.saved_tensors
    weights, (lengths, reset, y, gates, cells) = rest[: ctx.count], rest[ctx.count :]
    if grad_y is None:
        grad_y = torch.zeros_like(y)
    if grad_h_n is None:
        grad_h_n = torch.zeros_like(h0)
    if grad_c_n is None:
        grad_c_n = torch.zeros_like(c0)
    if torch.is_grad_enabled():
        gradients = _differentiable_backward(
            (grad_y, grad_h_n, grad_c_n), x, h0, c0, weights, lengths, reset
        )
    elif gates.numel() == 0:
        raise InvalidStateError(
            "gatewise::lstm", "save=True for a backward", "save=False", "Pass save=True."
        )
    else:
        gradients = torch.ops.gatewise.lstm_backward(
            grad_y,
            grad_h_n,
            grad_c_n,
            x,
            h0,
            c0,
            weights,
            lengths,
            reset,
            y,
            gates,
            cells,
            ctx.needs_input_grad[0],
        )
    grad_x, grad_h0, grad_c0, grad_weights = gradients
    if not ctx.needs_input_grad[0]:
        grad_x = None
    return grad_x, grad_h0, grad_c0, grad_weights, None, None, None


def _differentiable_backward(
    grads: tuple[Tensor, Tensor, Tensor],
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
    found = iter(
        torch.autograd.grad(
            outputs, wanted, grads, create_graph=True, allow_unused=True, materialize_grads=True
        )
    )
    gradients = [next(found) if t.requires_grad else None for t in inputs]
    return gradients[0], gradients[1], gradients[2], gradients[3:]


torch.library.register_autograd(
    "gatewise::lstm", _autograd, setup_context=_setup_context, lib=_library
)
