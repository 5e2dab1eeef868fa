"""Calls of the native kernels: tensors in, addresses and sizes down, tensors out.

Neither autograd nor torch's operators, which `gatewise.ops.operators` adds. What the kernels expect
is in ``native/gatewise.h``; tensors are held to it by `gatewise.ops._operands`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from gatewise import _native
from gatewise.errors import InvalidValueError
from gatewise.ops import kernels, reference
from gatewise.ops._operands import (
    Grads,
    Kept,
    Operands,
    Shape,
    check_gradients,
    check_layer,
    refuse_tangents,
)
from gatewise.ops._states import apart, joined, joined_gradients
from gatewise.ops.kernels import ACTIVATIONS, CELLS, DTYPES, KERNELS, precision_of
from gatewise.ops.reference.weights import Weights


class _Sizes(NamedTuple):
    """T, B, I, D, H, P, and the elements that forward saves for each step of a row."""

    T: int
    B: int
    I: int  # noqa: E741 - the field's letter
    D: int
    H: int
    P: int
    saved_row: int


def _sizes(operands: Operands) -> _Sizes:
    T, B, I = operands.x.shape  # noqa: E741
    D, _, P = operands.states[0].shape
    H = int(operands.hidden)  # the layout of what is saved depends on it, so a graph holds it fixed
    dtype = precision_of(operands.x.dtype, operands.options)
    saved_row = KERNELS[dtype].saved_row(
        dtype, CELLS[operands.cell], H, operands.options.layer_norm
    )
    return _Sizes(T, B, I, D, H, P, saved_row)


def _saved_shape(sizes: _Sizes, *, save: bool) -> Shape:
    """Shape of what backward needs beside y, a row for each direction."""
    return (sizes.D, sizes.T * sizes.B * sizes.saved_row) if save else (0,)


def new_outputs(
    operands: Operands,
    *,
    save: bool,
    empty: Callable[..., Tensor] = Tensor.new_empty,
    sizes: _Sizes | None = None,
) -> tuple[Tensor, list[Tensor], Tensor]:
    """Return unfilled outputs; ``empty(x, shape)`` makes those that grow with T."""
    x = operands.x
    sizes = sizes or _sizes(operands)
    return (
        empty(x, (sizes.T, sizes.B, sizes.D * sizes.P)),
        [x.new_empty(state.shape) for state in operands.states],
        empty(x, _saved_shape(sizes, save=save)),
    )


def new_large(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return an unfilled tensor that is large and wanted again in the next call.

    Memory fresh from the system costs up to a tenth of a training step: see workspace.h.
    """
    if math.prod(shape) * x.element_size() < 1 << 20:
        return x.new_empty(shape)
    return _native.workspace_tensor(DTYPES[x.dtype], shape)


def new_gradients(
    operands: Operands,
    *,
    wants_x: bool,
    wants_state: bool,
    empty: Callable[..., Tensor] = Tensor.new_empty,
) -> tuple[Tensor, list[Tensor], list[Tensor], list[Tensor]]:
    """Return unfilled gradients of x, states, weights and restart; those not wanted are empty."""
    x = operands.x
    return (
        empty(x, x.shape if wants_x else (0,)),
        [x.new_empty(state.shape if wants_state else (0,)) for state in operands.states],
        [x.new_empty(weight.shape) for weight in operands.weights],
        [x.new_empty(part.shape) for part in operands.restart],
    )


def forward(operands: Operands, *, save: bool) -> tuple[Tensor, list[Tensor], Tensor]:
    """Run a layer in all its directions.

    Args:
        operands: Of the layer.
        save: Whether to keep what `backward` needs.

    Returns:
        y T×B×(D·P), the final states, shaped like the initial ones, then what `Kept` calls saved,
        empty unless ``save``.

    Raises:
        InvalidStateError: A tensor does not fit.
        InvalidValueError: A length is outside 1 to T.
    """
    check_layer(operands, tuple(DTYPES))
    call = _Call(operands)
    call.use_packed()
    y, final, saved = new_outputs(operands, save=save, empty=new_large, sizes=call.sizes)
    final = joined(final, 2)
    threads = torch.get_num_threads()
    y_step, y_row, _ = y.stride()
    for d, layer in enumerate(call.layers):
        status = call.kernels.forward(
            call.dtype,
            layer,
            _part(y, d * call.sizes.P),
            y_step,
            y_row,
            *_state_addresses(final, d),
            _direction(saved, d) if save else 0,
            threads,
        )
        _raise_unless_ok(status)
    return y, apart(final, 2), saved


