"""Dropout that acts on whole tensors before a layer runs: on its input, and on its weights.

And torch's dropout between layers. What acts inside the recurrence is the kernels'
(`gatewise.ops.reference.options.CellOptions`).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gatewise.ops import dispatch
from gatewise.ops.backends import Backend
from gatewise.ops.reference.philox import PER_CALL, PER_SEQUENCE


def draw_seed(device: torch.device, generator: torch.Generator | None) -> Tensor:
    """Draw the seed of all masks of one forward, by default from torch's default generator."""
    bounds = -(2**63), 2**63 - 1
    return torch.randint(*bounds, (1,), generator=generator, dtype=torch.int64, device=device)


def drop_between(x: Tensor, probability: float, generator: torch.Generator | None) -> Tensor:
    """Return what layers above see of x: torch's dropout, perhaps drawn by another generator."""
    if generator is None:
        return torch.dropout(x, probability, train=True)
    kept = torch.empty_like(x).bernoulli_(1 - probability, generator=generator)
    return x * (kept.div_(1 - probability) if probability < 1 else kept)


def drop_input(x: Tensor, seed: Tensor, layer: int, probability: float, backend: Backend) -> Tensor:
    """Return x (T×B×I) with some features of each sequence zero in all its steps.

    Source: Y. Gal, Z. Ghahramani, "A theoretically grounded application of dropout in recurrent
    neural networks", NeurIPS 2016.
    """
    where = (2 * layer, PER_SEQUENCE, 1)
    return x * dispatch.dropout_mask(seed, *where, probability, x[0], backend=backend)


def drop_weights(
    weights: list[Any], count: int, seed: Tensor, layer: int, probability: float, backend: Backend
) -> list[Any]:
    """Return the weights of a layer with some elements of each W_hh zero.

    ``count`` weights belong to each direction; W_hh is the second. Source: S. Merity, N. Keskar,
    R. Socher, "Regularizing and optimizing LSTM language models", ICLR 2018 (DropConnect).
    """
    dropped = list(weights)
    for direction, at in enumerate(range(1, len(weights), count)):
        where = (2 * layer + direction, PER_CALL, 0)
        mask = dispatch.dropout_mask(seed, *where, probability, weights[at], backend=backend)
        dropped[at] = weights[at] * mask
    return dropped
