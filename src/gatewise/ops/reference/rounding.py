"""Rounding to bfloat16 as the kernels do it: operands of products, and gradients on their way."""

from __future__ import annotations

from torch import Tensor


def rounded(value: Tensor) -> Tensor:
    """Return ``value`` rounded to bfloat16, whose gradient is that of ``value``."""
    exact = value.detach()
    return value + (exact.bfloat16().to(exact) - exact)


def gradient_rounded(value: Tensor) -> Tensor:
    """Return ``value``, whose gradient is rounded to bfloat16 on its way."""
    rounds = value.bfloat16().to(value)  # the casts do so backward as well
    return rounds + (value - rounds).detach()
