"""What the loop asks of a task: its batches, its loss, its scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn


class StepLoss(NamedTuple):
    """What one step gives to learn from; three scalars.

    Args:
        total: The sum of the loss over what was given, with its graph.
        weight: What it is a sum over, such as the number of values that are not masked; may be
            zero.
        objective: What the gradient is taken of instead, a sum too, where that is not the loss
            alone: with penalties, or with steps that count more than others. None for the loss.
    """

    total: Tensor
    weight: Tensor
    objective: Tensor | None = None


@runtime_checkable
class FitTask(Protocol):
    """A task to train on; the loop knows nothing else of it.

    On several processes each has its own copy of the task. The loop splits every global batch
    over them; all validate, and the scores of the first process decide.
    """

    def batches(self, epoch: int, generator: torch.Generator) -> Sequence[Tensor]:
        """Return the global batches of an epoch.

        Args:
            epoch: From 1.
            generator: Seeded from the seed of the fit and the epoch; every draw must come from it,
                so that a resumed run sees the same batches.

        Returns:
            Int64 index tensors, in the order of training; at least one.
        """
        ...

    def loss(self, network: nn.Module, indices: Tensor) -> StepLoss:
        """Return the loss over some indices.

        Args:
            network: Call this one, and no other reference to the network.
            indices: Int64, on the CPU; part of a global batch. What they choose goes to the
                device of the network.

        Returns:
            Sums; the loop divides those over all processes by the weight over all processes.
        """
        ...

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Return named scores, the monitored one among them.

        Args:
            network: In eval mode; called under ``torch.no_grad``.
        """
        ...


@runtime_checkable
class StatefulTask(FitTask, Protocol):
    """A task whose steps go on where the step before stopped: truncated back-propagation.

    What it carries from step to step is part of a checkpoint. On several processes each carries
    what belongs to its own part of every batch.
    """

    def carried(self) -> dict[str, Tensor]:
        """Return what the next step goes on from, on the CPU; nothing before the first."""
        ...

    def carry(self, state: dict[str, Tensor]) -> None:
        """Go on from what ``carried`` returned; from the beginning if that is nothing."""
        ...
