"""How well a language model expects a text: its losses, token by token, beside a baseline."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import cast

import numpy as np
from jaxtyping import Float, Int32
from torch import Tensor, nn

from gatewise.data.text import IGNORED, Streams, Vocabulary
from gatewise.tasks.language.network import LanguageNetwork
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
        network: A ``LanguageNetwork`` in eval mode, perhaps wrapped for several processes.
        tokens: Their numbers, N ≥ 2.
        streams: Parts that are read side by side, each from its beginning; None: one for every
            10,000 tokens, 32 at most. One is exact and slow.
    """
    total, count = 0.0, 0
    for losses, counts in stream_losses(network, tokens, streams):
        total += float(losses.double().sum())
        count += int(counts.sum())
    return total / count


def stream_losses(
    network: nn.Module, tokens: Int32[np.ndarray, "N"], streams: int | None = None
) -> Iterator[tuple[Float[Tensor, "T B"], Tensor]]:
    """Yield the losses of windows of streams, and which of them count."""
    bare = cast("LanguageNetwork", getattr(network, "module", network))
    device = next(bare.parameters()).device
    B = max(1, min(STREAMS, len(tokens) // TOKENS_OF_A_STREAM)) if streams is None else streams
    states: list[State] | None = None
    for window in Streams(tokens, B, WINDOW).epoch(0):
        losses, states = bare.losses(window.inputs.to(device), window.targets.to(device), states)
        yield losses, window.targets != IGNORED


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
