"""How well a language model expects a text: its losses, token by token, beside a baseline."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float, Int32
from torch import nn

from gatewise.data.text import IGNORED, Streams, Vocabulary
from gatewise.tasks.language.network import LanguageNetwork, Reading
from gatewise.tasks.text.encoder import State

TOKENS_OF_A_STREAM = 10_000
"""A long text is scored as streams of at least this length, each of which begins anew."""

STREAMS = 32
WINDOW = 256
_BLOCK = 1 << 20


def mean_loss(
    network: nn.Module, tokens: Int32[np.ndarray, "N"], streams: int | None = None
) -> float:
    """Return the mean of −ln p of the tokens of a text but the first.

    Args:
        network: A ``LanguageNetwork`` in eval mode; wrapped as it is in training, it computes in
            the precision of the training.
        tokens: Their numbers, N ≥ 2.
        streams: Parts that are read side by side, each from its beginning; None: one for every
            10,000 tokens, 32 at most. One is exact and slow.
    """
    B = max(1, min(STREAMS, len(tokens) // TOKENS_OF_A_STREAM)) if streams is None else streams
    device = next(network.parameters()).device
    states: list[State] | None = None
    total, count = 0.0, 0
    for window in Streams(tokens, B, WINDOW).epoch(0):
        reading: Reading = network(window.inputs.to(device), window.targets.to(device), states)
        states = reading.encoded.states
        counted = int((window.targets != IGNORED).sum())
        total += float(reading.loss) * counted
        count += counted
    return total / count


def token_losses(
    network: LanguageNetwork, tokens: Int32[np.ndarray, "N"]
) -> Float[np.ndarray, "M"]:
    """Return −ln p of every token of a text but the first, M = N − 1."""
    device = next(network.parameters()).device
    states: list[State] | None = None
    parts = []
    for window in Streams(tokens, 1, WINDOW).epoch(0):
        losses, states = network.losses(window.inputs.to(device), window.targets.to(device), states)
        parts.append(losses[:, 0].double().cpu().numpy())
    return np.concatenate(parts)


def unigram_loss(vocabulary: Vocabulary, tokens: Int32[np.ndarray, "N"]) -> float:
    """Return the mean of −ln p of the tokens but the first, each with its training frequency.

    Counts are one larger than they were, so that none is zero.
    """
    counts = np.asarray(vocabulary.counts, dtype=np.float64) + 1
    costs = -np.log(counts / counts.sum())
    total = 0.0
    for start in range(1, len(tokens), _BLOCK):
        total += float(costs[tokens[start : start + _BLOCK]].sum())
    return total / (len(tokens) - 1)


def scores_of(loss: float, tokens: int, characters: int) -> dict[str, float]:
    """Return what a mean loss in nats means.

    Args:
        loss: Mean of −ln p of a token.
        tokens: Over how many.
        characters: Of the text that they are, line ends included.
    """
    return {
        "perplexity": math.exp(min(loss, 700.0)),
        "nats_per_token": loss,
        "bits_per_character": loss * tokens / characters / math.log(2),
    }
