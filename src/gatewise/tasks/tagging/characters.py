"""Words from their characters: a bidirectional LSTM's last states, or a convolution's maxima.

Words that the training text has not are spelled all the same. The LSTM after Lample et al. (2016),
the convolution after Ma & Hovy (2016), of width 3.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from gatewise.nn import LSTM

Characters = Literal["none", "lstm", "cnn"]
"""What reads the characters of a word."""

WIDTH = 3
"""Characters that a filter of the convolution sees."""


class CharacterEncoder(nn.Module):
    """Reads words character by character.

    Args:
        kind: ``lstm`` or ``cnn``.
        characters: Characters that are known, V.
        embedding_size: Numbers of a character's vector, E.
        hidden_size: Units of each direction of the LSTM, or half of the filters, H.
    """

    def __init__(
        self, kind: Characters, characters: int, embedding_size: int, hidden_size: int
    ) -> None:
        super().__init__()
        self.width = 2 * hidden_size
        self.embedding = nn.Embedding(characters, embedding_size)
        self.lstm = self.convolution = None
        if kind == "lstm":
            self.lstm = LSTM(embedding_size, hidden_size, bidirectional=True)
        else:
            self.convolution = nn.Conv1d(embedding_size, self.width, WIDTH, padding=WIDTH // 2)

    def forward(
        self, characters: Int64[Tensor, "W C"], lengths: Int64[Tensor, "C"]
    ) -> Float[Tensor, "C F"]:
        """Return a vector for each of C words.

        Args:
            characters: The numbers of their characters.
            lengths: How many each has, ≥ 1.

        Returns:
            2·H features of each.
        """
        vectors = self.embedding(characters)  # W x C x E
        if self.lstm is not None:
            _, (h_n, _) = self.lstm(vectors, lengths=lengths)
            return h_n.transpose(0, 1).flatten(1)
        assert self.convolution is not None  # noqa: S101 - one of the two is there
        beyond = torch.arange(len(characters), device=characters.device)[:, None] >= lengths
        # What a word is filled up with is silent, as what lies before its beginning is.
        vectors = vectors.masked_fill(beyond[..., None], 0.0)
        found = F.relu(self.convolution(vectors.permute(1, 2, 0)))  # C x F x W
        # Behind relu nothing is below 0, so that characters beyond the end never win.
        return found.masked_fill(beyond.t()[:, None], 0.0).amax(2)
