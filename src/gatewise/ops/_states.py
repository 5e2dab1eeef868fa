"""The states of a cell as the kernels have them: h, and all the others side by side."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def joined(states: Sequence[Tensor], axis: int) -> list[Tensor]:
    """Return h, and the cell states side by side where there are several, as the kernels have them.

    ``axis`` stands before H: 2 for states, 1 for those after a cut.
    """
    if len(states) <= 2:
        return list(states)
    return [states[0], torch.stack(list(states[1:]), axis)]


def apart(states: Sequence[Tensor], axis: int) -> list[Tensor]:
    """The reverse."""
    if len(states) < 2 or states[1].dim() != axis + 2:
        return list(states)
    return [states[0], *(part.contiguous() for part in states[1].unbind(axis))]


def joined_gradients(
    grads: Sequence[Tensor | None], states: Sequence[Tensor]
) -> list[Tensor | None]:
    """Do the same with gradients of states, of which None stands for zeros."""
    dense = [None if grad is None else grad.contiguous() for grad in grads]
    if len(dense) <= 2 or all(grad is None for grad in dense[1:]):
        return dense[:2]
    full = [torch.zeros_like(s) if g is None else g for g, s in zip(dense, states, strict=True)]
    return [dense[0], torch.stack(full[1:], 2)]
