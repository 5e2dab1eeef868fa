"""Cutting series in time: what may be trained on, and what is kept for validation or test.

A part is one (start, stop) per series, in steps: the stretch that windows may forecast
(``WindowSet(origins=…)``). Windows of a later part look back into the earlier ones; no step is
forecast in two parts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from gatewise.data.panel import Panel
from gatewise.errors import InvalidValueError

Part = list[tuple[int, int]]
"""One (start, stop) per series, in steps."""


def split_last(panel: Panel, steps: int) -> tuple[Part, Part]:
    """Keep the last steps of each series.

    Args:
        panel: The series.
        steps: How many to keep, at least 1.

    Returns:
        The part before them, and they.

    Raises:
        InvalidValueError: If a series is not longer than that.
    """
    if steps < 1:
        raise InvalidValueError("validation", "at least 1 step", str(steps))
    panel.require_steps(steps + 1, f"the last {steps} are kept for validation")
    ends = [len(one) for one in panel.series]
    return [(0, n - steps) for n in ends], [(n - steps, n) for n in ends]


def split_at(panel: Panel, *borders: str | int | pd.Timestamp) -> tuple[Part, ...]:
    """Cut all series at the same times.

    Args:
        panel: The series.
        borders: Ascending times; each is the first of the part after it.

    Returns:
        One part more than there are borders. A part may be empty for a series.

    Raises:
        InvalidValueError: If borders do not ascend, or are no times.
    """
    cuts = [[0, *(_step_of(one.ds, border) for border in borders)] for one in panel.series]
    if any(np.diff(steps).min(initial=0) < 0 for steps in cuts):
        raise InvalidValueError("borders", "ascending times", ", ".join(map(str, borders)))
    return _parts([[*steps, len(one)] for steps, one in zip(cuts, panel.series, strict=True)])


def split_counts(panel: Panel, *counts: int) -> tuple[Part, ...]:
    """Cut all series after given numbers of steps; what follows the last part is not used.

    Args:
        panel: The series.
        counts: Steps in each part, such as ``8640, 2880, 2880``.

    Returns:
        As many parts as counts.

    Raises:
        InvalidValueError: If a count is below 1 or a series has fewer steps than their sum.
    """
    if not counts or min(counts) < 1:
        raise InvalidValueError("validation", "counts of at least 1 step", str(counts))
    panel.require_steps(sum(counts), f"the parts {counts} together")
    borders = [0, *(int(n) for n in np.cumsum(counts))]
    return _parts([borders for _ in panel.series])


def _parts(cuts: Sequence[Sequence[int]]) -> tuple[Part, ...]:
    """Turn each series' cuts into parts."""
    count = len(cuts[0]) - 1
    return tuple([(steps[k], steps[k + 1]) for steps in cuts] for k in range(count))


def _step_of(ds: pd.Index, border: str | int | pd.Timestamp) -> int:
    """Return the first step at or after a time."""
    if not isinstance(ds, pd.DatetimeIndex):
        if isinstance(border, int | np.integer):
            return int(ds.searchsorted(border))
        raise InvalidValueError("border", "an integer, as time is", repr(border))
    try:
        stamp = pd.Timestamp(border) if isinstance(border, str | pd.Timestamp) else pd.NaT
    except ValueError:
        stamp = pd.NaT
    if stamp is pd.NaT:
        raise InvalidValueError(
            "border", "a time", repr(border), "Write dates as 2024-01-31 or 2024-01-31 14:00:00."
        )
    if stamp.tz is None and ds.tz is not None:
        stamp = stamp.tz_localize(ds.tz)
    return int(ds.searchsorted(stamp))
