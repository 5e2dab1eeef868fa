"""A small task for the tests of the fit loop, in a module of its own so that workers find it."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn


def tiny_network(seed: int = 0, *, dropout: float = 0.0) -> nn.Module:
    """An LSTM with a head, from weights of its own seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return TinyNetwork(dropout)


class TinyNetwork(nn.Module):
    """N x T x 2 to N."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.lstm = nn.LSTM(2, 5, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(5, 1)

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.lstm(x)
        return self.head(self.dropout(y[:, -1])).squeeze(-1)


@dataclass
class TinyTask:
    """Squared error over a mask, on numbers drawn once."""

    samples: int = 50
    batch_size: int = 8
    seed: int = 1
    poison: tuple[int, ...] = ()  # calls of loss (from 1) that give NaN
    kill: tuple[int, int] | None = None  # a call of loss, and the signal to send then
    score_list: list[float] = field(default_factory=list)  # scores to report, one an epoch
    masked: tuple[int, ...] = ()  # samples of weight zero
    calls: int = 0
    epochs: int = 0

    def __post_init__(self) -> None:
        generator = torch.Generator().manual_seed(self.seed)
        self.x = torch.randn(self.samples, 4, 2, generator=generator)
        self.y = self.x.sum((1, 2)) + 0.1 * torch.randn(self.samples, generator=generator)
        self.weight = torch.ones(self.samples)
        self.weight[list(self.masked)] = 0

    def batches(self, epoch: int, generator: torch.Generator) -> list[Tensor]:
        order = torch.randperm(self.samples, generator=generator)
        return list(order.split(self.batch_size))

    def loss(self, network: nn.Module, indices: Tensor) -> tuple[Tensor, Tensor]:
        self.calls += 1
        if self.kill is not None and self.calls == self.kill[0]:
            os.kill(os.getpid(), self.kill[1])
        weight = self.weight[indices]
        loss = (weight * (network(self.x[indices]) - self.y[indices]) ** 2).sum()
        if self.calls in self.poison:
            loss = loss * torch.nan
        return loss, weight.sum()

    def validate(self, network: nn.Module) -> dict[str, float]:
        self.epochs += 1
        if self.score_list:
            return {"loss": self.score_list[self.epochs - 1]}
        loss = ((network(self.x) - self.y) ** 2).mean()
        return {"loss": loss.item(), "rmse": loss.sqrt().item()}


KILL = signal.SIGKILL
