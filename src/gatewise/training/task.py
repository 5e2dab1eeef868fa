"""What the loop asks of a task: its batches, its loss, its scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn


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

    def loss(self, network: nn.Module, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sum of the loss over some indices and the weight that it is a sum over.

        Args:
            network: Call this one, and no other reference to the network.
            indices: Int64, on the CPU; part of a global batch. What they choose goes to the
                device of the network.

        Returns:
            Two scalars: the sum, with its graph, and the weight (such as the number of values
            that are not masked), which may be zero. The loop divides sums over all processes.
        """
        ...

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Return named scores, the monitored one among them.

        Args:
            network: In eval mode; called under ``torch.no_grad``.
        """
        ...
