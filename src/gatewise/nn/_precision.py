"""When a layer multiplies in bfloat16: if it is told to, in bfloat16 itself, or inside autocast."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

Precision = Literal["auto", "full", "bf16"]

PRECISIONS: tuple[str, ...] = get_args(Precision)


def autocast_dtype(x: Tensor, weight: Tensor) -> torch.dtype | None:
    """Return autocast's dtype where it applies: not to float64, nor to integers."""
    kind = x.device.type
    if not torch.is_autocast_enabled(kind) or not x.is_floating_point():
        return None
    if torch.float64 in (x.dtype, weight.dtype):
        return None
    return torch.get_autocast_dtype(kind)


def takes_bf16(precision: Precision, weight: Tensor, autocast: torch.dtype | None) -> bool:
    """Say whether products are taken in bfloat16, given the dtype of an autocast that applies."""
    if precision == "auto":
        return torch.bfloat16 in (weight.dtype, autocast)
    return precision == "bf16"
