"""The cross-entropy of a linear layer's outputs in plain torch: it holds all of them.

Label smoothing: C. Szegedy et al., "Rethinking the inception architecture", CVPR 2016.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from gatewise.ops.reference.rounding import gradient_rounded, rounded


def linear_cross_entropy(
    x: Tensor, weight: Tensor, bias: Tensor | None, target: Tensor, smoothing: float, *, bf16: bool
) -> Tensor:
    """Return -log softmax(W·x + b) at the target for every row.

    Args:
        x: N×H.
        weight: V×H.
        bias: V, or None.
        target: int64 [N], each below V; negative for rows that do not count.
        smoothing: ε: the target distribution is (1 - ε) at the target plus ε/V everywhere.
        bf16: Whether products take operands, gradients among them, rounded to bfloat16.

    Returns:
        N losses, zero where rows do not count.
    """
    if bf16:
        outputs = gradient_rounded(F.linear(rounded(x), rounded(weight)))
        outputs = outputs if bias is None else outputs + bias
    else:
        outputs = F.linear(x, weight, bias)
    ignored = torch.where(target < 0, -100, target)
    return F.cross_entropy(
        outputs, ignored, reduction="none", ignore_index=-100, label_smoothing=smoothing
    )
