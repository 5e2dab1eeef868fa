"""What holds of any layer that takes lengths."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from support.compare import assert_close


def assert_lengths_are_runs_alone(
    layer: nn.Module, x: Tensor, lengths: Sequence[int], tolerance: float
) -> None:
    """Raise unless each sequence of x (T×B×I, cut off at its length) is as it is without company.

    What stands beyond the lengths is no number here, and must reach neither states nor gradients.
    """
    padding = torch.arange(len(x))[:, None, None] >= torch.tensor(lengths)[:, None]
    y, states = layer(x.masked_fill(padding, float("nan")), lengths=lengths)
    for b, length in enumerate(lengths):
        own, after = layer(x[:length, b : b + 1])
        assert_close({"y": y[:length, b]}, {"y": own[:, 0]}, tolerance=tolerance)
        assert y[length:, b].eq(0).all()
        for part, alone in zip(states, after, strict=True):
            assert_close({"state": part[:, b]}, {"state": alone[:, 0]}, tolerance=tolerance)
    y.sum().backward()
    assert all(weight.grad.isfinite().all() for weight in layer.parameters())
