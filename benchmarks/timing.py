"""Timing several things against each other: turn by turn, medians, and the peak beside them."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Mapping
from functools import partial
from statistics import median

import torch
from clock import seconds

from gatewise import _native
from gatewise.ops.kernels import KERNELS

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


def burn(*, bf16: bool = False) -> int:
    """Keep every thread busy with multiply-adds alone, and return how many they were."""
    dtype = _native.Dtype.bfloat16 if bf16 else _native.Dtype.float32
    return KERNELS[dtype].burn(dtype, BURN_ITERATIONS, torch.get_num_threads())


def peak_flops(rounds: int = 15, *, bf16: bool = False) -> float:
    """Return the operations in a second that the machine could do now."""
    turn = partial(burn, bf16=bf16)
    return turn() / alternate({"peak": turn}, rounds)["peak"]