def trace(operands: Operands, saved: Tensor) -> list[Tensor]:
    """Return what `forward` has saved, as arrays: each gate, then each state but h.

    Args:
        operands: As `forward` took them.
        saved: As `forward` returned it.

    Returns:
        D×T×B×H each, in time order, zero beyond the lengths; none for a cell that saves nothing.
    """
    call = _Call(operands)
    T, B, _, D, H, *_ = call.sizes
    cell = reference.CELLS[operands.cell]
    count = len(cell.activations)
    parts = [new_large(operands.x, (D, T, B, H)) for _ in range(count + len(cell.states) - 1)]
    for d, layer in enumerate(call.layers):
        addresses = [_direction(part, d) for part in parts]
        status = call.kernels.trace(
            call.dtype,
            layer,
            _direction(saved, d),
            addresses[:count],
            addresses[count:],
            torch.get_num_threads(),
        )
        _raise_unless_ok(status)
    return parts


def backward(
    operands: Operands, kept: Kept, grads: Grads, *, wants_x: bool, wants_state: bool
) -> tuple[Tensor, list[Tensor], list[Tensor], list[Tensor]]:
    """Return the gradients of x, the initial states, the weights and the states after a cut.

    Args:
        operands: As `forward` took them.
        kept: As `forward` returned it.
        grads: As they arrive.
        wants_x: Whether to compute the gradient of x; it is empty otherwise.
        wants_state: Whether to compute those of the states; they are empty otherwise.

    Shapes and dtypes are not checked: autograd hands back what `forward` has checked, with
    gradients that fit; `check_backward` is for anyone else.

    Raises:
        InvalidStateError: A gradient carries a tangent of forward-mode differentiation.
    """
    refuse_tangents(*(grad for grad in (grads.y, *grads.states) if grad is not None))
    call = _Call(operands)
    sizes = call.sizes
    y = _rows_contiguous(kept.y)
    grad_y = _rows_contiguous(grads.y)
    grad_final = joined_gradients(grads.states, operands.states)
    grad_x, grad_states, grad_weights, grad_restart = new_gradients(
        operands, wants_x=wants_x, wants_state=wants_state, empty=new_large
    )
    by_direction = operands.split(grad_weights)
    grad_restart = joined(grad_restart, 1)
    if wants_state:
        grad_states = joined(grad_states, 2)
    threads = torch.get_num_threads()
    parts = []
    for d, layer in enumerate(call.layers):
        # The kernel overwrites; the directions' gradients of x are summed here.
        part_x = torch.empty_like(grad_x) if d and wants_x else grad_x
        status = call.kernels.backward(
            call.dtype,
            layer,
            _part(y, d * sizes.P),
            *y.stride()[:2],
            _direction(kept.saved, d),
            _part(grad_y, d * sizes.P),
            *grad_y.stride()[:2],
            *_state_addresses(grad_final, d),
            part_x.data_ptr() if wants_x else 0,
            *(_state_addresses(grad_states, d) if wants_state else (0, 0)),
            *_weight_addresses(by_direction[d]),
            _option_gradients(by_direction[d], grad_restart, d),
            threads,
        )
        _raise_unless_ok(status)
        parts.append(part_x)
    if wants_x and len(parts) > 1:
        grad_x += parts[1]
    return grad_x, apart(grad_states, 2), grad_weights, apart(grad_restart, 1)


def check_backward(operands: Operands, kept: Kept, grads: Grads) -> None:
    """Raise unless `backward` may be called with these.

    Raises:
        InvalidStateError: A tensor does not fit.
    """
    check_layer(operands, tuple(DTYPES))
    check_gradients(grads, kept, operands, _saved_shape(_sizes(operands), save=True))


