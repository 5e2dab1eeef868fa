"""The probability of texts, token by token."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64

from gatewise.data.text import IGNORED, pad
from gatewise.errors import InvalidValueError
from gatewise.tasks.language.corpus import Language
from gatewise.tasks.language.network import LanguageNetwork

_BATCH = 64


class TextScore(float):
    """The mean log-probability of a token, in nats: a number, with what it is the mean of.

    Attributes:
        tokens: The tokens, the end of each text among them where the model marks it.
        log_probabilities: Of each token given those before it, N, in nats.
        characters: Of the texts, line ends included.
    """

    tokens: tuple[str, ...]
    log_probabilities: Float64[np.ndarray, "N"]
    characters: int

    def __new__(
        cls, tokens: Sequence[str], log_probabilities: np.ndarray, characters: int
    ) -> TextScore:
        """Return the mean of some log-probabilities."""
        score = super().__new__(cls, float(np.mean(log_probabilities)))
        score.tokens, score.log_probabilities = tuple(tokens), log_probabilities
        score.characters = characters
        return score

    def __getnewargs__(self) -> tuple[Any, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return what a copy is made from: float's own knows the number alone."""
        return self.tokens, self.log_probabilities, self.characters

    @property
    def perplexity(self) -> float:
        """The number of equally likely tokens that would be as hard to guess."""
        return math.exp(min(-self, 700.0))

    @property
    def bits_per_character(self) -> float:
        """What a character costs in bits."""
        return -float(self.log_probabilities.sum()) / self.characters / math.log(2)

    def __repr__(self) -> str:
        return (
            f"TextScore({float(self):.4f} nats a token, perplexity {self.perplexity:.4g}, "
            f"{len(self.tokens)} tokens)"
        )


def score_texts(network: LanguageNetwork, language: Language, texts: Sequence[str]) -> TextScore:
    """Return how probable texts are, each by itself, from the beginning of a text.

    Args:
        network: In eval mode.
        language: Its tokenizer and vocabulary.
        texts: The texts. Where the model knows no end of a text, the first token of each has no
            probability and is left out.

    Raises:
        InvalidValueError: A text holds no token that has a probability.
    """
    end = language.end_number
    rows, tokens, costs, characters = [], [], [], 0
    for k, text in enumerate(texts):
        inner = language.encode(text).astype(np.int64)
        row = inner if end is None else np.array([end, *inner, end])
        if len(row) < 2:
            raise InvalidValueError(f"score: text {k}", "at least two tokens", repr(text))
        rows.append(row)
        tokens += language.vocabulary.decode(row[1:])
        characters += len(text) + (end is not None)
    device = next(network.parameters()).device
    for start in range(0, len(rows), _BATCH):
        part = rows[start : start + _BATCH]
        inputs, lengths = pad([row[:-1] for row in part], 0)
        targets, _ = pad([row[1:] for row in part], IGNORED)
        with torch.inference_mode():
            losses, _ = network.losses(inputs.to(device), targets.to(device))
        table = losses.double().cpu().numpy()
        costs += [table[:length, column] for column, length in enumerate(lengths.tolist())]
    return TextScore(tokens, -np.concatenate(costs), characters)
