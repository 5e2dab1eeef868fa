"""The mean of the weights over the steps of a fit, which is often better than the last of them.

Triggered: the mean begins when the score has stopped to gain, as S. Merity et al., "Regularizing
and optimizing LSTM language models", ICLR 2018, algorithm 1, have it for stochastic gradient
descent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from gatewise.training.optimization import is_better
from gatewise.training.settings import FitSettings, Mode


class WeightAverage:
    """The mean of a network's trained parameters since it began.

    Args:
        network: Its parameters that require gradients are averaged.
    """

    def __init__(self, network: nn.Module) -> None:
        held = dict(network.named_parameters())
        self._parameters = {name: held[name] for name in held if held[name].requires_grad}
        self.mean: dict[str, Tensor] = {}
        """By name; nothing before the first step."""
        self.steps = 0
        """Over which the mean is taken."""

    def add(self) -> None:
        """Take the parameters as they are now into the mean."""
        self.steps += 1
        with torch.no_grad():
            if not self.mean:
                self.mean = {name: p.detach().clone() for name, p in self._parameters.items()}
            for name, mean in self.mean.items():
                mean.lerp_(self._parameters[name], 1 / self.steps)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """While it is open, the network holds the mean, if there is one."""
        own = {name: self._parameters[name].detach().clone() for name in self.mean}
        self._set(self.mean)
        try:
            yield
        finally:
            self._set(own)

    def _set(self, values: dict[str, Tensor]) -> None:
        with torch.no_grad():
            for name, value in values.items():
                self._parameters[name].copy_(value)


def averages(settings: FitSettings, scores: Sequence[float], mode: Mode) -> bool:
    """Return whether the steps after these epochs are averaged: a function of the scores alone.

    ``triggered`` begins after the first epoch whose score is worse than the best that lies more
    than ``averaging_patience`` epochs back.
    """
    if settings.averaging == "none":
        return False
    wait = settings.averaging_patience
    best = min if mode == "min" else max
    return any(
        is_better(best(scores[: k - wait]), scores[k], mode) for k in range(wait + 1, len(scores))
    )
