"""Masks as a function of where they are used, not of what was drawn before.

Philox4x32 with ten rounds (J. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC
2011) maps the counter (unit, batch row, step, stream), under a seed, to four words of 32 bits. So
blocks, threads, recomputation and instruction sets change nothing; `native/kernels/philox.h` draws
the same. Integers of 64 bits hold the words here, on any device.
"""

from __future__ import annotations

import torch
from torch import Tensor

PER_SEQUENCE = 0xFFFFFFFF
"""The step of masks that hold for a whole sequence: word 0 for h, word 1 for the input."""

PER_CALL = 0xFFFFFFFE
"""The step of masks on weights, whose rows stand for batch rows."""

_LOW = 0xFFFFFFFF


def philox(seed: Tensor, stream: int, step: int, rows: int, units: int) -> list[Tensor]:
    """Return the four words of each unit of each row.

    Args:
        seed: int64, one element; its low half is the first key.
        stream: What tells layers and directions of one seed apart.
        step: Time step, or `PER_SEQUENCE` or `PER_CALL`.
        rows: Batch rows, counted from 0.
        units: Units, counted from 0.

    Returns:
        Four int64 tensors, rows × units, of values below 2³².
    """
    seed = seed.reshape(())
    like = {"dtype": torch.int64, "device": seed.device}
    first = torch.arange(units, **like).expand(rows, units)
    second = torch.arange(rows, **like).unsqueeze(1).expand(rows, units)
    words = [first, second, torch.full_like(first, step), torch.full_like(first, stream & _LOW)]
    low, high = seed & _LOW, (seed >> 32) & _LOW
    for _ in range(10):
        a, b = words[0] * 0xD2511F53, words[2] * 0xCD9E8D57  # wrap round, as unsigned ones would
        words = [
            ((b >> 32) & _LOW) ^ words[1] ^ low,
            b & _LOW,
            ((a >> 32) & _LOW) ^ words[3] ^ high,
            a & _LOW,
        ]
        low, high = (low + 0x9E3779B9) & _LOW, (high + 0xBB67AE85) & _LOW
    return words


def hits(word: Tensor, probability: float) -> Tensor:
    """Return where the upper 24 bits of a word say that what has this probability happens."""
    return (word >> 8) < round(probability * (1 << 24))


def dropout_mask(
    seed: Tensor, stream: int, step: int, word: int, probability: float, rows: int, units: int
) -> Tensor:
    """Return a mask of inverted dropout, rows × units: 0 or 1 / (1 − probability), in float64."""
    dropped = hits(philox(seed, stream, step, rows, units)[word], probability)
    scale = 1 / (1 - probability) if probability < 1 else 0.0
    return (~dropped).double() * scale
