"""What the operators accept: the kernels read by address, so nothing else may reach them.

Layers have checked before this, in words of their own; here stands whoever calls
``torch.ops.gatewise.recurrent`` directly.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn

import torch
from torch import Tensor
from torch.autograd import forward_ad

from gatewise.errors import InvalidStateError, InvalidValueError
from gatewise.ops.packed import PackedWeights
from gatewise.ops.reference import CELLS, PLAIN, Cell, CellOptions
from gatewise.ops.reference.batch_norm import Statistics
from gatewise.ops.reference.weights import Weights, count_plain, split_weights, weight_shapes

Shape = Sequence[int | torch.SymInt]
"""Sizes of a tensor; symbolic while torch.compile traces with dynamic shapes."""


class Operands(NamedTuple):
    """What one layer reads, in all its directions.

    Args:
        cell: Name of the cell, one of `gatewise.ops.reference.CELLS`.
        x: T×B×I, any strides.
        states: Initial states, h D×B×P, then D×B×H for each other state of the cell.
        weights: Flat list; `gatewise.ops.reference.layer` has its order and shapes.
        lengths: int64 [B], or None.
        reset: bool T×B, or None.
        seed: Of the masks, int64 with one element, or None for no dropout.
        restart: The states after a cut, h D×P, then D×H; empty for zeros.
        options: Of the cell.
        statistics: Of batch norm, with that option.
        packed: The weights as the kernels read them, if they are kept between calls.
    """

    cell: str
    x: Tensor
    states: Sequence[Tensor]
    weights: Sequence[Tensor]
    lengths: Tensor | None = None
    reset: Tensor | None = None
    seed: Tensor | None = None
    restart: Sequence[Tensor] = ()
    options: CellOptions = PLAIN
    statistics: Statistics | None = None
    packed: PackedWeights | None = None

    @property
    def hidden(self) -> int | torch.SymInt:
        """H, which only the weights tell of every cell."""
        return self.weights[0].shape[0] // CELLS[self.cell].gates

    def tensors(self) -> list[Any]:
        """Return the tensors that have gradients, in one flat list."""
        return [self.x, *self.states, *self.weights, *self.restart]

    def counts(self) -> list[int]:
        """Return how that list is parted: x, states, weights, restart."""
        return [1, len(self.states), len(self.weights), len(self.restart)]

    def replaced(self, tensors: Sequence[Any]) -> Operands:
        """Return the operands with other tensors, or what belongs to them, in place of those."""
        (x,), states, weights, restart = parted(tensors, self.counts())
        return self._replace(x=x, states=states, weights=weights, restart=restart)

    def split(self, values: Sequence[Any]) -> list[Weights]:
        """Name what goes with each of the weights, for each direction.

        Raises:
            InvalidValueError: There are not as many as a layer has.
        """
        cell, directions = CELLS[self.cell], int(self.states[0].shape[0])
        return split_weights(
            values, directions, self.options, len(self.states), feeds_back=cell.feeds_back
        )


class Kept(NamedTuple):
    """What forward leaves for backward.

    Args:
        y: The output, T×B×(D·P).
        saved: What the kernels keep of each step, in their own layout, a row for each direction;
            empty if nothing was saved.
    """

    y: Tensor
    saved: Tensor


class Grads(NamedTuple):
    """Gradients that arrive: of y T×B×(D·P) and of each final state; None stands for zeros."""

    y: Tensor
    states: Sequence[Tensor | None]


def check_layer(operands: Operands, dtypes: Sequence[torch.dtype]) -> None:
    """Raise unless these are the tensors of one layer, of one of ``dtypes``.

    Raises:
        InvalidStateError: A shape or dtype does not fit, or a tensor carries a tangent of
            forward-mode differentiation.
    """
    cell, x, states, weights, lengths, reset, *_ = operands
    refuse_tangents(x, *states, *weights, *operands.restart)
    if not _fits(operands, dtypes):
        raise InvalidStateError(
            "gatewise::recurrent",
            f"a cell of {', '.join(CELLS)}, x [T, B, I], states [D, B, P], then [D, B, H], weights "
            "of its options, all of one dtype, float32 or float64, lengths int64 [B], reset bool "
            "[T, B], a seed int64 [1], restart [D, P], then [D, H]",
            f"{cell!r}, {_described((x, *states, *weights, lengths, reset))}, {operands.options}",
        )


def check_gradients(grads: Grads, kept: Kept, operands: Operands, saved: Shape) -> None:
    """Raise unless gradients and what forward has kept belong to a layer.

    Args:
        grads: As they arrive.
        kept: As forward returned it.
        operands: Of the layer, checked.
        saved: Shape of what forward saves.

    Raises:
        InvalidStateError: A shape or dtype does not fit, or a tensor carries a tangent of
            forward-mode differentiation.
    """
    x, states = operands.x, operands.states
    T, B, _ = x.shape
    D, _, P = states[0].shape
    y = (T, B, D * P)
    expected = [y, *(tuple(state.shape) for state in states), y, tuple(saved)]
    given = (grads.y, *grads.states, *kept)
    fits = len(grads.states) == len(states) and all(
        tensor is None or (tensor.shape == shape and tensor.dtype == x.dtype)
        for tensor, shape in zip(given, expected, strict=True)
    )
    if not fits:
        raise InvalidStateError(
            "gatewise::recurrent_backward",
            f"grad_y, gradients of the final states, y and saved of {expected} and {x.dtype}",
            _described(given),
            "Pass what gatewise::recurrent returned with save=True.",
        )
    refuse_tangents(*(tensor for tensor in given if tensor is not None))


def refuse_tangents(*tensors: Tensor) -> None:
    """Raise if a tensor is dual: the operators would silently drop its tangent.

    Raises:
        InvalidStateError: It is.
    """
    # There is no public query of the level, and unpacking costs more than asking.
    if forward_ad._current_level < 0:  # noqa: SLF001
        return
    if any(forward_ad.unpack_dual(tensor).tangent is not None for tensor in tensors):
        refuse_transform()


def refuse_transform(*_: Any, **__: Any) -> NoReturn:
    """Raise: what stands in the operators' place under ``torch.func`` and forward-mode AD.

    Raises:
        InvalidStateError: Always.
    """
    raise InvalidStateError(
        "gatewise::recurrent",
        "a plain call",
        "one under a function transform (torch.func, forward-mode differentiation)",
        "Use gatewise.ops.run_layer with backend='auto', which takes the reference there.",
    )


def _fits(operands: Operands, dtypes: Sequence[torch.dtype]) -> bool:
    name, x, states, _, lengths, reset, seed, restart, options, *_ = operands
    cell = CELLS.get(name)
    if cell is None or len(states) != len(cell.states):
        return False
    if not x.dim() == states[0].dim() == 3:
        return False
    T, B, I = x.shape  # noqa: E741
    D, _, P = states[0].shape
    if D not in (1, 2) or not _fit_weights(operands, cell):
        return False
    H, dtype = operands.hidden, x.dtype
    widths = [P] + [H] * (len(states) - 1)
    return (
        dtype in dtypes
        and min(T, B, I, H, P) >= 1
        and (not name.startswith(("rnn", "min", "slstm")) or options.plain)
        and (name != "gru_before" or not options.layer_norm)
        and not options.batch_norm
        and (not options.reverse or D == 1)
        and (not options.bf16 or dtype == torch.float32)
        and [state.shape for state in states] == [(D, B, width) for width in widths]
        and (not restart or [part.shape for part in restart] == [(D, width) for width in widths])
        and {tensor.dtype for tensor in operands.tensors()} == {dtype}
        and (lengths is None or (lengths.shape == (B,) and lengths.dtype == torch.int64))
        and (reset is None or (reset.shape == (T, B) and reset.dtype == torch.bool))
        and (seed is None or (seed.numel() == 1 and seed.dtype == torch.int64))
    )


def _fit_weights(operands: Operands, cell: Cell) -> bool:
    """Say whether the weights are those of the layer; x and h0 have three axes."""
    x, states, weights, options = operands.x, operands.states, operands.weights, operands.options
    D, _, P = states[0].shape
    try:
        plain = count_plain(len(weights), D, options, len(states), feeds_back=cell.feeds_back)
    except InvalidValueError:
        return False
    if weights[0].dim() != 2:  # it tells H
        return False
    I, H = x.shape[2], weights[0].shape[0] // cell.gates  # noqa: E741
    projects = plain in (3, 5)
    if (projects and len(states) == 1) or (not projects and P != H):
        return False
    shapes = weight_shapes(
        plain,
        options,
        states=len(states),
        gates=cell.gates,
        I=I,
        H=H,
        P=P,
        feeds_back=cell.feeds_back,
    )
    return [weight.shape for weight in weights] == shapes * D


def parted(values: Sequence[Any], counts: Sequence[int]) -> list[list[Any]]:
    """Cut a flat list into lists of so many values."""
    rest = iter(values)
    return [[next(rest) for _ in range(count)] for count in counts]


def _described(tensors: Sequence[Tensor | None]) -> str:
    return ", ".join(f"{tuple(t.shape)} {t.dtype}" for t in tensors if t is not None)
