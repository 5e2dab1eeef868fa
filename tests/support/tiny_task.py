"""A small task for the tests of the fit loop, in a module of its own so that workers find it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from gatewise.training import StepLoss


def tiny_network(seed: int = 0, *, dropout: float = 0.3) -> nn.Module:
    """An LSTM with a head, from weights of its own seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return TinyNetwork(dropout)


def assert_same_weights(a: nn.Module, b: nn.Module) -> None:
    """Raise unless every entry of the two state dicts is the same, bit for bit."""
    ours, theirs = a.state_dict(), b.state_dict()
    assert ours.keys() == theirs.keys()
    differing = [name for name in ours if not torch.equal(ours[name], theirs[name])]
    assert not differing, f"differing: {differing}"


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
    masked: tuple[int, ...] = ()  # samples of weight zero
    scores: tuple[float, ...] = ()  # scores to report instead, one an epoch
    nan_loss_at: int = 0  # call of loss, from 1; so are the next three
    nan_gradient_at: int = 0
    fail_at: int = 0
    signal_at: int = 0
    signal: int = 0
    only_rank: int | None = None  # where to fail
    calls: int = field(default=0, init=False)
    epochs: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        generator = torch.Generator().manual_seed(self.seed)
        self.x = torch.randn(self.samples, 4, 2, generator=generator)
        self.y = self.x.sum((1, 2)) + 0.1 * torch.randn(self.samples, generator=generator)
        self.weight = torch.ones(self.samples)
        self.weight[list(self.masked)] = 0

    def batches(self, epoch: int, generator: torch.Generator) -> list[Tensor]:
        order = torch.randperm(self.samples, generator=generator)
        return list(order.split(self.batch_size))

    def loss(self, network: nn.Module, indices: Tensor) -> StepLoss:
        self.calls += 1
        if self.calls == self.signal_at:
            os.kill(os.getpid(), self.signal)
        if self.calls == self.fail_at and self._is_here():
            raise ArithmeticError("the task failed")
        weight = self.weight[indices]
        loss = (weight * (network(self.x[indices]) - self.y[indices]) ** 2).sum()
        if self.calls == self.nan_loss_at:
            loss = loss * torch.nan
        if self.calls == self.nan_gradient_at:
            loss = loss + (loss * 0).sqrt()  # 0, with an infinite slope times zero
        return StepLoss(loss, weight.sum())

    def validate(self, network: nn.Module) -> dict[str, float]:
        self.epochs += 1
        if self.scores:
            return {"loss": self.scores[self.epochs - 1]}
        loss = ((network(self.x) - self.y) ** 2).mean()
        return {"loss": loss.item(), "rmse": loss.sqrt().item()}

    def _is_here(self) -> bool:
        ours = torch.distributed.get_rank() if torch.distributed.is_initialized() else 0
        return self.only_rank is None or self.only_rank == ours


@dataclass
class CarryingTask(TinyTask):
    """Four steps an epoch over the same samples, each of which adds to a state of each sample."""

    samples: int = 16
    seen: list[float] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.sum = torch.zeros(self.samples)

    def batches(self, epoch: int, generator: torch.Generator) -> list[Tensor]:
        return [torch.arange(self.samples) for _ in range(4)]

    def loss(self, network: nn.Module, indices: Tensor) -> StepLoss:
        self.seen.append(self.sum[indices].mean().item())
        total, weight, _ = super().loss(network, indices)
        total = total + (self.sum[indices] * network(self.x[indices])).sum()
        self.sum[indices] += 8
        return StepLoss(total, weight)

    def carried(self) -> dict[str, Tensor]:
        return {"sum": self.sum}

    def carry(self, state: dict[str, Tensor]) -> None:
        self.sum = state["sum"].clone() if state else torch.zeros(self.samples)
