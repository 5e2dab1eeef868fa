"""The output layers of a language model: from states to losses, and to logits of the next token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from gatewise.data.text import IGNORED

DIVISOR: Final = 4
"""By which the features of each rarer cluster are fewer; torch's default."""


class AdaptiveOutput(nn.Module):
    """The adaptive softmax of torch with the calls of `gatewise.nn.LinearCrossEntropy`.

    Frequent tokens are told apart by all features, rare ones, in clusters, by fewer: what a step
    costs grows with the frequent ones only.

    Args:
        in_features: H.
        num_classes: V, by falling frequency.
        cutoffs: Classes at which clusters begin, ascending, each below V.

    Source:
        E. Grave et al., "Efficient softmax approximation for GPUs", ICML 2017.
    """

    def __init__(self, in_features: int, num_classes: int, cutoffs: Sequence[int]) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.softmax = nn.AdaptiveLogSoftmaxWithLoss(
            in_features, num_classes, list(cutoffs), div_value=float(DIVISOR)
        )

    def forward(self, y: Float[Tensor, "*N H"], target: Int64[Tensor, "*N"]) -> Float[Tensor, ""]:
        """Return the mean loss of the targets that are not ignored."""
        counts = target != IGNORED
        return self.softmax(y[counts], target[counts]).loss

    def losses(self, y: Float[Tensor, "*N H"], target: Int64[Tensor, "*N"]) -> Float[Tensor, "*N"]:
        """Return every loss, zero where the target is ignored."""
        counts = target != IGNORED
        losses = torch.zeros(target.shape, dtype=y.dtype, device=y.device)
        losses[counts] = -self.softmax(y[counts], target[counts]).output.to(losses.dtype)
        return losses

    def logits(self, y: Float[Tensor, "*N H"]) -> Float[Tensor, "*N V"]:
        """Return the logarithm of the probability of every class."""
        return self.softmax.log_prob(y.reshape(-1, y.shape[-1])).reshape(*y.shape[:-1], -1)
