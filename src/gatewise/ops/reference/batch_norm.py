r"""Recurrent batch normalisation: every step by the moments of its own batch.

.. math::
    \mathrm{BN}(v) = \gamma \odot \frac{v - \widehat{\mathrm{E}}[v]}
        {\sqrt{\widehat{\mathrm{Var}}[v] + \epsilon}} + \beta

In training the moments are those of the batch at a step; otherwise running averages of them, which
each step has for itself, since the first steps of a sequence are unlike those that follow. Where
all sequences begin in the same state, its product has no moments, and stays as it is: normalised,
it would be nothing in training and a magnified error elsewhere. Source: T. Cooijmans, N. Ballas, C.
Laurent, Ç. Gülçehre, A. Courville, "Recurrent batch normalization", ICLR 2017.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import torch
from torch import Tensor

EPS: Final = 1e-5
MOMENTUM: Final = 0.1
"""The share of a new moment in its running average; both numbers are torch's defaults."""

PLACES: Final = ("ih", "hh", "c")
"""What is normalised: the input product, the recurrent product and the cell state."""

COUNT: Final = 2 * len(PLACES) + 1
"""How many tensors hold the running averages of a direction."""


class Statistics(NamedTuple):
    """Running averages of the moments, and what becomes of them.

    A direction has a mean and a variance of each of `PLACES`, N×G·H, N×G·H and N×H, then the number
    of steps that have been averaged, int64 without axes. Steps beyond that, or beyond N, use the
    averages of the last.

    Args:
        known: What normalises outside training, and in training those steps that fewer than two
            sequences reach.
        running: What training updates in place; empty to update nothing.
        training: Whether the moments are those of the batch.
        alike: Whether all sequences begin in the same state.
    """

    known: tuple[Tensor, ...]
    running: tuple[Tensor, ...]
    training: bool
    alike: bool

    @classmethod
    def of(
        cls, buffers: Sequence[Tensor], *, steps: int, training: bool, alike: bool
    ) -> Statistics:
        """Return what a call begins with: what is updated meanwhile does not change what it reads.

        Args:
            buffers: The running averages, for each direction.
            steps: T.
            training: Whether the moments are those of the batch, and become part of the averages.
            alike: Whether all sequences begin in the same state.
        """
        known = tuple(part[:steps].clone() if part.dim() else part.clone() for part in buffers)
        return cls(known, tuple(buffers) if training else (), training, alike)

    def direction(self, d: int) -> Statistics:
        """Return those of direction ``d``."""
        own = slice(d * COUNT, (d + 1) * COUNT)
        return self._replace(known=self.known[own], running=self.running[own])

    def untracked(self) -> Statistics:
        """Return the same for a call that repeats one whose moments have been averaged."""
        return self._replace(running=())


class BatchNorm:
    """The norms of one direction of a layer.

    Args:
        statistics: Of the direction.
        valid: Which sequences reach each step, T×B.
        first_step: Where in their sequences the first step stands.
    """

    def __init__(self, statistics: Statistics, valid: Tensor, first_step: int) -> None:
        self._statistics, self._valid, self._first_step = statistics, valid, first_step

    def __call__(self, t: int, place: int, value: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Normalise ``value`` (B×…), what step ``t`` has in one of the `PLACES`."""
        if place == 1 and self._first_step + t == 0 and self._statistics.alike:
            return value * weight + bias
        mean, var = self._known(t, place, value)
        if self._statistics.training:
            mean, var = self._observed(t, place, value, mean, var)
        return (value - mean) * torch.rsqrt(var + EPS) * weight + bias

    def _known(self, t: int, place: int, value: Tensor) -> tuple[Tensor, Tensor]:
        known, steps = self._statistics.known, self._statistics.known[-1]
        last = min(self._first_step + t, known[0].shape[0] - 1)
        at = (steps - 1).clamp(0, last).reshape(1)
        mean, var = known[2 * place : 2 * place + 2]
        return mean.index_select(0, at).to(value), var.index_select(0, at).to(value)

    def _observed(
        self, t: int, place: int, value: Tensor, known_mean: Tensor, known_var: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the moments of the batch, or the known ones if it has fewer than two rows."""
        rows = self._valid[t].unsqueeze(-1)
        count, zero = rows.sum(), value.new_zeros(())
        many = count > 1
        mean = torch.where(rows, value, zero).sum(0) / count.clamp(min=1)
        var = torch.where(rows, (value - mean).square(), zero).sum(0) / count.clamp(min=1)
        if self._statistics.running:
            sample = var * count / (count - 1).clamp(min=1)
            self._track(t, place, mean.detach(), sample.detach(), many)
        return torch.where(many, mean, known_mean), torch.where(many, var, known_var)

    def _track(self, t: int, place: int, mean: Tensor, var: Tensor, many: Tensor) -> None:
        running, steps = self._statistics.running, self._statistics.running[-1]
        step = self._first_step + t
        at = min(step, running[0].shape[0] - 1)
        # The first moment of a step is its average: there is nothing yet to average it with.
        first = (self._statistics.known[-1] <= at) & (step == at)
        for average, moment in zip(running[2 * place : 2 * place + 2], (mean, var), strict=True):
            old = average[at].to(moment)
            new = torch.where(first, moment, old.lerp(moment, MOMENTUM))
            average[at] = torch.where(many, new, old)
        steps.copy_(torch.where(many, steps.clamp(min=at + 1), steps))
