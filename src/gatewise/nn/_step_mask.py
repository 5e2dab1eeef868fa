"""Masks of any form over the steps of a batch, brought to what the layers know: lengths.

A masked step is left out: the state stays what it was. The steps that count, moved to the front of
their sequence, are a sequence with a length; afterwards each step gets the output of its own, or
of the last that counted before it. So Keras defines masks.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gatewise.errors import InvalidStateError, InvalidTypeError


class StepMask:
    """Which steps of a batch count.

    Args:
        counting: Bool, B×T.
    """

    def __init__(self, counting: Tensor) -> None:
        self.counting = counting
        self.counts = counting.sum(1)

    @property
    def lengths(self) -> Tensor:
        """How many steps count, [B]; 1 of a sequence without any, whose results are dropped."""
        return self.counts.clamp(min=1)

    def gather(self, x: Tensor) -> Tensor:
        """Return x, B×T×F, with the steps that count first, in their order."""
        steps = torch.arange(x.shape[1], device=x.device)
        in_front = steps < self.counts.unsqueeze(1)
        # A graph that is recorded cannot look at the values.
        if not torch.compiler.is_compiling() and bool((self.counting == in_front).all()):
            return x
        order = (~self.counting).byte().argsort(dim=1, stable=True)
        return x.take_along_dim(order.unsqueeze(-1), 1)

    def spread(self, y: Tensor, *, reverse: bool, zero: bool) -> Tensor:
        """Return to each step, in time order, its row of y, the output for what was gathered.

        Args:
            y: B×T×F, row by row of the steps that count.
            reverse: Whether the layer ran against time.
            zero: Whether a step that does not count gets zeros, or the output of the step that
                counted before it in the layer's own direction, which are zeros if there is none.
        """
        through = self.counting.cumsum(1)
        at = through - self.counting.long() if reverse else through - 1
        held = self.counting if zero else (at >= 0) & (at < self.counts.unsqueeze(1))
        last = y.shape[1] - 1
        return torch.where(
            held.unsqueeze(-1), y.take_along_dim(at.clamp(0, last).unsqueeze(-1), 1), 0
        )

    def final(self, state: Tensor, initial: Tensor | None = None) -> Tensor:
        """Return a final state, …×B×H, with what a sequence began with if no step of it counts."""
        counted = (self.counts > 0).unsqueeze(-1)
        return torch.where(counted, state, 0 if initial is None else initial)


def check_mask(where: str, mask: Tensor, x: Tensor) -> None:
    """Refuse a mask that says nothing of the steps of x, B×T×F.

    Raises:
        InvalidTypeError: It is not of bool.
        InvalidStateError: It has another shape than B×T.
    """
    if not isinstance(mask, Tensor) or mask.dtype is not torch.bool:
        got = str(mask.dtype) if isinstance(mask, Tensor) else type(mask).__name__
        raise InvalidTypeError(f"{where}(mask)", "a bool tensor", got, "Write mask != 0.")
    if x.dim() != 3 or mask.shape != x.shape[:2]:
        expected = "a flag for each step: the first two of three axes of the input"
        got = f"{tuple(mask.shape)} for {tuple(x.shape)}"
        raise InvalidStateError(f"{where}(mask)", expected, got)


def step_outputs(y: Tensor, steps: StepMask | None, *, reverse: bool, zero: bool) -> Tensor:
    """Return y, B×T×H in time order, as Keras gives it: masked, and in the order of processing."""
    if steps is not None:
        y = steps.spread(y, reverse=reverse, zero=zero)
    return y.flip(1) if reverse else y


def last_output(h: Tensor, steps: StepMask | None, *, reverse: bool, zero: bool) -> Tensor:
    """Return what Keras gives out after the last step, for a final state h, B×H."""
    if steps is None:
        return h
    if zero:
        return torch.where(steps.counting[:, 0 if reverse else -1].unsqueeze(-1), h, 0)
    return steps.final(h)
