"""The buffers of batch norm: running averages of moments, for each step of a sequence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from gatewise.errors import InvalidStateError
from gatewise.ops.reference.batch_norm import PLACES, Statistics

_STEPS = "steps_tracked"
_NAMES = (*(f"running_{m}_{place}" for place in PLACES for m in ("mean", "var")), _STEPS)
"""The buffers of one direction, in the order that `Statistics` has."""


def register_averages(
    module: nn.Module,
    suffixes: Sequence[str],
    steps: int,
    widths: Mapping[str, int],
    device: torch.device | str | None,
    dtype: torch.dtype | None,
) -> None:
    """Register the buffers, as yet unfilled.

    Args:
        module: What they become part of.
        suffixes: Of their names, for each layer and direction: ``l0``, ``l0_reverse`` ….
        steps: N: how many steps have moments of their own.
        widths: Of what is normalised in each of `PLACES`.
        device: Of the buffers.
        dtype: Of the moments.
    """
    for suffix in suffixes:
        for name in _NAMES[:-1]:
            shape = (steps, widths[name.rpartition("_")[2]])
            average = torch.empty(shape, device=device, dtype=dtype)
            module.register_buffer(f"{name}_{suffix}", average)
        count = torch.empty((), device=device, dtype=torch.int64)
        module.register_buffer(f"{_STEPS}_{suffix}", count)


def reset_averages(module: nn.Module, suffixes: Sequence[str]) -> None:
    """Let averages begin anew: means of 0, variances of 1, no steps tracked."""
    for suffix in suffixes:
        for name in _NAMES:
            getattr(module, f"{name}_{suffix}").fill_(1 if "_var_" in name else 0)


def statistics_of(
    module: nn.Module, suffixes: Sequence[str], steps: int, batch: int, *, alike: bool
) -> Statistics:
    """Return what a call reads and updates.

    Args:
        module: What has the buffers.
        suffixes: Of their names, for each direction.
        steps: T.
        batch: B.
        alike: Whether all sequences begin in the same state.

    Raises:
        InvalidStateError: There are no moments of a single sequence.
    """
    if module.training and batch < 2:
        raise InvalidStateError(
            f"{type(module).__name__}(input)",
            "at least 2 sequences in train mode, where batch norm takes their moments",
            str(batch),
            "Call eval() on the layer to use its running averages.",
        )
    buffers = [getattr(module, f"{name}_{suffix}") for suffix in suffixes for name in _NAMES]
    return Statistics.of(buffers, steps=steps, training=module.training, alike=alike)
