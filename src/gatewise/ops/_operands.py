"""What the operators accept: the kernels read by address, so nothing else may reach them.

Layers have checked before this, in words of their own; here stands whoever calls
``torch.ops.gatewise.lstm`` directly.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn

import torch
from torch import Tensor
from torch.autograd import forward_ad

from gatewise.errors import InvalidStateError

Shape = Sequence[int | torch.SymInt]
"""Sizes of a tensor; symbolic while torch.compile traces with dynamic shapes."""


class Operands(NamedTuple):
    """What one layer reads, in all its directions.

    Args:
        x: T×B×I, any strides.
        h0: D×B×P.
        c0: D×B×H.
        weights: Flat list; `gatewise.ops.reference.lstm_layer` has its order and shapes.
        lengths: int64 [B], or None.
        reset: bool T×B, or None.
    """

    x: Tensor
    h0: Tensor
    c0: Tensor
    weights: Sequence[Tensor]
    lengths: Tensor | None = None
    reset: Tensor | None = None


class Kept(NamedTuple):
    """What forward leaves for backward.

    Args:
        y: The output, T×B×(D·P).
        saved: Activations and cell states in the kernels' own layout, a row for each direction;
            empty if nothing was saved.
    """

    y: Tensor
    saved: Tensor


class Grads(NamedTuple):
    """Gradients that arrive: of y T×B×(D·P), h_n D×B×P and c_n D×B×H; None stands for zeros."""

    y: Tensor
    h_n: Tensor | None
    c_n: Tensor | None


def check_layer(operands: Operands, dtypes: Sequence[torch.dtype]) -> None:
    """Raise unless these are the tensors of one layer, of one of ``dtypes``.

    Raises:
        InvalidStateError: A shape or dtype does not fit, or a tensor carries a tangent of
            forward-mode differentiation.
    """
    x, h0, c0, weights, lengths, reset = operands
    refuse_tangents(x, h0, c0, *weights)
    if not _fits(operands, dtypes):
        raise InvalidStateError(
            "gatewise::lstm",
            "x [T, B, I], h0 [D, B, P], c0 [D, B, H] and weights of one dtype, float32 or float64, "
            "lengths int64 [B], reset bool [T, B]",
            _described((x, h0, c0, *weights, lengths, reset)),
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
    x, h0, c0, *_ = operands
    T, B, _ = x.shape
    D, _, P = h0.shape
    y = (T, B, D * P)
    expected = [y, tuple(h0.shape), tuple(c0.shape), y, tuple(saved)]
    given = (*grads, *kept)
    for tensor, shape in zip(given, expected, strict=True):
        if tensor is not None and (tensor.shape != shape or tensor.dtype != x.dtype):
            raise InvalidStateError(
                "gatewise::lstm_backward",
                f"grad_y, grad_h_n, grad_c_n, y and saved of {expected} and {x.dtype}",
                _described(given),
                "Pass what gatewise::lstm returned with save=True.",
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
        "gatewise::lstm",
        "a plain call",
        "one under a function transform (torch.func, forward-mode differentiation)",
        "Use gatewise.ops.lstm_layer with backend='auto', which takes the reference there.",
    )


def _fits(operands: Operands, dtypes: Sequence[torch.dtype]) -> bool:
    x, h0, c0, weights, lengths, reset = operands
    if not x.dim() == h0.dim() == c0.dim() == 3:
        return False
    T, B, I = x.shape  # noqa: E741
    D, _, P = h0.shape
    H = c0.shape[2]
    if D not in (1, 2) or len(weights) % D or len(weights) // D not in (2, 3, 4, 5):
        return False
    count = len(weights) // D
    shapes = [(4 * H, I), (4 * H, P)]
    if count >= 4:
        shapes += [(4 * H,), (4 * H,)]
    if count in (3, 5):
        shapes += [(P, H)]
    dtype = x.dtype
    return (
        dtype in dtypes
        and min(T, B, I, H, P) >= 1
        and (P == H or count in (3, 5))
        and all(w.shape == s and w.dtype == dtype for w, s in zip(weights, shapes * D, strict=True))
        and h0.shape == (D, B, P)
        and c0.shape == (D, B, H)
        and h0.dtype == c0.dtype == dtype
        and (lengths is None or (lengths.shape == (B,) and lengths.dtype == torch.int64))
        and (reset is None or (reset.shape == (T, B) and reset.dtype == torch.bool))
    )


def _described(tensors: Sequence[Tensor | None]) -> str:
    return ", ".join(f"{tuple(t.shape)} {t.dtype}" for t in tensors if t is not None)
