"""The memory of an mLSTM inside a layer: lengths, directions, chunks or steps."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from gatewise.nn._layer_in_torch import Steps
from gatewise.nn._layout import States
from gatewise.ops.reference.mlstm import Written, mlstm_chunks, mlstm_steps
from gatewise.ops.reference.sequence import widen

MEMORY: Final = {"C": 0.0, "n": 0.0, "m": float("-inf")}
"""The states and what they begin with."""


def memory_shapes(heads: int, width: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the states of one sequence."""
    return {"C_0": (heads, width, width), "n_0": (heads, width), "m_0": (heads,)}


def remember(
    written: tuple[Tensor, ...], state: States, steps: Steps, chunk_size: int
) -> tuple[Tensor, States, dict[str, Tensor]]:
    """Write to the memory and read from it, some steps of a direction.

    Args:
        written: What `Written` has, of each step, in time order.
        state: (C, n, m) before the step that runs first.
        steps: Which; beyond the lengths nothing is written and nothing forgotten.
        chunk_size: Steps that are computed at once.

    Returns:
        h T×B×NH×d, the state after the step that runs last, and if asked for log_i, log_f, q, k, v,
        n and m of every step, zero beyond the lengths.
    """
    given, restarts = Written(*written), steps.restarts
    state = tuple(widen(part) for part in state)
    if steps.valid is not None:
        valid = steps.valid[..., None]
        log_i = torch.where(valid, given.log_i, float("-inf"))
        given = given._replace(log_i=log_i, log_f=torch.where(valid, given.log_f, 0.0))
    if steps.reverse:
        given = Written(*(part.flip(0) for part in given))
        restarts = None if restarts is None else restarts.flip(0)
    T = len(given.q)
    if T == 1:
        read = mlstm_steps(given, state, restarts, record=steps.record)
    else:
        length = min(chunk_size, T)
        read = mlstm_chunks(given, state, restarts, length, record=steps.record)
    if read.n is None or read.m is None:
        return read.h.flip(0) if steps.reverse else read.h, read.state, {}
    parts = [*given[3:], *given[:3], read.n, read.m, read.h]
    if steps.reverse:
        parts = [part.flip(0) for part in parts]
    if steps.valid is not None:
        parts = [_masked(part, steps.valid) for part in parts]
    *shown, h = parts
    names = ("log_i", "log_f", "q", "k", "v", "n", "m")
    return h, read.state, dict(zip(names, shown, strict=True))


def _masked(part: Tensor, valid: Tensor) -> Tensor:
    return torch.where(valid.reshape(*valid.shape, *[1] * (part.dim() - 2)), part, 0.0)
