"""What the operators accept: the kernels read by address, so nothing else may reach them.

Layers have checked before this, in words of their own; here stands whoever calls
``torch.ops.gatewise.lstm`` directly.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.autograd import forward_ad

from gatewise.errors import InvalidStateError

Shape = Sequence[int | torch.SymInt]
"""Sizes of a tensor; symbolic while torch.compile traces with dynamic shapes."""


def check_layer(
    x: Tensor,
    h0: Tensor,
    c0: Tensor,
    weights: Sequence[Tensor],
    lengths: Tensor | None,
    reset: Tensor | None,
    dtypes: Sequence[torch.dtype],
) -> None:
    """Raise unless these are the tensors of one layer, of one of ``dtypes``.

    Args:
        x: T×B×I.
        h0: D×B×P.
        c0: D×B×H.
        weights: As in `gatewise.ops.reference.lstm_layer`.
        lengths: int64 [B], or None.
        reset: bool T×B, or None.
        dtypes: The dtypes with a kernel.

    Raises:
        InvalidStateError: A shape or dtype does not fit, or a tensor carries a tangent of
            forward-mode differentiation.
    """
    refuse_tangents(x, h0, c0, *weights)
    if not _fits(x, h0, c0, weights, lengths, reset, dtypes):
        raise InvalidStateError(
            "gatewise::lstm",
            "x [T, B, I], h0 [D, B, P], c0 [D, B, H] and weights of one dtype, float32 or float64, "
            "lengths int64 [B], reset bool [T, B]",
            _described((x, h0, c0, *weights, lengths, reset)),
        )


def check_gradients(
    grads: tuple[Tensor, Tensor, Tensor],
    kept: tuple[Tensor, Tensor, Tensor],
    shapes: tuple[Shape, Shape, Shape],
    saved: tuple[Shape, Shape],
    dtype: torch.dtype,
) -> None:
    """Raise unless gradients and what forward has kept belong to a layer.

    Args:
        grads: Gradients of y, h_n and c_n.
        kept: y, gates and cells as forward returned them.
        shapes: Shapes of y, h_n and c_n.
        saved: Shapes of gates and cells.
        dtype: The layer's.

    Raises:
        InvalidStateError: A shape or dtype does not fit, or a tensor carries a tangent of
            forward-mode differentiation.
    """
    refuse_tangents(*grads, *kept)
    tensors = (*grads, *kept)
    expected = [tuple(shape) for shape in (*shapes, shapes[0], *saved)]
    if any(t.shape != s or t.dtype != dtype for t, s in zip(tensors, expected, strict=True)):
        raise InvalidStateError(
            "gatewise::lstm_backward",
            f"grad_y, grad_h_n, grad_c_n, y, gates and cells of {expected} and {dtype}",
            _described(tensors),
            "Pass what gatewise::lstm returned with save=True.",
        )


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


def _fits(
    x: Tensor,
    h0: Tensor,
    c0: Tensor,
    weights: Sequence[Tensor],
    lengths: Tensor | None,
    reset: Tensor | None,
    dtypes: Sequence[torch.dtype],
) -> bool:
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
    return (
        x.dtype in dtypes
        and min(T, B, I, H, P) >= 1
        and (P == H or count in (3, 5))
        and [tuple(weight.shape) for weight in weights] == shapes * D
        and h0.shape == (D, B, P)
        and c0.shape == (D, B, H)
        and all(t.dtype == x.dtype for t in (h0, c0, *weights))
        and (lengths is None or (lengths.shape == (B,) and lengths.dtype == torch.int64))
        and (reset is None or (reset.shape == (T, B) and reset.dtype == torch.bool))
    )


def _described(tensors: Sequence[Tensor | None]) -> str:
    return ", ".join(f"{tuple(t.shape)} {t.dtype}" for t in tensors if t is not None)
