"""The loops of torch_loops.py under torch.compile, as a peer (see peer.py).

It is torch, but in a process of its own: that can be ended when the compilation takes too long.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from passes import forward, training
from peer import Prepare, serve
from torch_loops import LOOPS


class LoopTask(NamedTuple):
    """A loop by name, its weights and input; forward only without grad_y."""

    loop: str
    weights: dict[str, np.ndarray]
    x: np.ndarray
    grad_y: np.ndarray | None


def start(threads: int) -> Prepare:
    """Return what compiles a task's loop."""
    torch.set_num_threads(threads)

    def prepare(task: LoopTask):
        loop, train = torch.compile(LOOPS[task.loop], dynamic=False), task.grad_y is not None
        weights = {
            name: torch.from_numpy(array).requires_grad_() for name, array in task.weights.items()
        }
        x = torch.from_numpy(task.x)

        def apply(x: torch.Tensor) -> torch.Tensor:
            return loop(weights, x, train)

        if task.grad_y is None:
            call = forward(apply, x)
        else:
            call = training(apply, list(weights.values()), x, torch.from_numpy(task.grad_y))
        call()  # compiles
        return call, None

    return prepare


if __name__ == "__main__":
    serve(start)
