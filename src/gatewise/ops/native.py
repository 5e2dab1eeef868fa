"""Calls of the native kernels: tensors in, addresses and sizes down, tensors out.

Neither autograd nor torch's operators, which `gatewise.ops.operators` adds. What the kernels expect
is in ``native/gatewise.h``; tensors are held to it by `gatewise.ops._operands`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from gatewise import _native
from gatewise.errors import InvalidValueError
from gatewise.ops._operands import Shape, check_gradients, check_layer

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


def new_outputs(
    x: Tensor,
    h0: Tensor,
    c0: Tensor,
    *,
    save: bool,
    empty: Callable[..., Tensor] = Tensor.new_empty,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return unfilled outputs; ``empty(x, shape)`` makes those that grow with T."""
    sizes = _sizes(x, h0, c0)
    gates, cells = _saved_shapes(sizes, save=save)
    return (
        empty(x, (sizes.T, sizes.B, sizes.D * sizes.P)),
        x.new_empty((sizes.D, sizes.B, sizes.P)),
        x.new_empty((sizes.D, sizes.B, sizes.H)),
        empty(x, gates),
        empty(x, cells),
    )


def _from_workspace(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return an unfilled tensor that is large and, in a fit, wanted again every step.

    Memory fresh from the system costs up to a tenth of a training step: see workspace.h.
    """
    count = math.prod(shape)
    if count * x.element_size() < 1 << 20:
        return x.new_empty(shape)
    return _native.workspace_tensor(count * x.element_size()).view(x.dtype).view(shape)


def new_gradients(
    x: Tensor,
    h0: Tensor,
    c0: Tensor,
    weights: Sequence[Tensor],
    *,
    wants_x: bool,
    empty: Callable[..., Tensor] = Tensor.new_empty,
) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
    """Return unfilled gradients of x (empty unless ``wants_x``), h0, c0 and the weights."""
    return (
        empty(x, x.shape if wants_x else (0,)),
        x.new_empty(h0.shape),
        x.new_empty(c0.shape),
        [x.new_empty(weight.shape) for weight in weights],
    )


def forward(
    x: Tensor,
    h0: Tensor,
    c0: Tensor,
    weights: Sequence[Tensor],
    lengths: Tensor | None = None,
    reset: Tensor | None = None,
    save: bool = False,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Run a layer in all its directions.

    Args:
        x: T×B×I, any strides.
        h0: D×B×P.
        c0: D×B×H.
        weights: As in `gatewise.ops.reference.lstm_layer`.
        lengths: int64 [B], or None.
        reset: bool T×B, or None.
        save: Whether to keep what `backward` needs.

    Returns:
        y T×B×(D·P), h_n, c_n, then activations and cell states in the kernels' own layout, empty
        unless ``save``.

    Raises:
        InvalidStateError: A tensor does not fit.
        InvalidValueError: A length is outside 1 to T.
    """
    check_layer(x, h0, c0, weights, lengths, reset, tuple(DTYPES))
    call = _Call(x, h0, c0, weights, lengths, reset)
    outputs = y, h_n, c_n, gates, cells = new_outputs(
        call.x, h0, c0, save=save, empty=_from_workspace
    )
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


def backward(
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
    """Return the gradients of x, h0, c0 and the weights.

    Args:
        grad_y: T×B×(D·P).
        grad_h_n: D×B×P.
        grad_c_n: D×B×H.
        x: As `forward` took it, and so the following up to ``reset``.
        h0: D×B×P.
        c0: D×B×H.
        weights: Of all directions.
        lengths: int64 [B], or None.
        reset: bool T×B, or None.
        y: As `forward` returned it, and so the following two.
        gates: Activations.
        cells: Cell states.
        wants_x: Whether to compute the gradient of x; it is empty otherwise.

    Raises:
        InvalidStateError: A tensor does not fit.
    """
    check_layer(x, h0, c0, weights, lengths, reset, tuple(DTYPES))
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
    grad_x, grad_h0, grad_c0, grad_weights = new_gradients(
        x, h0, c0, weights, wants_x=wants_x, empty=_from_workspace
    )
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
