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

from gatewise.errors import InvalidStateError
from gatewise.ops.reference import CELLS

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
    """

    cell: str
    x: Tensor
    states: Sequence[Tensor]
    weights: Sequence[Tensor]
    lengths: Tensor | None = None
    reset: Tensor | None = None

    @property
    def hidden(self) -> int | torch.SymInt:
        """H, which only the weights tell of every cell."""
        return self.weights[1].shape[0] // CELLS[self.cell].gates


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
    cell, x, states, weights, lengths, reset = operands
    refuse_tangents(x, *states, *weights)
    if not _fits(operands, dtypes):
        raise InvalidStateError(
            "gatewise::recurrent",
            f"a cell of {', '.join(CELLS)}, x [T, B, I], states [D, B, P], then [D, B, H], and "
            "weights of one dtype, float32 or float64, lengths int64 [B], reset bool [T, B]",
            f"{cell!r}, {_described((x, *states, *weights, lengths, reset))}",
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
    name, x, states, weights, lengths, reset = operands
    cell = CELLS.get(name)
    if cell is None or len(states) != len(cell.states):
        return False
    if not x.dim() == states[0].dim() == 3:
        return False
    T, B, I = x.shape  # noqa: E741
    D, _, P = states[0].shape
    projects = len(cell.states) > 1
    counts = (2, 3, 4, 5) if projects else (2, 4)
    if D not in (1, 2) or len(weights) % D or len(weights) // D not in counts:
        return False
    count = len(weights) // D
    H = operands.hidden
    shapes = [(cell.gates * H, I), (cell.gates * H, P)]
    if count >= 4:
        shapes += [(cell.gates * H,), (cell.gates * H,)]
    if count in (3, 5):
        shapes += [(P, H)]
    widths = [P] + [H] * (len(states) - 1)
    dtype = x.dtype
    return (
        dtype in dtypes
        and min(T, B, I, H, P) >= 1
        and (P == H or count in (3, 5))
        and all(w.shape == s and w.dtype == dtype for w, s in zip(weights, shapes * D, strict=True))
        and all(
            state.shape == (D, B, width) and state.dtype == dtype
            for state, width in zip(states, widths, strict=True)
        )
        and (lengths is None or (lengths.shape == (B,) and lengths.dtype == torch.int64))
        and (reset is None or (reset.shape == (T, B) and reset.dtype == torch.bool))
    )


def _described(tensors: Sequence[Tensor | None]) -> str:
    return ", ".join(f"{tuple(t.shape)} {t.dtype}" for t in tensors if t is not None)
