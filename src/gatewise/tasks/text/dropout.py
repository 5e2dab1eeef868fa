"""Dropout for sequences of tokens: one mask for all steps, and whole words."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn


class SequenceDropout(nn.Module):
    """Drops the same features at every step of a sequence (Gal & Ghahramani 2016).

    Args:
        p: Probability of a zero, 0 ≤ p < 1.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Float[Tensor, "T B F"]) -> Float[Tensor, "T B F"]:
        """Return x with features zeroed and the others scaled up; x itself in eval mode."""
        if not self.training or self.p == 0:
            return x
        return x * F.dropout(torch.ones_like(x[:1]), self.p)

    def extra_repr(self) -> str:
        """Show the probability."""
        return f"p={self.p}"


class WordDropout(nn.Module):
    """Drops whole rows of an embedding: a word is gone wherever it occurs (Merity et al. 2018).

    Args:
        p: Probability of a word's being dropped, 0 ≤ p < 1.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(
        self, vectors: Float[Tensor, "T B E"], tokens: Int64[Tensor, "T B"], words: int
    ) -> Float[Tensor, "T B E"]:
        """Return the vectors of tokens, those of dropped words zeroed, the others scaled up.

        Args:
            vectors: Of the tokens.
            tokens: Their numbers.
            words: How many there are, V.
        """
        if not self.training or self.p == 0:
            return vectors
        mask = F.dropout(torch.ones(words, device=vectors.device, dtype=vectors.dtype), self.p)
        return vectors * mask[tokens][..., None]

    def extra_repr(self) -> str:
        """Show the probability."""
        return f"p={self.p}"
