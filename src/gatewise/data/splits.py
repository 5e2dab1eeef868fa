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


def split_last(panel: Panel, steps: int | float) -> tuple[Part, Part]:
    """Keep the last steps of each series.

    Args:
        panel: The series.
        steps: How many to keep, at least 1; or a share of each series, in (0, 1).

    Returns:
        The part before them, and they.

    Raises:
        InvalidValueError: If a series is not longer than that, or ``steps`` is out of range.
    """
    share = isinstance(steps, float)
    if (share and not 0 < steps < 1) or steps <= 0:
        raise InvalidValueError("validation", "steps (1 or more) or a share in (0, 1)", str(steps))
    kept = 1 if share else int(steps)
    panel.require_steps(kept + 1, f"the last {steps} are kept for validation")
    cuts = []
    for n in (len(one) for one in panel.series):
        cut = n - (min(max(round(n * steps), 1), n - 1) if share else kept)
        cuts.append([0, cut, n])
    train, validation = _parts(cuts)
    return train, validation


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
    stamps = pd.DatetimeIndex(pd.to_datetime([border], errors="coerce"))
    if isinstance(border, int) or stamps.hasnans:
        raise InvalidValueError(
            "border", "a time", repr(border), "Write dates as 2024-01-31 or 2024-01-31 14:00:00."
        )
    if stamps.tz is None and ds.tz is not None:
        stamps = stamps.tz_localize(ds.tz)
    elif stamps.tz is not None and ds.tz is None:
        raise InvalidValueError("border", "a time without a zone, as the data have", repr(border))
    return int(ds.searchsorted(stamps)[0])
