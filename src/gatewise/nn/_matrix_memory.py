"""The memory of an mLSTM inside a layer: lengths, directions, chunks or steps."""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor

from gatewise.nn._layer_in_torch import Steps
from gatewise.nn._layout import States
from gatewise.ops.matrix_memory import read_memory
from gatewise.ops.reference.sequence import widen

MEMORY: Final = {"C": 0.0, "n": 0.0, "m": float("-inf")}
"""The states and what they begin with."""


def memory_shapes(heads: int, width: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the states of one sequence."""
    return {"C_0": (heads, width, width), "n_0": (heads, width), "m_0": (heads,)}


def remember(
    heads: Tensor,
    gates: tuple[Tensor, Tensor],
    state: States,
    steps: Steps,
    chunk_size: int,
) -> tuple[Tensor, States, dict[str, Tensor]]:
    """Write to the memory and read from it, some steps of a direction.

    Args:
        heads: As `read_memory` has them, in time order.
        gates: log_i and log_f, T×B×NH each.
        state: (C, n, m) before the step that runs first.
        steps: Which; beyond the lengths nothing is written and nothing forgotten.
        chunk_size: Steps that are computed at once.

    Returns:
        What is read, T×B×NH×d, the state after the step that runs last, and if asked for log_i,
        log_f, q, k, v, n and m of every step, zero beyond the lengths.
    """
    (log_i, log_f), restarts = gates, steps.restarts
    C, n, m = (widen(part) for part in state)
    if steps.valid is not None:
        valid = steps.valid[..., None]
        log_i = torch.where(valid, log_i, float("-inf"))
        log_f = torch.where(valid, log_f, 0.0)
    if steps.reverse:
        heads, log_i, log_f = (part.flip(0) for part in (heads, log_i, log_f))
        restarts = None if restarts is None else restarts.flip(0)
    read = read_memory(heads, log_i, log_f, (C, n, m), restarts, chunk_size, record=steps.record)
    if read.n is None or read.m is None:
        return read.h.flip(0) if steps.reverse else read.h, read.state, {}
    q, k, v = heads.unflatten(-1, (-1, *read.n.shape[2:])).unbind(2)[:3]
    parts = [log_i, log_f, q, k / math.sqrt(k.shape[-1]), v, read.n, read.m, read.h]
    if steps.reverse:
        parts = [part.flip(0) for part in parts]
    if steps.valid is not None:
        parts = [_masked(part, steps.valid) for part in parts]
    *shown, h = parts
    names = ("log_i", "log_f", "q", "k", "v", "n", "m")
    return h, read.state, dict(zip(names, shown, strict=True))


def _masked(part: Tensor, valid: Tensor) -> Tensor:
    return torch.where(valid.reshape(*valid.shape, *[1] * (part.dim() - 2)), part, 0.0)
