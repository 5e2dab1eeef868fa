"""Timing several things against each other: turn by turn, medians, and the peak beside them."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Mapping
from statistics import median

import torch
from clock import seconds

from gatewise import _native
from gatewise.ops import native

BURN_ITERATIONS = 100_000


def alternate(
    turns: Mapping[str, Callable[[], object]], rounds: int, *, least: float = 2e-3
) -> dict[str, float]:
    """Return the median seconds of one call of each of ``turns``.

    They are called in turn, in changing order, so that a drifting clock hits all alike; short ones
    are repeated until a turn takes ``least`` seconds.
    """
    repeats = {}
    for name, call in turns.items():
        call()
        repeats[name] = max(1, math.ceil(least / seconds(call)))
    samples: dict[str, list[float]] = {name: [] for name in turns}
    gc.collect()
    gc.disable()
    for turn in range(rounds):
        for name in sorted(turns, reverse=turn % 2 == 1):
            samples[name].append(seconds(turns[name], repeats[name]))
    gc.enable()
    return {name: median(values) for name, values in samples.items()}


def burn() -> int:
    """Keep every thread busy with multiply-adds in float32 alone; return how many operations."""
    kernels = _native.kernels(native.isa_name())
    assert kernels is not None  # noqa: S101 - it is in use
    return kernels.burn(_native.Dtype.float32, BURN_ITERATIONS, torch.get_num_threads())


def peak_flops(rounds: int = 15) -> float:
    """Return the operations in a second that the machine could do now."""
    operations = burn()
    return operations / alternate({"peak": burn}, rounds)["peak"]