class _Call:
    """The checked operands of one call as the kernels take them, kept alive while they run."""

    def __init__(self, operands: Operands) -> None:
        cell, x, states, weights, lengths, reset, seed, restart, options, *_, packed = operands
        self.operands = operands = Operands(
            cell,
            _rows_contiguous(x),
            joined([state.contiguous() for state in states], 2),
            [weight.contiguous() for weight in weights],
            None if lengths is None else lengths.contiguous(),
            None if reset is None else reset.contiguous(),
            seed,
            joined([part.contiguous() for part in restart], 1),
            options,
            packed=packed,
        )
        self.sizes = sizes = _sizes(operands)
        self.dtype = precision_of(operands.x.dtype, operands.options)
        if kernels.in_parts(cell, x.dtype, options, sizes.H):
            rows_in_all = sizes.T * sizes.B if lengths is None else int(lengths.sum())
            if kernels.enough_rows(cell, rows_in_all, sizes.T):
                self.dtype = kernels.IN_PARTS
        self.kernels = KERNELS[self.dtype]
        split = operands.split(operands.weights)
        self.layers = [self._layer(d, split[d]) for d in range(self.sizes.D)]

    def use_packed(self) -> None:
        """Let forward read the packed weights, if any: made at the first call that wants them."""
        operands = self.operands
        if operands.packed is not None:
            key = operands.cell, self.dtype, operands.options.plain
            self.packs = operands.packed.get(key, self._pack)
            for layer, pack in zip(self.layers, self.packs, strict=True):
                layer.set_packed(pack.data_ptr())

    def _pack(self) -> list[Tensor]:
        """The weights of each direction as forward reads them, on huge pages if they fill such."""
        packs = []
        for layer in self.layers:
            size = self.kernels.packed_bytes(self.dtype, layer)
            packs.append(_native.workspace_tensor(DTYPES[torch.float32], (size // 4,)))
            self.kernels.pack(self.dtype, layer, packs[-1].data_ptr(), torch.get_num_threads())
        return packs

    def _layer(self, d: int, weights: Weights) -> _native.Layer:
        """One direction, with all that it needs."""
        cell, x, states, _, lengths, reset, seed, restart, options, *_ = self.operands
        sizes = self.sizes
        x_step, x_row, _ = x.stride()
        layer = _native.Layer(
            CELLS[cell],
            sizes.T,
            sizes.B,
            sizes.I,
            sizes.H,
            sizes.P,
            d == 1 or options.reverse,
            x.data_ptr(),
            x_step,
            x_row,
            *_state_addresses(states, d),
            *_weight_addresses(weights),
            0 if lengths is None else lengths.data_ptr(),
            0 if reset is None else reset.data_ptr(),
        )
        if restart:
            layer.set_restart(*_state_addresses(restart, d))
        if not options.plain:
            layer.set_options(
                ACTIVATIONS[options.activation],
                ACTIVATIONS[options.gate_activation],
                options.cell_clip,
                0 if weights.peephole is None else weights.peephole.data_ptr(),
                [norm.data_ptr() for norm in weights.norms],
            )
            layer.set_masks(
                options.update_dropout,
                options.recurrent_dropout,
                options.zoneout_c,
                options.zoneout_h,
                0 if seed is None else seed.data_ptr(),
                options.stream + (d or int(options.reverse)),
                options.first_step,
            )
        return layer


def mask(
    seed: Tensor, stream: int, step: int, word: int, probability: float, like: Tensor
) -> Tensor:
    """Return what `gatewise.ops.reference.philox.dropout_mask` does, in the shape of ``like``.

    Args:
        seed: int64, one element.
        stream: What tells layers and directions apart.
        step: Of the counter.
        word: Of the four words.
        probability: Of a zero.
        like: Rows × units, float32 or float64.
    """
    out = torch.empty_like(like, memory_format=torch.contiguous_format)
    rows, units = like.shape
    dtype = DTYPES[like.dtype]
    KERNELS[dtype].mask(
        dtype,
        seed.data_ptr(),
        stream,
        step,
        word,
        probability,
        rows,
        units,
        out.data_ptr(),
    )
    return out


def _state_addresses(states: Sequence[Tensor | None], d: int) -> tuple[int, int]:
    """Addresses of h and c of one direction, or of their gradients; 0 for what there is not."""
    h, *others = (0 if state is None else _direction(state, d) for state in states)
    return h, others[0] if others else 0


def _weight_addresses(weights: Weights) -> list[int]:
    """Addresses of one direction's weights or their gradients; 0 for what there is not."""
    return [0 if weight is None else weight.data_ptr() for weight in weights[:5]]


def _option_gradients(
    weights: Weights, restart: Sequence[Tensor], d: int
) -> _native.OptionGradients | None:
    """Where the gradients of one direction go that only some layers have."""
    if not restart and weights.peephole is None and not weights.norms:
        return None
    return _native.OptionGradients(
        *(_state_addresses(restart, d) if restart else (0, 0)),
        0 if weights.peephole is None else weights.peephole.data_ptr(),
        [norm.data_ptr() for norm in weights.norms],
    )


def _raise_unless_ok(status: int) -> None:
    if status == _native.BAD_LENGTH:
        raise InvalidValueError("lengths", "values from 0 to T", "one outside")


def _rows_contiguous(x: Tensor) -> Tensor:
    """Return x with its last axis dense; any strides will do for the others."""
    return x if x.stride(-1) == 1 or x.shape[-1] == 1 else x.contiguous()


def _part(x: Tensor, offset: int) -> int:
    """Address of the element at ``offset`` elements."""
    return x.data_ptr() + offset * x.element_size()


def _direction(x: Tensor, d: int) -> int:
    """Address of part ``d`` of the first axis."""
    return _part(x, d * x.stride(0)) if d else x.data_ptr()
