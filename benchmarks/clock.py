"""How long a call takes. Needs nothing but Python: peers in other environments use it too."""

from __future__ import annotations

import math
from collections.abc import Callable
from time import perf_counter


def seconds(call: Callable[[], object], repeats: int = 1) -> float:
    """Return how long one call takes, on average of ``repeats``."""
    start = perf_counter()
    for _ in range(repeats):
        call()
    return (perf_counter() - start) / repeats


def seconds_awake(call: Callable[[], object], *, least: float = 2e-3) -> float:
    """Return how long one call takes once its threads are awake, which the first one sees to.

    After a silence that may take 10 ms, in any library. What follows lasts ``least`` seconds.
    """
    call()
    return seconds(call, max(1, math.ceil(least / seconds(call))))
